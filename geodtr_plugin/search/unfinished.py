"""An index that is being built: batch by batch, so that a killed build goes on where it was and ends with equal bytes.

Everything lies in the folder `NAME.partial` beside the index:

plan.json       what is to be built
images.jsonl    a line a finished batch
index/          the files of the index, which becomes NAME at the end
replaced/       for an instant, the index that was NAME before
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..utils.errors import DamagedFileError, UserError
from ..utils.files import write_text
from ..utils.leftovers import sweep_own
from ..utils.npy_files import new_array
from ..utils.reading import parse_json, read_json, read_text, understood
from ..utils.typed import check
from ..utils.versions import package_versions
from .embedder import Embedder, RunRecord
from .index_folder import FORMAT, LEFT_OUT, MANIFEST, REFERENCES, VECTORS, write_json_lines
from .references import References
from .vector_index import VectorIndex

PLAN, LOG = "plan.json", "images.jsonl"

Result = tuple[Sequence[float] | None, str | None, str | None]  # position from EXIF, fault and note of an image


class UnfinishedIndex:
    """An index on its way.

    Args:
        out: what it becomes.
        record: of the run whose model embeds.
        images: the references.
        settings: all else that the finished index depends on.
    """

    def __init__(self, out: Path, record: RunRecord, images: References, settings: dict[str, Any]):
        self.out, self.folder = out, partial_folder(out)
        self.index, self.replaced = self.folder / "index", self.folder / "replaced"
        self.record, self.images, self.settings = record, images, settings
        self.versions = package_versions(("torch", "torchvision", "timm", "numpy", "pillow", "geodtr_plugin"))
        self.done: list[Result] = []
        self.rows = 0  # of the vectors: images without a fault

    def open(self, overwrite: bool) -> None:
        """Go on with what the folder holds, or begin anew; an unfinished index of something else is refused."""
        file, plan = self.folder / PLAN, self._plan()
        has_rows = (self.index / VECTORS).is_file() or not (self.folder / LOG).is_file()
        if file.is_file() and self.index.is_dir() and has_rows:
            sweep_own(self.folder)
            sweep_own(self.index)
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
        self.index.mkdir()

    def embed(
        self, embedder: Embedder, workers: int, progress: bool, after_batch: Callable[[int], None] | None
    ) -> None:
        """Embed the images that are not done; a batch's rows are written before its line in the log."""
        vectors = self._vectors(embedder.model.embedding_size)
        reader = self.images.reader(lambda x: embedder.on_load(x, "reference"))
        to_do = range(len(self.done), len(self.images.files))
        bar = tqdm(
            total=len(self.images.files), initial=len(self.done), desc="embedding references", unit="image",
            disable=not progress,
        )  # fmt: skip
        with bar, (self.folder / LOG).open("a", encoding="utf-8") as log:
            for batch in reader.batches(self.settings["batch_size"], to_do, workers):
                pixels = [image.pixels for image in batch if image.fault is None]
                if pixels:
                    vectors[self.rows : self.rows + len(pixels)] = embedder.embed(pixels, "reference")
                    vectors.flush()
                results = [(image.position, image.fault, image.note) for image in batch]
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
        _keep_first_rows(self.index / VECTORS, self.rows)
        vectors, asked = np.load(self.index / VECTORS, mmap_mode="r"), self.settings
        index = VectorIndex.build(vectors, asked["kind"], nlist=asked["nlist"], nprobe=asked["nprobe"])
        index.save(self.index)
        used = [(file, at) for file, (at, fault, _) in zip(self.images.files, self.done) if fault is None]
        positions = [tuple(self.images.positions.get(file) or at or (None, None)) for file, at in used]
        references = ({"file": file, "lat": lat, "lon": lon} for (file, _), (lat, lon) in zip(used, positions))
        write_json_lines(self.index / REFERENCES, references)
        write_json_lines(self.index / LEFT_OUT, ({"file": name, "reason": why} for name, why in self.left_out()))
        without_position = positions.count((None, None))
        manifest = json.dumps(self._manifest(index, without_position), indent=2)
        write_text(self.index / MANIFEST, manifest + "\n")  # ASCII: any path can be kept
        return index.kind, without_position

    def publish(self) -> None:
        """Give the finished index its name; `recover` repairs what a kill in the midst of it leaves."""
        if self.out.exists():
            shutil.rmtree(self.replaced, ignore_errors=True)
            self.out.rename(self.replaced)
        self.index.rename(self.out)
        self.discard()

    def discard(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.folder)

    def left_out(self) -> list[tuple[str, str]]:
        """Return (name, reason) of all images that have no row."""
        faults = [(file, fault) for file, (_, fault, _) in zip(self.images.files, self.done) if fault is not None]
        return [*faults, *self.images.left_out]

    def unplaced(self) -> list[tuple[str, str]]:
        """Return (name, reason) of the references that would have a position, if their EXIF could be read."""
        notes = [(file, note) for file, (_, _, note) in zip(self.images.files, self.done) if note is not None]
        return [(file, note) for file, note in notes if file not in self.images.positions]

    def _plan(self) -> dict[str, Any]:
        """Return all that the vectors depend on; a build may only be continued if none of it has changed."""
        made_of = {"record": asdict(self.record), "settings": self.settings, "versions": self.versions}
        return {**made_of, **self.images.state()}

    def _read_log(self, remedy: str) -> None:
        """Count the finished batches; a last line that was cut off is no batch, and is removed."""
        file = self.folder / LOG
        lines = read_text(file, remedy).splitlines(keepends=True) if file.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        batches = [parse_json(line, f"Line {i} of {file}", remedy, list) for i, line in enumerate(whole, start=1)]
        with understood(file, remedy):
            check(batches, list[list[tuple[tuple[float, float] | None, str | None, str | None]]], "its content")
            if sum(map(len, batches)) > len(self.images.files):
                raise ValueError("it names more images than there are")
        for batch in batches:
            self._count(batch)
        write_text(file, "".join(whole))

    def _count(self, results: Sequence[Result]) -> None:
        """Take in what became of the next images."""
        self.done += results
        self.rows += sum(fault is None for _, fault, _ in results)

    def _vectors(self, size: int) -> np.ndarray:
        """Return the rows `[N, size]` of all images; those without a fault fill the first ones."""
        file = self.index / VECTORS
        if self.done:
            return np.load(file, mmap_mode="r+")
        remedy = "Free some space, or choose an -o on another disk."
        return new_array(file, (len(self.images.files), size), self.settings["dtype"], "vectors", remedy)

    def _manifest(self, index: VectorIndex, without_position: int) -> dict[str, Any]:
        import faiss

        cells = 0 if index.approximate is None else index.approximate.nlist
        return {
            "format": FORMAT, "run": asdict(self.record), "root": str(self.images.root.absolute()),
            "counts": {"references": self.rows, "without_position": without_position, "left_out": len(self.left_out())},
            "embedding_size": index.vectors.shape[1], "dtype": str(index.vectors.dtype), "kind": index.kind,
            "nlist": cells, "nprobe": index.nprobe, "batch_size": self.settings["batch_size"],
            "names": self.settings["names"], "versions": {"faiss": faiss.__version__, **self.versions},
            **self.images.described(),
        }  # fmt: skip


def partial_folder(out: Path) -> Path:
    """Return where an index lies until it is finished."""
    return out.with_name(f"{out.name}.partial")


def recover(out: Path) -> None:
    """Finish what a build that was killed in `publish` had begun: its index, or else the one before, is there again."""
    folder = partial_folder(out)
    if not out.exists() and (folder / "replaced").is_dir():
        (folder / "replaced").rename(out)
    if folder.is_dir() and not (folder / "index").is_dir():
        shutil.rmtree(folder)


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
