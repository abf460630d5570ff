"""Data sets: an Split of images, places, pairs and truth, and the torch data sets made from it.

The names are imported when they are asked for, so that listing the data sets does not import torch.
"""

from __future__ import annotations

import importlib
from typing import Any

from .registry import DATASETS, SPLITS, DatasetFacts, facts_of, list_datasets, load_split

_LAZY = {
    "ImageArray": "images",
    "ImageFiles": "images",
    "Images": "images",
    "Split": "base",
    "PairDataset": "base",
    "Subset": "base",
    "View": "base",
    "ImageDataset": "base",
}

__all__ = ["DATASETS", "SPLITS", "DatasetFacts", "facts_of", "list_datasets", "load_split", *sorted(_LAZY)]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
