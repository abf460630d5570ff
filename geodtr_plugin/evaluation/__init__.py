"""Exact retrieval metrics: which references are right, at which rank the best of them stands, and what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..utils.lazy import lazy_imports

if TYPE_CHECKING:
    from .calculator import CrossViewAccuracyCalculator
    from .headings import Headings, find_headings
    from .metrics import recall, summarise
    from .nearest import most_similar
    from .ranking import Ranks, rank_queries
    from .similarity import NonFiniteEmbeddingsError
    from .truth import Truth

__getattr__, __dir__, __all__ = lazy_imports(__name__)
