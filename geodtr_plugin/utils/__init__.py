"""Small helpers without opinions: errors, files, devices, processes, tables.

`recall` and `CrossViewAccuracyCalculator` live in `evaluation`; they are importable from here too, where PML keeps
its calculator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import lazy_imports

if TYPE_CHECKING:
    from ..evaluation.calculator import CrossViewAccuracyCalculator
    from ..evaluation.metrics import recall

__getattr__, __dir__, __all__ = lazy_imports(__name__)
