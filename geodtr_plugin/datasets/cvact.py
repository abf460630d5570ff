"""CVACT: panoramas and aerials of Canberra; the area on which models trained on CVUSA are tested.

`cvact-val` (or `cvact`) tests on 8,884 pairs, `cvact-test` on 92,802, which hold those; training is the same.

Liu, Li: Lending Orientation to Neural Networks for Cross-view Geo-localization, CVPR 2019.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from ..evaluation.truth import Truth
from ..utils.errors import DatasetCorruptError, DatasetNotFoundError, UnknownNameError
from ..utils.paths import escapes
from .base import Split
from .find_root import data_root, find_folder
from .paired import paired_split
from .places import label_places, within
from .registry import DatasetFacts, facts_of, register_dataset
from .role_files import DirectoryCache, RoleFiles

# The one train pair whose files were never released.
_NEVER_RELEASED = "1LqOHPdTiBbRucz-jFOSbQ"
FACTS = DatasetFacts(
    title="CVACT",
    pairs=(35_532, 8_884),
    other_pairs={("train", 35_531): f"one train pair, {_NEVER_RELEASED}, was never released"},
    ground=(832, 1664),
    aerial=(1200, 1200),
    paper="Liu and Li, CVPR 2019",
    page="the authors' repository https://github.com/Liumouliu/OriCNN",
    areas=("Canberra", "Canberra"),
)
_FOLDERS = frozenset({"act", "dataset"})
_ARCHIVES = ("ANU_data_small", "ANU_data_test")  # val pairs are in both
_HOMES = (*(f"{archive}/" for archive in _ARCHIVES), "")  # or a copy of one of them under another name
_PANORAMAS = tuple(home + "streetview/{}_grdView.jpg" for home in _HOMES)
# satview_correct: the aerials that the makers of Sat2StrPanoramaSynthesis aligned again, given out without the others.
_AERIALS = tuple(
    home + aerial
    for aerial in ("satview_polish/{}_satView_polish.jpg", "satview_correct/{}_satView_polish.png")
    for home in _HOMES
)
# Not streetview, which CVUSA has as well.
_NEEDS = [("ANU_data_small", "ANU_data_test", "satview_polish", "satview_correct")]
_MAT = "ACT_data.mat"
_MAT_KEPT_BY = (
    "Liumouliu/OriCNN in CVPR2019_codes/OriNet_CVACT/CVACT_orientations/",
    "YujiaoShi/cross_view_localization_CVFT in script/OriNet_CVACT/CVACT_orientations/",
    "YujiaoShi/cross_view_localization_SAFA",
    "YujiaoShi/cross_view_localization_DSM in script/OriNet_CVACT/",
    "yanghongji2007/cross_view_localization_L2LTR",
)
# Full spheres; their upper and lower quarters are sky and car, and CVUSA's were released without them.
_MIDDLE_HALF = (0.25, 0.75)
# Metres. The makers count a test query as found when any of the first K aerials lies within 5 m of it, and take no
# negatives from within 25 m in training: such aerials show the same street corner.
_FOUND_WITHIN = 5.0
_NO_NEGATIVES_WITHIN = 25.0
RULES = ("5m", "identity")


@dataclass(frozen=True, eq=False)
class ActMat:
    """The content of ACT_data.mat: ids, positions and splits, which are given out apart from the images.

    Args:
        ids: panorama ids, `[N]` of str; many more than have images.
        utm: metres east and north, float64 `[N, 2]`.
        rows: of trainSet, valSet and valSetAll, which is the test set and holds valSet too, int64.
    """

    ids: np.ndarray
    utm: np.ndarray
    rows: dict[str, np.ndarray]


@register_dataset("cvact", FACTS)
@register_dataset("cvact-val", replace(FACTS, title="CVACT val"))
@register_dataset("cvact-test", replace(FACTS, title="CVACT test", pairs=(35_532, 92_802)))
def load_cvact(
    name: str, split: str, root: str | os.PathLike[str] | None = None, act_mat: str | os.PathLike[str] | None = None,
    crop: bool = True, allow_partial: bool = False, rule: str = "5m",
) -> Split:  # fmt: skip
    """Read CVACT's train split, its val split or its test split.

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
        DatasetNotFoundError: the folder, ACT_data.mat or an image is not there.
        DatasetCorruptError: ACT_data.mat cannot be used.
    """
    if rule not in RULES:
        raise UnknownNameError("rule of CVACT's test set", rule, RULES)
    start = data_root(name, root)
    if start.name in _ARCHIVES:  # the other archive may lie beside it
        start = start.parent
    folder = find_folder(name, start, _FOLDERS, _NEEDS)
    mat_path = _find_act_mat(start, folder, act_mat)
    mat = read_act_mat(mat_path)
    part = "trainSet" if split == "train" else "valSetAll" if name == "cvact-test" else "valSet"
    original = len(mat.rows[part]) == facts_of(name).released_pairs(split)  # the lists were released once
    files = DirectoryCache(folder)
    rows, notes = _without_never_released(mat, mat.rows[part], files)
    fields = {"ids": mat.ids[rows].tolist(), "coordinates": mat.utm[rows], "coordinate_kind": "metres"}
    part_of_height = _MIDDLE_HALF if crop else (0.0, 1.0)
    queries = RoleFiles.find(files, "panoramas", fields["ids"], _PANORAMAS, rows=part_of_height, **fields)
    references = RoleFiles.find(files, "aerials", fields["ids"], _AERIALS, **fields)
    whole = paired_split(
        name,
        split,
        folder,
        queries,
        references,
        places=label_places(mat.utm)[rows],
        allow_partial=allow_partial,
        layout=f"{_archives(folder)} in {folder}, lists from {mat_path}",
        provenance="original" if original else "custom",
        notes=notes + _realigned_note(references),
    )
    if split == "train":
        return replace(whole, exclusion_radius=_NO_NEGATIVES_WITHIN)
    return _by_rule(whole, rule) if name == "cvact-test" else whole


def _without_never_released(mat: ActMat, rows: np.ndarray, files: DirectoryCache) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the rows without the pair that nobody has, and a note if it was among them."""
    if _NEVER_RELEASED not in mat.ids[rows] or any(home.format(_NEVER_RELEASED) in files for home in _PANORAMAS):
        return rows, ()
    note = f"pair {_NEVER_RELEASED} was never released and is left out"
    return rows[mat.ids[rows] != _NEVER_RELEASED], (note,)


