"""Where was this photo taken? The most similar references of an index, with their coordinates."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..utils.errors import DamagedFileError, UserError
from .area import Area
from .calibration import Calibration
from .embedder import Embedder, RunRecord, differences
from .gallery import Found, Gallery, IndexGallery
from .index_folder import AGAIN, calibration_of, load_vectors, read_manifest, read_references
from .matches import DEPTH, Answer, Match, with_gaps
from .photo_reader import ReadResult, Source
from .photos import BadImageError, Photo, printable_name, read_photo
from .query_views import Known, QueryReader, QueryViews, answer_of, names_of, trained_elevations
from .store.address import COLLECTION, is_address
from .tile_sources.cutter import TileCutter
from .tile_sources.tile_list import open_cutter


class Locator:
    """Locate photos in a gallery, with the model that made its vectors.

    Args:
        embedder: the model.
        gallery: the references.
        notes: sentences about what is wrong with gallery and model.
        views: what makes queries of photos; None takes panoramas with north in the middle.
        calibration: of first matches, or None.

    Example:
        `Locator.load("city.index").locate(["photo.jpg"], k=5)[0].matches[0]`
    """

    def __init__(
        self, embedder: Embedder, gallery: Gallery, notes: Sequence[str] = (), views: QueryViews | None = None,
        calibration: Calibration | None = None,
    ):  # fmt: skip
        self.embedder, self.gallery, self.notes = embedder, gallery, tuple(notes)
        self.views = views or QueryViews(embedder.transforms["query"].image)
        self.calibration = calibration
        self._cutters: dict[str, TileCutter] = {}

    @classmethod
    def load(
        cls, path: str | os.PathLike, *, collection: str = COLLECTION, run: str | os.PathLike | None = None,
        device: str = "auto", cropped_queries: bool = False, headings: int = 0, heading: Known = None,
        elevations: Sequence[float] | None = None, warn: Callable[[str], Any] = warnings.warn,
    ) -> Locator:  # fmt: skip
        """Open a gallery, and load the model of the run that it was built with.

        Args:
            path: an index on disk, or the address of a store: `milvus:city.db` or `http://host:19530`.
            collection: of the store.
            run: the run folder, if it has moved.
            device: auto, cpu, cuda or mps.
            cropped_queries: of a run with a limited field of view: photos show just that, and are no panoramas.
            headings: for panoramas that begin anywhere: how many headings are tried for each; the best counts, and is
                told. 0: they have north in the middle.
            heading: where the middle of every photo is known to look, or "photo": as its file says; see `QueryViews`.
            elevations: of the upper and lower edge of the panoramas that the model was trained on, in degrees; None:
                those of its training set.
            warn: called with a sentence if the run's weights are no longer those of the gallery.

        Raises:
            UserError: there is no gallery, its run is gone, or photos cannot be turned.
        """
        if headings and heading is not None:
            raise UserError("--headings looks for what --heading says.", "Leave one of them out.")
        opened = _open_store if is_address(path) else _open_index
        record, gallery, calibration = opened(path, collection)
        try:
            now = RunRecord.read(record.folder if run is None else run, record.weights)
        except UserError as error:
            remedy = f"{error.remedy} The index was built with the run {record.folder}."
            raise UserError(error.message, remedy.strip()) from error
        notes = differences(record, now)
        for note in notes:
            warn(note)
        embedder = Embedder.load(now, device, cropped_queries, headings)
        up, down = trained_elevations(now.folder) if elevations is None else elevations
        views = QueryViews(embedder.transforms["query"].image, cropped_queries, heading, (up, down))
        return cls(embedder, gallery, notes, views, None if notes else calibration)

    def __len__(self) -> int:
        return len(self.gallery)

    def locate(
        self, images: Sequence[Source] | Source, k: int = 5, *, area: Area | None = None, exact: bool = False,
        nprobe: int | None = None, batch_size: int = 32, workers: int = 0,
    ) -> list[Answer]:  # fmt: skip
        """Find the k most similar references of each image.

        Args:
            images: paths, decoded photos, or uint8 `[3, H, W]` as they were taken, or one of these.
            k: references for each.
            area: where the references must lie; None: anywhere.
            exact: compare with all references, also where the index is approximate.
            nprobe: cells of an approximate index to look at; by default as built.
            batch_size: images that the network takes at once.
            workers: processes that decode images; 0 decodes in this one.

        Returns:
            An answer for each image, in order; that of a bad image has a fault.

        Raises:
            ValueError: a tensor is no uint8 `[3, H, W]`.
            UserError: k or nprobe is below 1, an embedding is not finite, or no reference lies in the area.
        """
        if isinstance(images, Source):
            images = [images]
        options: dict[str, Any] = {"area": area, "exact": exact, "nprobe": nprobe}
        return list(self.answers(images, k, **options, batch_size=batch_size, workers=workers))

    def answers(
        self, images: Sequence[Source], k: int = 5, *, area: Area | None = None, exact: bool = False,
        nprobe: int | None = None, batch_size: int = 32, workers: int = 0,
    ) -> Iterator[Answer]:  # fmt: skip
        """Locate images, paths or uint8 `[3, H, W]`, and return one answer after another; arguments as for `locate`.

        Raises:
            ValueError: a tensor is no uint8 `[3, H, W]`.
            UserError: k or nprobe is below 1, an embedding is not finite, or no reference lies in the area.
        """
        if k < 1:
            raise UserError("k and nprobe must be 1 at least.")
        names = names_of(images)
        for batch in QueryReader(images, self.views).batches(batch_size, workers=workers):
            yield from self.answers_to(batch, names, k, area=area, exact=exact, nprobe=nprobe)

    def answers_to(
        self, images: Sequence[ReadResult], names: Sequence[str], k: int = 5, *, area: Area | None = None,
        exact: bool = False, nprobe: int | None = None,
    ) -> Iterator[Answer]:  # fmt: skip
        """Locate images that a `QueryReader` has read, and return an answer to each; `names` by their numbers."""
        usable = [image for image in images if image.fault is None]
        matches = self._search(usable, max(k, DEPTH), area=area, exact=exact, nprobe=nprobe)
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
        path, lat, lon = self.gallery.reference(number)
        return Match(path, 0.0, lat, lon, number=number)

    def path_of(self, match: Match) -> Path:
        """Return the file of a match; of a tile that was cut, a name for it below its source."""
        return self.gallery.root / match.path

    def picture_of(self, match: Match) -> Photo:
        """Return the picture of a match: its file, or the tile cut anew from its source.

        Raises:
            BadImageError: the file or the source has gone, or changed so that it cannot be read.
        """
        cut = self.gallery.cut_of(match.path)
        if cut is None:
            return read_photo(self.path_of(match))
        try:
            key = str(cut)
            if key not in self._cutters:
                self._cutters[key] = open_cutter(*cut)
            pixels = self._cutters[key].picture(np.array([match.lat, match.lon], np.float64))
        except UserError as error:
            raise BadImageError(f"cannot be cut again ({error})") from error
        return Photo(torch.tensor(pixels).permute(2, 0, 1))

    def find(self, queries: np.ndarray, k: int, *, area: Area | None = None, **options: Any) -> Found:
        """Return similarities and keys `[Q, k]` of the references most similar to queries `[Q, D]` of the model.

        Raises:
            UserError: none lies in the area, or as `Gallery.search` says.
        """
        found = self.gallery.search(queries, k, distance=self.embedder.model.distance, area=area, **options)
        if area is not None and not (found[1] >= 0).any():
            raise UserError(f"No reference lies within {area}.", "Choose another area.")
        return found

    def _search(self, images: list[ReadResult], k: int, **options: Any) -> dict[int, tuple[Match, ...]]:
        """Return the matches of images by their numbers."""
        if not images:
            return {}
        vectors = self.embedder.embed([image.pixels for image in images], "query")
        copies = max(1, self.embedder.headings)
        queries = vectors.reshape(len(images) * copies, -1)
        found = self.find(queries, k, **options)
        of_images = zip(images, vectors, *(column.reshape(len(images), copies, -1) for column in found))
        return {image.number: tuple(self._matches(vector, *near)) for image, vector, *near in of_images}

    def _matches(self, vector: np.ndarray, similarities: np.ndarray, keys: np.ndarray) -> Iterator[Match]:
        """Yield the matches of a query, from its vector and from what was found for each of its copies, `[H, k]`."""
        best, near, headings = best_over_headings(similarities, keys)
        own = self.embedder.model.distance
        if own is not None:
            queries, references = np.broadcast_to(vector, (len(near), len(vector))), self.gallery.take(near)
            headings = own.headings(torch.tensor(queries), torch.from_numpy(references)).numpy() % 360
        told = own is not None or self.embedder.headings
        for similarity, key, heading in zip(best.tolist(), near.tolist(), headings.tolist()):
            name, lat, lon = self.gallery.reference(key)
            yield Match(name, similarity, lat, lon, heading if told else None, number=key)


def best_over_headings(similarities: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge what was found for H copies of one query, turned to headings all around.

    Args:
        similarities: of the copies, `[H, k]`.
        keys: of the references, `[H, k]`; -1 is none.

    Returns:
        Of the k most similar references: the similarity at the best heading, most similar first, the key, and that
        heading in degrees, `[k]` each, or less where there are no more.
    """
    copies, count = keys.shape
    order = np.lexsort((keys.ravel(), -similarities.ravel()))  # stable: of equals, the first heading
    order = order[keys.ravel()[order] >= 0]
    first = np.sort(np.unique(keys.ravel()[order], return_index=True)[1])[:count]
    best = order[first]
    return similarities.ravel()[best], keys.ravel()[best], best // count * (360 / copies)


def _open_index(path: str | os.PathLike, _: str) -> tuple[RunRecord, Gallery, Calibration | None]:
    """Return the run, the gallery and the calibration of an index on disk."""
    path = Path(path).expanduser()
    manifest = read_manifest(path)
    vectors, references = load_vectors(path), read_references(path)
    if len(vectors) != len(references):
        what = f"{printable_name(path)} has {len(vectors):,} vectors and {len(references):,} references."
        raise DamagedFileError(what, AGAIN)
    gallery = IndexGallery(vectors, references, manifest["root"], manifest.get("tiles"))
    return RunRecord(**manifest["run"]), gallery, calibration_of(manifest)  # of the right types: read_manifest checks


def _open_store(address: str | os.PathLike, collection: str) -> tuple[RunRecord, Gallery, None]:
    """Return the run and the gallery of a collection in a store, which has no calibration."""
    from .store.gallery import StoreGallery

    gallery = StoreGallery.open(str(address), collection)
    return gallery.record, gallery, None
