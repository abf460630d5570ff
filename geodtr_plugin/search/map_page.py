"""An HTML map of the answers that works offline: one file, nothing fetched, all names escaped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from html import escape
from string import Template

from ..utils.files import write_text
from .errors_in_metres import LocationErrors
from .locator import Locator
from .map_parts import Ground, asset, data_address, digest, name_of, panel
from .matches import Answer, Match
from .thumbnails import THUMBNAIL, jpeg, thumbnail

MOST_QUERIES = 100  # each brings about 30 KB of thumbnails


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
    matches = [(m.lat, m.lon) for answer in answers for m in answer.matches if m.lat is not None and m.lon is not None]
    true = [errors.positions[a.query] for a in answers if errors is not None and a.query in errors.positions]
    ground = Ground(locator, true, matches)

    @cache
    def tile(match: Match) -> str:
        return data_address(jpeg(thumbnail(match, THUMBNAIL, locator.picture_of)))

    panels = [
        panel(i, a, data_address(jpeg(thumbnail(a.query, 2 * THUMBNAIL))), lambda match, _: tile(match), errors)
        for i, a in enumerate(answers)
    ]
    style, script = asset("map.css"), asset("map.js")
    page = Template(asset("locate.html")).substitute(
        style=style, script=script, style_digest=digest(style), script_digest=digest(script), panels="\n".join(panels),
        options="\n".join(f'<option value="{i}">{escape(name_of(a.query))}</option>' for i, a in enumerate(answers)),
        several="" if len(answers) > 1 else "hidden", compare=asset("compare.html"),
        map=ground.drawing("\n".join(ground.marks(i, answer, errors) for i, answer in enumerate(answers))),
    )  # fmt: skip
    write_text(file, page)
    return len(answers)
