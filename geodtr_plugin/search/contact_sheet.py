"""A picture of queries with their most similar references."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence

import numpy as np

from ..utils.figures import new_figure, save_figure, widest
from .answers import coordinates, direction
from .errors_in_metres import LocationErrors
from .locator import Locator
from .matches import Answer, Match
from .photos import printable_name
from .thumbnails import thumbnail

MOST_QUERIES = 20  # a longer picture is one that nobody looks at
_SIDE = 480  # pixels that are kept of an image; the picture shows fewer
_HEIGHT, _CAPTION = 1.5, 0.62  # inches of a row's images and of the text above them


def draw_contact_sheet(
    answers: Sequence[Answer], locator: Locator, file: str | os.PathLike, errors: LocationErrors | None = None
) -> int:
    """Draw the queries that have matches, a row each, into an image file.

    Args:
        answers: of the locator.
        locator: knows the files of the matches.
        file: the picture; its suffix says of what kind.
        errors: adds the distances to the true places.

    Returns:
        The number of queries that the picture shows, MOST_QUERIES at most.
    """
    drawn = [answer for answer in answers if answer.matches][:MOST_QUERIES]
    queries = [thumbnail(answer.query, _SIDE) for answer in drawn]
    wide = widest(queries, most=3.2)
    columns = max(len(answer.matches) for answer in drawn)
    width = _HEIGHT * (wide + columns) + 0.15 * (columns + 2)
    figure = new_figure(width, (_HEIGHT + _CAPTION) * len(queries) + 0.1)
    grid = figure.subplots(len(queries), 1 + columns, squeeze=False, width_ratios=[wide, *[1] * columns])
    for axes, answer, image in zip(grid, drawn, queries):
        for ax in axes:
            ax.axis("off")
        _show(axes[0], image, "query\n" + _short(answer.query, 14 * wide))
        for rank, (ax, match) in enumerate(zip(axes[1:], answer.matches), start=1):
            _show(ax, thumbnail(match, _SIDE, locator.picture_of), _caption(rank, answer, match, errors))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names in scripts that the font lacks
        save_figure(figure, file, dpi=110)
    return len(drawn)


def _show(ax, image: np.ndarray, text: str) -> None:
    # $ in a file's name is no formula
    ax.imshow(image)
    ax.set_title(text, fontsize=7.5, parse_math=False, linespacing=1.3)


def _caption(rank: int, answer: Answer, match: Match, errors: LocationErrors | None) -> str:
    metres = None if errors is None else errors.metres(answer, match)
    off = "" if metres is None else f"   {metres:,.0f} m off"
    looks = f"   {direction(match)}".rstrip()
    return f"{rank}   {match.similarity:.3f}{looks}{off}\n{_short(match.path, 20)}\n{coordinates(match)}"


def _short(path: str, most: float) -> str:
    """Return the end of a file's name, where names differ."""
    name = printable_name(os.path.basename(path))
    return name if len(name) <= most else "..." + name[3 - int(most) :]
