"""Building an index on disk: batch by batch, so that what is killed goes on where it was and ends with the same bytes.

Until it is complete, everything lies in `NAME.partial` beside it. The folder of a finished index holds

    manifest.json       the run, its weights' hash, views, versions, sizes
    vectors.npy         [N, D], float32 or float16, one row a reference
    references.jsonl    {"file", "lat", "lon"} of each row
    left_out.jsonl      {"file", "reason"} of what could not be used
    cells.faiss         the inverted file of an approximate index
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..utils.errors import UserError
from ..utils.files import atomic_path, write_text
from .cells import FILE as CELLS
from .cells import read_cells
from .embedder import Embedder, RunFacts
from .geotags import NameOrder
from .images import Read, Reader
from .listing import ImageList, list_images
from .photos import shown
from .vector_index import Kind, VectorIndex, refuse_two_sources

FORMAT = 1
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "geodtr_plugin")


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
        resumed_at: references that an interrupted build had done before.
    """

    path: Path
    kind: str
    count: int
    without_position: int
    left_out: list[tuple[str, str]]
    notes: tuple[str, ...]
    resumed_at: int = 0


@dataclass
class _Done:
    """What the log of finished batches says: rows that were embedded, positions from EXIF and faults by row."""

    rows: int = 0
    positions: dict[int, list[float]] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)


def build_index(
    run: str | os.PathLike, references: str | os.PathLike, out: str | os.PathLike, *, kind: Kind = "auto",
    nlist: int | None = None, nprobe: int | None = None, dtype: str = "float32", names: NameOrder = "none",
    batch_size: int = 64, device: str = "auto", workers: int = 0, overwrite: bool = False, progress: bool = True,
    cells: str | os.PathLike | None = None, after_batch: Callable[[int], None] | None = None,
) -> Summary:  # fmt: skip
    """Embed references with a run's model and index them; an interrupted build of the same is continued.

    Args:
        run: the run folder.
        references: a folder of images, or a table file,lat,lon.
        out: the index, a folder that is made.
        kind, nlist, nprobe: see VectorIndex.build.
        dtype: of the stored vectors, float32 or float16.
        names: read coordinates from files' names.
        batch_size: images that the network takes at once.
        device: auto, cpu, cuda or mps; cpu keeps faiss from the GPU too.
        workers: processes that decode images; 0 decodes in this one.
        overwrite: replace an index, or an unfinished one of other settings.
        progress: show a bar.
        cells: an index of the same run whose cells are taken, instead of learning kind and nlist's.
        after_batch: called with the number of rows that are done and safe.

    Raises:
        UserError: nothing could be indexed, or `out` is taken, or the cells are of another run.
    """
    out = Path(out).expanduser()
    if dtype not in ("float32", "float16"):
        raise UserError(f"--dtype is {dtype!r}; vectors are stored as float32 or float16.")
    if batch_size < 1:
        raise UserError(f"--batch-size is {batch_size}; it must be 1 at least.")
    _make_way(out, overwrite)
    facts, listed = RunFacts.read(run), list_images(references, names)
    refuse_two_sources(cells, kind, nlist)
    source = None if cells is None else _cells_of(Path(cells).expanduser(), facts)
    if not listed.files:
        raise UserError(_nothing(references, listed.left_out, listed.notes))
    settings = {
        "kind": kind, "nlist": nlist, "nprobe": nprobe, "dtype": dtype, "batch_size": batch_size, "names": names,
        "cells": source,
    }  # fmt: skip
    partial = out.with_name(f"{out.name}.partial")
    _open_partial(partial, _plan(facts, listed, settings), overwrite)
    done = _read_log(partial)
    resumed_at = done.rows
    _embed_rest(partial, Embedder.load(facts, device), listed, done, settings, workers, progress, after_batch)
    if len(done.faults) == len(listed.files):
        shutil.rmtree(partial)
        faults = [(listed.files[row], reason) for row, reason in done.faults.items()]
        raise UserError(_nothing(references, [*faults, *listed.left_out], listed.notes))
    summary = _finish(partial, facts, listed, done, settings, gpu=device.startswith(("auto", "cuda")))
    _replace(partial, out)
    return Summary(out, **summary, notes=listed.notes, resumed_at=resumed_at)


def _make_way(out: Path, overwrite: bool) -> None:
    taken = os.path.lexists(out)
    if taken and not overwrite:
        raise UserError(f"{out} is there already. Choose another -o, or replace it with --overwrite.")
    if taken and not (out / "manifest.json").is_file():
        raise UserError(f"{out} is no index, and is not overwritten. Choose another -o.")


