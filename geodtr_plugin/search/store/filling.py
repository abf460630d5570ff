"""Filling a store: each process embeds its share of the references, as far as the store does not hold them already.

What is done is known by the store alone: a reference is there in its present state, or it is embedded and written. So
one rule continues a build that was killed, adds a region, and renews what has changed; and several processes, on
however many machines, each do a part that overlaps with no other's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence

from tqdm import tqdm

from ...utils.errors import UserError
from ...utils.shares import Share
from ..building import Summary, nothing_indexed, references_of
from ..embedder import Embedder, RunRecord, differences
from ..geotags import NameOrder
from ..photo_reader import ReadResult
from ..photos import printable_name
from ..references import References
from ..tile_sources.options import TileOptions
from .address import COLLECTION, Address
from .collection import AT_ONCE, Collection, Reference
from .connection import Connection


def fill_store(
    run: str | os.PathLike, references: str | os.PathLike, store: str, *, collection: str = COLLECTION,
    kind: str = "auto", nlist: int | None = None, nprobe: int | None = None, names: NameOrder = "none",
    batch_size: int = 64, device: str = "auto", workers: int = 0, progress: bool = True,
    tiles: TileOptions | None = None, share: Share | None = None, after_batch: Callable[[int], None] | None = None,
) -> Summary:  # fmt: skip
    """Embed those references with a run's model that a store does not hold in their present state, and write them.

    Args:
        run: the run folder.
        references: as for `build_index`.
        store: its address: `milvus:city.db` or `http://host:19530`.
        collection: of the store; made if there is none.
        kind, nlist, nprobe: of the store's index, see `Collection.make`; for a collection that is made.
        names, batch_size, device, workers, progress, tiles: as for `build_index`.
        share: this process's part; None asks the launcher, see `Share.of_this_process`.
        after_batch: called with the number of images that were written.

    Raises:
        UserError: nothing could be indexed, nobody answers at the address, the collection is of another model, the
            disk is full, or the store has lost something.
    """
    if batch_size < 1:
        raise UserError(f"--batch-size is {batch_size}; it must be 1 at least.")
    share = Share.of_this_process() if share is None else share
    with Connection(Address.parse(store)) as connection:
        record = RunRecord.read(run)
        images, notes = references_of(references, names, tiles, record)
        embedder = Embedder.load(record, device)
        if embedder.model.distance is not None:
            raise UserError(
                f"{embedder.model.method_name} compares images at all headings, which a store cannot do.",
                "Build an index on disk: -o city.index.",
            )
        size, count = embedder.model.embedding_size, len(images.files)
        made = Collection.make(connection, collection, record, size, kind, count, nlist, nprobe)
        if differences(made.record, record):
            raise UserError(
                f"{made.where} holds vectors of another model or other weights (run {made.record.folder}).",
                "Choose another --collection: their similarities cannot be compared.",
            )
        filling = _Filling(made, images, share)
        filling.embed(embedder, batch_size, workers, progress, after_batch)
        made.finish()
        filling.check()
        if not filling.rows:
            raise nothing_indexed(references, filling.left_out, notes)
        return filling.summary(notes)


class _Filling:
    """What one process does for a collection."""

    def __init__(self, collection: Collection, images: References, share: Share):
        self.collection, self.images, self.share = collection, images, share
        self.source = printable_name(os.path.abspath(images.root))
        cut = images.described()
        self.cut = json.dumps(cut["tiles"], sort_keys=True) if cut else ""
        self.numbers = share.of(len(images.files))
        self.to_do = self._missing(self.numbers)
        self.written: list[int] = []
        self.without_position = 0
        self.left_out = list(images.left_out) if share.number == 0 else []
        self.unplaced: list[tuple[str, str]] = []

    @property
    def rows(self) -> int:
        """References of the share that the store holds."""
        return len(self.numbers) - len(self.to_do) + len(self.written)

    def embed(
        self, embedder: Embedder, batch_size: int, workers: int, progress: bool,
        after_batch: Callable[[int], None] | None,
    ) -> None:  # fmt: skip
        """Embed and write what is missing, batch by batch; a batch is in the store whole or not at all."""
        reader = self.images.reader(lambda x: embedder.on_load(x, "reference"))
        bar = tqdm(
            total=len(self.numbers), initial=len(self.numbers) - len(self.to_do), desc="embedding references",
            unit="image", disable=not progress,
        )  # fmt: skip
        with bar:
            for batch in reader.batches(batch_size, self.to_do, workers):
                good = [image for image in batch if image.fault is None]
                if good:
                    vectors = embedder.embed([image.pixels for image in good], "reference")
                    self.collection.write([self._reference(image) for image in good], vectors)
                self._count(batch)
                bar.update(len(batch))
                if after_batch is not None:
                    after_batch(len(self.written))

    def check(self) -> None:
        """Raise UserError if the store lost what was written."""
        lost = self._missing(self.written)
        if lost:
            raise UserError(
                f"{self.collection.where} lost {len(lost):,} of {len(self.written):,} references that were written.",
                "Repeat the command. milvus-lite server takes several writers with --max-workers 1 only.",
            )

    def summary(self, notes: Sequence[str]) -> Summary:
        """Return what was done."""
        return Summary(
            self.collection.where + self.share.words, self.collection.kind, self.rows, self.without_position,
            self.left_out, tuple(notes), self.unplaced, len(self.numbers) - len(self.to_do), len(self.collection),
        )  # fmt: skip

    def _missing(self, numbers: Sequence[int]) -> list[int]:
        """Return those numbers whose references the store does not hold in their present state."""
        missing = []
        for start in range(0, len(numbers), AT_ONCE):
            wanted = {number: self._named(number) for number in numbers[start : start + AT_ONCE]}
            held = self.collection.states([reference.id for reference in wanted.values()])
            missing += [number for number, one in wanted.items() if held.get(one.id) != one.state]
        return missing

    def _named(self, number: int, position: Sequence[float] | None = None) -> Reference:
        file = printable_name(self.images.files[number])
        return Reference.of(self.source, file, self.cut, position, self.images.stamp(number))

    def _reference(self, image: ReadResult) -> Reference:
        """Return a reference with its place: that of a table, else its own."""
        return self._named(image.number, self._position(image))

    def _position(self, image: ReadResult) -> tuple[float, float] | None:
        return self.images.positions.get(self.images.files[image.number]) or image.position

    def _count(self, batch: Sequence[ReadResult]) -> None:
        """Take in what became of a batch."""
        for image in batch:
            name = self.images.files[image.number]
            if image.fault is not None:
                self.left_out.append((name, image.fault))
                continue
            self.written.append(image.number)
            if self._position(image) is None:
                self.without_position += 1
                if image.note is not None:
                    self.unplaced.append((name, image.note))
