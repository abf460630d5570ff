"""Tables as text and as Markdown; both are aligned."""

from __future__ import annotations

from collections.abc import Sequence


def duration(seconds: float) -> str:
    """Return a time as people say it: 8.4 s, 3 min 20 s, 5 h 02 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def text_table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns, the first to the left and the others to the right."""
    aligned = _aligned(heads, lines, _widths(heads, lines), "  ")
    return "\n".join([aligned[0], "-" * len(aligned[0]), *aligned[1:]])


def markdown_table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table."""
    widths = [max(width, 3) for width in _widths(heads, lines)]
    rule = " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    aligned = _aligned(heads, lines, widths, " | ")
    return "\n".join(f"| {line} |" for line in [aligned[0], rule, *aligned[1:]])


def _widths(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(heads, *lines)]


def _aligned(heads: Sequence[str], lines: Sequence[Sequence[str]], widths: Sequence[int], bar: str) -> list[str]:
    return [bar.join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in [heads, *lines]]
