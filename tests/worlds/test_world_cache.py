"""The cache never gives out half a world, and two writers do not harm each other."""

from __future__ import annotations

import json
import os
import threading

import numpy as np
import pytest

from geodtr_plugin.utils import cache_folder
from geodtr_plugin.utils.cache_folder import cache_root
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.worlds import spec
from geodtr_plugin.worlds.cache import cached, open_arrays
from geodtr_plugin.worlds.world import WorldSpec

SPEC = WorldSpec("suburb", "train", 3, (8, 16), 8)


class Renderer:
    """Fills every array with one number and counts how often it was called."""

    def __init__(self, value: int = 1, before=lambda: None):
        self.value, self.calls, self.before = value, 0, before

    def __call__(self, folder):
        self.calls += 1
        self.before()
        for array in open_arrays(folder, SPEC, mode="r+").values():
            array[...] = self.value
            array.flush()


@pytest.fixture
def folder(tmp_path):
    """A complete world full of ones."""
    cached(SPEC, tmp_path, Renderer(1))
    return tmp_path / "worlds" / SPEC.key()


def load(root, renderer) -> int:
    values = {int(value) for array in cached(SPEC, root, renderer).values() for value in np.unique(array)}
    assert len(values) == 1
    return values.pop()


def leftovers(root) -> list:
    return [path for path in (root / "worlds").iterdir() if path.name != SPEC.key()]


def test_a_complete_world_is_used_again(folder, tmp_path):
    renderer = Renderer(2)
    assert load(tmp_path, renderer) == 1 and renderer.calls == 0 and not leftovers(tmp_path)


def cut_array(folder):
    with (folder / "reference_images.npy").open("r+b") as file:
        file.truncate(200)


def change_manifest(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "version": 0}))


def cut_manifest(folder):
    (folder / "manifest.json").write_text("{")


def remove_array(folder):
    (folder / "truth.npy").unlink()


def other_shape(folder):
    np.save(folder / "query_images.npy", np.zeros((3, 8, 17, 3), np.uint8))


def test_a_version_that_was_raised_gets_another_folder(monkeypatch):
    before = SPEC.key(), SPEC.manifest()
    monkeypatch.setattr(spec, "VERSION", spec.VERSION + 1)
    assert SPEC.key() != before[0] and SPEC.manifest() != before[1]


@pytest.mark.parametrize("damage", [cut_array, change_manifest, cut_manifest, remove_array, other_shape])
def test_a_damaged_world_is_rendered_again(folder, tmp_path, damage):
    damage(folder)
    renderer = Renderer(2)
    assert load(tmp_path, renderer) == 2 and renderer.calls == 1 and not leftovers(tmp_path)
    assert load(tmp_path, Renderer(3)) == 2


def test_what_a_killed_process_left_is_not_used(folder, tmp_path):
    folder.rename(folder.parent / f".partial.{'0' * 8}-1-{'a' * 8}")
    renderer = Renderer(2)
    assert load(tmp_path, renderer) == 2 and renderer.calls == 1


def test_old_leftovers_are_swept_and_young_ones_kept(tmp_path):
    old, young = (tmp_path / "worlds" / f".partial.{'0' * 8}-1-{mark * 8}" for mark in "ab")  # of another machine
    for path in (old, young):
        path.mkdir(parents=True)
    os.utime(old, (0, 0))
    load(tmp_path, Renderer(1))
    assert leftovers(tmp_path) == [young]


def test_a_world_that_a_rival_takes_away_is_rendered_again(tmp_path, monkeypatch):
    target, publish = tmp_path / "worlds" / SPEC.key(), cache_folder.publish
    taken = []

    def publish_and_lose(*arguments):
        publish(*arguments)
        if not taken:
            taken.append(target.rename(tmp_path / "taken"))

    monkeypatch.setattr(cache_folder, "publish", publish_and_lose)
    renderer = Renderer(4)
    assert load(tmp_path, renderer) == 4 and renderer.calls == 2


def test_an_interrupted_rendering_leaves_nothing(tmp_path):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(SPEC, tmp_path, Renderer(1, interrupted))
    assert list((tmp_path / "worlds").iterdir()) == []
    assert load(tmp_path, Renderer(2)) == 2


def test_the_second_to_finish_uses_the_first_ones_world(tmp_path):
    rival = Renderer(7)
    late = Renderer(8, before=lambda: cached(SPEC, tmp_path, rival))
    assert load(tmp_path, late) == 7
    assert (late.calls, rival.calls) == (1, 1) and not leftovers(tmp_path)


@pytest.mark.parametrize("damaged", (False, True))
def test_many_writers_at_once_agree(tmp_path, damaged):
    if damaged:
        cached(SPEC, tmp_path, Renderer(99))
        cut_array(tmp_path / "worlds" / SPEC.key())
    barrier, results = threading.Barrier(6), []
    threads = [
        threading.Thread(target=lambda v=value: results.append(load(tmp_path, Renderer(v, barrier.wait))))
        for value in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6 and len(set(results)) == 1 and results[0] < 6 and not leftovers(tmp_path)


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("GEODTR_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_root(tmp_path / "given") == tmp_path / "given"
    assert cache_root() == tmp_path / "own"
    monkeypatch.delenv("GEODTR_CACHE")
    assert cache_root() == tmp_path / "xdg" / "geodtr"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == tmp_path / "home" / ".cache" / "geodtr"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="GEODTR_CACHE"):
        cached(SPEC, tmp_path / "file", Renderer())


def test_a_plain_world_keeps_the_key_it_had_before_there_were_wide_ones():
    plain, wide = (WorldSpec("suburb", "test", 5, wide=wide) for wide in (False, True))
    assert plain.key() == "suburb-test-5-v1-c8214a41dc84" and "wide" not in plain.manifest()
    assert wide.key().startswith("suburb-wide-test-5-") and '"wide": true' in wide.manifest()
