"""University-1652: drone views and satellite images of the buildings of 72 universities.

Zheng, Wei, Yang: University-1652: A Multi-view Multi-source Benchmark for Drone-based Geo-localization, ACM MM 2020.
Queries are drone views and references are satellite images, or the other way round. Folders of street and web images
are not used: the release itself has empty ones among them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..evaluation.truth import Truth
from ..utils.errors import DatasetCorruptError, DatasetNotFoundError
from ..utils.paths import is_hidden
from .base import Split
from .find_root import data_root, find_folder
from .images import ImageFiles
from .registry import DatasetFacts, register_dataset, title_of
from .role_files import RoleFiles, lost_some, missing_notes

# (buildings, images) of each folder of the release
RELEASED = {
    "train/drone": (701, 37_854),
    "train/satellite": (701, 701),
    "test/query_drone": (701, 37_855),
    "test/query_satellite": (701, 701),
    "test/gallery_drone": (951, 51_355),
    "test/gallery_satellite": (951, 951),
}
TO_SATELLITE = DatasetFacts(
    title="University-1652 drone to satellite",
    pairs=(RELEASED["train/drone"][1], RELEASED["test/query_drone"][1]),
    gallery=RELEASED["test/gallery_satellite"][1],
    ground=(512, 512),
    aerial=(512, 512),
    paper="Zheng et al., ACM MM 2020",
    page="the authors' repository https://github.com/layumi/University1652-Baseline",
    centred=False,
    areas=("72 universities", "72 universities"),
)
TO_DRONE = replace(
    TO_SATELLITE,
    title="University-1652 satellite to drone",
    pairs=(RELEASED["train/drone"][1], RELEASED["test/query_satellite"][1]),
    gallery=RELEASED["test/gallery_drone"][1],
)
_FOLDERS = frozenset({"university-release", "university-1652", "university1652", "dataset"})
_EXTENSIONS = (".jpeg", ".jpg", ".png")

Buildings = Mapping[str, Sequence[str]]  # sorted names of images by the name of the building's folder


@register_dataset("university1652", TO_SATELLITE)
@register_dataset("university1652-drone-satellite", TO_SATELLITE)
@register_dataset("university1652-satellite-drone", TO_DRONE)
def load_university1652(
    name: str, split: str, root: str | os.PathLike[str] | None = None, allow_partial: bool = False
) -> Split:
    """List the folders of University-1652; a place is a building, and every image of it in the gallery is right.

    Args:
        name: "university1652-drone-satellite" (or "university1652") or "university1652-satellite-drone".
        split: "train" for 701 buildings, "test" for 701 others and 250 that no query shows.
        root: its folder or one near it; without it, GEODTR_DATA.
        allow_partial: go on without what is missing on disk.

    Raises:
        DatasetNotFoundError: a folder or an image is not there.
        DatasetCorruptError: a folder is not named with a building's number.
    """
    kinds = ("satellite", "drone") if name.endswith("satellite-drone") else ("drone", "satellite")
    parts = ("train/", "train/") if split == "train" else ("test/query_", "test/gallery_")
    homes = tuple(part + kind for part, kind in zip(parts, kinds))
    folder = find_folder(name, data_root(name, root), _FOLDERS, [(home,) for home in homes])
    held = {home: read_buildings(folder / home) for home in homes}
    train = split == "train"
    queries = expected_files("queries", folder, homes[0], held[homes[0]], others=held[homes[1]] if train else ())
    references = expected_files("references", folder, homes[1], held[homes[1]], others=held[homes[0]])
    in_both = np.intersect1d(*(building_labels(role)[role.present] for role in (queries, references)))
    notes = _count_notes(held)
    notes += _missing_notes(name, split, folder, held, queries, references, allow_partial and len(in_both) > 0)
    kept_queries, kept_references = _keep(queries, in_both), _keep(references, in_both if train else None)
    truth = Truth.from_labels(building_labels(kept_queries), building_labels(kept_references))
    pairs = _pairs(truth, kept_queries, kept_references, every=train)
    # of the role that has one image a pair, those that went
    whole, kept = (references, kept_references) if train and kinds[1] == "drone" else (queries, kept_queries)
    return Split(
        name=name,
        split=split,
        queries=kept_queries.images,
        references=kept_references.images,
        pairs=pairs,
        query_places=building_labels(kept_queries),
        reference_places=building_labels(kept_references),
        truth=truth,
        layout=f"{homes[0]} and {homes[1]} in {folder}",
        provenance="custom" if notes else "original",
        # The authors' script counts round(N / 100) + 1 references: 11 satellite images where this counts 10.
        percent_rounding="floor_plus_one",
        centred=False,
        notes=notes,
        total_pairs=len(pairs) + len(whole) - len(kept),
    )


def read_buildings(folder: Path) -> Buildings:
    """List the folders of a role, one a building; hidden ones and those that systems leave behind are passed over.

    Raises:
        DatasetCorruptError: a folder is not named with a building's number.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and entry.name[0] not in ".@_")
    strange = next((name for name in names if not name.isdecimal()), None)
    if strange is not None:
        raise DatasetCorruptError(
            f"{folder / strange} is not named with a building's number, such as 0839.", "Move it elsewhere."
        )
    return {name: _list_images(folder / name) for name in names}


