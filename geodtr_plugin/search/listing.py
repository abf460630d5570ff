"""Which images are to be indexed or located: those of a folder, or those that a table names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..datasets.folder_csv import Table, read_table
from ..utils.errors import DatasetCorruptError, DatasetNotFoundError, UserError
from .geotags import NameOrder, name_position
from .photos import shown

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .tif .tiff .bmp .gif .jp2 .j2k .avif .ppm .pgm .heic .heif".split()
)
_OWN_DATA = ("queries", "references")  # the folders of own data, as `--train folder:PATH` reads them


@dataclass(frozen=True)
class ImageList:
    """Images by name, in a fixed order.

    Args:
        root: the folder that the names start from.
        files: names below it, in the system's encoding.
        positions: latitude and longitude by name, for those that have some.
        left_out: (name, reason) of what cannot be used, as far as that is known without opening it.
        notes: sentences that a user must read.
    """

    root: Path
    files: tuple[str, ...]
    positions: dict[str, tuple[float, float]] = field(default_factory=dict)
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def list_images(where: str | os.PathLike, names: NameOrder = "none") -> ImageList:
    """The images of a folder, searched to its last subfolder, or those that a CSV table `file,lat,lon` names.

    A folder of own data (folders queries and references) stands for its table, or without one for its references; the
    queries are passed over. Names in a table start from the folder of the table.

    Args:
        where: the folder or the table.
        names: read coordinates from the names of files, see `geotags.name_position`; a table goes before.

    Raises:
        DatasetNotFoundError: there is nothing.
        DatasetCorruptError: the table is none.
    """
    where = Path(where).expanduser()
    if where.suffix.lower() == ".csv" and where.is_file():
        listed = _by_table(where)
    elif where.is_dir():
        tables = [path for path in where.iterdir() if path.suffix.lower() == ".csv"]
        if all((where / role).is_dir() for role in _OWN_DATA):
            listed = _by_table(tables[0]) if len(tables) == 1 else _by_folder(where / "references")
        else:
            listed = _by_folder(where)
    else:
        raise DatasetNotFoundError(_nothing_at(where))
    if names == "none":
        return listed
    named = {name: at for name in listed.files if (at := name_position(name, names)) is not None}
    return ImageList(listed.root, listed.files, {**named, **listed.positions}, listed.left_out, listed.notes)


def list_photos(places: list[str]) -> ImageList:
    """Files as they are, and the images of folders, in the order of the words; a file that comes twice is kept once."""
    files: list[str] = []
    left_out: list[tuple[str, str]] = []
    notes: list[str] = []
    for place in places:
        if os.path.isdir(place):
            inside = _by_folder(Path(place))
            files += [os.path.join(place, name) for name in inside.files]
            left_out += [(os.path.join(place, name), reason) for name, reason in inside.left_out]
            notes += inside.notes
        else:
            files.append(place)
    kept, repeated = _once([(name, name) for name in files])
    return ImageList(Path(), tuple(kept), {}, (*left_out, *repeated), tuple(notes))


def _nothing_at(where: Path) -> str:
    if where.name.startswith("synth-"):
        return (
            f"{where} is no folder. Write the world to one first: geodtr data write {where.name} --out my_city, "
            "then --references my_city."
        )
    kind = "a file, but neither a folder nor a .csv table" if where.exists() else "not there"
    return f"{shown(where)} is {kind}. Name a folder of images, or a table file,lat,lon."


def _by_folder(root: Path) -> ImageList:
    found, left_out, others = [], [], 0
    for name, reason in _walk(root):
        if reason is not None:
            left_out.append((name, reason))
        elif os.path.splitext(name)[1].lower() in SUFFIXES and not os.path.basename(name).startswith("."):
            found.append(name)
        else:
            others += 1
    kept, repeated = _once([(name, os.path.join(root, name)) for name in sorted(found, key=os.fsencode)])
    notes = (f"{others:,} other files in {shown(root)} are no images by their names.",) if others else ()
    return ImageList(root, tuple(kept), {}, (*left_out, *repeated), notes)


def _walk(root: Path) -> Iterator[tuple[str, str | None]]:
    """Names of all files below a folder, links followed; (folder, reason) for a folder that cannot be listed."""
    entered, waiting = set(), [""]
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(os.path.join(root, folder))
            if (status.st_dev, status.st_ino) in entered:
                continue  # a link leads back here, or there are two ways
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(os.path.join(root, folder)) as entries:
                inside = [(os.path.join(folder, entry.name), _is_folder(entry)) for entry in entries]
        except OSError as error:
            yield folder or ".", f"cannot be searched ({error.strerror})"
            continue
        for name, is_folder in sorted(inside, key=lambda item: os.fsencode(item[0])):
            if is_folder:
                waiting.append(name)
            else:
                yield name, None


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; reading it will say so
        return False


def _once(files: list[tuple[str, str]]) -> tuple[list[str], list[tuple[str, str]]]:
    """Of (name, path), the names whose files have not come before; and the others with a reason."""
    first: dict[str, str] = {}
    kept, repeated = [], []
    for name, path in files:
        target = os.path.realpath(path)
        if target in first:
            again = first[target] == name
            repeated.append((name, "is named twice" if again else f"is the same file as {shown(first[target])}"))
        else:
            first[target] = name
            kept.append(name)
    return kept, repeated


def _by_table(path: Path) -> ImageList:
    table = read_table(path)
    if not table.has_positions:
        raise DatasetCorruptError(f"{shown(path)} names pairs. References need rows file,lat,lon.")
    root = path.parent
    own = all((root / role).is_dir() for role in _OWN_DATA)
    found: dict[str, tuple[float, float] | None] = {}
    left_out, notes, queries = [], [], 0
    for row in table.rows:
        name = row.cells[0]
        if own and not name.startswith("references/"):
            if name.startswith("queries/") or not (root / "references" / name).is_file():
                queries += 1
                continue
            name = f"references/{name}"
        if not os.path.lexists(root / name):
            left_out.append((name, f"is not there (line {row.line} of {shown(path)})"))
        elif name in found:
            left_out.append((name, f"is named twice (line {row.line} of {shown(path)})"))
        else:
            found[name], note = _position(table, row)
            notes += note
    if queries:
        notes.append(f"{queries:,} rows of {shown(path)} name no references of this own data set, and are passed over.")
    kept, repeated = _once([(name, os.path.join(root, name)) for name in found])
    positions = {name: found[name] for name in kept if found[name] is not None}
    return ImageList(root, tuple(kept), positions, (*left_out, *repeated), tuple(notes))


def _position(table: Table, row) -> tuple[tuple[float, float] | None, list[str]]:
    """The position of a row, or None and why."""
    if not any(row.cells[1:]):
        return None, []  # told by the number of images without coordinates
    try:
        return table.position(row), []
    except UserError as error:
        return None, [f"{error} The image is indexed without coordinates."]
