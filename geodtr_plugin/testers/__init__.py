"""Testers that embed queries and references with their own towers."""

from __future__ import annotations

from .cross_view import CrossViewTester

__all__ = ["CrossViewTester"]
