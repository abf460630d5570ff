"""Synthetic cross-view worlds: one scene, rendered from the ground and from above; numpy only."""

from ..utils.cache_folder import cache_root
from .aerial import render_aerial
from .builder import SCENE_SIZE, make_scene
from .drives import Drives, load_drives
from .panorama import PanoramaCamera
from .scene import Camera, Scene
from .spec import SCENE_PITCH, SPLIT_PITCH
from .styles import Style, list_worlds
from .world import World, load_world

__all__ = [
    "SCENE_PITCH",
    "SCENE_SIZE",
    "SPLIT_PITCH",
    "Camera",
    "Drives",
    "PanoramaCamera",
    "Scene",
    "Style",
    "World",
    "cache_root",
    "list_worlds",
    "load_drives",
    "load_world",
    "make_scene",
    "render_aerial",
]
