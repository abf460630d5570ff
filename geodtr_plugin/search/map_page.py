"""An HTML map of the answers that works offline: one file, nothing fetched, all names escaped."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from ..utils.errors import UserError
from ..utils.files import write_text
from .answers import coordinates, direction
from .contact_sheet import thumbnail
from .errors_in_metres import LocationErrors
from .locator import Answer, Locator, Match
from .photos import printable_name
from .projection import Projection

MOST_QUERIES = 100  # each brings about 30 KB of thumbnails
WIDTH, HEIGHT, _MARGIN = 1000, 720, 40
_THUMBNAIL = 144  # pixels
_MARK = 11  # radius of a numbered mark


def write_map(
    answers: Sequence[Answer], locator: Locator, file: str | os.PathLike, errors: LocationErrors | None = None
) -> int:
    """Write a page with a map of the queries that have matches and of all references.

    Args:
        answers: of the locator.
        locator: knows the files of the matches.
        file: the HTML file.
        errors: adds the true places and the distances to them.

    Returns:
        The number of queries that the page shows, MOST_QUERIES at most.

    Raises:
        UserError: no reference has coordinates.
    """
    answers = [answer for answer in answers if answer.matches][:MOST_QUERIES]
    matches = [(m.lat, m.lon) for answer in answers for m in answer.matches if m.lat is not None]
    places = locator.gallery.places(np.array(matches, np.float64).reshape(-1, 2))
    if not len(places):
        raise UserError("There is no map, because no reference of the index has coordinates.")
    true = [errors.positions[a.query] for a in answers if errors is not None and a.query in errors.positions]
    projection = Projection(np.concatenate([places, np.array(true).reshape(-1, 2)]), WIDTH, HEIGHT, _MARGIN)
    points = projection.points(places)
    template = Template(resources.files(__package__).joinpath("map.html").read_text(encoding="utf-8"))
    page = template.substitute(
        width=WIDTH, height=HEIGHT, count=f"{len(places):,}", tiles=_dots(points), dot=f"{_dot_size(points):.1f}",
        metres_a_unit=f"{projection.metres_a_unit:.9g}",
        marks="\n".join(_marks(i, answer, projection, errors) for i, answer in enumerate(answers)),
        options="\n".join(f'<option value="{i}">{escape(_name(a.query))}</option>' for i, a in enumerate(answers)),
        panels="\n".join(_panel(i, answer, locator, errors) for i, answer in enumerate(answers)),
        several="" if len(answers) > 1 else "hidden",
    )  # fmt: skip
    write_text(file, page)
    return len(answers)


def _dots(points: np.ndarray) -> str:
    """Return one path for all references `[N, 2]`: thousands of elements would make a browser slow."""
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in np.unique(points.round(1), axis=0).tolist())


def _dot_size(points: np.ndarray) -> float:
    """Return the width of a dot: a little less than what lies between neighbours `[N, 2]`, on average."""
    extent = np.maximum(np.ptp(points, axis=0), 1)
    return float(np.clip(0.38 * np.sqrt(extent.prod() / len(points)), 1.5, 7))


def _marks(number: int, answer: Answer, projection: Projection, errors: LocationErrors | None) -> str:
    """Return the numbered matches of a query, the first on top, and its true place."""
    parts = []
    true = None if errors is None else errors.positions.get(answer.query)
    if true is not None:
        parts.append(_mark(projection, true, "true", "&#9733;", f"true place\n{true[0]:.6f}, {true[1]:.6f}", 0))
    for rank, match in reversed(list(enumerate(answer.matches, start=1))):
        if match.lat is None or match.lon is None:
            continue
        text = f"{rank}: {_name(match.path)}\n{_numbers(answer, match, errors)}\n{coordinates(match)}"
        kind = "first" if rank == 1 else "match"
        parts.append(_mark(projection, (match.lat, match.lon), kind, str(rank), text, rank, match.heading))
    state = "shown" if number == 0 else "other"
    return f'<g class="query {state}" data-query="{number}">{"".join(parts)}</g>'


def _mark(
    projection: Projection, place: tuple[float, float], kind: str, label: str, text: str, rank: int,
    heading: float | None = None,
) -> str:  # fmt: skip
    x, y = projection.points(np.array([place]))[0]
    return (
        f'<g class="mark {kind}" data-x="{x:.2f}" data-y="{y:.2f}" data-rank="{rank}" '
        f'transform="translate({x:.2f} {y:.2f})"><title>{escape(text)}</title>{_tip(heading)}<circle r="{_MARK}"/>'
        f'<text y="4" text-anchor="middle">{label}</text></g>'
    )


def _tip(heading: float | None) -> str:
    """Return a tip on the rim of a mark that points where the query looks."""
    if heading is None:
        return ""
    return f'<path class="tip" d="M-7 -9L0 -22L7 -9Z" transform="rotate({heading:.1f})"/>'


def _panel(number: int, answer: Answer, locator: Locator, errors: LocationErrors | None) -> str:
    """Return the query and its matches as pictures, to stand beside the map."""
    rows = [
        f'<li data-rank="{rank}"><span class="rank">{rank}</span>{_picture(locator, match)}'
        f"<span><b>{escape(_name(match.path))}</b><br>{escape(_numbers(answer, match, errors))}<br>"
        f"{escape(coordinates(match))}</span></li>"
        for rank, match in enumerate(answer.matches, start=1)
    ]
    state = "shown" if number == 0 else "other"
    return (
        f'<section class="query {state}" data-query="{number}">'
        f"<figure>{_image(thumbnail(answer.query, 2 * _THUMBNAIL), _name(answer.query))}"
        f"<figcaption>{escape(_name(answer.query))}</figcaption></figure><ol>{''.join(rows)}</ol></section>"
    )


def _numbers(answer: Answer, match: Match, errors: LocationErrors | None) -> str:
    metres = None if errors is None else errors.metres(answer, match)
    looks = "" if match.heading is None else f", looks to {direction(match)}"
    return f"similarity {match.similarity:.4f}{looks}" + ("" if metres is None else f", {metres:,.1f} m off")


def _picture(locator: Locator, match: Match) -> str:
    return _image(thumbnail(match, _THUMBNAIL, locator.picture_of), _name(match.path))


def _image(pixels: np.ndarray, name: str) -> str:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=80)
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<img alt="{escape(name)}" src="data:image/jpeg;base64,{data}">'


def _name(path: str) -> str:
    return printable_name(Path(path).name)
