"""Small charts as inline SVG, in one style: colours that colour-blind people tell apart, dashes beside them, units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .html import Content, Html, folded, table, tag

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito
DASHES = ("", "7 3", "2 3", "9 3 2 3")  # lines differ by more than colour, and show where one covers another
GREY = "#8a8a8a"
WIDTH, HEIGHT = 360, 240  # units of a drawing, which are pixels on a telephone
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 40  # what axes need around the drawing
MOST = 1e18  # of a number that is drawn
MOST_ROWS = 30  # of the table beside a chart


@dataclass(frozen=True)
class Series:
    """Points that belong together, `[n]` each; a level is a thin dotted line, such as chance."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    level: bool = False

    @classmethod
    def of(cls, name: str, points: Sequence[tuple[float, float]]) -> Series:
        """Return a series of points (x, y), at least one."""
        x, y = zip(*points)
        return cls(name, x, y)


@dataclass(frozen=True)
class Axis:
    """What an axis shows, with its unit, from where to where; a logarithmic one begins above 0."""

    label: str
    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """Return where a value lies, from 0 to 1."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, max(value, self._least)))
        return min(max((value - low) / ((high - low) or 1), 0), 1)

    @property
    def _least(self) -> float:
        return self.low if self.log else -math.inf

    def ticks(self) -> list[float]:
        """Return round values on the axis, about five."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            steps = (1, 2, 5) if last - first <= 2 else (1,)
            values = [step * 10.0**power for power in range(first, last + 1) for step in steps]
        else:
            step = _round_step((self.high - self.low) / 5)
            values = [step * i for i in range(math.ceil(self.low / step), math.floor(self.high / step + 1e-9) + 1)]
        return [value for value in values if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9) or value == 0]


def _round_step(raw: float) -> float:
    """Return the next of 1, 2, 5, 10, ... that is not below."""
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    return next((step * power for step in (1, 2, 5) if step * power >= raw * (1 - 1e-9)), 10 * power)


def axis_of(label: str, values: Sequence[float], log: bool = False, from_zero: bool = False) -> Axis:
    """Return an axis that holds all values; infinite and unthinkably large or small ones do not count."""
    least = 1 / MOST if log else -MOST
    drawn = [float(value) for value in values if least < value < MOST] or [1.0]
    low, high = 0.0 if from_zero else min(drawn), max(drawn)
    if not low < high:
        room = max(0.05 * abs(low), 0.5)
        low, high = (low / 2, low * 2) if log else (low - (0 if from_zero else room), low + room)
    return Axis(label, low, high, log)


def figure(caption: Content, drawing: Html, *more: Content) -> Html:
    """Return a drawing with what stands below it."""
    return tag("figure", drawing, tag("figcaption", caption), *more)


def line_chart(title: str, series: Sequence[Series], x: Axis, y: Axis) -> Html:
    """Return lines over a common axis, with a legend and their points as a table."""
    parts: list[Html] = []
    colours = looks(series)
    for one, (colour, dash) in zip(series, colours):
        points = [_point(x, y, a, b) for a, b in zip(one.x, one.y) if math.isfinite(b)]
        if not points:
            continue
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
        width = 1.2 if one.level else 2
        parts.append(tag("path", d=path, fill="none", stroke=colour, stroke_width=width, stroke_dasharray=dash or None))
        if not one.level and len(points) <= MOST_ROWS:
            parts += [tag("circle", cx=f"{a:.1f}", cy=f"{b:.1f}", r=2.6, fill=colour) for a, b in points]
    names = [one.name for one in series]
    numbers = folded("The numbers", _numbers(title, series, x))
    return figure(title, drawing(title, x, y, parts), legend(names, colours), numbers)


def bar_chart(title: str, bars: Sequence[tuple[str, float]], x: str, y: str) -> Html:
    """Return a bar for each label, with its number above."""
    up = axis_of(y, [value for _, value in bars], from_zero=True)
    up = Axis(y, 0, up.high * 1.12)
    step = (WIDTH - LEFT - RIGHT) / max(len(bars), 1)
    parts = []
    for i, (label, value) in enumerate(bars):
        top = TOP + (HEIGHT - TOP - BOTTOM) * (1 - up.share(value))
        left, middle = LEFT + step * (i + 0.12), LEFT + step * (i + 0.5)
        parts += [
            tag("rect", x=f"{left:.1f}", y=f"{top:.1f}", width=f"{step * 0.76:.1f}",
                height=f"{HEIGHT - BOTTOM - top:.1f}", fill=COLOURS[0]),
            tag("text", f"{value:,.0f}", x=f"{middle:.1f}", y=f"{top - 4:.1f}", text_anchor="middle"),
            tag("text", label, x=f"{middle:.1f}", y=HEIGHT - BOTTOM + 15, text_anchor="middle"),
        ]  # fmt: skip
    words = ", ".join(f"{label}: {value:,.0f}" for label, value in bars)
    return figure(title, drawing(f"{title}. {words}", Axis(x, 0, 1), up, parts, x_ticks=False))