def _cells_of(path: Path, facts: RunFacts) -> list:
    """Folder, size and time of the cells of another index, which must know the same weights."""
    manifest = read_manifest(path)
    if manifest["kind"] == "flat":
        raise UserError(f"{shown(path)} is flat and has no cells. Name one that was built with --kind ivf or ivfpq.")
    if manifest["run"]["sha256"] != facts.sha256:
        raise UserError(f"{shown(path)} was built with other weights. Name an index of the same run with --cells.")
    return [str(path.absolute()), *_state(path / CELLS)]


def _plan(facts: RunFacts, listed: ImageList, settings: dict[str, Any]) -> dict[str, Any]:
    """All that the vectors depend on; a build may only be continued if none of it has changed."""
    root = str(listed.root.absolute())
    files = [[name, *_state(os.path.join(root, name))] for name in listed.files]
    return {
        "format": FORMAT, "facts": asdict(facts), "settings": settings, "versions": _versions(), "root": root,
        "files": files, "positions": {name: list(at) for name, at in listed.positions.items()},
    }  # fmt: skip


def _state(path: str) -> tuple[int, int]:
    """Size and time of a file, by which a changed one is known."""
    try:
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    except (OSError, ValueError):
        return -1, -1


def _open_partial(partial: Path, plan: dict[str, Any], overwrite: bool) -> None:
    file = partial / "plan.json"
    if file.is_file():
        if json.loads(file.read_text(encoding="utf-8")) == plan:
            return
        if not overwrite:
            raise UserError(
                f"{partial} holds an unfinished index of other files, weights or settings. Repeat the command that "
                "began it, or start anew with --overwrite."
            )
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write_text(file, json.dumps(plan))


def _read_log(partial: Path) -> _Done:
    """The finished batches; a last line that was cut off is no batch."""
    done, file = _Done(), partial / "log.jsonl"
    whole = []
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if file.exists() else []:
        if not line.endswith("\n"):
            break
        batch = json.loads(line)
        done.rows = batch["rows"]
        done.positions.update({int(row): at for row, at in batch["positions"].items()})
        done.faults.update({int(row): reason for row, reason in batch["faults"].items()})
        whole.append(line)
    write_text(file, "".join(whole))
    return done


def _embed_rest(
    partial: Path, embedder: Embedder, listed: ImageList, done: _Done, settings: dict[str, Any], workers: int,
    progress: bool, after_batch: Callable[[int], None] | None,
) -> None:  # fmt: skip
    """The batches that are missing, each written before its line in the log says so."""
    file, shape = partial / "embedded.npy", (len(listed.files), embedder.model.embedding_size)
    mode = {"mode": "r+"} if done.rows else {"mode": "w+", "dtype": settings["dtype"], "shape": shape}
    vectors = np.lib.format.open_memmap(file, **mode)
    paths = [os.path.join(listed.root, name) for name in listed.files]
    reader = Reader(paths, lambda image: embedder.on_load(image, "reference"))
    bar = tqdm(
        total=len(paths), initial=done.rows, desc="embedding references", unit="image", disable=not progress
    )  # fmt: skip
    with bar, (partial / "log.jsonl").open("a", encoding="utf-8") as log:
        for batch in reader.batches(settings["batch_size"], done.rows, workers) if done.rows < len(paths) else ():
            good = [read for read in batch if read.fault is None]
            if good:
                vectors[[read.row for read in good]] = embedder.embed([read.pixels for read in good], "reference")
            vectors.flush()
            _note(batch, done)
            log.write(_line(batch, done.rows))
            log.flush()
            bar.update(len(batch))
            if after_batch is not None:
                after_batch(done.rows)


def _note(batch: list[Read], done: _Done) -> None:
    done.rows = batch[-1].row + 1
    done.positions.update({read.row: list(read.position) for read in batch if read.position is not None})
    done.faults.update({read.row: read.fault for read in batch if read.fault is not None})


def _line(batch: list[Read], rows: int) -> str:
    positions = {read.row: read.position for read in batch if read.position is not None}
    faults = {read.row: read.fault for read in batch if read.fault is not None}
    return json.dumps({"rows": rows, "positions": positions, "faults": faults}) + "\n"


