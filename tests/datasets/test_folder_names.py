"""Own data without a table, all of it as a test, and a part of the panoramas' height."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from trees import write_own

from geodtr_plugin.datasets import load_split
from geodtr_plugin.utils.errors import DatasetNotFoundError, UserError


def write_images(folder, names: dict[str, list[str]]) -> None:
    for role, files in names.items():
        for number, name in enumerate(files):
            (folder / role / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((40, 40, 3), 20 * number, np.uint8)).save(folder / role / name)


def load(folder, **options):
    return load_split(f"folder:{folder}", "test", **options)


def test_images_of_one_name_are_pairs_whatever_their_suffixes(tmp_path):
    write_images(tmp_path, {"queries": ["b.jpg", "north/a.png"], "references": ["a.png", "north/a.jpg", "b.png"]})
    (tmp_path / "queries/.DS_Store").write_bytes(b"")
    split = load(tmp_path, test_share=1)
    assert list(split.queries.ids) == ["b.jpg", "north/a.png"]
    assert list(split.references.ids) == ["b.png", "north/a.jpg", "a.png"]  # the last is a distractor
    assert split.pairs.tolist() == [[0, 0], [1, 1]] and "names of files: its pairs are right" in split.layout


def test_a_query_without_a_reference_and_a_name_for_two_files_are_refused(tmp_path):
    write_images(tmp_path, {"queries": ["a.jpg", "b.jpg"], "references": ["a.png"]})
    with pytest.raises(DatasetNotFoundError, match=r"no reference has the name of 1 of 2 queries \(b\.jpg\)"):
        load(tmp_path)
    write_images(tmp_path, {"references": ["b.png", "b.jpg"]})
    with pytest.raises(DatasetNotFoundError, match="may both be meant by the name b"):
        load(tmp_path)


def test_a_share_of_one_tests_on_every_place_and_leaves_none_to_train_on(tmp_path):
    names = [f"{i}.jpg" for i in range(4)]
    write_own(tmp_path, [(name, name) for name in names], names, names, header="query,reference")
    split = load(tmp_path, test_share=1)
    assert list(split.queries.ids) == names and split.notes == ("all 4 places of the table are the test",)
    with pytest.raises(UserError, match="leaves no pair for train"):
        load_split(f"folder:{tmp_path}", "train", test_share=1)


@pytest.mark.parametrize("header", ["query,reference", "file,lat,lon"])
def test_the_rows_of_the_panoramas_are_those_asked_for_and_tiles_stay(tmp_path, header):
    rows = [("0.jpg", "0.jpg")] if header.startswith("query") else [("0.jpg", 48.0, 11.0)]
    write_own(tmp_path, rows, ["0.jpg"], ["0.jpg"], header=header)
    whole, part = load(tmp_path, test_share=1), load(tmp_path, test_share=1, panorama_rows=[0.25, 0.75])
    assert torch.equal(part.queries.read(0), whole.queries.read(0)[:, 4:12])
    assert torch.equal(part.references.read(0), whole.references.read(0))


@pytest.mark.parametrize("rows", [(0.5, 0.5), (0.8, 0.2), (-0.1, 0.5), (0, 1.5), (0.5,), "ab", None])
def test_rows_that_are_none_are_refused(tmp_path, rows):
    with pytest.raises(UserError, match="no part of a panorama's height"):
        load(tmp_path, panorama_rows=rows)
