"""Where was this photo taken? The most similar references of an index, with their coordinates."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..utils.errors import DamagedFileError, UserError
from .calibration import Calibration
from .embedder import Embedder, RunRecord
from .index_folder import AGAIN, calibration_of, load_vectors, read_manifest, read_references
from .joined_index import JoinedIndex
from .matches import DEPTH, Answer, Match, with_gaps
from .photo_reader import ReadResult, Source
from .photos import BadImageError, Photo, printable_name, read_photo
from .query_views import Known, QueryReader, QueryViews, answer_of, names_of, trained_elevations
from .tile_sources.tile_list import open_cutter
from .vector_index import VectorIndex


class Locator:
    """Locate photos with an index of references and the model that made it.

    Args:
        embedder: the model.
        index: the references' vectors.
        references: a path, a latitude and a longitude in degrees (None where unknown) for each row.
        root: the folder that the paths start from.
        notes: sentences about what is wrong with index and model.
        tiles: how references below a folder, or a source of that path, were cut from it, as a manifest says it.
        views: what makes queries of photos; None takes panoramas with north in the middle.
        calibration: of first matches, or None.

    Raises:
        ValueError: there are more or fewer references than vectors.

    Example:
        `Locator.load("city.index").locate(["photo.jpg"], k=5)[0].matches[0]`
    """

    def __init__(
        self, embedder: Embedder, index: VectorIndex | JoinedIndex,
        references: Sequence[tuple[str, float | None, float | None]], root: str | os.PathLike = ".",
        notes: Sequence[str] = (), tiles: Mapping[str, Mapping[str, Any]] | None = None,
        views: QueryViews | None = None, calibration: Calibration | None = None,
    ):  # fmt: skip
        if len(references) != len(index):
            raise ValueError(f"{len(index)} vectors came with {len(references)} references")
        self.embedder, self.index, self.references = embedder, index, list(references)
        self.root, self.notes = Path(root), tuple(notes)
        self.views = views or QueryViews(embedder.transforms["query"].image)
        self.calibration = calibration
        self._cutters = {name: cache(partial(open_cutter, Path(name), each)) for name, each in (tiles or {}).items()}

    @classmethod
    def load(
        cls, path: str | os.PathLike | Sequence[str | os.PathLike], *, run: str | os.PathLike | None = None,
        device: str = "auto", cropped_queries: bool = False, headings: int = 0, heading: Known = None,
        elevations: Sequence[float] | None = None, warn: Callable[[str], Any] = warnings.warn,
    ) -> Locator:  # fmt: skip
        """Load an index from disk, and the model of the run that it was built with.

        Args:
            path: the index; or several, which are searched as one.
            run: the run folder, if it has moved.
            device: auto, cpu, cuda or mps.
            cropped_queries: of a run with a limited field of view: photos show just that, and are no panoramas.
            headings: for panoramas that begin anywhere: how many headings are tried for each; the best counts, and is
                told. 0: they have north in the middle.
            heading: where the middle of every photo is known to look, or "photo": as its file says; see `QueryViews`.
            elevations: of the upper and lower edge of the panoramas that the model was trained on, in degrees; None:
                those of its training set.
            warn: called with a sentence if the run's weights are no longer those of the index.

        Raises:
            UserError: there is no index, its run is gone, several do not belong together, or photos cannot be turned.
        """
        if headings and heading is not None:
            raise UserError("--headings looks for what --heading says.", "Leave one of them out.")
        paths = [Path(each).expanduser() for each in ([path] if isinstance(path, (str, os.PathLike)) else path)]
        manifests = [read_manifest(each) for each in paths]
        records = [RunRecord(**manifest["run"]) for manifest in manifests]  # of the right types: read_manifest checks
        _refuse_strangers(paths, records)
        try:
            now = RunRecord.read(records[0].folder if run is None else run, records[0].weights)
        except UserError as error:
            remedy = f"{error.remedy} The index was built with the run {records[0].folder}."
            raise UserError(error.message, remedy.strip()) from error
        notes = _differences(records[0], now)
        for note in notes:
            warn(note)
        embedder = Embedder.load(now, device, cropped_queries, headings)
        up, down = trained_elevations(now.folder) if elevations is None else elevations
        views = QueryViews(embedder.transforms["query"].image, cropped_queries, heading, (up, down))
        roots = [manifest["root"] for manifest in manifests] if len(paths) > 1 else [""]
        tiles = {manifest["root"]: manifest["tiles"] for manifest in manifests if "tiles" in manifest}
        parts = [(load_vectors(each), read_references(each, root)) for each, root in zip(paths, roots)]
        for each, (vectors, references) in zip(paths, parts):
            if len(vectors) != len(references):
                what = f"{printable_name(each)} has {len(vectors):,} vectors and {len(references):,} references."
                raise DamagedFileError(what, AGAIN)
        if len(parts) == 1:
            calibration = None if notes else calibration_of(manifests[0])
            return cls(embedder, *parts[0], manifests[0]["root"], notes, tiles, views, calibration)
        joined = JoinedIndex([vectors for vectors, _ in parts])
        lines = [line for _, references in parts for line in references]
        return cls(embedder, joined, lines, notes=notes, tiles=tiles, views=views)

    def __len__(self) -> int:
        return len(self.index)

    def locate(
        self, images: Sequence[Source] | Source, k: int = 5, *,
        exact: bool = False, nprobe: int | None = None, batch_size: int = 32, workers: int = 0,
    ) -> list[Answer]:  # fmt: skip
        """Find the k most similar references of each image.

        Args:
            images: paths, decoded photos, or uint8 `[3, H, W]` as they were taken, or one of these.
            k: references for each.
            exact: compare with all references, also where the index is approximate.
            nprobe: cells of an approximate index to look at; by default as built.
            batch_size: images that the network takes at once.
            workers: processes that decode images; 0 decodes in this one.

        Returns:
            An answer for each image, in order; that of a bad image has a fault.

        Raises:
            ValueError: a tensor is no uint8 `[3, H, W]`.
            UserError: k or nprobe is below 1, or an embedding is not finite.
        """
        if isinstance(images, Source):
            images = [images]
        return list(self.answers(images, k, exact=exact, nprobe=nprobe, batch_size=batch_size, workers=workers))

    def answers(
        self, images: Sequence[Source], k: int = 5, *, exact: bool = False,
        nprobe: int | None = None, batch_size: int = 32, workers: int = 0,
    ) -> Iterator[Answer]:  # fmt: skip
        """Locate images, paths or uint8 `[3, H, W]`, and return one answer after another; arguments as for `locate`.

        Raises:
            ValueError: a tensor is no uint8 `[3, H, W]`.
            UserError: k or nprobe is below 1, or an embedding is not finite.
        """
        if k < 1:
            raise UserError("k and nprobe must be 1 at least.")
        names = names_of(images)
        for batch in QueryReader(images, self.views).batches(batch_size, workers=workers):
            yield from self.answers_to(batch, names, k, exact=exact, nprobe=nprobe)

    def answers_to(
        self, images: Sequence[ReadResult], names: Sequence[str], k: int = 5, *, exact: bool = False,
        nprobe: int | None = None,
    ) -> Iterator[Answer]:  # fmt: skip
        """Locate images that a `QueryReader` has read, and return an answer to each; `names` by their numbers."""
        matches = self._search([image for image in images if image.fault is None], max(k, DEPTH), exact, nprobe)
        for image in images:
            yield self.answer(answer_of(image, names[image.number]), matches.get(image.number, ()), image, k)

    def answer(self, read: Answer, matches: Sequence[Match], image: ReadResult, k: int) -> Answer:
        """Return an answer with the first k matches, their gaps, and the probability that the first one is right.

        Args:
            read: without matches.
            matches: DEPTH of them or all that there are, most similar first.
            image: that was embedded.
            k: how many are told.
        """
        if not matches:
            return read
        near = with_gaps(matches, k, image.turned)
        why = "the index has no calibration" if self.calibration is None else self.calibration.refusal(
            image.taken_as, self.embedder.headings, bool(read.together)
        )
        if self.calibration is None or why is not None:
            return replace(read, matches=near, uncalibrated=why)
        probability = self.calibration.probability(near[0].similarity, near[0].gap)
        return replace(read, matches=near, probability=probability)

    def reference(self, number: int) -> Match:
        """Return a reference by its number, as a match of no query.

        Raises:
            IndexError: there is none of that number.
        """
        if not 0 <= number < len(self.references):
            raise IndexError(f"there is no reference {number} among {len(self.references)}")
        return Match(self.references[number][0], 0.0, *self.references[number][1:], number=number)

    def path_of(self, match: Match) -> Path:
        """Return the file of a match; of a tile that was cut, a name for it below its source."""
        return self.root / match.path

    def picture_of(self, match: Match) -> Photo:
        """Return the picture of a match: its file, or the tile cut anew from its source.

        Raises:
            BadImageError: the file or the source has gone, or changed so that it cannot be read.
        """
        path = self.path_of(match)
        source = str(path.parent)
        if source not in self._cutters:
            return read_photo(path)
        try:
            pixels = self._cutters[source]().picture(np.array([match.lat, match.lon], np.float64))
        except UserError as error:
            raise BadImageError(f"cannot be cut again ({error})") from error
        return Photo(torch.tensor(pixels).permute(2, 0, 1))

    def _search(
        self, images: list[ReadResult], k: int, exact: bool, nprobe: int | None
    ) -> dict[int, tuple[Match, ...]]:
        """Return the matches of images by their numbers."""
        if not images:
            return {}
        vectors = self.embedder.embed([image.pixels for image in images], "query")
        own, copies = self.embedder.model.distance, max(1, self.embedder.headings)
        queries = vectors.reshape(len(images) * copies, -1)
        found = self.index.search(queries, k, exact=exact, nprobe=nprobe, distance=own)
        of_images = zip(images, vectors, *(column.reshape(len(images), copies, -1) for column in found))
        return {image.number: tuple(self._matches(vector, *near)) for image, vector, *near in of_images}

    def _matches(self, vector: np.ndarray, similarities: np.ndarray, rows: np.ndarray) -> Iterator[Match]:
        """Yield the matches of a query, from its vector and from what was found for each of its copies, `[H, k]`."""
        best, near, headings = best_over_headings(similarities, rows)
        own = self.embedder.model.distance
        if own is not None:
            queries, references = np.broadcast_to(vector, (len(near), len(vector))), self.index.take(near)
            headings = own.headings(torch.tensor(queries), torch.from_numpy(references)).numpy() % 360
        told = own is not None or self.embedder.headings
        for similarity, row, heading in zip(best.tolist(), near.tolist(), headings.tolist()):
            name, lat, lon = self.references[row]
            yield Match(name, similarity, lat, lon, heading if told else None, number=row)


def best_over_headings(similarities: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge what was found for H copies of one query, turned to headings all around.

    Args:
        similarities: of the copies, `[H, k]`.
        rows: of the references, `[H, k]`.

    Returns:
        Of the k most similar references: the similarity at the best heading, most similar first, the row, and that
        heading in degrees, `[k]` each.
    """
    copies, count = rows.shape
    order = np.lexsort((rows.ravel(), -similarities.ravel()))  # stable: of equals, the first heading
    first = np.sort(np.unique(rows.ravel()[order], return_index=True)[1])[:count]
    best = order[first]
    return similarities.ravel()[best], rows.ravel()[best], best // count * (360 / copies)


def _refuse_strangers(paths: list[Path], records: list[RunRecord]) -> None:
    """Refuse indexes of different models, whose embeddings cannot be compared, and an index that is named twice."""
    if not paths:
        raise UserError("No index is named.", "Name one or more that geodtr index build made.")
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError("An index is named twice.", "Name each once.")
    for path, record in zip(paths, records):
        if _differences(records[0], record):
            raise UserError(
                f"{printable_name(path)} was built with another model or other weights than "
                f"{printable_name(paths[0])}: their similarities cannot be compared.",
                "Search them one by one, or build them with one run.",
            )


def _differences(built: RunRecord, now: RunRecord) -> list[str]:
    """Return a sentence if the model of the queries differs from that of the references."""
    again = "Similarities mean nothing until the index is built again: geodtr index build --overwrite."
    if built.sha256 != now.sha256:
        return [f"{now.folder}/{now.weights} holds other weights than those that the index was built with. {again}"]
    if (built.model, built.views) != (now.model, now.views):
        return [f"{now.folder} has another model or image transform than the index was built with. {again}"]
    return []
