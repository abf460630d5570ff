"""Localizing single images: an index of references on disk, and the search in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..utils.lazy import lazy_imports

if TYPE_CHECKING:
    from .area import Area
    from .building import build_index
    from .calibration import Calibration
    from .gallery import IndexGallery
    from .listing import list_images
    from .locator import Locator
    from .matches import Answer, Match
    from .photos import read_photo
    from .store.filling import fill_store
    from .store.gallery import StoreGallery
    from .tile_sources.options import TileOptions
    from .together import locate_together
    from .vector_index import VectorIndex

__getattr__, __dir__, __all__ = lazy_imports(__name__)
