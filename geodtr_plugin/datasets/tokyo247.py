"""Tokyo 24/7: phone photos by day, at sunset and at night, asked for among street views by day; for testing only.

Torii, Arandjelovic, Sivic, Okutomi, Pajdla: 24/7 Place Recognition by View Synthesis, CVPR 2015.
"""

from __future__ import annotations

import os
from pathlib import Path

from .aligned import DirectoryCache
from .base import Split
from .dbstruct import read_dbstruct
from .locate import data_root, find_folder
from .photos import Photos, check_released, listed_photos
from .street_views import refuse_training, street_index
from .utm_names import first_home, named_homes, read_named

RELEASED = (315, 75_984)  # queries and references; queries are those of version 2, the ones that papers report
_FOLDERS = frozenset({"tokyo", "tokyo247", "tokyo24-7", "raw", "raw_data", "datasets"})
_ZONES = frozenset({"54"})
_LISTS = ("tokyo247.mat", "datasets/tokyo247.mat")
_QUERIES = (
    "tokyo247/query/{}", "query/{}", "tokyo247/247query_subset_v2/{}", "247query_subset_v2/{}", "tokyo247/queries/{}",
)  # fmt: skip
_REFERENCES = ("tokyo247/images/{}", "tokyo247/{}", "images/{}", "{}")
_REMEDY = "The list is not with the photos, but in netvlad_v100_datasets.tar.gz."


def load_tokyo247(
    name: str, split: str, root: str | os.PathLike[str] | None = None, nms: bool = True, allow_partial: bool = False
) -> Split:
    """Reads the list of Tokyo 24/7, or the names of files that say where they were taken.

    A panorama is released as twelve views. As the authors count, the twelve stand in a ranking once, at the place of
    the most similar one (they take the 12 K most similar views, and of these the first of each panorama).

    Args:
        name: "tokyo247".
        split: "test".
        root: its folder or one near it; without it, GEODTR_DATA.
        nms: count so; False counts every view for itself, as several later benchmarks do, and gives lower numbers.
        allow_partial: leave out photos that are not on disk.

    Raises:
        UserError: the train split was asked for.
    """
    refuse_training(name, split)
    named = named_homes(("images/test",))
    photos = ["tokyo247/images", "images/03814", "03814", "tokyo247/03814"]
    folder = find_folder(name, data_root(name, root), _FOLDERS, [[*_LISTS, *named[1]], [*photos, *named[0]]], _REMEDY)
    path = next((place for place in _LISTS if (folder / place).is_file()), None)
    notes: tuple[str, ...] = ()
    if path is not None:
        queries, references = _listed(folder, folder / path)
        provenance = "original" if (len(queries), len(references)) == RELEASED else "custom"
        layout = f"list {path} in {folder}"
    else:
        homes = [first_home(folder, places) or places[0] for places in named]
        queries, references = (read_named(name, folder, home, _ZONES) for home in homes)
        provenance, notes = check_released(name, "test", folder, queries, references, [RELEASED], allow_partial)
        layout = f"{homes[0]} and {homes[1]} in {folder}"
    return street_index(
        name, split, folder, queries, references, allow_partial=allow_partial, nms=nms, notes=notes, layout=layout,
        provenance=f"{provenance}, {'panoramas' if nms else 'single views'} ranked",
    )  # fmt: skip


def _listed(folder: Path, path: Path) -> tuple[Photos, Photos]:
    """Queries and references of the list; it names .jpg where the references were released as .png."""
    struct, files = read_dbstruct(path), DirectoryCache(folder)
    panoramas = [name.rpartition("/")[0] for name in struct.references]  # a folder each
    return (
        listed_photos(files, _QUERIES, struct.queries, struct.at_queries),
        listed_photos(
            files, _REFERENCES, struct.references, struct.at_references, panoramas=panoramas,
            extensions=(".png", ".jpg"),
        ),
    )  # fmt: skip
