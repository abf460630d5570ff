"""Place recognition: photos of places asked for among photos of places, by the rules that its papers share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.truth import Truth
from ..utils.errors import DatasetCorruptError, DatasetNotFoundError, UserError
from ..utils.ragged import Ragged
from .base import Split
from .near import distances, within
from .photos import Photos, tell_missing
from .places import label_places
from .registry import title

# Metres. A query counts as found when any of the first K references lies this near; in training a pair lies nearer,
# and what is neither near enough to be a pair nor beyond the first radius is no negative (Arandjelovic et al. 2016).
FOUND_WITHIN = 25.0
PAIRS_WITHIN = 10.0
KS = (1, 5, 10, 20)


def street_index(
    name: str,
    split: str,
    folder: Path,
    queries: Photos,
    references: Photos,
    *,
    allow_partial: bool = False,
    nms: bool = False,
    notes: tuple[str, ...] = (),
    **facts: Any,
) -> Split:
    """The Split of a place recognition set.

    In training, right are the references within 10 m, and a pair is a query and the nearest of them; queries without
    one do not train. In testing, right are those within 25 m, and a query without one stays, as a miss.

    Args:
        name: the data set.
        split: "train" or "test".
        folder: its folder.
        queries: as the lists name them.
        references: the same.
        allow_partial: leave out photos that are not on disk, and note it, where it would be an error.
        nms: rank panoramas in place of views: of each only the most similar view stands in a ranking.
        notes: what is already to be told.
        facts: layout, provenance and what else Split takes.

    Raises:
        DatasetNotFoundError: photos are missing on disk.
        DatasetCorruptError: there is nothing to train on or to ask for.
    """
    total = len(queries)
    missing = tell_missing(f"{title(name)} {split}", folder, queries, references)
    if missing:
        queries, references = (part.take(np.flatnonzero(part.present)) for part in (queries, references))
        if not (allow_partial and len(queries) and len(references)):
            raise DatasetNotFoundError(f"{missing} Extract or copy them, or add --allow-partial to go on without.")
        notes = (*notes, missing)
    radius = PAIRS_WITHIN if split == "train" else FOUND_WITHIN
    right = within(queries.at, references.at, radius, "metres")
    pairs = nearest_pairs(queries, references, right)
    if not len(pairs):
        raise DatasetCorruptError(
            f"No query of {title(name)} {split} in {folder} has a reference within {radius:g} m. Queries and "
            "references are of different places, or their positions are damaged; copy them again."
        )
    reference_places = label_places(references.at)
    places = np.arange(len(queries)) + len(references)  # labels of queries that no reference shows
    places[pairs[:, 0]] = reference_places[pairs[:, 1]]
    groups = None
    if nms:
        groups = _panoramas(references, folder)
        notes = (*notes, _tell_nms(groups))
    return Split(
        name=name,
        split=split,
        queries=queries.files(folder),
        references=references.files(folder),
        pairs=pairs,
        query_places=places,
        reference_places=reference_places,
        truth=Truth(right, groups=groups),
        centred=False,
        notes=(*notes, *_tell_alone(right, radius, split)),
        exclusion_radius=FOUND_WITHIN if split == "train" else None,
        total_pairs=total,
        ks=KS,
        **facts,
    )


def nearest_pairs(queries: Photos, references: Photos, near: Ragged) -> np.ndarray:
    """Each query that has one with its nearest reference, int64 `[P, 2]`.

    The views of one panorama are equally near. Of them, the one of the query's own number is taken: true headings were
    not released, but two cars in one street mostly drive the same way.
    """
    rows, columns = near.rows(), near.values
    apart = distances(queries.at[rows], references.at[columns], "metres").round(3)
    other_view = np.zeros(len(rows), bool)
    if len(queries.views) and len(references.views):
        numbers = np.unique([*queries.views, *references.views], return_inverse=True)[1].reshape(-1)
        other_view = numbers[rows] != numbers[len(queries) :][columns]
    order = np.lexsort((columns, other_view, apart, rows))
    _, first = np.unique(rows[order], return_index=True)
    return np.stack([rows[order][first], columns[order][first]], axis=1)


def refuse_training(name: str, split: str) -> None:
    """Raises UserError where the train split of a set for testing alone is asked for."""
    if split == "train":
        raise UserError(
            f"{title(name)} is for testing only: it has no training pairs. Train on another data set, as the papers "
            f"do: --train pitts30k --test {name}."
        )


def _panoramas(references: Photos, folder: Path) -> np.ndarray:
    """A number for each reference: that of the panorama it was cut from, int64 `[M]`."""
    if not all(references.panoramas):
        row = next((i for i, name in enumerate(references.panoramas) if not name), 0)
        raise DatasetCorruptError(
            f"The name of {folder / references.paths[row]} does not say of which panorama it is a view, by which ranks "
            "are counted. Format the data set again, or count single views (--data.nms false, nms=False in Python)."
        )
    return np.unique(list(references.panoramas), return_inverse=True)[1].reshape(-1)


def _tell_alone(right: Ragged, radius: float, split: str) -> tuple[str, ...]:
    alone = int((right.counts() == 0).sum())
    what = "do not train" if split == "train" else "count as not found"
    told = f"{alone:,} of {len(right):,} queries have no reference within {radius:g} m and {what}"
    return (told,) if alone else ()


def _tell_nms(groups: np.ndarray) -> str:
    panoramas = int(groups.max()) + 1
    return (
        f"ranks count {panoramas:,} panoramas in place of {len(groups):,} views: of each only the view most similar to "
        "the query stands in its ranking (spatial non-maximum suppression)"
    )
