"""Building an index on disk, whole or not at all; a build that was interrupted goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..augmentations import ImageTransform
from ..utils.claims import claimed
from ..utils.errors import UserError
from .calibration import Calibration
from .embedder import Embedder, RunRecord
from .geotags import NameOrder
from .held_out import calibrate_index, read_held_out
from .index_folder import MANIFEST
from .listing import list_images, polar_notes
from .locator import Locator
from .photos import printable_name
from .references import References
from .tile_sources.options import TileOptions
from .unfinished import UnfinishedIndex, recover
from .vector_index import Kind


@dataclass(frozen=True)
class Summary:
    """What was built.

    Args:
        where: the index, or the collection in a store.
        kind: flat, ivf or ivfpq; in a store, its own name of a kind.
        count: references that were indexed.
        without_position: those of them that have no coordinates.
        left_out: (name, reason) of what is not in it.
        notes: sentences that a user must read.
        unplaced: (name, reason) of references whose EXIF has coordinates that cannot be read.
        resumed_at: images that had been done before.
        total: references in a store, whoever wrote them.
        calibration: of first matches, or None.
    """

    where: str
    kind: str
    count: int
    without_position: int
    left_out: list[tuple[str, str]]
    notes: tuple[str, ...]
    unplaced: list[tuple[str, str]]
    resumed_at: int = 0
    total: int | None = None
    calibration: Calibration | None = None


def build_index(
    run: str | os.PathLike, references: str | os.PathLike, out: str | os.PathLike, *, kind: Kind = "auto",
    nlist: int | None = None, nprobe: int | None = None, dtype: str = "float32", names: NameOrder = "none",
    batch_size: int = 64, device: str = "auto", workers: int = 0, overwrite: bool = False, progress: bool = True,
    tiles: TileOptions | None = None, calibrate: str | os.PathLike | None = None, headings: int = 0,
    after_batch: Callable[[int], None] | None = None,
) -> Summary:  # fmt: skip
    """Embed references with a run's model and index them, or go on with an interrupted build of equal settings.

    Args:
        run: the run folder.
        references: a folder of images, or a table file,lat,lon; with `tiles`, a picture of the ground.
        out: the index, a folder that is made.
        kind, nlist, nprobe: see `VectorIndex.build`.
        dtype: of the stored vectors, float32 or float16.
        names: read coordinates from files' names, see `geotags.name_position`.
        batch_size: images that the network takes at once.
        device: auto, cpu, cuda or mps.
        workers: processes that decode images; 0 decodes in this one.
        overwrite: replace an index, or an unfinished one of other settings.
        progress: show a bar.
        tiles: cut these from `references`: a z/x/y tree, MBTiles, a GeoTIFF or a folder of them.
        calibrate: photos with known places, or a rendered world, see `held_out.read_held_out`, on which the
            probability is fitted that a first match is right; None: that is not told.
        headings: how many are tried for each of these photos; searches that try as many are told a probability.
        after_batch: called with the number of images that are done and safe.

    Raises:
        UserError: nothing could be indexed, or `out` is taken, or the disk is full.
        InUseError: another process builds the same index.
    """
    out = Path(out).expanduser()
    if dtype not in ("float32", "float16"):
        raise UserError(f"--dtype is {dtype!r}; vectors are stored as float32 or float16.")
    if batch_size < 1:
        raise UserError(f"--batch-size is {batch_size}; it must be 1 at least.")
    held_out = None if calibrate is None else read_held_out(calibrate)
    with claimed(out.with_name(f".{out.name}.lock"), f"The index {printable_name(out)}"):
        recover(out)
        _refuse_taken(out, overwrite)
        record = RunRecord.read(run)
        images, notes = references_of(references, names, tiles, record)
        settings = {
            "kind": kind, "nlist": nlist, "nprobe": nprobe, "dtype": dtype, "batch_size": batch_size, "names": names,
        }  # fmt: skip
        embedder = Embedder.load(record, device)
        if embedder.model.distance is not None:
            settings["kind"] = _exact_kind(embedder.model.method_name, kind)
        index = UnfinishedIndex(out, record, images, settings)
        index.open(overwrite)
        resumed_at = len(index.done)
        try:
            index.embed(embedder, workers, progress, after_batch)
        finally:
            if not index.done:
                index.discard()
        if not index.rows:
            index.discard()
            raise nothing_indexed(references, index.left_out(), notes)
        chosen, without_position = index.finish()
        calibration = None
        if held_out is not None:
            locator = Locator.load(index.index, device=device, headings=headings)
            calibration = calibrate_index(index.index, locator, held_out, workers)
        index.publish()
    return Summary(
        printable_name(out), chosen, index.rows, without_position, index.left_out(), notes, index.unplaced(),
        resumed_at, calibration=calibration,
    )  # fmt: skip


def references_of(
    references: str | os.PathLike, names: NameOrder, tiles: TileOptions | None, record: RunRecord
) -> tuple[References, tuple[str, ...]]:
    """Return the images to be embedded, in files or as tiles in the resolution of the network's input, and notes.

    Raises:
        UserError: there are none.
    """
    images: References
    if tiles is None:
        images = list_images(references, names)
    else:
        from .tile_sources.tile_list import TileList

        images = TileList(references, tiles, ImageTransform.from_config(record.views["reference"]).tile_pixels)
    notes = images.notes
    if record.views["reference"]["polar"]:
        notes += polar_notes(references) if tiles is None else tiles.polar_notes()
    if not images.files:
        raise nothing_indexed(references, images.left_out, notes)
    return images, notes


def _exact_kind(method: str, kind: Kind) -> Kind:
    """Return the kind of an index for a model whose distance is no inner product, which cells would need."""
    if kind not in ("auto", "flat"):
        raise UserError(
            f"{method} compares images at all headings, for which there are no cells: its index is searched whole.",
            "Leave out --kind.",
        )
    return "flat"


def _refuse_taken(out: Path, overwrite: bool) -> None:
    taken = os.path.lexists(out)
    if taken and not overwrite:
        raise UserError(f"{out} is there already.", "Choose another -o, or replace it with --overwrite.")
    if taken and not (out / MANIFEST).is_file():
        raise UserError(f"{out} is no index, and is not overwritten.", "Choose another -o.")


def nothing_indexed(
    references: str | os.PathLike, left_out: Sequence[tuple[str, str]], notes: Sequence[str]
) -> UserError:
    """Return the error that says why no image could be used."""
    examples = "; ".join(f"{printable_name(name)} {reason}" for name, reason in left_out[:3])
    reason = f"{len(left_out):,} were left out: {examples}." if left_out else " ".join(notes)
    return UserError(f"No image of {printable_name(references)} could be indexed. {reason}".strip())
