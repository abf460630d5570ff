"""Answers as text: a table, JSON, or GeoJSON for a map program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .errors_in_metres import LocationErrors
from .locator import Answer, Match
from .photos import shown

FORMATS = ("table", "json", "geojson")


def as_text(answers: Sequence[Answer], format: str = "table", judged: LocationErrors | None = None) -> str:
    """All answers in one of FORMATS; with truth, distances too."""
    if format == "table":
        return as_table(answers, judged)
    made = as_geojson(answers, judged) if format == "geojson" else as_json(answers, judged)
    return json.dumps(made, indent=2, allow_nan=False)


def as_table(answers: Sequence[Answer], judged: LocationErrors | None = None) -> str:
    """A line a match, below a line a query."""
    blocks = []
    for answer in answers:
        if answer.fault is None:
            rows = [_row(rank, answer, match, judged) for rank, match in enumerate(answer.matches, start=1)]
            blocks.append("\n".join([shown(answer.query), *_aligned([_head(judged), *rows])]))
    return "\n\n".join(blocks)


def as_json(answers: Sequence[Answer], judged: LocationErrors | None = None) -> list[dict[str, Any]]:
    """A list of queries with their matches."""
    found = []
    for answer in answers:
        record: dict[str, Any] = {"query": shown(answer.query)}
        if answer.fault is not None:
            record["left_out"] = answer.fault
        record["matches"] = [_properties(rank, answer, match, judged) for rank, match in enumerate(answer.matches, 1)]
        found.append(record)
    return found


def as_geojson(answers: Sequence[Answer], judged: LocationErrors | None = None) -> dict[str, Any]:
    """A FeatureCollection of points, longitude first (RFC 7946); what has no coordinates has a null geometry."""
    features = []
    for answer in answers:
        for rank, match in enumerate(answer.matches, start=1):
            properties = {"query": shown(answer.query), **_properties(rank, answer, match, judged)}
            point = {"type": "Point", "coordinates": [properties.pop("lon"), properties.pop("lat")]}
            known = match.lat is not None
            features.append({"type": "Feature", "geometry": point if known else None, "properties": properties})
    return {"type": "FeatureCollection", "features": features}


def coordinates(match: Match) -> str:
    """Latitude and longitude as people write them; a metre is the fifth decimal."""
    return "no coordinates" if match.lat is None else f"{match.lat:.6f}, {match.lon:.6f}"


def _properties(rank: int, answer: Answer, match: Match, judged: LocationErrors | None) -> dict[str, Any]:
    found = {
        "rank": rank, "path": shown(match.path), "similarity": round(match.similarity, 6), "lat": match.lat,
        "lon": match.lon,
    }  # fmt: skip
    if judged is not None:
        metres = judged.metres(answer, match)
        found["error_metres"] = None if metres is None else round(metres, 2)
    return found


def _head(judged: LocationErrors | None) -> list[str]:
    head = ["rank", "similarity", "lat", "lon"]
    return [*head, *([] if judged is None else ["error in m"]), "file"]


def _row(rank: int, answer: Answer, match: Match, judged: LocationErrors | None) -> list[str]:
    at = ["-", "-"] if match.lat is None else [f"{match.lat:.6f}", f"{match.lon:.6f}"]
    metres = None if judged is None else judged.metres(answer, match)
    error = [] if judged is None else ["-" if metres is None else f"{metres:,.1f}"]
    return [str(rank), f"{match.similarity:.4f}", *at, *error, shown(match.path)]


def _aligned(rows: list[list[str]]) -> list[str]:
    """Numbers to the right, the file's name to the left."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  " + "  ".join([*(cell.rjust(width) for cell, width in zip(row[:-1], widths)), row[-1]]).rstrip()
        for row in rows
    ]