def _finish(
    partial: Path, facts: RunFacts, listed: ImageList, done: _Done, settings: dict[str, Any], gpu: bool
) -> dict[str, Any]:  # fmt: skip
    """Everything of the finished index, from the embedded rows; may be done again if it was killed."""
    rows = np.setdiff1d(np.arange(len(listed.files)), list(done.faults))
    _write_good(partial, rows)
    index = VectorIndex.build(
        np.load(partial / "vectors.npy", mmap_mode="r"), settings["kind"], nlist=settings["nlist"],
        nprobe=settings["nprobe"], gpu=gpu,
        cells=None if settings["cells"] is None else read_cells(settings["cells"][0]),
    )  # fmt: skip
    index.save(partial)
    positions = [listed.positions.get(listed.files[row]) or done.positions.get(row) or (None, None) for row in rows]
    left_out = [(listed.files[row], reason) for row, reason in sorted(done.faults.items())] + list(listed.left_out)
    references = [
        {"file": listed.files[row], "lat": lat, "lon": lon} for row, (lat, lon) in zip(rows.tolist(), positions)
    ]
    write_text(partial / "references.jsonl", _lines(references))
    write_text(partial / "left_out.jsonl", _lines({"file": name, "reason": reason} for name, reason in left_out))
    without = sum(lat is None for lat, _ in positions)
    counts = {"references": len(rows), "without_position": without, "left_out": len(left_out)}
    manifest = json.dumps(_manifest(facts, listed, settings, index, counts), indent=2)  # ASCII: any path can be kept
    write_text(partial / "manifest.json", manifest + "\n")
    return {"kind": index.kind, "count": len(rows), "without_position": without, "left_out": left_out}


def _write_good(partial: Path, rows: np.ndarray) -> None:
    """The embedded rows without those of bad images, block by block."""
    embedded = np.load(partial / "embedded.npy", mmap_mode="r")
    with atomic_path(partial / "vectors.npy") as file:
        shape = (len(rows), embedded.shape[1])
        vectors = np.lib.format.open_memmap(file, mode="w+", dtype=embedded.dtype, shape=shape)
        for start in range(0, len(rows), 65_536):
            vectors[start : start + 65_536] = embedded[rows[start : start + 65_536]]
        vectors.flush()


def _manifest(
    facts: RunFacts, listed: ImageList, settings: dict[str, Any], index: VectorIndex, counts: dict[str, int]
) -> dict[str, Any]:  # fmt: skip
    cells = 0 if index.approximate is None else index.approximate.nlist
    return {
        "format": FORMAT, "run": asdict(facts), "root": str(listed.root.absolute()), "counts": counts,
        "embedding_size": index.vectors.shape[1], "dtype": str(index.vectors.dtype), "kind": index.kind,
        "nlist": cells, "nprobe": index.nprobe, "batch_size": settings["batch_size"], "names": settings["names"],
        "versions": _versions(),
    }  # fmt: skip


def _replace(partial: Path, out: Path) -> None:
    """Give the finished index its name."""
    for name in ("embedded.npy", "log.jsonl", "plan.json"):
        (partial / name).unlink(missing_ok=True)
    if out.exists():
        shutil.rmtree(out)
    partial.rename(out)


def _versions() -> dict[str, str]:
    import faiss

    found = {"faiss": faiss.__version__}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # a checkout that is not installed
            found[name] = ""
    return found


def _lines(records) -> str:
    """JSON lines; names that are no UTF-8 survive as escapes."""
    return "".join(json.dumps(record) + "\n" for record in records)


def _nothing(references, left_out, notes) -> str:
    first = "; ".join(f"{shown(name)} {reason}" for name, reason in list(left_out)[:3])
    told = f"{len(left_out):,} were left out: {first}." if left_out else " ".join(notes)
    return f"No image of {shown(references)} could be indexed. {told}".strip()


def read_manifest(path: Path) -> dict[str, Any]:
    """What an index says of itself.

    Raises:
        UserError: there is none, or it is of another format.
    """
    file = path / "manifest.json"
    if not file.is_file():
        unfinished = path.with_name(f"{path.name}.partial").is_dir()
        more = " It is unfinished: repeat the command that began it." if unfinished else ""
        raise UserError(f"{shown(path)} is no index (it has no manifest.json).{more} geodtr index build makes one.")
    manifest = json.loads(file.read_text(encoding="utf-8"))
    if manifest.get("format") != FORMAT:
        found = manifest.get("format")
        raise UserError(f"{shown(path)} has the format {found}; this version reads {FORMAT}. Build it again.")
    return manifest


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSON lines file."""
    with file.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
