"""Where was this photo taken? The most similar references of an index, with their coordinates."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..utils.errors import UserError
from .building import read_lines, read_manifest
from .embedder import Embedder, RunFacts
from .images import Read, Reader
from .joined_index import JoinedIndex
from .photos import shown
from .vector_index import VectorIndex


@dataclass(frozen=True)
class Match:
    """A reference that a query resembles.

    Args:
        path: its file, below the index's folder of references; of several indexes, with that folder.
        similarity: cosine of the two embeddings, -1 to 1.
        lat: latitude in degrees, or None where it is not known.
        lon: longitude in degrees, or None.
    """

    path: str
    similarity: float
    lat: float | None
    lon: float | None


@dataclass(frozen=True)
class Answer:
    """What became of one query.

    Args:
        query: its path, or "image N" for a tensor.
        matches: the references, most similar first; none with a fault.
        fault: why the query could not be used, else None.
        position: latitude and longitude from the query's own EXIF, which the search does not look at.
    """

    query: str
    matches: tuple[Match, ...] = ()
    fault: str | None = None
    position: tuple[float, float] | None = None


class Locator:
    """Locates photos with an index of references and the model that made it.

    Args:
        embedder: the model.
        index: the references' vectors.
        references: a path, a latitude and a longitude (None where unknown) for each row.
        root: the folder that the paths start from.
        notes: sentences about what is wrong with index and model.

    Example:
        ``Locator.load("city.index").locate(["photo.jpg"], k=5)[0].matches[0]``
    """

    def __init__(
        self, embedder: Embedder, index: VectorIndex | JoinedIndex,
        references: Sequence[tuple[str, float | None, float | None]], root: str | os.PathLike = ".",
        notes: Sequence[str] = (),
    ):  # fmt: skip
        if len(references) != len(index):
            raise ValueError(f"{len(index)} vectors came with {len(references)} references")
        self.embedder, self.index, self.references = embedder, index, list(references)
        self.root, self.notes = Path(root), tuple(notes)

    @classmethod
    def load(
        cls, path: str | os.PathLike | Sequence[str | os.PathLike], *, run: str | os.PathLike | None = None,
        device: str = "auto", cropped_queries: bool = False, warn: Callable[[str], Any] = warnings.warn,
    ) -> Locator:  # fmt: skip
        """An index from disk, and the model of the run that it was built with.

        Args:
            path: the index; or several, which are searched as one.
            run: the run folder, if it has moved.
            device: auto, cpu, cuda or mps.
            cropped_queries: of a run with a limited field of view: photos show just that, and are no panoramas.
            warn: called with a sentence if the run's weights are no longer those of the index.

        Raises:
            UserError: there is no index, or its run is gone, or several do not belong together.
        """
        paths = [Path(one).expanduser() for one in ([path] if isinstance(path, (str, os.PathLike)) else path)]
        manifests = [read_manifest(one) for one in paths]
        _refuse_strangers(paths, manifests)
        built = RunFacts(**manifests[0]["run"])
        try:
            now = RunFacts.read(built.folder if run is None else run, built.weights)
        except UserError as error:
            raise UserError(f"{error} The index was built with the run {built.folder}.") from error
        notes = _differences(built, now)
        for note in notes:
            warn(note)
        embedder = Embedder.load(now, device, cropped_queries)
        if len(paths) == 1:
            return cls(embedder, load_vectors(paths[0]), list(_references(paths[0])), manifests[0]["root"], notes)
        references = [line for one, manifest in zip(paths, manifests) for line in _references(one, manifest["root"])]
        return cls(embedder, JoinedIndex([load_vectors(one) for one in paths]), references, notes=notes)

    def __len__(self) -> int:
        return len(self.index)

    def locate(
        self, images: Sequence[str | os.PathLike | Tensor] | str | os.PathLike | Tensor, k: int = 5, *,
        exact: bool = False, nprobe: int | None = None, batch_size: int = 32, workers: int = 0,
    ) -> list[Answer]:  # fmt: skip
        """The k most similar references of each image.

        Args:
            images: paths, or uint8 `[3, H, W]` as they were taken, or one of these.
            k: references for each.
            exact: compare with all references, also where the index is approximate.
            nprobe: cells of an approximate index to look at; by default as built.
            batch_size: images that the network takes at once.
            workers: processes that decode images; 0 decodes in this one.

        Returns:
            an answer for each image, in order; a bad image has one with a fault.
        """
        if isinstance(images, (str, os.PathLike, Tensor)):
            images = [images]
        return list(self.answers(images, k, exact=exact, nprobe=nprobe, batch_size=batch_size, workers=workers))

    def answers(
        self, images: Sequence[str | os.PathLike | Tensor], k: int = 5, *, exact: bool = False,
        nprobe: int | None = None, batch_size: int = 32, workers: int = 0,
    ) -> Iterator[Answer]:  # fmt: skip
        """The same one after another, for many images."""
        for image in images:
            if isinstance(image, Tensor) and (image.dtype.is_floating_point or image.ndim != 3 or len(image) != 3):
                raise ValueError(f"images must be uint8 [3, H, W], not {image.dtype} {list(image.shape)}")
        names = [f"image {i}" if isinstance(image, Tensor) else os.fspath(image) for i, image in enumerate(images)]
        reader = Reader(images, lambda image: self.embedder.on_load(image, "query"))
        for batch in reader.batches(batch_size, workers=workers) if len(images) else ():
            found = self._search([read for read in batch if read.fault is None], k, exact, nprobe)
            for read in batch:
                yield Answer(names[read.row], found.get(read.row, ()), read.fault, read.position)

    def path_of(self, match: Match) -> Path:
        """The file of a match."""
        return self.root / match.path

    def _search(self, good: list[Read], k: int, exact: bool, nprobe: int | None) -> dict[int, tuple[Match, ...]]:
        """Matches by row of the query."""
        if not good:
            return {}
        vectors = self.embedder.embed([read.pixels for read in good], "query")
        similarities, rows = self.index.search(vectors, k, exact=exact, nprobe=nprobe)
        return {
            read.row: tuple(self._match(*pair) for pair in zip(row.tolist(), similarity.tolist()))
            for read, row, similarity in zip(good, rows, similarities)
        }

    def _match(self, row: int, similarity: float) -> Match:
        name, lat, lon = self.references[row]
        return Match(name, similarity, lat, lon)


def _refuse_strangers(paths: list[Path], manifests: list[dict[str, Any]]) -> None:
    """Only embeddings of one model can be compared, and a reference should answer once.

    Raises:
        UserError: two indexes have different models, or are one and the same.
    """
    if not paths:
        raise UserError("No index is named. Name one or more that geodtr index build made.")
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError("An index is named twice. Name each once.")
    first = RunFacts(**manifests[0]["run"])
    for path, manifest in zip(paths, manifests):
        if _differences(first, RunFacts(**manifest["run"])):
            raise UserError(
                f"{shown(path)} was built with another model or other weights than {shown(paths[0])}: their "
                "similarities cannot be compared. Search them one by one, or build them with one run."
            )


def _references(path: Path, root: str = "") -> Iterator[tuple[str, float | None, float | None]]:
    """File, latitude and longitude of each row of an index on disk; files below the root where one is given."""
    for line in read_lines(path / "references.jsonl"):
        yield os.path.join(root, line["file"]), line["lat"], line["lon"]


def load_vectors(path: str | os.PathLike) -> VectorIndex:
    """The vectors of an index on disk, memory-mapped, without its model."""
    path = Path(path)
    try:
        vectors = np.load(path / "vectors.npy", mmap_mode="r")
    except (OSError, ValueError) as error:
        raise UserError(f"{shown(path)} has no readable vectors.npy ({error}). Build the index again.") from error
    return VectorIndex.load(vectors, path, read_manifest(path)["nprobe"])


def _differences(built: RunFacts, now: RunFacts) -> list[str]:
    """What must not differ between the model of the references and that of the queries."""
    again = "Similarities mean nothing until the index is built again: geodtr index build --overwrite."
    if built.sha256 != now.sha256:
        return [f"{now.folder}/{now.weights} holds other weights than those that the index was built with. {again}"]
    if (built.model, built.views) != (now.model, now.views):
        return [f"{now.folder} has another model or view than the one that the index was built with. {again}"]
    return []
