"""A map of what became of the queries of a test set: which were found, and where the others were sought."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .charts import COLOURS, GREY
from .html import Html, tag
from .material import Material, RankTable, rows_of

if TYPE_CHECKING:
    from ...datasets import Split

WIDTH, HEIGHT, MARGIN = 480, 400, 16  # units of the drawing
MOST_DOTS, MOST_MARKS, MOST_LINES = 4000, 2000, 150  # more make a page heavy, and a map that nobody can read


def map_part(material: Material) -> Html | None:
    """Return a map for each test set with coordinates; None where there is none."""
    maps = [draw_map(name, split, material.ranks(name)) for name, split in material.tests.items() if _located(split)]
    return tag("div", maps, class_="charts") if maps else None


def _located(split: Split) -> bool:
    kinds = split.queries.coordinate_kind, split.references.coordinate_kind
    return kinds[0] is not None and kinds[0] == kinds[1]


def draw_map(name: str, split: Split, ranks: RankTable) -> Html:
    """Return references as dots, queries that were found, and those that were not with lines to their answers."""
    queries, references = rows_of(split.queries.ids), rows_of(split.references.ids)
    known = [row for row, query in enumerate(ranks.queries) if query in queries]
    places = _metres(split)
    asked = places[[queries[ranks.queries[row]] for row in known]] if known else np.empty((0, 2))
    points, metres_a_unit = _fitted(places)
    start = {row: points[queries[ranks.queries[row]]] for row in known}
    missed = [row for row in known if ranks.rank[row] > 1]
    answers = [(row, len(split.queries) + references[ranks.wrong[row]]) for row in missed if ranks.wrong[row] in references]
    lines = "".join(_line(start[row], points[answer]) for row, answer in _some(answers, MOST_LINES))
    hits = _some([row for row in known if ranks.rank[row] <= 1], MOST_MARKS)
    parts = [
        tag("path", d="".join(map(_dot, _some(points[len(split.queries):], MOST_DOTS))), stroke="#b9b9b9", stroke_width=3,
            stroke_linecap="round"),
        tag("path", d=lines, stroke=COLOURS[1], stroke_width=0.7, stroke_opacity=0.55, fill="none"),
        tag("path", d="".join(_cross(start[row]) for row in _some(missed, MOST_MARKS)), stroke=COLOURS[1], stroke_width=1.4),
        tag("path", d="".join(_dot(start[row]) for row in hits), stroke=COLOURS[0], stroke_width=7, stroke_linecap="round"),
        _scale(metres_a_unit), _north(),
    ]  # fmt: skip
    found = len(asked) - len(missed)
    words = f"{name}: {found:,} queries were found (blue dots), {len(missed):,} were not (orange crosses)"
    drawn = f"; thin lines lead to the most similar reference, of {min(len(answers), MOST_LINES):,} of them"
    svg = tag("svg", parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=words)
    caption = tag("figcaption", f"{words}{drawn if answers else ''}. Grey: references.")
    return tag("figure", svg, caption)


def _metres(split: Split) -> np.ndarray:
    """Return queries, then references as metres east and north on a plane, `[N + M, 2]`."""
    both = np.concatenate([split.queries.coordinates, split.references.coordinates])
    if split.queries.coordinate_kind == "metres":
        return both
    from ...utils.projection import Projection

    return Projection(both, WIDTH, HEIGHT, MARGIN).metres(both)


def _fitted(places: np.ndarray) -> tuple[np.ndarray, float]:
    """Return points of the drawing, y down, for metres `[N, 2]`, and the metres of a unit."""
    low, high = places.min(axis=0), places.max(axis=0)
    scale = float(max(np.maximum(high - low, 20.0) / (WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN)))
    return np.array([WIDTH / 2, HEIGHT / 2]) + (places - (low + high) / 2) / scale * (1, -1), scale


def _some(items, most: int) -> list:
    """Return at most so many items, evenly chosen."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, most).astype(int)]


def _dot(point: np.ndarray) -> str:
    return f"M{point[0]:.0f} {point[1]:.0f}h0"


def _cross(point: np.ndarray) -> str:
    return f"M{point[0] - 3:.0f} {point[1] - 3:.0f}l6 6m0-6l-6 6"


def _line(start: np.ndarray, end: np.ndarray) -> str:
    return f"M{start[0]:.0f} {start[1]:.0f}L{end[0]:.0f} {end[1]:.0f}"


def _scale(metres_a_unit: float) -> Html:
    """Return a bar of a round length."""
    most = WIDTH / 4 * metres_a_unit
    power = 10.0 ** np.floor(np.log10(most))
    metres = power * next(step for step in (5, 2, 1) if step * power <= most)
    length = metres / metres_a_unit
    text = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    bar = tag("path", d=f"M{MARGIN} {HEIGHT - 8}v5h{length:.1f}v-5", fill="none", stroke="#1c1c1c", stroke_width=1.5)
    return tag("g", bar, tag("text", text, x=f"{MARGIN + length + 6:.1f}", y=HEIGHT - 3))


def _north() -> Html:
    x = WIDTH - 12
    arrow = tag("path", d=f"M{x} 4l5 18l-5 -4l-5 4z", fill=GREY)
    return tag("g", arrow, tag("text", "N", x=x, y=36, text_anchor="middle"))