def expected_files(noun: str, folder: Path, home: str, held: Buildings, others: Iterable[str]) -> RoleFiles:
    """Return the images that a role holds, and those that it should: every building has what most buildings have.

    Most, not all: University-1652 itself has one building with a drone view more than the others.

    Args:
        noun: see RoleFiles.
        folder: the data set's.
        home: the folder of the role, relative to the data set's.
        held: its buildings.
        others: further buildings that must be there because the other role shows them.
    """
    stems = {building: {_stem(building, name): name for name in names} for building, names in held.items()}
    counts = Counter(stem for by_stem in stems.values() for stem in by_stem)
    usual = [stem for stem, count in counts.items() if 2 * count > sum(map(bool, stems.values()))]
    ends = Counter(os.path.splitext(name)[1] for names in held.values() for name in names).most_common(1)
    end = ends[0][0] if ends else ".jpg"
    present = {f"{building}/{name}" for building, names in held.items() for name in names}
    expected = {
        f"{building}/{stems.get(building, {}).get(stem, stem.format(building) + end)}"
        for building in {*held, *others}
        for stem in usual or ([] if held.get(building) else ["*"])
    }
    names = sorted(present | expected)
    ids = (os.path.splitext(name)[0] for name in names)
    images = ImageFiles(folder, (f"{home}/{name}" for name in names), ids)
    return RoleFiles(noun, images, np.array([name in present for name in names], bool))


def building_labels(files: RoleFiles) -> np.ndarray:
    """Return the building of every image, int64 `[N]`."""
    return np.array([int(path.split("/")[-2]) for path in files.images.paths], np.int64)


def _keep(files: RoleFiles, buildings: np.ndarray | None) -> RoleFiles:
    """Return the images on disk of some buildings; None: of all."""
    kept = files.present if buildings is None else files.present & np.isin(building_labels(files), buildings)
    return files.take(np.flatnonzero(kept))


def _missing_notes(
    name: str, split: str, folder: Path, held: Mapping[str, Buildings], queries: RoleFiles, references: RoleFiles,
    allowed: bool,
) -> tuple[str, ...]:  # fmt: skip
    """Return notes on missing images, and on folders that have lost whole buildings, which nothing else shows."""
    what = f"{title_of(name)} {split}"
    notes = missing_notes(what, folder, queries, references, allowed)
    short = [
        f"{home} has {len(buildings)} of {RELEASED[home][0]} buildings"
        for home, buildings in held.items()
        if not buildings or lost_some(len(buildings), RELEASED[home][0])
    ]
    if not short:
        return notes
    note = f"{what} in {folder} is not complete: {' and '.join(short)}."
    if not allowed:
        raise DatasetNotFoundError(note, "Extract it again, or add --allow-partial to go on without.")
    return (*notes, note)


def _count_notes(held: Mapping[str, Buildings]) -> tuple[str, ...]:
    """Return a note for every folder that holds other numbers than the released one."""
    counts = {home: (len(buildings), sum(map(len, buildings.values()))) for home, buildings in held.items()}
    return tuple(
        f"{home} holds {images:,} images of {buildings:,} buildings; "
        f"released were {RELEASED[home][1]:,} of {RELEASED[home][0]:,}"
        for home, (buildings, images) in counts.items()
        if (buildings, images) != RELEASED[home]
    )


def _pairs(truth: Truth, queries: RoleFiles, references: RoleFiles, every: bool) -> np.ndarray:
    """Return every right pair, or the first of every query, int64 `[P, 2]`: first views of all buildings first.

    In this order the first pairs, which a limited run keeps, are of different buildings.
    """
    rows, right = truth.positives.rows(), truth.positives.values
    if not every:
        firsts = truth.positives.offsets[:-1]
        rows, right = rows[firsts], right[firsts]
    order = np.lexsort((rows, _numbers_in_building(queries)[rows] + _numbers_in_building(references)[right]))
    return np.stack([rows, right], axis=1)[order]


def _numbers_in_building(files: RoleFiles) -> np.ndarray:
    """Return the number of every image within its building, int64 `[N]`."""
    folders = [os.path.dirname(path) for path in files.images.paths]
    _, first, building = np.unique(folders, return_index=True, return_inverse=True)
    return np.arange(len(folders)) - first[building.reshape(-1)]


def _stem(building: str, name: str) -> str:
    """Return an image's name without extension; {} stands for the name of its building, as satellite images have it."""
    stem = os.path.splitext(name)[0]
    return "{}" if stem == building else stem.replace("{", "{{").replace("}", "}}")


def _list_images(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    return sorted(name for name in names if name.lower().endswith(_EXTENSIONS) and not is_hidden(name))
