"""Checks of a data set on disk, each for a mistake that has cost somebody a day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...utils.lazy import lazy_imports

if TYPE_CHECKING:
    from .findings import Finding, Inspection, Report
    from .north import check_north
    from .run_checks import CheckedDataset, check_dataset, quick_check

__getattr__, __dir__, _lazy = lazy_imports(__name__)
__all__ = ["DECODED", *_lazy]

DECODED = 64  # images of each role and split that are opened if not told otherwise: enough for damage that is common
