"""Where the photos of a place recognition set were taken: from NetVLAD's lists, or from the names of the files.

Names of files are in the common format of VPR-datasets-downloader (Berton et al., CVPR 2022), with metres of UTM.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.io import loadmat

from ..utils.errors import DatasetCorruptError, DatasetNotFoundError
from ..utils.paths import escapes, is_hidden, walk_files
from .find_root import data_root, find_folder, first_path, how_to_get
from .images import ImageFiles
from .registry import title_of
from .role_files import DirectoryCache, RoleFiles, lost_some

NETVLAD_PAGE = "NetVLAD's authors, who give access to photos and lists: https://www.di.ens.fr/willow/research/netvlad/"
NOUNS = ("queries", "references")
# Fields of NetVLAD's struct in its order, which counts where somebody's copy has other names.
_FIELDS = {"dbImageFns": 1, "utmDb": 2, "qImageFns": 3, "utmQ": 4, "numImages": 5, "numQueries": 6}
_EXTENSIONS = (".jpg", ".jpeg", ".png")
# Fields of a name between the separators, counted from 0; the first is empty. Only east and north are always given.
_EAST, _NORTH, _ZONE, _PANORAMA, _TILE = 1, 2, 3, 7, 8
_NAME = "@east@north@zone@letter@latitude@longitude@panorama@tile@heading@pitch@roll@height@time@note@.jpg"


@dataclass(frozen=True)
class PhotoSet:
    """The photos of a split, and where their list comes from.

    Args:
        queries: with metres east and north as coordinates.
        references: with metres east and north as coordinates.
        provenance: "original", or "custom" where numbers differ from the released ones.
        layout: what was read, and where.
        notes: what a reader of the results must know.
    """

    queries: RoleFiles
    references: RoleFiles
    provenance: str
    layout: str
    notes: tuple[str, ...] = ()


class PhotoList(NamedTuple):
    """One role of a list: names relative to a folder that it does not name; metres east and north, float64 `[N, 2]`."""

    names: list[str]
    at: np.ndarray


@dataclass(frozen=True)
class PhotoLayout:
    """Where a list of NetVLAD's authors and its photos may lie on disk.

    Args:
        folders: names, in lower case, that people give the data set's folder.
        lists: paths of the list, with {name} for the data set and {part} for train, val or test.
        homes: patterns of the queries' and of the references' paths, with {} for the name in the list.
        photos: folders of references, of which one must be there.
        zones: UTM zones of the data set.
        view_of: from a name in the list to the name of the panorama and of the heading within it.
        extensions: of queries and references, in place of the listed ones, the best first; none: as listed.
    """

    folders: frozenset[str]
    lists: tuple[str, ...]
    homes: tuple[tuple[str, ...], tuple[str, ...]]
    photos: tuple[str, ...]
    zones: frozenset[str]
    view_of: Callable[[str], tuple[str, str]]
    extensions: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())


def read_photos(
    name: str, part: str, root: str | os.PathLike[str] | None, layout: PhotoLayout,
    released: tuple[int | None, int | None], allow_partial: bool,
) -> tuple[Path, PhotoSet]:  # fmt: skip
    """Return a data set's folder and its photos, by the list or by the names of the files.

    Args:
        name: the data set.
        part: what is read: train, val or test.
        root: where to look; None asks GEODTR_DATA.
        layout: how the data set may lie there.
        released: numbers of queries and references.
        allow_partial: note lost photos that no list names, in place of raising.

    Raises:
        DatasetNotFoundError: the folder or the list is not there, or some photos without a list are lost.
        DatasetCorruptError: the list, or the name of a file, cannot be used.
    """
    lists = [path.format(name=name, part=part) for path in layout.lists]
    named = homes_of_named(f"images/{part}")
    needs = [[*lists, *named[1]], [*layout.photos, *named[0]]]
    remedy = "The lists are not with the photos, but in netvlad_v100_datasets.tar.gz."
    folder = find_folder(name, data_root(name, root), layout.folders, needs, remedy)
    path = first_path(folder, lists)
    if path is None:
        return folder, read_named(name, part, folder, named, layout.zones, released, allow_partial)
    files, lists_of_roles = DirectoryCache(folder), read_dbstruct(folder / path)
    queries, references = (
        find_photos(files, noun, photos, homes, extensions, layout.view_of)
        for noun, photos, homes, extensions in zip(NOUNS, lists_of_roles, layout.homes, layout.extensions)
    )
    provenance = "original" if (len(queries), len(references)) == released else "custom"
    return folder, PhotoSet(queries, references, provenance, f"list {path} in {folder}")


def read_dbstruct(path: Path) -> tuple[PhotoList, PhotoList]:
    """Read the queries and the references of a list of NetVLAD's authors: a MATLAB struct called dbStruct.

    Raises:
        DatasetCorruptError: it is no such file, or not all of it.
    """
    try:
        struct = loadmat(path)["dbStruct"].reshape(-1)[0]
        known = struct.dtype.names or ()
        values = [struct[name] if name in known else struct[position] for name, position in _FIELDS.items()]
        references, queries = (
            _checked_list(values[i], values[i + 1], values[count], noun)
            for i, count, noun in ((0, 4, "references"), (2, 5, "queries"))
        )
    except Exception as error:  # on a damaged file scipy raises whatever the bytes lead it to
        raise DatasetCorruptError(
            f"{path} is no list of NetVLAD's authors, or is damaged ({type(error).__name__}: {error}).",
            "Extract it again from their archive of lists, netvlad_v100_datasets.tar.gz.",
        ) from error
    return queries, references


def _checked_list(column: np.ndarray, utm: np.ndarray, count: np.ndarray, noun: str) -> PhotoList:
    cells = (cell[0] if isinstance(cell, np.ndarray) and cell.dtype == object else cell for cell in column.reshape(-1))
    names = [str(np.asarray(cell).item()).replace("\\", "/") for cell in cells]
    at, count = np.asarray(utm, np.float64).T, int(np.asarray(count).item())
    if at.shape != (len(names), 2) or not np.isfinite(at).all():
        raise ValueError(f"{len(names)} {noun} have positions {list(at.shape)}, or some that are no numbers")
    if named := next(filter(escapes, names), None):
        raise ValueError(f"the photo {named!r} {escapes(named)}")
    if not names or count != len(names):
        raise ValueError(f"it names {len(names)} {noun} and counts {count}")
    return PhotoList(names, at)


def find_photos(
    files: DirectoryCache,
    noun: str,
    photos: PhotoList,
    homes: Sequence[str],
    extensions: Sequence[str] = (),
    view_of: Callable[[str], tuple[str, str]] | None = None,
) -> RoleFiles:
    """Look for the photos of one role, each in the first of its homes that holds it; see `PhotoLayout`."""
    names, patterns = photos.names, homes
    if extensions:
        names = [os.path.splitext(name)[0] for name in names]
        patterns = [home + extension for home in homes for extension in extensions]
    panoramas, headings = (None, None) if view_of is None else zip(*map(view_of, photos.names))
    role = RoleFiles.find(files, noun, names, patterns, coordinates=photos.at, coordinate_kind="metres")
    return replace(role, panoramas=panoramas, headings=headings)


def homes_of_named(*parts: str) -> tuple[list[str], list[str]]:
    """Return the folders that may hold queries and references with positions in their names, below some folders."""
    roles = (("queries",), ("database", "gallery"))  # gallery: as older versions call it
    queries, references = ([f"{part}/{folder}" for part in parts for folder in folders] for folders in roles)
    return queries, references


def read_named(
    name: str, part: str, folder: Path, homes: tuple[list[str], list[str]], zones: frozenset[str],
    released: tuple[int | None, int | None], allow_partial: bool,
) -> PhotoSet:  # fmt: skip
    """Read photos whose names say where they were taken. No list names them, so that a loss shows in their number only.

    Args:
        name: the data set.
        part: what is read, "test" say.
        folder: the data set's folder.
        homes: of `homes_of_named`.
        zones: UTM zones of the data set; a name with another zone is of another data set.
        released: numbers of queries and references; None: any number.
        allow_partial: note a loss in place of raising.

    Raises:
        DatasetNotFoundError: a small part is missing, so that this is no selection of somebody's.
        DatasetCorruptError: a name does not say where, or the photos are of another data set.
    """
    used = [first_path(folder, places) or places[0] for places in homes]
    queries, references = (_read_names(name, folder, home, noun, zones) for home, noun in zip(used, NOUNS))
    counts = (len(queries), len(references))
    known = tuple(count if number is None else number for count, number in zip(counts, released))
    layout = f"{used[0]} and {used[1]} in {folder}"
    if counts == known:
        return PhotoSet(queries, references, "original", layout)
    note = (
        f"{title_of(name)} {part} in {folder} has {counts[0]:,} queries and {counts[1]:,} references, released were "
        f"{known[0]:,} queries and {known[1]:,} references"
    )
    if all(n == m or lost_some(n, m) for n, m in zip(counts, known)) and not allow_partial:
        raise DatasetNotFoundError(
            f"{note}.", f"Extract or format it again, or add --allow-partial to go on. {how_to_get(name)}"
        )
    return PhotoSet(queries, references, "custom", layout, (note,))


def _read_names(name: str, folder: Path, home: str, noun: str, zones: frozenset[str]) -> RoleFiles:
    """Return the photos below a folder, sorted by path."""
    paths = _list_photos(folder, home)
    if not paths:
        raise DatasetCorruptError(f"{folder / home} holds no photo.", f"Extract or format {title_of(name)} again.")
    fields = [path.rpartition("/")[2].split("@") for path in paths]
    at = np.array([_position(folder / path, cells) for path, cells in zip(paths, fields)])
    strange = next((i for i, cells in enumerate(fields) if not zones >= set(cells[_ZONE : _ZONE + 1]) - {""}), None)
    if strange is not None:
        raise DatasetCorruptError(
            f"{folder / paths[strange]} lies in UTM zone {fields[strange][_ZONE]}, but {title_of(name)} in "
            f"{' and '.join(sorted(zones))}: these are the photos of another data set.",
            "Name another folder.",
        )
    panoramas, tiles = ([cells[i] if len(cells) > i + 1 else "" for cells in fields] for i in (_PANORAMA, _TILE))
    images = ImageFiles(folder, paths, coordinates=at, coordinate_kind="metres")
    return RoleFiles(noun, images, np.ones(len(paths), bool), panoramas, headings=tiles)


def _list_photos(folder: Path, home: str) -> list[str]:
    paths = walk_files(folder / home)
    return sorted(f"{home}/{path}" for path in paths if path.lower().endswith(_EXTENSIONS) and not is_hidden(path))


def _position(path: Path, fields: list[str]) -> tuple[float, float]:
    """Return the metres east and north in a name."""
    try:
        east, north = float(fields[_EAST]), float(fields[_NORTH])
        if not np.isfinite([east, north]).all():
            raise ValueError
    except (ValueError, IndexError):
        raise DatasetCorruptError(
            f"The name of {path} does not say where it was taken; it must be {_NAME}, of which the first two fields "
            "are needed.",
            "Format the data set again, or move the file elsewhere.",
        ) from None
    return east, north
