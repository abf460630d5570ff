"""The folder of an index on disk: which file holds what, and how it is read.

manifest.json       the run, its weights' hash, image transforms, versions, sizes, the calibration if there is one
reliability.png     of the calibration
vectors.npy         [N, D], float32 or float16, one row a reference
references.jsonl    {"file", "lat", "lon"} of each row
left_out.jsonl      {"file", "reason"} of what could not be used
cells.faiss         the inverted file of an approximate index
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from ..augmentations import ImageTransform
from ..utils.errors import DamagedFileError, UserError
from ..utils.files import write_text
from ..utils.paths import below
from ..utils.reading import read_json, read_json_lines, understood
from ..utils.roles import ROLES
from ..utils.typed import check
from .calibration import Calibration, Reliability
from .embedder import RunRecord
from .gallery import Reference
from .geotags import on_earth
from .photos import printable_name
from .tile_sources.options import TileOptions
from .vector_index import VectorIndex

FORMAT = 1
AGAIN = "Build the index again."
MANIFEST, VECTORS, RELIABILITY = "manifest.json", "vectors.npy", "reliability.png"
REFERENCES, LEFT_OUT = "references.jsonl", "left_out.jsonl"


class Tiles(TypedDict):
    """How the references of an index were cut from its root."""

    options: TileOptions
    pixels: int


class _Optional(TypedDict, total=False):
    tiles: Tiles
    calibration: Calibration


class Manifest(_Optional):
    """What a search needs of manifest.json."""

    format: int
    run: RunRecord
    root: str
    kind: Literal["flat", "ivf", "ivfpq"]
    nprobe: int


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of an index: its kind, sizes and model.

    Raises:
        UserError: there is no index, or it is of another format, or damaged.
    """
    if not (path / MANIFEST).is_file():
        unfinished = path.with_name(f"{path.name}.partial").is_dir()
        raise UserError(
            f"{printable_name(path)} is no index (it has no {MANIFEST}).",
            f"{'It is unfinished: repeat the command that began it. ' if unfinished else ''}"
            "geodtr index build makes one.",
        )
    manifest = read_json(path / MANIFEST, AGAIN)
    if manifest.get("format") != FORMAT:
        message = f"{printable_name(path)} has the format {manifest.get('format')}; this version reads {FORMAT}."
        raise UserError(message, AGAIN)
    with understood(printable_name(path / MANIFEST), AGAIN):
        check(manifest, Manifest, "the manifest")
        if "tiles" in manifest:
            TileOptions(**manifest["tiles"]["options"])
        for role in ROLES:
            ImageTransform.from_config(manifest["run"]["views"][role])
    return manifest


def calibration_of(manifest: Mapping[str, Any]) -> Calibration | None:
    """Return the calibration in a manifest that was read, or None."""
    found = manifest.get("calibration")
    if found is None:
        return None
    reliability = found["reliability"]
    bins = tuple(map(tuple, reliability["bins"]))
    kept = {"taken_as": tuple(found["taken_as"]), "reliability": Reliability(**{**reliability, "bins": bins})}
    return Calibration(**{**found, **kept})


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write a calibration into the manifest of an index, in place of another."""
    manifest = {**read_manifest(path), "calibration": asdict(calibration)}
    write_text(path / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def read_references(path: Path) -> list[Reference]:
    """Read the file, latitude and longitude of each row of an index.

    Raises:
        DamagedFileError: a line is no reference, or its file would lie elsewhere.
    """
    file, references = path / REFERENCES, []
    for number, line in enumerate(read_json_lines(file, AGAIN), start=1):
        where = f"Line {number} of {printable_name(file)}"
        with understood(where, AGAIN):
            name, lat, lon = line["file"], line["lat"], line["lon"]
            if lat is not lon and on_earth(lat, lon) is None:  # None of both where the position is not known
                raise ValueError(f"{lat}, {lon} is nowhere on Earth")
            below(name, where)
        references.append((name, lat, lon))
    return references


def load_vectors(path: str | os.PathLike) -> VectorIndex:
    """Return the vectors of an index, memory-mapped, without its model.

    Raises:
        UserError: there is no index, or its vectors cannot be read.
    """
    path = Path(path)
    manifest = read_manifest(path)
    try:
        vectors = np.load(path / VECTORS, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise DamagedFileError(f"{printable_name(path)} has no readable {VECTORS} ({error}).", AGAIN) from error
    return VectorIndex.load(vectors, path, manifest["nprobe"])


def write_json_lines(file: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write records, one a line; names that are no UTF-8 survive as escapes."""
    write_text(file, "".join(json.dumps(record) + "\n" for record in records))
