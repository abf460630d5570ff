"""Helpers that stand on their own: exact retrieval metrics, truths, errors, checkpoints."""

from __future__ import annotations

from importlib import import_module

# imported on first use: the calculator brings torch, faiss and scikit-learn, which `utils.errors` must not wait for
_HOMES = {
    "CrossViewAccuracyCalculator": "accuracy_calculator",
    "NonFiniteEmbeddingsError": "similarity",
    "Ragged": "ragged",
    "Ranks": "ranking",
    "Truth": "truth",
    "rank_queries": "ranking",
    "recall": "metrics",
    "summarise": "metrics",
}
__all__ = [
    "CrossViewAccuracyCalculator",
    "NonFiniteEmbeddingsError",
    "Ragged",
    "Ranks",
    "Truth",
    "rank_queries",
    "recall",
    "summarise",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
