"""CVACT: panoramas and aerials of Canberra; the area on which models trained on CVUSA are tested.

`cvact-val` (or `cvact`) tests on 8,884 pairs, `cvact-test` on 92,802, which hold those; training is the same.

Liu, Li: Lending Orientation to Neural Networks for Cross-view Geo-localization, CVPR 2019.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..evaluation.truth import Truth
from ..utils.errors import DatasetCorruptError, UnknownNameError
from .act_mat import ActMat, find_act_mat, read_act_mat
from .aligned import DirectoryCache, Role, aligned_index
from .base import Split
from .locate import data_root, find_folder
from .near import within
from .places import label_places
from .registry import DATASETS

_FOLDERS = frozenset({"act", "dataset"})
# Val pairs are in both archives. The last is a copy of one of them under another name, with the images at its top.
_ARCHIVES = ("ANU_data_small", "ANU_data_test", "")
_PANORAMAS = ("streetview/{}_grdView.jpg",)
# satview_correct: the aerials that the makers of Sat2StrPanoramaSynthesis aligned again, given out without the others.
_AERIALS = ("satview_polish/{}_satView_polish.jpg", "satview_correct/{}_satView_polish.png")
# Not streetview, which CVUSA has as well.
_NEEDS = [("ANU_data_small", "ANU_data_test", "satview_polish", "satview_correct")]
# Full spheres; their upper and lower quarters are sky and car, and CVUSA's were released without them.
_MIDDLE_HALF = (0.25, 0.75)
# The one train pair whose files were never released.
_NEVER_RELEASED = "1LqOHPdTiBbRucz-jFOSbQ"
# Metres. The makers count a test query as found when any of the first K aerials lies within 5 m of it, and take no
# negatives from within 25 m in training: such aerials show the same street corner.
_FOUND_WITHIN = 5.0
_NO_NEGATIVES_WITHIN = 25.0
RULES = ("5m", "identity")


def load_cvact(
    name: str,
    split: str,
    root: str | os.PathLike[str] | None = None,
    act_mat: str | os.PathLike[str] | None = None,
    crop: bool = True,
    allow_partial: bool = False,
    rule: str = "5m",
) -> Split:
    """Reads CVACT's train split, its val split or its test split.

    Args:
        name: "cvact-val" or "cvact", whose test is the val split, or "cvact-test".
        split: "train" or "test".
        root: its folder or one near it; without it, GEODTR_DATA.
        act_mat: the file ACT_data.mat, where it does not lie with the images.
        crop: keep the middle half of the panoramas, as every published method does; False keeps the full sphere.
        allow_partial: leave out pairs that are not complete on disk.
        rule: what is right in cvact-test: "5m", every aerial within 5 m of the query, as its makers count, or
            "identity", the query's own place alone, which is stricter. The val split knows identity only.

    Raises:
        UnknownNameError: there is no such rule.
    """
    if rule not in RULES:
        raise UnknownNameError("rule of CVACT's test set", rule, RULES)
    looked_in = data_root(name, root)
    if looked_in.name in _ARCHIVES:  # the other archive may lie beside it
        looked_in = looked_in.parent
    folder = find_folder(name, looked_in, _FOLDERS, _NEEDS)
    mat_path = find_act_mat(looked_in, folder, act_mat)
    mat = read_act_mat(mat_path)
    rows = _rows(mat, name, split)
    files = DirectoryCache(folder)
    ids, notes = mat.ids[rows].tolist(), ()
    if _NEVER_RELEASED in ids and not files.first(_paths(_PANORAMAS, _NEVER_RELEASED))[1]:
        rows = rows[mat.ids[rows] != _NEVER_RELEASED]
        ids, notes = mat.ids[rows].tolist(), (f"pair {_NEVER_RELEASED} was never released and is left out",)
    queries = _role("panorama", _PANORAMAS, ids, files, mat.utm[rows], _MIDDLE_HALF if crop else (0.0, 1.0))
    references = _role("aerial", _AERIALS, ids, files, mat.utm[rows], (0.0, 1.0))
    index = aligned_index(
        name,
        split,
        folder,
        ids,
        queries,
        references,
        places=label_places(mat.utm)[rows],
        kind="metres",
        allow_partial=allow_partial,
        layout=f"{_archives_found(folder)} in {folder}, lists from {mat_path}",
        provenance=_provenance(name, split, mat),
        notes=notes + _tell_realigned(references),
    )
    if split == "train":
        return replace(index, exclusion_radius=_NO_NEGATIVES_WITHIN)
    return _by_rule(index, rule) if name == "cvact-test" else index


def _rows(mat: ActMat, name: str, split: str) -> np.ndarray:
    if split == "train":
        return mat.train
    return mat.val_all if name == "cvact-test" else mat.val


def _by_rule(index: Split, rule: str) -> Split:
    """The test set with the truth of the rule, which stands in its provenance and its notes."""
    provenance = f"{index.provenance}, {rule} rule"
    if rule == "identity":
        note = "rule identity: the aerial of the query's own place alone is right; the makers of CVACT count any in 5 m"
        return replace(index, provenance=provenance, notes=(*index.notes, note))
    at_queries, at_references = index.queries.coordinates, index.references.coordinates
    unknown = np.isnan(at_queries).any(axis=1)
    if unknown.any():
        raise DatasetCorruptError(
            f"ACT_data.mat has no position for {index.queries.ids[int(np.argmax(unknown))]}, which the 5m rule needs. "
            "Copy the file again, or choose the rule identity."
        )
    positives = within(at_queries, at_references, _FOUND_WITHIN, "metres")
    note = (
        f"rule 5m: every aerial within {_FOUND_WITHIN:g} m of the query is right, {positives.counts().mean():.2f} a "
        "query on average; numbers by identity are lower"
    )
    return replace(index, truth=Truth(positives), provenance=provenance, notes=(*index.notes, note))


def _paths(patterns: Sequence[str], panorama_id: str) -> list[str]:
    """Where an image may lie, the best place first."""
    folders = [f"{archive}/" if archive else "" for archive in _ARCHIVES]
    return [folder + pattern.format(panorama_id) for pattern in patterns for folder in folders]


def _role(
    noun: str,
    patterns: Sequence[str],
    ids: Sequence[str],
    files: DirectoryCache,
    utm: np.ndarray,
    rows: tuple[float, float],
) -> Role:
    found = [files.first(_paths(patterns, panorama_id)) for panorama_id in ids]
    present = np.fromiter((there for _, there in found), bool, len(found))
    return Role(noun, [path for path, _ in found], present, rows, utm)


def _archives_found(folder: Path) -> str:
    found = [archive for archive in _ARCHIVES if archive and (folder / archive).is_dir()]
    return " and ".join(found) or "images"


def _tell_realigned(references: Role) -> tuple[str, ...]:
    count = sum("satview_correct" in path for path, there in zip(references.paths, references.present) if there)
    return (f"{count:,} aerials are the re-aligned ones of satview_correct",) if count else ()


def _provenance(name: str, split: str, mat: ActMat) -> str:
    """The lists were released once; other lengths are somebody's own lists."""
    as_released = len(_rows(mat, name, split)) == DATASETS[name].pairs[split == "test"]
    return "original" if as_released else "custom"
