"""Place recognition: photos of places asked for among photos of places, by the rules that its papers share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..evaluation.truth import Truth
from ..utils.errors import DatasetCorruptError, UserError
from ..utils.ragged import Ragged
from .base import Split
from .photo_lists import PhotoSet
from .places import distances, label_places, within
from .registry import title_of
from .role_files import RoleFiles, missing_notes

# Metres. A query counts as found when any of the first K references lies this near; in training a pair lies nearer,
# and what is neither near enough to be a pair nor beyond the first radius is no negative (Arandjelovic et al. 2016).
FOUND_WITHIN = 25.0
PAIRS_WITHIN = 10.0
KS = (1, 5, 10, 20)


def street_split(
    name: str, split: str, folder: Path, photos: PhotoSet, allow_partial: bool = False, nms: bool = False
) -> Split:
    """Return the split of a place recognition set.

    In training, right are the references within 10 m, and a pair is a query and the nearest of them; queries without
    one do not train. In testing, right are those within 25 m, and a query without one stays, as a miss.

    Args:
        name: the data set.
        split: "train" or "test".
        folder: its folder.
        photos: as the lists name them.
        allow_partial: leave out photos that are not on disk, and note it, where it would be an error.
        nms: rank panoramas in place of views: of each only the most similar view stands in a ranking.

    Raises:
        MissingFilesError: photos are missing on disk.
        DatasetCorruptError: no query has a reference near it, or the name of a photo does not name its panorama.
    """
    what, notes = f"{title_of(name)} {split}", photos.notes
    queries, references = (role.take(np.flatnonzero(role.present)) for role in (photos.queries, photos.references))
    allowed = allow_partial and len(queries) > 0 and len(references) > 0
    notes += missing_notes(what, folder, photos.queries, photos.references, allowed)
    radius = PAIRS_WITHIN if split == "train" else FOUND_WITHIN
    near = within(queries.images.coordinates, references.images.coordinates, radius, "metres")
    pairs = nearest_pairs(queries, references, near)
    if not len(pairs):
        raise DatasetCorruptError(
            f"No query of {what} in {folder} has a reference within {radius:g} m.",
            "Queries and references are of different places, or their positions are damaged; copy them again.",
        )
    reference_places = label_places(references.images.coordinates)
    places = np.arange(len(queries)) + len(references)  # labels of queries that no reference shows
    places[pairs[:, 0]] = reference_places[pairs[:, 1]]
    groups = None
    if nms:
        groups = _number_panoramas(references, folder)
        notes = (*notes, _nms_note(groups))
    return Split(
        name=name,
        split=split,
        queries=queries.images,
        references=references.images,
        pairs=pairs,
        query_places=places,
        reference_places=reference_places,
        truth=Truth(near, groups=groups),
        layout=photos.layout,
        provenance=photos.provenance,
        centred=False,
        notes=(*notes, *_alone_notes(near, radius, split)),
        exclusion_radius=FOUND_WITHIN if split == "train" else None,
        total_pairs=len(photos.queries),
        ks=KS,
    )


def nearest_pairs(queries: RoleFiles, references: RoleFiles, near: Ragged) -> np.ndarray:
    """Pair each query that has references near it with the nearest of them, int64 `[P, 2]`.

    The views of one panorama are equally near. Of them, the one of the query's own heading is taken: true headings were
    not released, but two cars in one street mostly drive the same way.
    """
    rows, columns = near.rows(), near.values
    at_queries, at_references = np.asarray(queries.images.coordinates), np.asarray(references.images.coordinates)
    metres = distances(at_queries[rows], at_references[columns], "metres").round(3)
    other_heading = np.zeros(len(rows), bool)
    if queries.headings is not None and references.headings is not None:
        numbers = np.unique([*queries.headings, *references.headings], return_inverse=True)[1].reshape(-1)
        other_heading = numbers[rows] != numbers[len(queries) :][columns]
    order = np.lexsort((columns, other_heading, metres, rows))
    _, first = np.unique(rows[order], return_index=True)
    return np.stack([rows[order][first], columns[order][first]], axis=1)


def refuse_training(name: str, split: str) -> None:
    """Raise UserError for the train split of a set for testing alone."""
    if split == "train":
        raise UserError(
            f"{title_of(name)} is for testing only: it has no training pairs.",
            f"Train on another data set, as the papers do: --train pitts30k --test {name}.",
        )


def _number_panoramas(references: RoleFiles, folder: Path) -> np.ndarray:
    """Return the number of the panorama that each reference was cut from, int64 `[M]`."""
    names = list(references.panoramas or ())
    if not all(names):
        path = folder / references.images.paths[names.index("")]
        raise DatasetCorruptError(
            f"The name of {path} does not say of which panorama it is a view, by which ranks are counted.",
            "Format the data set again, or count single views (--data.nms false, nms=False in Python).",
        )
    return np.unique(names, return_inverse=True)[1].reshape(-1)


def _alone_notes(near: Ragged, radius: float, split: str) -> tuple[str, ...]:
    alone = int((near.counts() == 0).sum())
    what = "do not train" if split == "train" else "count as not found"
    note = f"{alone:,} of {len(near):,} queries have no reference within {radius:g} m and {what}"
    return (note,) if alone else ()


def _nms_note(groups: np.ndarray) -> str:
    panoramas = int(groups.max()) + 1
    return (
        f"ranks count {panoramas:,} panoramas in place of {len(groups):,} views: of each only the view most similar to "
        "the query stands in its ranking (spatial non-maximum suppression)"
    )
