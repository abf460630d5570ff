"""Tokyo 24/7 in both of its layouts, and its rule that a panorama stands in a ranking once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trees_places import draw_tokyo, write_dbstruct, write_named, write_tokyo_list

from geodtr_plugin.datasets import load_split
from geodtr_plugin.datasets.check import check_dataset
from geodtr_plugin.evaluation import recall
from geodtr_plugin.utils.errors import DatasetCorruptError, DatasetNotFoundError, UserError


@pytest.fixture
def root(tmp_path):
    write_tokyo_list(tmp_path)
    return tmp_path


def loop(split) -> list[list[int]]:
    at, around = split.queries.coordinates, split.references.coordinates
    return [[j for j, r in enumerate(around) if np.sqrt(((q - r) ** 2).sum()) <= 25] for q in at]


def found_by_the_authors(query, reference, split, k: int) -> float:
    """Their script: the 12 K most similar, the first of each panorama, the first K of these, any within 25 m."""
    hits = 0
    for q, right in zip(query, loop(split)):
        top = np.argsort(-(reference @ q), kind="stable")[: 12 * k]
        _, firsts = np.unique(split.truth.groups[top], return_index=True)
        hits += bool(set(top[np.sort(firsts)][:k].tolist()) & set(right))
    return hits / len(query)


def test_the_list_and_its_truth(root):
    split = load_split("tokyo247", "test", root)
    assert (len(split.queries), len(split.references), split.ks) == (3, 48, (1, 5, 10, 20))
    assert [split.truth.positives[i].tolist() for i in range(3)] == loop(split)
    assert split.truth.groups.tolist() == np.repeat(np.arange(4), 12).tolist() or len(set(split.truth.groups)) == 4
    assert split.references.paths[0].endswith("_012_0.png") and split.references.read(0).shape == (3, 24, 32)
    assert split.queries.read(2).shape == (3, 40, 30)
    assert any("4 panoramas in place of 48 views" in note for note in split.notes)


def test_ranks_are_those_of_the_authors_script(tmp_path):
    write_tokyo_list(tmp_path, panoramas=40, asked=30)
    split, single = (load_split("tokyo247", "test", tmp_path, nms=nms) for nms in (True, False))
    # views of a panorama resemble each other, so that one wrong panorama can fill the top of a list of views
    own = torch.randn(40, 12).repeat_interleave(12, 0)
    reference = torch.nn.functional.normalize(own + 0.3 * torch.randn(480, 12), dim=1)
    query = torch.nn.functional.normalize(own[::12][:30] + 1.2 * torch.randn(30, 12), dim=1)
    scores = recall(query, reference, split.truth, ks=split.ks, interval=False)
    for k in (1, 5, 10, 20):
        assert scores[f"recall_at_{k}"] == found_by_the_authors(query.numpy(), reference.numpy(), split, k)
    views = recall(query, reference, single.truth, ks=split.ks, interval=False)
    assert views["recall_at_1"] == scores["recall_at_1"] and views["recall_at_5"] < scores["recall_at_5"] < 1
    assert scores["num_references"] == 40 and views["num_references"] == 480
    assert single.truth.groups is None and single.fingerprint() != split.fingerprint()


@pytest.mark.parametrize(
    ("below", "where"),
    [
        ("raw", {"images": "tokyo247", "queries": "tokyo247/247query_subset_v2", "end": ".jpg"}),
        ("tokyo", {"images": "images", "queries": "query"}),
    ],
)
def test_other_arrangements_give_the_same(root, tmp_path, below, where):
    write_tokyo_list(tmp_path / "other" / below, **where)
    theirs, ours = load_split("tokyo247", "test", tmp_path / "other"), load_split("tokyo247", "test", root)
    assert theirs.fingerprint() == ours.fingerprint() and theirs.references.path(47).is_file()


@pytest.mark.parametrize("references", ["database", "gallery"])
def test_names_of_files_say_the_same_as_the_list(root, tmp_path, pretend_released, references):
    write_named(tmp_path / "other", "test", draw_tokyo(), "54", references)
    pretend_released("tokyo247", 3, 48)
    named, listed = load_split("tokyo247", "test", tmp_path / "other"), load_split("tokyo247", "test", root)
    assert named.provenance == listed.provenance == "original, panoramas ranked"
    assert [named.truth.positives[i].tolist() for i in range(3)] == loop(named)
    assert sorted(np.bincount(named.truth.groups)) == [12] * 4
    assert named.truth.positives.counts().tolist() == listed.truth.positives.counts().tolist()


def test_names_without_a_panorama_cannot_be_counted_by_panoramas(tmp_path):
    write_named(tmp_path, "test", draw_tokyo(), "54")
    for path in (tmp_path / "images/test/database").iterdir():
        fields = path.name.split("@")
        path.rename(path.with_name("@".join([*fields[:7], "", f"{fields[7]}{fields[8]}", *fields[9:]])))
    with pytest.raises(DatasetCorruptError, match=r"of which panorama it is a view.*--data\.nms false"):
        load_split("tokyo247", "test", tmp_path)
    assert len(load_split("tokyo247", "test", tmp_path, nms=False).references) == 48


def test_it_is_not_for_training(root):
    with pytest.raises(UserError, match="Tokyo 24/7 is for testing only.*--train pitts30k"):
        load_split("tokyo247", "train", root)


def test_a_missing_list_and_missing_photos_are_named(root):
    lost = sorted((root / "tokyo247/images").rglob("*.png"))[5]
    lost.unlink()
    with pytest.raises(DatasetNotFoundError, match=f"0 of 3 queries and 1 of 48 references are missing.*{lost.name}"):
        load_split("tokyo247", "test", root)
    assert len(load_split("tokyo247", "test", root, allow_partial=True).truth.groups) == 47
    report = check_dataset("tokyo247", root).report
    assert len(report.faults) == 1 and str(lost) in report.faults[0].line
    (root / "tokyo247.mat").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"lacks tokyo247\.mat or datasets/tokyo247\.mat.*netvlad_v100"):
        load_split("tokyo247", "test", root)


def test_a_wrong_count_is_named_and_a_sound_copy_passes_the_check(root):
    checked = check_dataset("tokyo247", root)
    assert checked.report.sound, checked.report.lines()
    assert [split.split for split in checked.splits] == ["test"]
    write_dbstruct(root / "tokyo247.mat", draw_tokyo(), counts=(48, 4))
    with pytest.raises(DatasetCorruptError, match="names 3 queries and counts 4"):
        load_split("tokyo247", "test", root)
