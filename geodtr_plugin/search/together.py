"""Several photos of one spot, which give one answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from .area import Area
from .locator import Locator, best_over_headings
from .matches import DEPTH, Answer, Match
from .photo_reader import Source
from .query_views import QueryReader, answer_of, names_of


def locate_together(
    locator: Locator, images: Sequence[Source], k: int = 5, *, area: Area | None = None, exact: bool = False,
    nprobe: int | None = None, batch_size: int = 32, workers: int = 0,
) -> Answer:  # fmt: skip
    """Find the k references that several photos of one spot resemble most, by the mean of their similarities.

    If the embedding of a photo is that of its place with noise of the same strength in all directions (von Mises and
    Fisher's distribution on the sphere), the logarithm of its likelihood is its similarity times a number that all
    photos share, and a constant. So the place at which all photos together are most likely is that of the largest mean
    similarity; where no headings are tried, it is what the mean of the unit vectors resembles most. The mean also holds
    where each photo has a heading of its own, at which it is most similar, and where the model has a distance of its
    own. References are those that at least one photo finds among its DEPTH, or the mean of the vectors does.

    Args:
        locator: of the gallery.
        images, k, area, exact, nprobe, batch_size, workers: as for `Locator.locate`.

    Returns:
        One answer, with `together` saying what became of each photo; it has a fault if none could be used.
    """
    names = names_of(images)
    batches = QueryReader(images, locator.views).batches(batch_size, workers=workers)
    read = [image for batch in batches for image in batch]
    each = tuple(answer_of(image, names[image.number]) for image in read)
    usable = [image for image in read if image.fault is None]
    if not usable:
        return Answer(names[0], fault="has no photo that can be used", together=each)
    first = replace(each[usable[0].number], together=each)
    vectors = np.concatenate(
        [
            locator.embedder.embed([image.pixels for image in usable[i : i + batch_size]], "query")
            for i in range(0, len(usable), batch_size)
        ]
    )
    keys = _candidates(locator, vectors, max(k, DEPTH), area=area, exact=exact, nprobe=nprobe)
    similarities, headings = _compare(locator, vectors, locator.gallery.take(keys))
    mean = similarities.mean(axis=0, dtype=np.float64)
    found = []
    for at in np.argsort(-mean, kind="stable")[: max(k, DEPTH)]:
        name, lat, lon = locator.gallery.reference(int(keys[at]))
        heading = None if headings is None else float(headings[at])
        found.append(Match(name, float(mean[at]), lat, lon, heading, number=int(keys[at])))
    return locator.answer(first, found, usable[0], k)


def _candidates(locator: Locator, vectors: np.ndarray, depth: int, **options: Any) -> np.ndarray:
    """Return the keys of the references that the photos resemble, int64 `[m]`; options as for `Locator.find`."""
    own, copies = locator.embedder.model.distance, max(1, locator.embedder.headings)
    queries = vectors.reshape(len(vectors) * copies, -1)
    if own is None and copies == 1:
        mean = queries.mean(axis=0, keepdims=True)
        queries = np.concatenate([queries, mean / max(np.linalg.norm(mean), 1e-6)])
    found = locator.find(queries, depth, **options)
    of_photos = zip(*(column.reshape(len(queries) // copies, copies, -1) for column in found))
    return np.unique(np.concatenate([best_over_headings(*near)[1] for near in of_photos]))


def _compare(locator: Locator, vectors: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the similarities of n photos and m references `[n, m]`, and the first one's headings `[m]`, if told.

    Args:
        locator: whose model compares.
        vectors: of the photos, `[n, H * D]`.
        references: `[m, D]`.
    """
    own, copies = locator.embedder.model.distance, locator.embedder.headings
    if own is not None:
        queries, others = torch.from_numpy(vectors), torch.from_numpy(references)
        headings = own.headings(queries[:1].expand(len(others), -1), others).numpy() % 360
        return own.similarities(queries, others).numpy(), headings
    each = vectors.reshape(len(vectors), max(1, copies), -1) @ references.T
    return each.max(axis=1), each[0].argmax(axis=0) * (360 / copies) if copies else None
