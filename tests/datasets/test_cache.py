"""The cache gives the very images that it was made from, and never half of them or another set's."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
import threading
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from trees import save_jpeg, smooth_noise

from geodtr_plugin.augmentations import ImageTransform
from geodtr_plugin.datasets import ImageFiles, PairDataset, Split, cache
from geodtr_plugin.datasets.cache import CachedImages, cached
from geodtr_plugin.evaluation.truth import Truth
from geodtr_plugin.utils import cache_folder
from geodtr_plugin.utils.errors import DatasetCorruptError, DatasetNotFoundError, UserError

TRANSFORMS = ImageTransform(12, 34), ImageTransform(16, 16)
COUNT = 20


@pytest.fixture
def split(tmp_path):
    """Twenty pairs as JPEGs."""
    for place in range(COUNT):
        save_jpeg(tmp_path / f"data/ground/{place}.jpg", smooth_noise("ground", place, 24, 123))
        save_jpeg(tmp_path / f"data/aerial/{place}.jpg", smooth_noise("aerial", place, 75, 75))
    places = np.arange(COUNT)
    roles = (ImageFiles(tmp_path / "data", [f"{role}/{i}.jpg" for i in places]) for role in ("ground", "aerial"))
    return Split("tiny", "train", *roles, np.stack([places, places], 1), places, places, Truth.diagonal(COUNT))


@pytest.fixture
def reads(monkeypatch):
    """How many files were decoded: an empty list that grows."""
    seen, read = [], ImageFiles.read
    monkeypatch.setattr(ImageFiles, "read", lambda images, i: (seen.append(i), read(images, i))[1])
    return seen


def folders(tmp_path) -> list:
    return sorted((tmp_path / "cache/images").iterdir())


def assert_same(split: Split, other: Split, transforms=TRANSFORMS) -> None:
    direct, resized = PairDataset(split, *transforms), PairDataset(other, *transforms)
    for i in range(COUNT):
        ours, theirs = resized[i], direct[i]
        assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1]) and ours[2] == theirs[2]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("polar", [False, True])
def test_cached_images_are_those_of_the_transform(split, tmp_path, polar, workers):
    transforms = TRANSFORMS[0], ImageTransform(12, 34, polar)
    other = cached(split, *transforms, folder=tmp_path / "cache", workers=workers)
    assert_same(split, other, transforms)
    assert other.references.read(0).shape == ((3, 75, 75) if polar else (3, 12, 34))
    assert other.fingerprint() == split.fingerprint()
    assert len(folders(tmp_path)) == 2  # one a role, and nothing left of the writing


def test_a_cache_is_used_again(split, tmp_path, reads):
    cached(split, *TRANSFORMS, folder=tmp_path / "cache")
    reads.clear()
    other = cached(split, *TRANSFORMS, folder=tmp_path / "cache")
    assert len(reads) == 2 * cache.PROBES  # to recognise it
    assert [other.queries.read(i) is None for i in range(COUNT)] == [False] * COUNT
    assert len(reads) == 2 * cache.PROBES


def test_each_transform_and_each_picture_has_its_own_cache(split, tmp_path):
    first = cached(split, *TRANSFORMS, folder=tmp_path / "cache")
    cached(split, ImageTransform(12, 35), TRANSFORMS[1], folder=tmp_path / "cache")
    assert len(folders(tmp_path)) == 3  # the references' is shared
    save_jpeg(tmp_path / "data/aerial/0.jpg", smooth_noise("aerial", 99, 75, 75))  # the same name, another picture
    changed = cached(split, *TRANSFORMS, folder=tmp_path / "cache")
    assert len(folders(tmp_path)) == 4
    assert not torch.equal(first.references.read(0), changed.references.read(0))
    cached(replace(split, name="other"), *TRANSFORMS, folder=tmp_path / "cache")
    cached(split.limit(5), *TRANSFORMS, folder=tmp_path / "cache")
    assert len(folders(tmp_path)) == 8


def cut_array(folder):
    with (folder / "images.npy").open("r+b") as file:
        file.truncate(1000)


def older_version(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "version": 0}))


def cut_manifest(folder):
    (folder / "manifest.json").write_text("{")


def other_shape(folder):
    np.save(folder / "images.npy", np.zeros((COUNT, 3, 1, 1), np.uint8))


@pytest.mark.parametrize("damage", [cut_array, older_version, cut_manifest, other_shape])
def test_a_damaged_cache_is_made_again(split, tmp_path, damage):
    cached(split, *TRANSFORMS, folder=tmp_path / "cache")
    for folder in folders(tmp_path):
        damage(folder)
    assert_same(split, cached(split, *TRANSFORMS, folder=tmp_path / "cache"))
    assert len(folders(tmp_path)) == 2


def test_an_interruption_leaves_nothing(split, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(cache_folder, "publish", interrupted)
        cached(split, *TRANSFORMS, folder=tmp_path / "cache")
    assert folders(tmp_path) == []
    assert_same(split, cached(split, *TRANSFORMS, folder=tmp_path / "cache"))


def test_writers_at_once_do_not_harm_each_other(split, tmp_path):
    barrier, results = threading.Barrier(4), []

    def make():
        barrier.wait()
        results.append(cached(split, *TRANSFORMS, folder=tmp_path / "cache"))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and len(folders(tmp_path)) == 2
    for other in results:
        assert_same(split, other)


def test_the_size_is_announced_before_anything_is_written(split, tmp_path, caplog, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache_folder, "new_folder", stop)
    monkeypatch.setattr(logging.getLogger("geodtr_plugin"), "propagate", True)  # a run turns it off
    with caplog.at_level("INFO", "geodtr_plugin"), pytest.raises(KeyboardInterrupt):
        cached(split, *TRANSFORMS, folder=tmp_path / "cache")
    size = COUNT * 3 * (12 * 34 + 16 * 16) / 1e6
    assert f"{size:.1f} MB" in caplog.text and "20 images of tiny train queries" in caplog.text
    assert folders(tmp_path) == []


def test_a_full_disk_is_refused_beforehand(split, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(UserError, match="GEODTR_CACHE"):
        cached(split, *TRANSFORMS, folder=tmp_path / "cache")
    assert folders(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_named(split, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="GEODTR_CACHE"):
        cached(split, *TRANSFORMS, folder=tmp_path / "file")


def test_polar_tiles_of_two_sizes_are_refused(split, tmp_path):
    save_jpeg(tmp_path / "data/aerial/7.jpg", smooth_noise("aerial", 7, 60, 60))
    with pytest.raises(UserError, match="7, has 60x60 pixels.*75x75"):
        cached(split, TRANSFORMS[0], ImageTransform(12, 34, polar=True), folder=tmp_path / "cache")
    assert_same(split, cached(split, *TRANSFORMS, folder=tmp_path / "cache"))


def test_a_damaged_image_is_an_error(split, tmp_path):
    path = tmp_path / "data/ground/3.jpg"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DatasetCorruptError, match=r"ground/3\.jpg"):
        cached(split, *TRANSFORMS, folder=tmp_path / "cache")


@pytest.mark.slow
def test_workers_map_the_file_themselves(split, tmp_path):
    other = cached(split, *TRANSFORMS, folder=tmp_path / "cache")
    other.queries.read(0)
    assert len(pickle.dumps(other.queries)) < 2000
    loader = DataLoader(PairDataset(other, *TRANSFORMS), 5, num_workers=1, multiprocessing_context="spawn")
    images = torch.cat([batch[0] for batch in loader])
    assert all(torch.equal(images[i], TRANSFORMS[0].on_load(split.queries.read(i))) for i in range(COUNT))


def test_an_image_is_the_callers_own(split, tmp_path):
    images = cached(split, *TRANSFORMS, folder=tmp_path / "cache").queries
    before = images.read(1).clone()
    images.read(1).zero_()
    assert torch.equal(images.read(1), before)


def test_a_cache_that_was_removed_is_named(split, tmp_path):
    images = CachedImages(tmp_path / "images.npy", split.queries)
    with pytest.raises(DatasetNotFoundError, match="Start anew"):
        images.read(0)
