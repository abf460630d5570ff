"""Which images are to be indexed or located: those of a folder, or those that a table names."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..datasets.folder import STATEMENT, says_centred
from ..datasets.folder_csv import Row, Table, read_table, tables_of
from ..datasets.folder_files import OwnFiles, UnmatchedName, unmatched
from ..datasets.role_files import DirectoryCache
from ..utils.errors import DatasetCorruptError, DatasetNotFoundError, UserError
from ..utils.paths import is_hidden, walk_files
from ..utils.roles import ROLE_FOLDERS, SPLITS
from .geotags import NameOrder, name_position
from .photo_reader import PhotoReader
from .photos import printable_name
from .tile_sources.opening import looks_like_source

CUT = "--tile-metres 70 cuts tiles of 70 m from it, with their coordinates."
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

    def reader(self, on_load: Callable[[Tensor], Tensor]) -> PhotoReader:
        """Return what decodes the files, and resizes each by `on_load`."""
        return PhotoReader([os.path.join(self.root, name) for name in self.files], on_load)

    def state(self) -> dict[str, Any]:
        """Return names, sizes and times of the files, and their places."""
        return {
            "root": str(self.root.absolute()),
            "files": [[name, *file_state(os.path.join(self.root, name))] for name in self.files],
            "positions": {name: list(at) for name, at in self.positions.items()},
        }

    def stamp(self, number: int) -> str:
        """Return size, time and place of a file."""
        name = self.files[number]
        return f"{file_state(os.path.join(self.root, name))} {self.positions.get(name)}"

    def described(self) -> dict[str, Any]:
        """Return nothing: a manifest names the root anyway."""
        return {}


def file_state(path: str | os.PathLike) -> tuple[int, int]:
    """Return size and time of a file, by which a changed one is known; -1 of one that is not there."""
    try:
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    except (OSError, ValueError):
        return -1, -1


def list_images(where: str | os.PathLike, names: NameOrder = "none", folder: str = "references") -> ImageList:
    """List the images of a folder, searched to its last subfolder, or those that a CSV table `file,lat,lon` names.

    A folder of own data (folders queries and references) stands for the references (or `folder`) of its tables, or
    without one for all of them. Names in a table start from the folder of the table, see `OwnFiles` and
    `DirectoryCache.match`.

    Args:
        where: the folder or the table.
        names: read coordinates from the names of files, see `geotags.name_position`; a table goes before.
        folder: of the images in own data.

    Raises:
        UserError: nothing is named.
        DatasetNotFoundError: there is neither a folder nor a table.
        DatasetCorruptError: the table has no rows file,lat,lon.
    """
    if not os.fspath(where):  # Path("") would be the working folder
        raise UserError("No references are named.", "Name a folder of images, or a table file,lat,lon.")
    where = Path(where).expanduser()
    if where.suffix.lower() == ".csv" and os.path.isfile(where):
        images = _from_tables([where], folder)
    elif os.path.isdir(where):
        images = _from_own_data(where, folder) if is_own_data(where) else _from_folder(where)
        if looks_like_source(where):
            images = replace(images, notes=(*images.notes, f"{printable_name(where)} looks like a z/x/y tree. {CUT}"))
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


def polar_notes(where: str | os.PathLike) -> tuple[str, ...]:
    """Return a note for a polar model on own data that do not say that photos are taken at the centres of tiles."""
    folder = Path(where).expanduser()
    if not is_own_data(folder) or says_centred(folder):
        return ()
    return (
        f"The model sees tiles as from their centres (polar transform), and {printable_name(folder)} does not say that "
        f'photos are taken there. If they are, write {{"centred": true}} into its {STATEMENT}.',
    )


def is_own_data(folder: Path) -> bool:
    """Tell whether `--train folder:PATH` would read this folder."""
    return all(os.path.isdir(folder / name) for name in ROLE_FOLDERS)


def _nothing_at(where: Path) -> DatasetNotFoundError:
    if where.name.startswith("synth-"):
        return DatasetNotFoundError(
            f"{where} is no folder.",
            f"Write the world to one first: geodtr data write {where.name} --out my_city, then --references my_city.",
        )
    if looks_like_source(where):
        return DatasetNotFoundError(f"{printable_name(where)} is a picture of the ground, and no gallery.", CUT)
    kind = "a file, but neither a folder nor a .csv table" if os.path.exists(where) else "not there"
    message = f"{printable_name(where)} is {kind}."
    return DatasetNotFoundError(message, "Name a folder of images, or a table file,lat,lon.")


def _from_folder(root: Path) -> ImageList:
    left_out: list[tuple[str, str]] = []

    def refuse(error: OSError) -> None:
        left_out.append((os.path.relpath(error.filename, root), f"cannot be searched ({error.strerror})"))

    names = list(walk_files(root, refuse))
    images = [name for name in names if os.path.splitext(name)[1].lower() in SUFFIXES and not is_hidden(name)]
    kept, repeated = _without_repeats(root, sorted(images, key=os.fsencode))
    others = len(names) - len(images)
    notes = (f"{others:,} other files in {printable_name(root)} are no images by their names.",) if others else ()
    return ImageList(root, tuple(kept), {}, (*left_out, *repeated), notes)


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


def _from_own_data(root: Path, folder: str) -> ImageList:
    """Return the images of a folder of own data, of train.csv and test.csv together where the splits have tables."""
    tables = tables_of(root)
    if len(tables) == 1 or any(table.stem.lower() in SPLITS for table in tables):
        return _from_tables(tables, folder)
    images = _from_folder(root / folder)
    names = ", ".join(table.name for table in tables)
    note = f"{printable_name(root)} has {len(tables)} tables ({names}), of which none is read: name one of them."
    return replace(images, notes=(*images.notes, note)) if tables else images


def _from_tables(tables: Sequence[Path], folder: str) -> ImageList:
    """Return the images that tables of one folder name; what a later table repeats of an earlier is no fault."""
    root = tables[0].parent
    notes: list[str] = []
    files = _image_of_own_data(root, folder) if is_own_data(root) else _file_below(root)
    positions: dict[str, tuple[float, float] | None] = {}
    left_out: list[tuple[str, str]] = []
    for path in tables:
        table, before = read_table(path), dict(positions)
        if not table.has_positions:
            raise DatasetCorruptError(f"{printable_name(path)} names pairs.", "Places need rows file,lat,lon.")
        seen = set()
        for row in table.rows:
            where = f"(line {row.line} of {printable_name(path)})"
            try:
                name = files(row.cells[0])
            except UnmatchedName as error:
                left_out.append((row.cells[0], f"{error} {where}"))
                continue
            if name is None:
                continue
            if name in seen:
                left_out.append((name, f"is named twice {where}"))
            else:
                seen.add(name)
                position, earlier = _position(table, row, notes), before.get(name)
                if earlier is not None and position not in (None, earlier):
                    notes.append(f"{printable_name(name)} has another position {where}: it is not used.")
                positions[name] = earlier or position
    kept, repeated = _without_repeats(root, list(positions))
    known = {name: position for name in kept if (position := positions[name]) is not None}
    return ImageList(root, tuple(kept), known, (*left_out, *repeated), tuple(notes))


def _image_of_own_data(root: Path, folder: str) -> Callable[[str], str | None]:
    """Return a function from a name in a table of own data to the image that it means; None where in the other one."""
    own = OwnFiles(root)

    def image(name: str) -> str | None:
        if name.split("/")[0] in {*ROLE_FOLDERS} - {folder}:
            return None
        return next((f"{home}/{path}" for home, path in own.of(name) if home == folder), None)

    return image


def _file_below(root: Path) -> Callable[[str], str]:
    """Return a function from a name in a table to the file below its folder that it means."""
    directory = DirectoryCache(root)

    def file(name: str) -> str:
        matches = directory.match(name)
        if len(matches) != 1:
            raise unmatched("not there", matches)
        return matches[0]

    return file


def _position(table: Table, row: Row, notes: list[str]) -> tuple[float, float] | None:
    """Return the position of a row; None where it has none, and a note of why where it has a wrong one."""
    if not any(row.cells[1:]):
        return None
    try:
        return table.position(row)
    except UserError as error:
        notes.append(f"{error} The image is indexed without coordinates.")
        return None
