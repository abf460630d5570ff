"""GeoDTR+ for pytorch-metric-learning: cross-view geo-localization, trained and tested under one set of rules.

Names are imported when they are first used, so that `import geodtr_plugin` costs next to nothing.
"""

from __future__ import annotations

import importlib

from ._version import __version__

_PUBLIC = {
    "CHSG": "miners",
    "CounterfactualLoss": "losses",
    "CrossViewAccuracyCalculator": "utils",
    "CrossViewTester": "testers",
    "CrossViewTrainer": "trainers",
    "LayoutSimulation": "augmentations",
    "Locator": "search",
    "PolarTransform": "augmentations",
    "SemanticAugmentation": "augmentations",
    "SoftMarginTripletLoss": "losses",
    "Truth": "utils",
    "TwinMiner": "miners",
    "create_model": "methods",
    "list_datasets": "datasets",
    "list_methods": "methods",
    "load_author_weights": "methods._weights",
    "load_index": "datasets",
    "load_model": "methods._weights",
    "recall": "utils",
    "register_method": "methods",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
