"""The table of an own data set: rows `file,lat,lon` or `query,reference`, as spreadsheets and scripts write them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from ..utils.errors import DatasetCorruptError
from ..utils.paths import below, is_hidden
from ..utils.reading import read_text
from ..utils.roles import SPLITS
from ..utils.visible import from_csv_cell

_SEPARATORS = (",", ";", "\t")
_COLUMNS = {
    "file": {"file", "filename", "file_name", "image", "path", "name"},
    "lat": {"lat", "latitude"},
    "lon": {"lon", "lng", "long", "longitude"},
    "query": {"query", "queries", "ground", "panorama"},
    "reference": {"reference", "references", "aerial", "tile"},
}
_POSITIONS, PAIRS = ("file", "lat", "lon"), ("query", "reference")


@dataclass(frozen=True)
class Row:
    """One line of a table, and its number for messages."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """The rows of a table in their order, their cells in the order of `columns`.

    Args:
        path: the file.
        columns: ("file", "lat", "lon") or ("query", "reference").
        rows: their cells, paths with forward slashes; a latitude or longitude is a number still in text.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def has_positions(self) -> bool:
        """Whether the rows are positions; else they are pairs."""
        return self.columns == _POSITIONS

    def fault(self, row: Row, what: str, remedy: str = "") -> DatasetCorruptError:
        """Return the error that names a line of the file, and what to do."""
        return DatasetCorruptError(f"Line {row.line} of {self.path} {what}", remedy)

    def position(self, row: Row) -> tuple[float, float]:
        """Return latitude and longitude of a row in degrees.

        Raises:
            DatasetCorruptError: they are no numbers, or no place on Earth has them.
        """
        texts = row.cells[1:]
        try:
            lat, lon = (float(text.replace(",", ".")) for text in texts)
        except ValueError:
            both = " and ".join(map(repr, texts))
            raise self.fault(row, f"has {both} for latitude and longitude, which are no numbers.") from None
        if abs(lat) <= 90 and abs(lon) <= 180:
            return lat, lon
        hint = "Degrees are needed, latitude from -90 to 90 and longitude from -180 to 180."
        if abs(lon) <= 90 and abs(lat) <= 180:
            hint = "They look swapped: write the line file,lon,lat above the rows, or swap the columns."
        raise self.fault(row, f"has latitude {lat:g} and longitude {lon:g}, which is nowhere on Earth.", hint)


def tables_of(folder: Path) -> list[Path]:
    """Return the tables of own data: train.csv and test.csv where there is either, else all that there are, sorted."""
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".csv" and not is_hidden(path.name))
    return [path for split in SPLITS for path in tables if path.stem.lower() == split] or tables


def read_table(path: Path) -> Table:
    """Read a table; header, byte order mark, CRLF, back-slashes, semicolons and tabs are all understood.

    A name that `csv_cell` made harmless for spreadsheets (`'=a.jpg`) is read as it was.

    Raises:
        DatasetCorruptError: it is no such table; the message names the line.
    """
    lines = _rows(path)
    if not lines:
        raise DatasetCorruptError(f"{path} is empty.", "It needs rows file,lat,lon or query,reference.")
    header = [_column(cell) for cell in lines[0].cells]
    columns = next((columns for columns in (_POSITIONS, PAIRS) if set(columns) <= set(header)), None)
    if columns is None:  # no header
        columns = PAIRS if len(header) == 2 else _POSITIONS
        places = list(range(len(columns)))
    else:
        places, lines = [header.index(column) for column in columns], lines[1:]
    rows = []
    for row in lines:
        if len(row.cells) <= max(places):
            what = f"has {len(row.cells)} cells, but {','.join(columns)} are needed: {','.join(row.cells)!r}."
            raise DatasetCorruptError(f"Line {row.line} of {path} {what}")
        cells = [row.cells[i] for i in places]
        number_of_paths = 1 if columns == _POSITIONS else 2
        paths = [below(from_csv_cell(cell), f"Line {row.line} of {path}") for cell in cells[:number_of_paths]]
        rows.append(Row(row.line, (*paths, *cells[number_of_paths:])))
    if not rows:
        raise DatasetCorruptError(f"{path} has a header and no rows.")
    return Table(path, columns, tuple(rows))


def _rows(path: Path) -> list[Row]:
    """Return the lines that are not empty, as stripped cells."""
    lines = read_text(path, "Save it as CSV in UTF-8.", DatasetCorruptError).splitlines()
    first = next((line for line in lines if line.strip()), "")
    separator = max(_SEPARATORS, key=first.count)
    cells = csv.reader(map(_without_open_quotes, lines), delimiter=separator, skipinitialspace=True)
    try:
        rows = [Row(number, tuple(cell.strip() for cell in row)) for number, row in enumerate(cells, start=1)]
    except csv.Error as error:
        raise DatasetCorruptError(f"Line {cells.line_num} of {path} is no line of a table ({error}).") from error
    return [row for row in rows if any(row.cells)]


def _without_open_quotes(line: str) -> str:
    """Return a line without quotes if one is never closed, which would swallow the rest of the file."""
    return line if line.count('"') % 2 == 0 else line.replace('"', "")


def _column(cell: str) -> str:
    word = cell.lower().strip("# ")
    return next((column for column, names in _COLUMNS.items() if word in names), word)
