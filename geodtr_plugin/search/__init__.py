"""Localizing single images: an index of references on disk, and the search in it.

Names are imported when they are first used: options can be listed without torch.
"""

from __future__ import annotations

import importlib

_PUBLIC = {
    "Answer": "locator",
    "JoinedIndex": "joined_index",
    "Locator": "locator",
    "Match": "locator",
    "VectorIndex": "vector_index",
    "build_index": "building",
    "learn_cells": "cells",
    "list_images": "listing",
    "read_cells": "cells",
    "read_photo": "photos",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