def range_chart(title: str, rows: Sequence[tuple[str, Sequence[float]]], x: Axis, what: str = "") -> Html:
    """Return a row for each label with a thin line, a thick one, and a mark.

    Args:
        title: what is drawn.
        rows: label, and the ends of the thin line and the thick one about the mark, `[5]`, rising.
        x: the axis.
        what: the five numbers are, with commas, for a table of them; empty where there is one already.
    """
    step, left = 38, 16  # labels stand above their lines: they may be long
    height = step * len(rows) + BOTTOM + TOP
    parts = []
    for i, (label, values) in enumerate(rows):
        top, y = TOP + step * i, TOP + step * i + 24
        a, b, c, d, e = (f"{left + (WIDTH - left - RIGHT) * x.share(value):.1f}" for value in values)
        parts += [
            tag("text", _cut(label, 52), x=left, y=top + 12),
            tag("line", x1=a, x2=e, y1=y, y2=y, stroke=COLOURS[0], stroke_width=1.5),
            tag("line", x1=b, x2=d, y1=y, y2=y, stroke=COLOURS[0], stroke_width=7),
            tag("circle", cx=c, cy=y, r=4.5, fill="#fff", stroke=COLOURS[0], stroke_width=2),
        ]
    cells = [[label, *(f"{value:.3g}" for value in values)] for label, values in rows]
    svg = drawing(title, x, None, parts, left=left, height=height)
    return figure(title, svg, folded("The numbers", table(title, ["", *what.split(", ")], cells)) if what else None)


def drawing(
    title: str, x: Axis, y: Axis | None, parts: Sequence[Html], left: int = LEFT, height: int = HEIGHT,
    x_ticks: bool = True,
) -> Html:  # fmt: skip
    """Return axes with what is drawn in them."""
    bottom = height - BOTTOM
    marks = _below(x, left, bottom, x_ticks)
    if y is not None:
        marks += _beside(y, left, bottom)
    return tag("svg", marks, parts, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=title)


def _below(x: Axis, left: int, bottom: int, ticks: bool) -> list[Html]:
    """Return the horizontal axis: its line, ticks and label."""
    marks = [
        tag("line", x1=left, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, stroke=GREY),
        tag("text", x.label, x=(left + WIDTH - RIGHT) / 2, y=bottom + 33, text_anchor="middle"),
    ]
    for value in x.ticks() if ticks else ():
        at = f"{left + (WIDTH - left - RIGHT) * x.share(value):.1f}"
        marks.append(tag("line", x1=at, x2=at, y1=bottom, y2=bottom + 4, stroke=GREY))
        marks.append(tag("text", _short(value), x=at, y=bottom + 16, text_anchor="middle"))
    return marks


def _beside(y: Axis, left: int, bottom: int) -> list[Html]:
    """Return the vertical axis: its label, ticks, and thin lines across the drawing."""
    middle = (TOP + bottom) / 2
    marks = [tag("text", y.label, x=11, y=middle, text_anchor="middle", transform=f"rotate(-90 11 {middle})")]
    for value in y.ticks():
        at = TOP + (bottom - TOP) * (1 - y.share(value))
        marks.append(tag("line", x1=left, x2=WIDTH - RIGHT, y1=f"{at:.1f}", y2=f"{at:.1f}", stroke="#e4e4e4"))
        marks.append(tag("text", _short(value), x=left - 5, y=f"{at + 4:.1f}", text_anchor="end"))
    return marks


def looks(series: Sequence[Series]) -> list[tuple[str, str]]:
    """Return colour and dashes of each series: a level has the colour of the series of the same name."""
    names = list(dict.fromkeys(one.name for one in series if not one.level))
    found = []
    for one in series:
        place = names.index(one.name) if one.name in names else -1
        colour = COLOURS[place % len(COLOURS)] if place >= 0 else GREY
        found.append((colour, "1.5 3" if one.level else DASHES[place % len(DASHES)]))
    return found


def legend(names: Sequence[str], colours: Sequence[tuple[str, str]]) -> Html:
    """Return what each line stands for."""
    items: dict[str, Html] = {}
    for name, (colour, dash) in zip(names, colours):
        line = tag("line", x1=0, x2=28, y1=6, y2=6, stroke=colour, stroke_width=3, stroke_dasharray=dash or None)
        svg = tag("svg", line, viewBox="0 0 28 12", aria_hidden="true")
        items.setdefault(name, tag("li", svg, name))
    return tag("ul", items.values(), class_="legend")


def _numbers(title: str, series: Sequence[Series], x: Axis) -> Html:
    """Return the points of all series as a table, at most MOST_ROWS of them."""
    shown = [one for one in series if not one.level]
    places = sorted({float(a) for one in shown for a in one.x})
    if len(places) > MOST_ROWS:
        places = [places[i] for i in np.unique(np.linspace(0, len(places) - 1, MOST_ROWS).astype(int))]
    by_place = [dict(zip(map(float, one.x), one.y)) for one in shown]
    rows = [[f"{a:g}", *(f"{own[a]:.4g}" if a in own else "-" for own in by_place)] for a in places]
    return table(title, [x.label, *(one.name for one in shown)], rows)


def _point(x: Axis, y: Axis, a: float, b: float) -> tuple[float, float]:
    return LEFT + (WIDTH - LEFT - RIGHT) * x.share(a), TOP + (HEIGHT - TOP - BOTTOM) * (1 - y.share(b))


def _short(value: float) -> str:
    """Return a tick's number: 0.05, 20, 5k, 2M."""
    for size, letter in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1000 if letter == 'k' else size):g}{letter}"
    return f"{value:.6g}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
