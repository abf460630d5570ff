"""Checks of a data set on disk, each for a mistake that has cost somebody a day."""

from .alignment import Alignment, check_alignment
from .report import Finding, Report
from .whole import Checked, check_dataset, quick_check

__all__ = ["Alignment", "Checked", "Finding", "Report", "check_alignment", "check_dataset", "quick_check"]
