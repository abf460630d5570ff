"""Distances between a query and a reference that are no inner product: similarity at the best heading.

All are distances of PML, so that its losses and miners take them as `distance=`; a model that is compared by one has it
as `model.distance`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..utils.lazy import lazy_imports

if TYPE_CHECKING:
    from .base import HeadingDistance
    from .circular_correlation import CircularCorrelation
    from .max_over_headings import MaxOverHeadings

__getattr__, __dir__, __all__ = lazy_imports(__name__)
