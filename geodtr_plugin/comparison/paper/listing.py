"""What the tables and figures need, what of it is there, and how long the rest takes."""

from __future__ import annotations

from collections.abc import Sequence

from ...utils.devices import choose_device
from ...utils.errors import UserError
from ...utils.tables import duration, text_table
from .command import all_needs
from .estimate import total_seconds
from .parts import Part
from .runs import Workshop


def listing(shop: Workshop, parts: Sequence[Part]) -> str:
    """Return a table with a line for each part, and notes on what is missing."""
    lines = [_line(shop, part) for part in parts]
    device = choose_device(shop.option("--device", "auto"))
    text = text_table(["", "sets", "runs", "done", f"time left on {device}"], lines)
    notes = [f"{part.name}: {part.title.split(': ', 1)[1]}" for part in parts]
    notes += dict.fromkeys(m for part in parts for c in part.columns if (m := shop.sets.missing(c)) and shop.sets.of(c))
    total = total_seconds(shop, all_needs(shop, parts))
    return "\n\n".join([
        text,
        f"All of it, runs that several share counted once: {duration(total)}. Estimated from forward and backward "
        f"passes of each network, measured now on {device}; loading, augmentation and optimizer come on top.",
        "\n".join(notes),
    ])  # fmt: skip


def _line(shop: Workshop, part: Part) -> list[str]:
    pairs = [pair for pair in map(shop.sets.of, part.columns) if pair]
    names = ", ".join(dict.fromkeys(name for pair in pairs for name in pair)) or "-"
    try:
        needs = part.needs(shop)
    except UserError as error:
        return [part.name, names, "-", "-", error.message]
    runs = sum(len(need.seeds) for need in needs)
    left = sum(shop.missing(need) for need in needs)
    return [part.name, names, str(runs), str(runs - left), duration(total_seconds(shop, needs)) if left else "-"]
