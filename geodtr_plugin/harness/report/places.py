"""A map of what became of the queries of a test set: which were found, and where the others were sought."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from .charts import COLOURS, GREY
from .html import Html, tag
from .material import Material, RankTable, rows_of

if TYPE_CHECKING:
    from ...datasets import Split

WIDTH, MARGIN, FOOT = 400, 16, 24  # units of the drawing; the foot holds the scale
LEAST, MOST = 120, 480  # its height, which follows that of the ground
MOST_DOTS, MOST_MARKS, MOST_LINES = 4000, 2000, 150  # more make a page heavy, and a map that nobody can read


def map_part(material: Material) -> Html | None:
    """Return a map for each test set with coordinates; None where there is none."""
    maps = [draw_map(name, split, material.ranks(name)) for name, split in material.tests.items() if _located(split)]
    return tag("div", maps, class_="charts maps") if maps else None


def _located(split: Split) -> bool:
    kinds = split.queries.coordinate_kind, split.references.coordinate_kind
    return kinds[0] is not None and kinds[0] == kinds[1]


def draw_map(name: str, split: Split, ranks: RankTable) -> Html:
    """Return references as dots, queries that were found, and those that were not with lines to their answers."""
    queries, references = rows_of(split.queries.ids), rows_of(split.references.ids)
    points, metres_a_unit, height = _fitted(_metres(split))
    asked, tiles = points[: len(split.queries)], points[len(split.queries) :]
    known = [row for row, query in enumerate(ranks.queries) if query in queries]
    at = {row: asked[queries[ranks.queries[row]]] for row in known}
    missed = [row for row in known if ranks.rank[row] > 1]
    found = [row for row in known if ranks.rank[row] <= 1]
    answers = [(at[row], tiles[references[ranks.wrong[row]]]) for row in missed if ranks.wrong[row] in references]
    blue, orange = COLOURS[:2]
    parts = [
        _strokes(map(_dot, _some(tiles, MOST_DOTS)), "#b9b9b9", 3),
        _strokes((_line(*ends) for ends in _some(answers, MOST_LINES)), orange, 0.7, stroke_opacity=0.55),
        _strokes((_cross(at[row]) for row in _some(missed, MOST_MARKS)), orange, 1.4),
        _strokes((_dot(at[row]) for row in _some(found, MOST_MARKS)), blue, 7),
        _scale(metres_a_unit, height),
        _north(),
    ]
    words = f"{name}: {len(found):,} of {len(known):,} queries found (blue dots), the others missed (orange crosses)"
    drawn = min(len(answers), MOST_LINES)
    lines = f"; lines lead to the most similar reference of {drawn:,} of these" if answers else ""
    svg = tag("svg", parts, viewBox=f"0 0 {WIDTH} {height + FOOT}", role="img", aria_label=words)
    return tag("figure", svg, tag("figcaption", f"{words}{lines}. Grey: references."))


def _strokes(paths: Iterable[str], colour: str, width: float, **more: float) -> Html:
    """Return one element for many marks, which keeps pages light."""
    d = "".join(paths)
    return tag("path", d=d, fill="none", stroke=colour, stroke_width=width, stroke_linecap="round", **more)


def _metres(split: Split) -> np.ndarray:
    """Return queries, then references as metres east and north on a plane, `[N + M, 2]`."""
    both = np.concatenate([split.queries.coordinates, split.references.coordinates])
    if split.queries.coordinate_kind == "metres":
        return both
    from ...utils.projection import Projection

    return Projection(both, WIDTH, WIDTH, MARGIN).metres(both)


def _fitted(places: np.ndarray) -> tuple[np.ndarray, float, int]:
    """Return points of the drawing, y down, for metres `[N, 2]`, the metres of a unit, and the drawing's height."""
    low, high = places.min(axis=0), places.max(axis=0)
    extent = np.maximum(high - low, 20.0)
    height = int(np.clip(2 * MARGIN + (WIDTH - 2 * MARGIN) * extent[1] / extent[0], LEAST, MOST))
    scale = float(max(extent / (WIDTH - 2 * MARGIN, height - 2 * MARGIN)))
    return np.array([WIDTH / 2, height / 2]) + (places - (low + high) / 2) / scale * (1, -1), scale, height


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


def _scale(metres_a_unit: float, height: int) -> Html:
    """Return a bar of a round length below the map."""
    most = WIDTH / 4 * metres_a_unit
    power = 10.0 ** np.floor(np.log10(most))
    metres = power * next(step for step in (5, 2, 1) if step * power <= most)
    length = metres / metres_a_unit
    text = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    bar = tag("path", d=f"M{MARGIN} {height + 12}v5h{length:.1f}v-5", fill="none", stroke="#1c1c1c", stroke_width=1.5)
    return tag("g", bar, tag("text", text, x=f"{MARGIN + length + 6:.1f}", y=height + 18))


def _north() -> Html:
    arrow = tag("path", d=f"M{WIDTH - 12} 4l5 18l-5 -4l-5 4z", fill=GREY)
    return tag("g", arrow, tag("text", "N", x=WIDTH - 12, y=36, text_anchor="middle"))