def _by_rule(test: Split, rule: str) -> Split:
    """Return the test set with the truth of the rule, which stands in its provenance and its notes."""
    provenance = f"{test.provenance}, {rule} rule"
    if rule == "identity":
        note = "rule identity: the aerial of the query's own place alone is right; the makers of CVACT count any in 5 m"
        return replace(test, provenance=provenance, notes=(*test.notes, note))
    at_queries, at_references = test.queries.coordinates, test.references.coordinates
    unknown = np.isnan(at_queries).any(axis=1)
    if unknown.any():
        raise DatasetCorruptError(
            f"{_MAT} has no position for {test.queries.ids[int(np.argmax(unknown))]}, which the 5m rule needs.",
            "Copy the file again, or choose the rule identity.",
        )
    positives = within(at_queries, at_references, _FOUND_WITHIN, "metres")
    note = (
        f"rule 5m: every aerial within {_FOUND_WITHIN:g} m of the query is right, {positives.counts().mean():.2f} a "
        "query on average; numbers by identity are lower"
    )
    return replace(test, truth=Truth(positives), provenance=provenance, notes=(*test.notes, note))


def _archives(folder: Path) -> str:
    return " and ".join(archive for archive in _ARCHIVES if (folder / archive).is_dir()) or "images"


def _realigned_note(references: RoleFiles) -> tuple[str, ...]:
    count = sum("satview_correct" in path for path, there in zip(references.images.paths, references.present) if there)
    return (f"{count:,} aerials are the re-aligned ones of satview_correct",) if count else ()


def _find_act_mat(root: Path, folder: Path, named: str | os.PathLike[str] | None) -> Path:
    """Return the named file, else one in the data set's folder, in an archive, in root, or up to two folders up."""
    if named is not None:
        candidates = [Path(named).expanduser().absolute()]
    else:
        around = [folder, *(folder / archive for archive in _ARCHIVES), root, *folder.parents[:2]]
        candidates = [place / _MAT for place in dict.fromkeys(around)]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise DatasetNotFoundError(
            f"The lists of CVACT, {_MAT}, were not found; looked for {', '.join(map(str, candidates))}.",
            f"They are not in the archives of the images, but in these GitHub repositories: {'; '.join(_MAT_KEPT_BY)}. "
            f"Put the file into {folder} or name it with --data.act_mat (act_mat in Python).",
        )
    return path


def read_act_mat(path: Path) -> ActMat:
    """Read ACT_data.mat.

    Raises:
        DatasetCorruptError: it is another file, or not all of it.
    """
    try:
        content = loadmat(path, simplify_cells=True)
        ids = np.char.strip(np.atleast_1d(content["panoIds"]).astype(str, copy=False))
        utm = np.atleast_2d(content["utm"]).astype(np.float64)
        if utm.shape != (len(ids), 2):
            raise ValueError(f"utm is {list(utm.shape)} for {len(ids)} panoIds")
        if named := next(filter(escapes, ids.tolist()), None):
            raise ValueError(f"the panorama {named!r} {escapes(named)}")
        fields = {"trainSet": "trainInd", "valSet": "valInd", "valSetAll": "valInd"}
        rows = {part: _rows(content[part][field], len(ids)) for part, field in fields.items()}
    except Exception as error:  # on a damaged file scipy raises whatever the bytes lead it to
        raise DatasetCorruptError(
            f"{path} is not the {_MAT} of CVACT, or is damaged ({type(error).__name__}: {error}).",
            f"Copy it again from {_MAT_KEPT_BY[0]} on GitHub.",
        ) from error
    return ActMat(ids, utm, rows)


def _rows(indices: Any, num_ids: int) -> np.ndarray:
    """Return MATLAB's indices, which count from 1, as rows."""
    rows = np.atleast_1d(indices).ravel().astype(np.int64) - 1
    if len(rows) and (rows.min() < 0 or rows.max() >= num_ids):
        raise ValueError(f"a split names row {rows.max() + 1} of {num_ids}")
    return rows
