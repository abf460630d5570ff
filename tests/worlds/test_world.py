"""Rendered worlds: exactness, determinism, splits, and the truth of the offset worlds against plain geometry."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.utils.errors import UnknownNameError, UserError
from geodtr_plugin.worlds import PanoramaCamera, World, WorldSpec, make_scene, render_aerial
from geodtr_plugin.worlds.pool import render_world
from geodtr_plugin.worlds.tiles import TILE_SIDE

SMALL = {"panorama_size": (16, 32), "aerial_size": 48}


def load_world(cache, style, split, count, workers=None, progress=False, **options) -> World:
    return World.load(WorldSpec(style, split, count, **options), cache, workers, progress)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("worlds")


@pytest.fixture(scope="module")
def country(cache):
    """60 panoramas from two scenes, rendered by two processes."""
    return load_world(cache, "country", "test", 60, workers=2, **SMALL)


def same(one, two, count=None) -> bool:
    names = ("query_images", "reference_images", "truth", "query_positions", "reference_positions")
    return all(np.array_equal(getattr(one, name)[:count], getattr(two, name)[:count]) for name in names)


@pytest.mark.slow
def test_pictures_do_not_depend_on_the_number_of_workers(country, tmp_path):
    assert same(country, load_world(tmp_path, "country", "test", 60, workers=1, **SMALL))


def test_a_smaller_count_is_the_beginning_of_a_larger_one(country, cache):
    assert same(load_world(cache, "country", "test", 7, **SMALL), country, 7)


def test_splits_and_seeds_show_other_places(country, cache):
    for other in ({"split": "train"}, {"split": "test", "seed": 1}):
        world = load_world(cache, "country", count=7, **SMALL, **other)
        assert (np.array(world.reference_images) != country.reference_images[:7]).mean() > 0.5


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 99), st.booleans(), st.integers(0, 999)), min_size=2, max_size=8, unique=True))
def test_no_two_scenes_share_a_seed(requests):
    seeds = [
        WorldSpec("suburb", "train" if train else "test", 1, seed=seed).scene_seed(number)
        for seed, train, number in requests
    ]
    assert len(set(seeds)) == len(seeds)


def test_realism_zero_is_the_scene_itself(cache):
    world = load_world(cache, "suburb", "train", 3, realism=0.0)
    scene = make_scene("suburb", world.spec.scene_seed(0), cell=world.spec.shoot(0).cell, transient=0.0)
    camera = PanoramaCamera(64, 176, world.spec.shoot(0).rays)
    for query, place in enumerate(scene.cameras[:3]):
        assert np.array_equal(world.query_images[query], camera.render(scene, place))
        assert np.array_equal(world.reference_images[query], render_aerial(scene, place, 96))
    assert np.array_equal(world.truth, [[0], [1], [2]])
    assert np.array_equal(world.query_positions, world.reference_positions)
    assert not world.query_images.flags.writeable and isinstance(world.query_images, np.memmap)


def test_realism_moves_the_recorded_place(cache):
    exact, real = (load_world(cache, "suburb", "test", 96, realism=r, **SMALL) for r in (0.0, 1.0))
    error = real.query_positions - exact.query_positions
    assert 1.5 < error.std() < 2.5 and np.abs(error).max() <= 6.4


@pytest.fixture(scope="module")
def offset(cache):
    return load_world(cache, "downtown", "test", 100, offset=True, workers=2, **SMALL)


def test_offset_truth_is_that_of_geometry(offset):
    difference = np.abs(offset.query_positions[:, None] - offset.reference_positions[None])
    covers = (difference < TILE_SIDE / 2).all(axis=2)
    assert (covers.sum(axis=1) == 4).all()
    distance = np.hypot(difference[..., 0], difference[..., 1])
    for query, truth in enumerate(offset.truth):
        assert set(truth) == set(np.flatnonzero(covers[query]))
        assert truth[0] == distance[query].argmin()
        assert (np.diff(distance[query, truth]) >= 0).all()
    assert (difference[np.arange(100), offset.truth[:, 0]] <= TILE_SIDE / 4).all()


def test_offset_gallery_has_distractors_and_overlaps(cache, offset):
    assert len(np.unique(offset.truth[:, 0])) < len(offset.reference_images)
    exact = load_world(cache, "downtown", "test", 2, offset=True, realism=0.0, **SMALL)
    first, second = exact.reference_images[0], exact.reference_images[1]
    assert exact.reference_positions[1, 0] - exact.reference_positions[0, 0] == TILE_SIDE / 2
    assert np.array_equal(first[:, 24:], second[:, :24])
    names = {*offset.spec.names("query"), *offset.spec.names("reference")}
    assert len(names) == 100 + len(offset.reference_images)


def test_first_use_is_announced_and_the_next_is_silent(tmp_path, capsys):
    for _ in range(2):
        load_world(tmp_path, "country", "train", 1, progress=True, **SMALL)
    printed = capsys.readouterr().err
    assert printed.count("Rendering the synthetic world country-train-1") == printed.count(str(tmp_path)) == 1


def test_a_failing_worker_is_reported(tmp_path):
    spec = WorldSpec("country", "train", 60)
    with pytest.raises(RuntimeError, match="manifest.json"):
        render_world(spec, tmp_path, workers=2, progress=False)


def test_workers_do_not_load_torch():
    code = "import sys, geodtr_plugin.worlds.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "wrong",
    [{"split": "val"}, {"count": 0}, {"seed": -1}, {"realism": 3.0}, {"aerial_size": 2}, {"panorama_size": (64, 2)}],
)
def test_impossible_requests_are_refused(wrong):
    with pytest.raises(UserError, match="world|render"):
        WorldSpec(**{"style": "suburb", "split": "train", "count": 5, **wrong})


def test_unknown_world():
    with pytest.raises(UnknownNameError, match="downtown"):
        WorldSpec("downtwon", "train", 5)


@settings(deadline=None, max_examples=60)
@given(st.integers(4, 512))
def test_every_tile_size_gives_fine_cells_and_tiles_of_an_even_number_of_them(size):
    spec = WorldSpec("suburb", "train", 1, aerial_size=size)
    shoot = spec.shoot(0)
    assert size * shoot.supersample % 2 == 0
    assert shoot.cell * size * shoot.supersample == pytest.approx(TILE_SIDE) and shoot.cell <= 0.4
