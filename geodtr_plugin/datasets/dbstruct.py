"""The lists of Pittsburgh and Tokyo 24/7 as NetVLAD's authors give them out: a MATLAB struct called dbStruct."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from ..utils.errors import DatasetCorruptError

# The fields in the order of the struct, which counts where somebody's copy has other names.
_FIELDS = {"dbImageFns": 1, "utmDb": 2, "qImageFns": 3, "utmQ": 4, "numImages": 5, "numQueries": 6}


@dataclass(frozen=True, eq=False)
class DbStruct:
    """What is read from a file.

    Args:
        references: names of the files, relative to a folder that the struct does not name.
        at_references: metres east and north, float64 `[M, 2]`.
        queries: the same of the queries.
        at_queries: `[N, 2]`.
    """

    references: list[str]
    at_references: np.ndarray
    queries: list[str]
    at_queries: np.ndarray


def read_dbstruct(path: Path) -> DbStruct:
    """Reads such a file.

    Raises:
        DatasetCorruptError: it is no such file, or not all of it.
    """
    try:
        struct = loadmat(path)["dbStruct"].reshape(-1)[0]
        values = [_field(struct, name, position) for name, position in _FIELDS.items()]
        lists = [[str(np.asarray(cell).item()).replace("\\", "/") for cell in _cells(values[i])] for i in (0, 2)]
        at = [np.asarray(values[i], np.float64).T for i in (1, 3)]
        for names, places, count, what in zip(lists, at, values[4:], ("references", "queries")):
            _check(names, places, int(np.asarray(count).item()), what)
    except Exception as error:  # on a damaged file scipy raises whatever the bytes lead it to
        raise DatasetCorruptError(
            f"{path} is no list of NetVLAD's authors, or is damaged ({type(error).__name__}: {error}). Extract it "
            "again from their archive of lists, netvlad_v100_datasets.tar.gz."
        ) from error
    return DbStruct(lists[0], at[0], lists[1], at[1])


def _field(struct: Any, name: str, position: int) -> Any:
    return struct[name] if name in (struct.dtype.names or ()) else struct[position]


def _cells(column: np.ndarray) -> list[Any]:
    return [cell[0] if isinstance(cell, np.ndarray) and cell.dtype == object else cell for cell in column.reshape(-1)]


def _check(names: list[str], places: np.ndarray, count: int, what: str) -> None:
    if places.shape != (len(names), 2) or not np.isfinite(places).all():
        raise ValueError(f"{len(names)} {what} have positions {list(places.shape)}, or some that are no numbers")
    if not names or count != len(names):
        raise ValueError(f"it names {len(names)} {what} and counts {count}")
