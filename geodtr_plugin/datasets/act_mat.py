"""ACT_data.mat: the ids, positions and splits of CVACT, which are given out apart from its images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from ..utils.errors import DatasetCorruptError, DatasetNotFoundError

_NAME = "ACT_data.mat"
_KEPT_BY = (
    "Liumouliu/OriCNN in CVPR2019_codes/OriNet_CVACT/CVACT_orientations/",
    "YujiaoShi/cross_view_localization_CVFT in script/OriNet_CVACT/CVACT_orientations/",
    "YujiaoShi/cross_view_localization_SAFA",
    "YujiaoShi/cross_view_localization_DSM in script/OriNet_CVACT/",
    "yanghongji2007/cross_view_localization_L2LTR",
)


@dataclass(frozen=True, eq=False)
class ActMat:
    """What is read from the file.

    Args:
        ids: panorama ids, `[N]` of str; many more than have images.
        utm: metres east and north, float64 `[N, 2]`.
        train: rows of the train split, int64.
        val: rows of the val split, int64.
        val_all: rows of valSetAll, which is the test set and holds the val split too, int64.
    """

    ids: np.ndarray
    utm: np.ndarray
    train: np.ndarray
    val: np.ndarray
    val_all: np.ndarray


def find_act_mat(root: Path, folder: Path, named: str | os.PathLike[str] | None) -> Path:
    """The named file, else the one in the data set's folder, in an archive's folder, in root, or up to two folders up.

    Raises:
        DatasetNotFoundError: it is at none of these places.
    """
    if named is not None:
        places = [Path(named).expanduser().absolute()]
    else:
        around = [folder, folder / "ANU_data_small", folder / "ANU_data_test", root, *folder.parents[:2]]
        places = [place / _NAME for place in dict.fromkeys(around)]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise DatasetNotFoundError(
            f"The lists of CVACT, {_NAME}, were not found; looked for {', '.join(map(str, places))}. They are not in "
            f"the archives of the images, but in these GitHub repositories: {'; '.join(_KEPT_BY)}. Put the file into "
            f"{folder} or name it with --data.act_mat (act_mat in Python)."
        )
    return found


def read_act_mat(path: Path) -> ActMat:
    """Reads the file.

    Raises:
        DatasetCorruptError: it is no such file, or not all of it.
    """
    try:
        content = loadmat(path, simplify_cells=True)
        ids = np.char.strip(np.atleast_1d(content["panoIds"]).astype(str, copy=False))
        utm = np.atleast_2d(content["utm"]).astype(np.float64)
        if utm.shape != (len(ids), 2):
            raise ValueError(f"utm is {list(utm.shape)} for {len(ids)} panoIds")
        train = _rows(content["trainSet"]["trainInd"], len(ids))
        val = _rows(content["valSet"]["valInd"], len(ids))
        val_all = _rows(content["valSetAll"]["valInd"], len(ids))
    except Exception as error:  # on a damaged file scipy raises whatever the bytes lead it to
        raise DatasetCorruptError(
            f"{path} is not the {_NAME} of CVACT, or is damaged ({type(error).__name__}: {error}). Copy it again from "
            f"{_KEPT_BY[0]} on GitHub."
        ) from error
    return ActMat(ids, utm, train, val, val_all)


def _rows(indices: Any, num_ids: int) -> np.ndarray:
    """MATLAB's indices, which count from 1, as rows."""
    rows = np.atleast_1d(indices).ravel().astype(np.int64) - 1
    if len(rows) and (rows.min() < 0 or rows.max() >= num_ids):
        raise ValueError(f"a split names row {rows.max() + 1} of {num_ids}")
    return rows
