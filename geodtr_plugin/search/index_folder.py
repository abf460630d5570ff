"""The folder of an index on disk: which file holds what, and how it is read.

manifest.json       the run, its weights' hash, image transforms, versions, sizes
vectors.npy         [N, D], float32 or float16, one row a reference
references.jsonl    {"file", "lat", "lon"} of each row
left_out.jsonl      {"file", "reason"} of what could not be used
cells.faiss         the inverted file of an approximate index
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.errors import UserError
from ..utils.files import write_text
from ..utils.paths import below
from .photos import printable_name
from .vector_index import VectorIndex

FORMAT = 1
MANIFEST, VECTORS = "manifest.json", "vectors.npy"
REFERENCES, LEFT_OUT = "references.jsonl", "left_out.jsonl"


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of an index: its kind, sizes and model.

    Raises:
        UserError: there is no index, or it is of another format.
    """
    if not (path / MANIFEST).is_file():
        unfinished = path.with_name(f"{path.name}.partial").is_dir()
        raise UserError(
            f"{printable_name(path)} is no index (it has no {MANIFEST}).",
            f"{'It is unfinished: repeat the command that began it. ' if unfinished else ''}"
            "geodtr index build makes one.",
        )
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if manifest.get("format") != FORMAT:
        message = f"{printable_name(path)} has the format {manifest.get('format')}; this version reads {FORMAT}."
        raise UserError(message, "Build it again.")
    return manifest


def read_references(path: Path, root: str = "") -> list[tuple[str, float | None, float | None]]:
    """Read the file, latitude and longitude of each row of an index; files below `root`, where it is given.

    Raises:
        DatasetCorruptError: a file would lie elsewhere.
    """
    lines = list(read_json_lines(path / REFERENCES))
    for number, line in enumerate(lines, start=1):
        below(line["file"], f"Line {number} of {printable_name(path / REFERENCES)}")
    return [(os.path.join(root, line["file"]), line["lat"], line["lon"]) for line in lines]


def load_vectors(path: str | os.PathLike) -> VectorIndex:
    """Return the vectors of an index, memory-mapped, without its model.

    Raises:
        UserError: there is no index, or its vectors cannot be read.
    """
    path = Path(path)
    manifest = read_manifest(path)
    try:
        vectors = np.load(path / VECTORS, mmap_mode="r")
    except (OSError, ValueError) as error:
        message = f"{printable_name(path)} has no readable {VECTORS} ({error})."
        raise UserError(message, "Build the index again.") from error
    return VectorIndex.load(vectors, path, manifest["nprobe"])


def read_json_lines(file: Path) -> Iterator[dict[str, Any]]:
    """Return the records of a file with a JSON value on each line."""
    with file.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def write_json_lines(file: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write records, one a line; names that are no UTF-8 survive as escapes."""
    write_text(file, "".join(json.dumps(record) + "\n" for record in records))
