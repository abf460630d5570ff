"""The pieces of a page with a map, shared by the file of `locate --map` and the page of `serve`: all names escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from ..utils.errors import UserError
from ..utils.projection import Projection
from .answers import coordinates, direction, probability
from .errors_in_metres import LocationErrors
from .locator import Locator
from .matches import Answer, Match
from .photos import printable_name
from .thumbnails import LARGE, THUMBNAIL

WIDTH, HEIGHT, _MARGIN = 1000, 720, 40
_MARK = 11  # radius of a numbered mark
Place = tuple[float, float]  # latitude and longitude in degrees


class Ground:
    """The places of an index as a drawing that can be moved and zoomed.

    Args:
        locator: whose references are drawn.
        others: further places that must be on the map.
        around: places whose surroundings are of interest; a store, which knows too many references, shows those alone.

    Raises:
        UserError: no reference has coordinates.
    """

    def __init__(self, locator: Locator, others: Sequence[Place] = (), around: Sequence[Place] = ()):
        places = locator.gallery.places(np.array(around, np.float64).reshape(-1, 2))
        if not len(places):
            raise UserError("There is no map, because no reference of the index has coordinates.")
        self._projection = Projection(np.concatenate([places, np.array(others).reshape(-1, 2)]), WIDTH, HEIGHT, _MARGIN)
        self._points, self.count = self._projection.points(places), len(places)

    def drawing(self, marks: str = "") -> str:
        """Return the map with its buttons, as HTML."""
        return Template(asset("map.html")).substitute(
            width=WIDTH, height=HEIGHT, count=f"{self.count:,}", tiles=_dots(self._points), marks=marks,
            dot=f"{_dot_size(self._points):.1f}", metres_a_unit=f"{self._projection.metres_a_unit:.9g}",
        )  # fmt: skip

    def marks(self, number: int, answer: Answer, errors: LocationErrors | None = None) -> str:
        """Return the numbered matches of a query, the first on top, and its true place, as SVG."""
        parts = []
        true = None if errors is None else errors.positions.get(answer.query)
        if true is not None:
            parts.append(self._mark(true, "true", "&#9733;", f"true place\n{true[0]:.6f}, {true[1]:.6f}", 0))
        for rank, match in reversed(list(enumerate(answer.matches, start=1))):
            if match.lat is None or match.lon is None:
                continue
            text = f"{rank}: {name_of(match.path)}\n{_numbers(answer, match, errors)}\n{coordinates(match)}"
            kind = "first" if rank == 1 else "match"
            parts.append(self._mark((match.lat, match.lon), kind, str(rank), text, rank, match.heading))
        state = "shown" if number == 0 else "other"
        return f'<g class="query {state}" data-query="{number}">{"".join(parts)}</g>'

    def _mark(
        self, place: Place, kind: str, label: str, text: str, rank: int, heading: float | None = None
    ) -> str:  # fmt: skip
        x, y = self._projection.points(np.array([place]))[0]
        return (
            f'<g class="mark {kind}" data-x="{x:.2f}" data-y="{y:.2f}" data-rank="{rank}" '
            f'transform="translate({x:.2f} {y:.2f})"><title>{escape(text)}</title>{_tip(heading)}<circle r="{_MARK}"/>'
            f'<text y="4" text-anchor="middle">{label}</text></g>'
        )


def panel(
    number: int, answer: Answer, photo: str, tile: Callable[[Match, int], str], errors: LocationErrors | None = None
) -> str:
    """Return the query and its matches as a list of buttons, to stand beside the map, as HTML.

    Args:
        number: of the query on the page.
        answer: its matches.
        photo: address of its picture.
        tile: returns the address of a match's picture of so many pixels along its longer side.
        errors: adds errors in metres.
    """
    rows = [
        f'<li><button type="button" class="place" data-rank="{rank}"><span class="rank">{rank}</span>'
        f"{_image(tile(match, THUMBNAIL), '', tile(match, LARGE))}"
        f"<span><b>{escape(name_of(match.path))}</b><br>{escape(_numbers(answer, match, errors))}<br>"
        f"{escape(coordinates(match))}</span></button></li>"
        for rank, match in enumerate(answer.matches, start=1)
    ]
    state, name = "shown" if number == 0 else "other", name_of(answer.query)
    return (
        f'<section class="query {state}" data-query="{number}" aria-label="places of {escape(name)}">'
        f"<figure>{_image(photo, f'photo {name}')}<figcaption>{escape(name)}{_sure(answer)}</figcaption></figure>"
        f"<ol>{''.join(rows)}</ol></section>"
    )


def _sure(answer: Answer) -> str:
    """Return a line on how probable it is that the first match is right; "" where nothing is said of it."""
    return f"<br>{escape(probability(answer))}" if probability(answer) else ""


def name_of(path: str) -> str:
    """Return the last part of a path as text."""
    return printable_name(Path(path).name)


def asset(name: str) -> str:
    """Return the text of one of the files that pages are made of."""
    return resources.files(__package__).joinpath("web").joinpath(name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """Return what a content security policy calls a script or a style that it lets pass."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def data_address(content: bytes) -> str:
    """Return the content of a JPEG as an address that needs no other file."""
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


def _dots(points: np.ndarray) -> str:
    """Return one path for all references `[N, 2]`: thousands of elements would make a browser slow."""
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in np.unique(points.round(1), axis=0).tolist())


def _dot_size(points: np.ndarray) -> float:
    """Return the width of a dot: a little less than what lies between neighbours `[N, 2]`, on average."""
    extent = np.maximum(np.ptp(points, axis=0), 1)
    return float(np.clip(0.38 * np.sqrt(extent.prod() / len(points)), 1.5, 7))


def _tip(heading: float | None) -> str:
    """Return a tip on the rim of a mark that points where the query looks."""
    if heading is None:
        return ""
    return f'<path class="tip" d="M-7 -9L0 -22L7 -9Z" transform="rotate({heading:.1f})"/>'


def _numbers(answer: Answer, match: Match, errors: LocationErrors | None) -> str:
    metres = None if errors is None else errors.metres(answer, match)
    looks = "" if match.heading is None else f", looks to {direction(match)}"
    return f"similarity {match.similarity:.4f}{looks}" + ("" if metres is None else f", {metres:,.1f} m off")


def _image(address: str, name: str, large: str = "") -> str:
    more = f' data-large="{escape(large)}"' if large not in ("", address) else ""
    return f'<img alt="{escape(name)}" src="{escape(address)}"{more}>'
