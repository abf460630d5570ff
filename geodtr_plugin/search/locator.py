"""Where was this photo taken? The most similar references of an index, with their coordinates."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..utils.errors import DamagedFileError, UserError
from .area import Area
from .embedder import Embedder, RunRecord, differences
from .gallery import Gallery, IndexGallery
from .index_folder import AGAIN, load_vectors, read_manifest, read_references
from .photo_reader import PhotoReader, ReadResult
from .photos import BadImageError, Photo, printable_name, read_photo
from .store.address import COLLECTION, is_address
from .tile_sources.cutter import TileCutter
from .tile_sources.tile_list import open_cutter


@dataclass(frozen=True)
class Match:
    """A reference that a query resembles.

    Args:
        path: its file, below the gallery's folder of references; in a store, the whole path.
        similarity: cosine of the two embeddings, -1 to 1.
        lat: latitude in degrees, or None where it is not known.
        lon: longitude in degrees, or None.
        heading: where the middle of the query looks if it was taken here, in degrees clockwise from north, 0 to 360;
            None where neither the search nor the model tries headings.
        number: its number among the references of the index, from 0; None for a match that no search made.
    """

    path: str
    similarity: float
    lat: float | None
    lon: float | None
    heading: float | None = None
    number: int | None = None


@dataclass(frozen=True)
class Answer:
    """What became of one query.

    Args:
        query: its path, or "image N" for a tensor.
        matches: the references, most similar first; none with a fault.
        fault: why the query could not be used, as a part of a sentence after its name; else None.
        position: latitude and longitude in degrees from the query's own EXIF, which the search does not look at.
        note: why there is no position although the EXIF has one, as a part of a sentence after the query's name.
    """

    query: str
    matches: tuple[Match, ...] = ()
    fault: str | None = None
    position: tuple[float, float] | None = None
    note: str | None = None


class Locator:
    """Locate photos in a gallery, with the model that made its vectors.

    Args:
        embedder: the model.
        gallery: the references.
        notes: sentences about what is wrong with gallery and model.

    Example:
        `Locator.load("city.index").locate(["photo.jpg"], k=5)[0].matches[0]`
    """

    def __init__(self, embedder: Embedder, gallery: Gallery, notes: Sequence[str] = ()):
        self.embedder, self.gallery, self.notes = embedder, gallery, tuple(notes)
        self._cutters: dict[str, TileCutter] = {}

    @classmethod
    def load(
        cls, path: str | os.PathLike, *, collection: str = COLLECTION, run: str | os.PathLike | None = None,
        device: str = "auto", cropped_queries: bool = False, headings: int = 0,
        warn: Callable[[str], Any] = warnings.warn,
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
            warn: called with a sentence if the run's weights are no longer those of the gallery.

        Raises:
            UserError: there is no gallery, its run is gone, or photos cannot be turned.
        """
        opened = _open_store if is_address(path) else _open_index
        record, gallery = opened(path, collection)
        try:
            now = RunRecord.read(record.folder if run is None else run, record.weights)
        except UserError as error:
            remedy = f"{error.remedy} The index was built with the run {record.folder}."
            raise UserError(error.message, remedy.strip()) from error
        notes = differences(record, now)
        for note in notes:
            warn(note)
        return cls(Embedder.load(now, device, cropped_queries, headings), gallery, notes)

    def __len__(self) -> int:
        return len(self.gallery)

    def locate(
        self, images: Sequence[str | os.PathLike | Tensor] | str | os.PathLike | Tensor, k: int = 5, *,
        area: Area | None = None, exact: bool = False, nprobe: int | None = None, batch_size: int = 32,
        workers: int = 0,
    ) -> list[Answer]:  # fmt: skip
        """Find the k most similar references of each image.

        Args:
            images: paths, or uint8 `[3, H, W]` as they were taken, or one of these.
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
        if isinstance(images, (str, os.PathLike, Tensor)):
            images = [images]
        options: dict[str, Any] = {"area": area, "exact": exact, "nprobe": nprobe}
        return list(self.answers(images, k, **options, batch_size=batch_size, workers=workers))

    def answers(
        self, images: Sequence[str | os.PathLike | Tensor], k: int = 5, *, area: Area | None = None,
        exact: bool = False, nprobe: int | None = None, batch_size: int = 32, workers: int = 0,
    ) -> Iterator[Answer]:  # fmt: skip
        """Locate images, paths or uint8 `[3, H, W]`, and return one answer after another; arguments as for `locate`.

        Raises:
            ValueError: a tensor is no uint8 `[3, H, W]`.
            UserError: k or nprobe is below 1, an embedding is not finite, or no reference lies in the area.
        """
        for image in images:
            if isinstance(image, Tensor) and (image.dtype.is_floating_point or image.ndim != 3 or len(image) != 3):
                raise ValueError(f"images must be uint8 [3, H, W], not {image.dtype} {list(image.shape)}")
        names = [f"image {i}" if isinstance(image, Tensor) else os.fspath(image) for i, image in enumerate(images)]
        reader = PhotoReader(images, lambda image: self.embedder.on_load(image, "query"))
        for batch in reader.batches(batch_size, workers=workers):
            yield from self.answers_to(batch, names, k, area=area, exact=exact, nprobe=nprobe)

    def answers_to(
        self, images: Sequence[ReadResult], names: Sequence[str], k: int = 5, *, area: Area | None = None,
        exact: bool = False, nprobe: int | None = None,
    ) -> Iterator[Answer]:  # fmt: skip
        """Locate images that were read already, and return an answer to each; `names` by their numbers."""
        usable = [image for image in images if image.fault is None]
        matches = self._search(usable, k, area=area, exact=exact, nprobe=nprobe)
        for image in images:
            found = matches.get(image.number, ())
            yield Answer(names[image.number], found, image.fault, image.position, image.note)

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

    def _search(self, images: list[ReadResult], k: int, **options: Any) -> dict[int, tuple[Match, ...]]:
        """Return the matches of images by their numbers."""
        if not images:
            return {}
        vectors = self.embedder.embed([image.pixels for image in images], "query")
        own, copies = self.embedder.model.distance, max(1, self.embedder.headings)
        queries = vectors.reshape(len(images) * copies, -1)
        found = self.gallery.search(queries, k, distance=own, **options)
        if not (found[1] >= 0).any():
            raise UserError(f"No reference lies within {options['area']}.", "Choose another area.")
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
            yield Match(name, similarity, lat, lon, heading if told else None, key)


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


def _open_index(path: str | os.PathLike, _: str) -> tuple[RunRecord, Gallery]:
    """Return the run and the gallery of an index on disk."""
    path = Path(path).expanduser()
    manifest = read_manifest(path)
    vectors, references = load_vectors(path), read_references(path)
    if len(vectors) != len(references):
        what = f"{printable_name(path)} has {len(vectors):,} vectors and {len(references):,} references."
        raise DamagedFileError(what, AGAIN)
    gallery = IndexGallery(vectors, references, manifest["root"], manifest.get("tiles"))
    return RunRecord(**manifest["run"]), gallery  # of the right types: read_manifest checks


def _open_store(address: str | os.PathLike, collection: str) -> tuple[RunRecord, Gallery]:
    """Return the run and the gallery of a collection in a store."""
    from .store.gallery import StoreGallery

    gallery = StoreGallery.open(str(address), collection)
    return gallery.record, gallery
