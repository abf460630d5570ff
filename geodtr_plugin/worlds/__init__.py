"""Synthetic cross-view worlds: one scene, rendered from the ground and from above; numpy and Pillow only."""

from ..utils.cache_folder import cache_root
from .aerial import render_aerial
from .builder import SCENE_SIZE, make_scene
from .drives import Drives, DriveSpec
from .looks import LOOKS, seen_at
from .panorama import PanoramaCamera
from .scene import Camera, Scene
from .spans import Spans
from .spec import SCENE_PITCH, SPLIT_PITCH
from .styles import Style, list_worlds
from .wide_style import widen
from .world import World, WorldSpec

__all__ = [
    "LOOKS",
    "SCENE_PITCH",
    "SCENE_SIZE",
    "SPLIT_PITCH",
    "Camera",
    "DriveSpec",
    "Drives",
    "PanoramaCamera",
    "Scene",
    "Spans",
    "Style",
    "World",
    "WorldSpec",
    "cache_root",
    "list_worlds",
    "make_scene",
    "render_aerial",
    "seen_at",
    "widen",
]
