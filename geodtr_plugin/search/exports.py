"""Answers as files that other programs read, written while they come: every piece ends with a line that is whole."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..utils.visible import csv_cell, visible
from .answers import as_geojson, as_json, coordinates, direction, table_of
from .errors_in_metres import LocationErrors
from .matches import Answer

COLUMNS = (  # of a CSV file
    "query", "rank", "similarity", "gap", "lat", "lon", "heading", "error_metres", "path", "left_out",
    "probability_within_25_m",
)  # fmt: skip


@dataclass(frozen=True)
class Export:
    """How a format is written, one answer after another.

    Args:
        items: the text of each item that an answer brings, without a line end.
        head: stands before all items.
        tail: stands behind them, also where a run is ended early.
        comma: stands before every item but the first.
    """

    items: Callable[[Answer, LocationErrors | None], Iterable[str]]
    head: str = ""
    tail: str = ""
    comma: str = ""


class Writer:
    """Write answers as they come; as a context, end the document when the block ends, also by an error.

    Args:
        format: one of the EXPORTS.
        write: takes whole lines.
        errors: adds errors in metres.
    """

    def __init__(self, format: str, write: Callable[[str], Any], errors: LocationErrors | None = None):
        self._export, self._write, self._errors = EXPORTS[format], write, errors
        self._before, self._comma = self._export.head, ""

    def add(self, answer: Answer) -> None:
        """Write the items of an answer."""
        lines, self._before = [self._before], ""
        for item in self._export.items(answer, self._errors):
            lines.append(f"{self._comma}{item}\n")
            self._comma = self._export.comma
        self._write("".join(lines))

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if kind is None or self._before != self._export.head:  # what failed before the first answer leaves nothing
            self._write(self._before + self._export.tail)


def as_text(answers: Iterable[Answer], format: str = "table", errors: LocationErrors | None = None) -> str:
    """Return all answers as text in one of the EXPORTS; with true places, their errors in metres too."""
    parts: list[str] = []
    with Writer(format, parts.append, errors) as writer:
        for answer in answers:
            writer.add(answer)
    return "".join(parts)


def _table(answer: Answer, errors: LocationErrors | None) -> Iterator[str]:
    if table := table_of(answer, errors):
        yield table


def _json(answer: Answer, errors: LocationErrors | None) -> list[str]:
    return [_dumped(value) for value in as_json([answer], errors)]


def _geojson(answer: Answer, errors: LocationErrors | None) -> list[str]:
    return [_dumped(feature) for feature in as_geojson([answer], errors)["features"]]


def _csv(answer: Answer, errors: LocationErrors | None) -> Iterator[str]:
    """Yield a row for each match, or one that says why there is none."""
    value = as_json([answer], errors)[0]
    matches = value.pop("matches")
    for properties in matches or [{}]:
        yield _csv_row([{**value, **properties}.get(column) for column in COLUMNS])


def _csv_row(cells: Iterable[Any]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow(
        [visible(csv_cell(cell), one_line=True) if isinstance(cell, str) else cell for cell in cells]
    )
    return stream.getvalue()


def _gpx(answer: Answer, errors: LocationErrors | None) -> Iterator[str]:
    """Yield a waypoint for each match with coordinates."""
    for value in as_json([answer], errors):
        for properties, match in zip(value["matches"], answer.matches):
            if match.lat is None:
                continue
            looks = f", looks to {direction(match)}" if match.heading is not None else ""
            waypoint = ET.Element("wpt", lat=f"{match.lat:.7f}", lon=f"{match.lon:.7f}")
            ET.SubElement(waypoint, "name").text = _in_xml(f"{value['query']} {properties['rank']}")
            ET.SubElement(waypoint, "desc").text = _in_xml(
                f"similarity {match.similarity:.4f}{looks}, {coordinates(match)}, {properties['path']}"
            )
            yield ET.tostring(waypoint, encoding="unicode")


def _in_xml(text: str) -> str:
    return visible(text, one_line=True).replace("\ufffe", "").replace("\uffff", "")  # which XML has no way to write


def _dumped(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


GPX_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<gpx version="1.1" creator="geodtr_plugin" xmlns="http://www.topografix.com/GPX/1/1">\n'
)
EXPORTS: dict[str, Export] = {
    "table": Export(_table, comma="\n"),
    "json": Export(_json, "[\n", "]\n", ","),
    "geojson": Export(_geojson, '{"type": "FeatureCollection", "features": [\n', "]}\n", ","),
    "csv": Export(_csv, f"{','.join(COLUMNS)}\n"),
    "gpx": Export(_gpx, GPX_HEAD, "</gpx>\n"),
}
