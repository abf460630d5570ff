"""Building an index on disk: batch by batch, so that a killed build goes on where it was and ends with equal bytes.

Until it is complete, everything lies in the folder `NAME.partial` beside it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..utils.errors import DamagedFileError, UserError
from ..utils.files import write_text
from ..utils.reading import parse_json, read_json, read_text, understood
from ..utils.typed import check
from ..utils.versions import package_versions
from .cells import CELLS_FILE, read_cells
from .embedder import Embedder, RunRecord
from .geotags import NameOrder
from .index_folder import FORMAT, LEFT_OUT, MANIFEST, REFERENCES, VECTORS, read_manifest, write_json_lines
from .listing import ImageList, list_images, polar_notes
from .photo_reader import PhotoReader
from .photos import printable_name
from .vector_index import Kind, VectorIndex, refuse_two_sources

PLAN, LOG = "plan.json", "log.jsonl"  # of an unfinished index: what is to be built, and a line a finished batch


@dataclass(frozen=True)
class Summary:
    """What was built.

    Args:
        path: the index.
        kind: flat, ivf or ivfpq.
        count: references in it.
        without_position: those of them that have no coordinates.
        left_out: (name, reason) of what is not in it.
        notes: sentences that a user must read.
        resumed_at: images that an interrupted build had done before.
    """

    path: Path
    kind: str
    count: int
    without_position: int
    left_out: list[tuple[str, str]]
    notes: tuple[str, ...]
    resumed_at: int = 0


def build_index(
    run: str | os.PathLike, references: str | os.PathLike, out: str | os.PathLike, *, kind: Kind = "auto",
    nlist: int | None = None, nprobe: int | None = None, dtype: str = "float32", names: NameOrder = "none",
    batch_size: int = 64, device: str = "auto", workers: int = 0, overwrite: bool = False, progress: bool = True,
    cells: str | os.PathLike | None = None, after_batch: Callable[[int], None] | None = None,
) -> Summary:  # fmt: skip
    """Embed references with a run's model and index them, or go on with an interrupted build of equal settings.

    Args:
        run: the run folder.
        references: a folder of images, or a table file,lat,lon.
        out: the index, a folder that is made.
        kind, nlist, nprobe: see `VectorIndex.build`.
        dtype: of the stored vectors, float32 or float16.
        names: read coordinates from files' names, see `geotags.name_position`.
        batch_size: images that the network takes at once.
        device: auto, cpu, cuda or mps.
        workers: processes that decode images; 0 decodes in this one.
        overwrite: replace an index, or an unfinished one of other settings.
        progress: show a bar.
        cells: an index of the same run whose cells are taken, instead of learning those of `kind` and `nlist`.
        after_batch: called with the number of images that are done and safe.

    Raises:
        UserError: nothing could be indexed, or `out` is taken, or the cells are of another run.
    """
    out = Path(out).expanduser()
    if dtype not in ("float32", "float16"):
        raise UserError(f"--dtype is {dtype!r}; vectors are stored as float32 or float16.")
    if batch_size < 1:
        raise UserError(f"--batch-size is {batch_size}; it must be 1 at least.")
    _refuse_taken(out, overwrite)
    record, images = RunRecord.read(run), list_images(references, names)
    notes = (*images.notes, *(polar_notes(references) if record.views["reference"]["polar"] else ()))
    refuse_two_sources(cells, kind, nlist)
    settings = {
        "kind": kind, "nlist": nlist, "nprobe": nprobe, "dtype": dtype, "batch_size": batch_size, "names": names,
        "cells": None if cells is None else _state_of_cells(Path(cells).expanduser(), record),
    }  # fmt: skip
    if not images.files:
        raise _nothing_indexed(references, images.left_out, notes)
    build = _Build(out.with_name(f"{out.name}.partial"), record, images, settings)
    build.open(overwrite)
    resumed_at = len(build.done)
    build.embed(Embedder.load(record, device), workers, progress, after_batch)
    if not build.rows:
        shutil.rmtree(build.folder)
        raise _nothing_indexed(references, build.left_out(), notes)
    chosen, without_position = build.finish()
    if out.exists():
        shutil.rmtree(out)
    build.folder.rename(out)
    return Summary(out, chosen, build.rows, without_position, build.left_out(), notes, resumed_at)


def _refuse_taken(out: Path, overwrite: bool) -> None:
    taken = os.path.lexists(out)
    if taken and not overwrite:
        raise UserError(f"{out} is there already.", "Choose another -o, or replace it with --overwrite.")
    if taken and not (out / MANIFEST).is_file():
        raise UserError(f"{out} is no index, and is not overwritten.", "Choose another -o.")


def _state_of_cells(path: Path, record: RunRecord) -> list:
    """Return folder, size and time of the cells of another index, which must be of the same weights."""
    manifest = read_manifest(path)
    name = printable_name(path)
    if manifest["kind"] == "flat":
        raise UserError(f"{name} is flat and has no cells.", "Name one that was built with --kind ivf or ivfpq.")
    if manifest["run"]["sha256"] != record.sha256:
        raise UserError(f"{name} was built with other weights.", "Name an index of the same run with --cells.")
    return [str(path.absolute()), *_state(path / CELLS_FILE)]


def _state(path: str | os.PathLike) -> tuple[int, int]:
    """Return size and time of a file, by which a changed one is known."""
    try:
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    except (OSError, ValueError):
        return -1, -1


def _nothing_indexed(references: str | os.PathLike, left_out: Sequence[tuple[str, str]], notes) -> UserError:
    examples = "; ".join(f"{printable_name(name)} {reason}" for name, reason in left_out[:3])
    reason = f"{len(left_out):,} were left out: {examples}." if left_out else " ".join(notes)
    return UserError(f"No image of {printable_name(references)} could be indexed. {reason}".strip())


class _Build:
    """An unfinished index in its folder.

    Args:
        folder: where it lies until it is finished.
        record: of the run whose model embeds.
        images: the references.
        settings: all else that the finished index depends on.
    """

    def __init__(self, folder: Path, record: RunRecord, images: ImageList, settings: dict[str, Any]):
        self.folder, self.record, self.images, self.settings = folder, record, images, settings
        self.versions = package_versions(("torch", "torchvision", "timm", "numpy", "pillow", "geodtr_plugin"))
        self.done: list[tuple[Sequence[float] | None, str | None]] = []  # position from EXIF and fault of each image
        self.rows = 0  # of the vectors: images without a fault

    def open(self, overwrite: bool) -> None:
        """Go on with what the folder holds, or begin anew; an unfinished index of something else is refused."""
        file, plan = self.folder / PLAN, self._plan()
        if file.is_file():
            remedy = "Repeat the command that began it, or start anew with --overwrite."
            what = f"{self.folder} holds an unfinished index of other files, weights or settings."
            try:
                if read_json(file, remedy) == plan:
                    return self._read_log(remedy)
            except DamagedFileError as error:
                what = error.message
            if not overwrite:
                raise UserError(what, remedy)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        write_text(file, json.dumps(plan))

    def embed(
        self, embedder: Embedder, workers: int, progress: bool, after_batch: Callable[[int], None] | None
    ) -> None:
        """Embed the images that are not done; a batch's rows are written before its line in the log."""
        root, files = self.images.root, self.images.files
        vectors = self._vectors(embedder.model.embedding_size)
        reader = PhotoReader([os.path.join(root, name) for name in files], lambda x: embedder.on_load(x, "reference"))
        bar = tqdm(
            total=len(files), initial=len(self.done), desc="embedding references", unit="image", disable=not progress
        )  # fmt: skip
        with bar, (self.folder / LOG).open("a", encoding="utf-8") as log:
            for batch in reader.batches(self.settings["batch_size"], len(self.done), workers):
                pixels = [image.pixels for image in batch if image.fault is None]
                if pixels:
                    vectors[self.rows : self.rows + len(pixels)] = embedder.embed(pixels, "reference")
                    vectors.flush()
                results = [(image.position, image.fault) for image in batch]
                log.write(json.dumps(results) + "\n")
                log.flush()
                self._count(results)
                bar.update(len(batch))
                if after_batch is not None:
                    after_batch(len(self.done))

    def finish(self) -> tuple[str, int]:
        """Write all other files, and return the kind of the index and its number of references without a position.

        May be repeated if it was killed.
        """
        _keep_first_rows(self.folder / VECTORS, self.rows)
        cells = self.settings["cells"]
        index = VectorIndex.build(
            np.load(self.folder / VECTORS, mmap_mode="r"), self.settings["kind"], nlist=self.settings["nlist"],
            nprobe=self.settings["nprobe"], cells=None if cells is None else read_cells(cells[0]),
        )  # fmt: skip
        index.save(self.folder)
        used = [(file, at) for file, (at, fault) in zip(self.images.files, self.done) if fault is None]
        positions = [tuple(self.images.positions.get(file) or at or (None, None)) for file, at in used]
        references = ({"file": file, "lat": lat, "lon": lon} for (file, _), (lat, lon) in zip(used, positions))
        write_json_lines(self.folder / REFERENCES, references)
        write_json_lines(self.folder / LEFT_OUT, ({"file": name, "reason": why} for name, why in self.left_out()))
        without_position = positions.count((None, None))
        manifest = json.dumps(self._manifest(index, without_position), indent=2)
        write_text(self.folder / MANIFEST, manifest + "\n")  # ASCII: any path can be kept
        (self.folder / LOG).unlink(missing_ok=True)
        (self.folder / PLAN).unlink()
        return index.kind, without_position

    def left_out(self) -> list[tuple[str, str]]:
        """Return (name, reason) of all images that have no row."""
        faults = [(file, fault) for file, (_, fault) in zip(self.images.files, self.done) if fault is not None]
        return [*faults, *self.images.left_out]

    def _plan(self) -> dict[str, Any]:
        """Return all that the vectors depend on; a build may only be continued if none of it has changed."""
        root = self.images.root
        return {
            "record": asdict(self.record), "settings": self.settings, "versions": self.versions,
            "root": str(root.absolute()),
            "files": [[name, *_state(os.path.join(root, name))] for name in self.images.files],
            "positions": {name: list(at) for name, at in self.images.positions.items()},
        }  # fmt: skip

    def _read_log(self, remedy: str) -> None:
        """Count the finished batches; a last line that was cut off is no batch, and is removed."""
        file = self.folder / LOG
        lines = read_text(file, remedy).splitlines(keepends=True) if file.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        batches = [parse_json(line, f"Line {i} of {file}", remedy, list) for i, line in enumerate(whole, start=1)]
        with understood(file, remedy):
            check(batches, list[list[tuple[tuple[float, float] | None, str | None]]], "its content")
            if sum(map(len, batches)) > len(self.images.files):
                raise ValueError("it names more images than there are")
        for batch in batches:
            self._count(batch)
        write_text(file, "".join(whole))

    def _count(self, results: Sequence[tuple[Sequence[float] | None, str | None]]) -> None:
        """Take in what became of the next images."""
        self.done += results
        self.rows += sum(fault is None for _, fault in results)

    def _vectors(self, size: int) -> np.memmap:
        """Return the rows `[N, size]` of all images; those without a fault fill the first ones."""
        shape = (len(self.images.files), size)
        mode = {"mode": "r+"} if self.done else {"mode": "w+", "dtype": self.settings["dtype"], "shape": shape}
        return np.lib.format.open_memmap(self.folder / VECTORS, **mode)

    def _manifest(self, index: VectorIndex, without_position: int) -> dict[str, Any]:
        import faiss

        cells = 0 if index.approximate is None else index.approximate.nlist
        return {
            "format": FORMAT, "run": asdict(self.record), "root": str(self.images.root.absolute()),
            "counts": {"references": self.rows, "without_position": without_position, "left_out": len(self.left_out())},
            "embedding_size": index.vectors.shape[1], "dtype": str(index.vectors.dtype), "kind": index.kind,
            "nlist": cells, "nprobe": index.nprobe, "batch_size": self.settings["batch_size"],
            "names": self.settings["names"], "versions": {"faiss": faiss.__version__, **self.versions},
        }  # fmt: skip


def _keep_first_rows(file: Path, count: int) -> None:
    """Cut the array in a `.npy` file to its first `count` rows, in place."""
    rows = np.load(file, mmap_mode="r")
    start, shape, dtype = rows.offset, (count, rows.shape[1]), rows.dtype
    del rows  # some systems cut no file that is mapped
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with file.open("r+b") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        assert stream.tell() == start, "numpy leaves room in the header for any number of rows"
        stream.truncate(start + count * shape[1] * dtype.itemsize)
