"""Synthetic cross-view worlds: one scene, rendered from the ground and from above; numpy only."""

from geodtr_plugin.worlds.aerial import render_aerial
from geodtr_plugin.worlds.builder import make_scene
from geodtr_plugin.worlds.cache import cache_root
from geodtr_plugin.worlds.panorama import PanoramaCamera
from geodtr_plugin.worlds.scene import Camera, Scene
from geodtr_plugin.worlds.styles import Style, list_worlds
from geodtr_plugin.worlds.world import World, load_world

__all__ = [
    "Camera",
    "PanoramaCamera",
    "Scene",
    "Style",
    "World",
    "cache_root",
    "list_worlds",
    "load_world",
    "make_scene",
    "render_aerial",
]
