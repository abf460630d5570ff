"""Which images are to be indexed or located: those of a folder, or those that a table names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..datasets.folder_csv import Row, Table, read_table
from ..utils.errors import DatasetCorruptError, DatasetNotFoundError, UserError
from ..utils.roles import ROLE_FOLDERS
from .geotags import NameOrder, name_position
from .photos import printable_name

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .tif .tiff .bmp .gif .jp2 .j2k .avif .ppm .pgm .heic .heif".split()
)


@dataclass(frozen=True)
class ImageList:
    """Images by name, in a fixed order.

    Args:
        root: the folder that the names start from.
        files: names below it, in the system's encoding.
        positions: latitude and longitude in degrees by name, for those that have some.
        left_out: (name, reason) of what cannot be used, as far as that is known without opening it.
        notes: sentences that a user must read.
    """

    root: Path
    files: tuple[str, ...]
    positions: dict[str, tuple[float, float]] = field(default_factory=dict)
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def list_images(where: str | os.PathLike, names: NameOrder = "none") -> ImageList:
    """List the images of a folder, searched to its last subfolder, or those that a CSV table `file,lat,lon` names.

    A folder of own data (folders queries and references) stands for its table, or without one for its references; the
    queries are passed over. Names in a table start from the folder of the table.

    Args:
        where: the folder or the table.
        names: read coordinates from the names of files, see `geotags.name_position`; a table goes before.

    Raises:
        DatasetNotFoundError: there is neither a folder nor a table.
        DatasetCorruptError: the table has no rows file,lat,lon.
    """
    where = Path(where).expanduser()
    if where.suffix.lower() == ".csv" and where.is_file():
        images = _from_table(where)
    elif where.is_dir():
        tables = [path for path in where.iterdir() if path.suffix.lower() == ".csv"]
        if not _is_own_data(where):
            images = _from_folder(where)
        else:
            images = _from_table(tables[0]) if len(tables) == 1 else _from_folder(where / "references")
    else:
        raise _nothing_at(where)
    in_names = {name: at for name in images.files if (at := name_position(name, names)) is not None}
    return replace(images, positions={**in_names, **images.positions})


def list_photos(places: Sequence[str]) -> ImageList:
    """List files as they are and the images of folders, in the order of `places`; a file that comes twice once."""
    files: list[str] = []
    left_out: list[tuple[str, str]] = []
    notes: list[str] = []
    for place in places:
        if os.path.isdir(place):
            inside = _from_folder(Path(place))
            files += [os.path.join(place, name) for name in inside.files]
            left_out += [(os.path.join(place, name), reason) for name, reason in inside.left_out]
            notes += inside.notes
        else:
            files.append(place)
    kept, repeated = _without_repeats(Path(), files)
    return ImageList(Path(), tuple(kept), {}, (*left_out, *repeated), tuple(notes))


def _is_own_data(folder: Path) -> bool:
    """Tell whether `--train folder:PATH` would read this folder."""
    return all((folder / name).is_dir() for name in ROLE_FOLDERS)


def _nothing_at(where: Path) -> DatasetNotFoundError:
    if where.name.startswith("synth-"):
        return DatasetNotFoundError(
            f"{where} is no folder.",
            f"Write the world to one first: geodtr data write {where.name} --out my_city, then --references my_city.",
        )
    kind = "a file, but neither a folder nor a .csv table" if where.exists() else "not there"
    message = f"{printable_name(where)} is {kind}."
    return DatasetNotFoundError(message, "Name a folder of images, or a table file,lat,lon.")


def _from_folder(root: Path) -> ImageList:
    names, left_out = _walk(root)
    images = [
        name for name in names
        if os.path.splitext(name)[1].lower() in SUFFIXES and not os.path.basename(name).startswith(".")
    ]  # fmt: skip
    kept, repeated = _without_repeats(root, sorted(images, key=os.fsencode))
    others = len(names) - len(images)
    notes = (f"{others:,} other files in {printable_name(root)} are no images by their names.",) if others else ()
    return ImageList(root, tuple(kept), {}, (*left_out, *repeated), notes)


def _walk(root: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the names of all files below a folder, links followed, and (folder, reason) where one cannot be listed."""
    names, refused, entered = [], [], set()

    def refuse(error: OSError) -> None:
        refused.append((os.path.relpath(error.filename, root), f"cannot be searched ({error.strerror})"))

    for folder, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:  # a link leads back here, or there are two ways
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders.sort(key=os.fsencode)
        below = folder[len(os.fspath(root)) :].lstrip(os.sep)
        names += [os.path.join(below, name) for name in files]
    return names, refused


def _without_repeats(root: Path, names: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the names whose files have not come before under another name, and the others with a reason."""
    first: dict[str, str] = {}
    kept, repeated = [], []
    for name in names:
        target = os.path.realpath(os.path.join(root, name))
        if target in first:
            again = first[target] == name
            reason = "is named twice" if again else f"is the same file as {printable_name(first[target])}"
            repeated.append((name, reason))
        else:
            first[target] = name
            kept.append(name)
    return kept, repeated


def _from_table(path: Path) -> ImageList:
    table, root = read_table(path), path.parent
    if not table.has_positions:
        raise DatasetCorruptError(f"{printable_name(path)} names pairs.", "References need rows file,lat,lon.")
    own = _is_own_data(root)
    positions: dict[str, tuple[float, float] | None] = {}
    left_out: list[tuple[str, str]] = []
    notes: list[str] = []
    queries = 0
    for row in table.rows:
        name = _reference_name(root, row.cells[0]) if own else row.cells[0]
        if name is None:
            queries += 1
        elif not os.path.lexists(root / name):
            left_out.append((name, f"is not there (line {row.line} of {printable_name(path)})"))
        elif name in positions:
            left_out.append((name, f"is named twice (line {row.line} of {printable_name(path)})"))
        else:
            positions[name] = _position(table, row, notes)
    if queries:
        table_name = printable_name(path)
        notes.append(f"{queries:,} rows of {table_name} name no references of this own data set, and are passed over.")
    kept, repeated = _without_repeats(root, list(positions))
    known = {name: position for name in kept if (position := positions[name]) is not None}
    return ImageList(root, tuple(kept), known, (*left_out, *repeated), tuple(notes))


def _reference_name(root: Path, name: str) -> str | None:
    """Return the name below a folder of own data that a row's file has, or None if the row is of a query."""
    if name.startswith("references/"):
        return name
    if name.startswith("queries/") or not (root / "references" / name).is_file():
        return None
    return f"references/{name}"


def _position(table: Table, row: Row, notes: list[str]) -> tuple[float, float] | None:
    """Return the position of a row; None where it has none, and a note of why where it has a wrong one."""
    if not any(row.cells[1:]):
        return None
    try:
        return table.position(row)
    except UserError as error:
        notes.append(f"{error} The image is indexed without coordinates.")
        return None
