"""What is told of answers: properties for programs, a table, and coordinates as people write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..utils.visible import visible
from .errors_in_metres import LocationErrors
from .matches import RIGHT_WITHIN, Answer, Match
from .photos import printable_name


def table_of(answer: Answer, errors: LocationErrors | None = None) -> str:
    """Return a table of the matches of a query below its name; "" if it could not be used."""
    if answer.fault is not None:
        return ""
    gap, heading = (
        [name] if any(getattr(match, name) is not None for match in answer.matches) else []
        for name in ("gap", "heading")
    )
    head = ["rank", "similarity", *gap, "lat", "lon", *heading, *([] if errors is None else ["error in m"]), "file"]
    rows = [_row(rank, answer, match, errors) for rank, match in enumerate(answer.matches, start=1)]
    return "\n".join([_title(answer), *_aligned([head, *rows])])


def as_json(answers: Sequence[Answer], errors: LocationErrors | None = None) -> list[dict[str, Any]]:
    """Return a list of queries with their matches, as plain values."""
    return [
        {
            "query": printable_name(answer.query),
            **({} if answer.fault is None else {"left_out": answer.fault}),
            **_of_query(answer),
            "matches": [_properties(rank, answer, match, errors) for rank, match in enumerate(answer.matches, 1)],
        }
        for answer in answers
    ]


def as_geojson(answers: Sequence[Answer], errors: LocationErrors | None = None) -> dict[str, Any]:
    """Return a FeatureCollection of points, longitude first (RFC 7946); without coordinates the geometry is null."""
    features = []
    for answer in answers:
        for rank, match in enumerate(answer.matches, start=1):
            properties = {"query": printable_name(answer.query), **_properties(rank, answer, match, errors)}
            if rank == 1:  # what a query's file says, and the probability of its first match
                properties |= _of_query(answer)
            point = {"type": "Point", "coordinates": [properties.pop("lon"), properties.pop("lat")]}
            known = match.lat is not None
            features.append({"type": "Feature", "geometry": point if known else None, "properties": properties})
    return {"type": "FeatureCollection", "features": features}


def coordinates(match: Match) -> str:
    """Return latitude and longitude as people write them; the sixth decimal is a tenth of a metre."""
    return "no coordinates" if match.lat is None else f"{match.lat:.6f}, {match.lon:.6f}"


def direction(match: Match) -> str:
    """Return where the query looks if it was taken at a match, in whole degrees clockwise from north; "" if unknown."""
    return "" if match.heading is None else f"{round(match.heading) % 360}\N{DEGREE SIGN}"


def _properties(rank: int, answer: Answer, match: Match, errors: LocationErrors | None) -> dict[str, Any]:
    properties = {
        "rank": rank, "path": printable_name(match.path), "similarity": round(match.similarity, 6), "lat": match.lat,
        "lon": match.lon, **({} if match.gap is None else {"gap": round(match.gap, 6)}),
        **({} if match.heading is None else {"heading": round(match.heading, 2)}),
    }  # fmt: skip
    if errors is not None:
        metres = errors.metres(answer, match)
        properties["error_metres"] = None if metres is None else round(metres, 2)
    return properties


def probability(answer: Answer) -> str:
    """Return how probable it is that the first match is right, or that it is not known, as words; "" of neither."""
    if answer.probability is not None:
        return f"within {RIGHT_WITHIN:g} m of the first place with probability {answer.probability:.2f}"
    return "" if answer.uncalibrated is None else f"not calibrated: {answer.uncalibrated}"


def _of_query(answer: Answer) -> dict[str, Any]:
    """Return what is known of a query, as plain values."""
    values: dict[str, Any] = {"together": [printable_name(each.query) for each in answer.together]}
    values["taken_as"] = answer.taken_as
    values["heading_in_file"] = None if answer.looks is None else asdict(answer.looks)
    values["probability_within_25_m"] = None if answer.probability is None else round(answer.probability, 4)
    values["not_calibrated"] = answer.uncalibrated
    return {name: value for name, value in values.items() if value not in (None, "", [])}  # 0.0 says something


def _title(answer: Answer) -> str:
    """Return the name of a query, and what is known of it."""
    together = f" and {len(answer.together) - 1} more together" if len(answer.together) > 1 else ""
    looks = "" if answer.looks is None else f"looks to {answer.looks} by its file"
    known = "; ".join(filter(None, [probability(answer), looks]))
    return f"{_shown(answer.query)}{together}" + (f" ({known})" if known else "")


def _shown(path: str) -> str:
    return visible(printable_name(path), one_line=True)


def _row(rank: int, answer: Answer, match: Match, errors: LocationErrors | None) -> list[str]:
    place = ["-", "-"] if match.lat is None else [f"{match.lat:.6f}", f"{match.lon:.6f}"]
    metres = None if errors is None else errors.metres(answer, match)
    error = [] if errors is None else ["-" if metres is None else f"{metres:,.1f}"]
    heading = [] if match.heading is None else [direction(match)]
    gap = [] if match.gap is None else [f"{match.gap:.4f}"]
    return [str(rank), f"{match.similarity:.4f}", *gap, *place, *heading, *error, _shown(match.path)]


def _aligned(rows: list[list[str]]) -> list[str]:
    """Return lines of columns: numbers to the right, the file's name to the left."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  " + "  ".join([*(cell.rjust(width) for cell, width in zip(row[:-1], widths)), row[-1]]).rstrip()
        for row in rows
    ]
