"""Pittsburgh: views cut from street panoramas of two years, `pitts30k` and `pitts250k`.

Torii, Sivic, Okutomi, Pajdla: Visual Place Recognition with Repetitive Structures, CVPR 2013; the lists by
Arandjelovic et al.: NetVLAD, CVPR 2016.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from ..utils.errors import UnknownNameError
from .aligned import DirectoryCache
from .base import Split
from .dbstruct import read_dbstruct
from .locate import data_root, find_folder
from .photos import Photos, check_released, listed_photos
from .street_views import street_index
from .utm_names import first_home, named_homes, read_named

PARTS = ("test", "val")
# (queries, references) of each released list
RELEASED = {
    "pitts30k": {"train": (7_416, 10_000), "val": (7_608, 10_000), "test": (6_816, 10_000)},
    "pitts250k": {"train": (7_824, 91_464), "val": (7_608, 78_648), "test": (8_280, 83_952)},
}
_FOLDERS = frozenset({"pitts", "pittsburgh", "pittsburgh250k", "raw", "raw_data", "datasets"})
_ZONES = frozenset({"17"})
_LISTS = ("{}", "datasets/{}")
# As the makers pack it, and as OpenIBL and those after it arrange it.
_QUERIES = ("queries_real/{}", "Pittsburgh/queries/{}", "Pittsburgh/queries_real/{}", "queries/{}")
_REFERENCES = ("{}", "Pittsburgh/images/{}", "Pittsburgh/{}", "images/{}")
_REMEDY = "The lists are not with the photos, but in netvlad_v100_datasets.tar.gz."


def load_pitts(
    name: str,
    split: str,
    root: str | os.PathLike[str] | None = None,
    part: str = "test",
    allow_partial: bool = False,
) -> Split:
    """Reads the lists of Pittsburgh, or the names of files that say where they were taken.

    Args:
        name: "pitts30k" or "pitts250k", the same city with a gallery eight times as large.
        split: "train" or "test".
        root: its folder or one near it; without it, GEODTR_DATA.
        part: what is tested on, the "test" list or the "val" list, by which models are chosen.
        allow_partial: leave out photos that are not on disk.

    Raises:
        UnknownNameError: there is no such part.
    """
    if part not in PARTS:
        raise UnknownNameError("part of Pittsburgh to test on", part, PARTS)
    part = "train" if split == "train" else part
    lists = [place.format(f"{name}_{part}.mat") for place in _LISTS]
    named = named_homes((f"images/{part}",))
    photos = ["000", "Pittsburgh/images", "Pittsburgh/000", "images/000"]
    folder = find_folder(name, data_root(name, root), _FOLDERS, [[*lists, *named[1]], [*photos, *named[0]]], _REMEDY)
    path = next((place for place in lists if (folder / place).is_file()), None)
    notes: tuple[str, ...] = ("the val list is tested on, not the test list",) if part == "val" else ()
    if path is not None:
        queries, references = _listed(folder, folder / path)
        counts = len(queries), len(references)
        provenance, layout = "original" if counts == RELEASED[name][part] else "custom", f"list {path} in {folder}"
    else:
        homes = [first_home(folder, places) or places[0] for places in named]
        queries, references = (read_named(name, folder, home, _ZONES) for home in homes)
        released = [RELEASED[name][part]]
        provenance, told = check_released(name, part, folder, queries, references, released, allow_partial)
        notes, layout = (*notes, *told), f"{homes[0]} and {homes[1]} in {folder}"
    return street_index(
        name, split, folder, queries, references, allow_partial=allow_partial, notes=notes, layout=layout,
        provenance=f"{provenance}, {part}" if part == "val" else provenance,
    )  # fmt: skip


def _listed(folder: Path, path: Path) -> tuple[Photos, Photos]:
    """Queries and references of a list, each where it is found."""
    struct, files = read_dbstruct(path), DirectoryCache(folder)
    roles = (_QUERIES, struct.queries, struct.at_queries), (_REFERENCES, struct.references, struct.at_references)
    return tuple(
        listed_photos(
            files, homes, names, at,
            # 000/000123_pitch1_yaw4.jpg: the view is what follows the number of the panorama
            views=[PurePosixPath(name).stem.partition("_")[2] for name in names],
            panoramas=[name.partition("_")[0] for name in names],
        )
        for homes, names, at in roles
    )  # fmt: skip
