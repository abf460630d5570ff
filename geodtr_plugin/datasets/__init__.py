"""Data sets: a `Split` of images, places, pairs and truth, and the torch data sets made from it. One file a data set.

`register_dataset` adds one of your own. Names are known without importing torch; a data set's module is imported when
the data set is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..utils.lazy import lazy_imports
from .registry import DATASETS, DatasetFacts, facts_of, list_datasets, load_split, register_dataset, same_area

if TYPE_CHECKING:
    from .base import ImageDataset, LoadTransform, PairDataset, Split, Subset
    from .images import ImageArray, ImageFiles, Images
    from .joined import JoinedSplit, join_splits
    from .offsets import Offsets

__getattr__, __dir__, _lazy = lazy_imports(__name__)
__all__ = [
    "DATASETS", "DatasetFacts", "facts_of", "list_datasets", "load_split", "register_dataset", "same_area", *_lazy,
]  # fmt: skip
