"""What the tables and figures need, what of it is there, and how long the rest takes."""

from __future__ import annotations

from collections.abc import Sequence

from ...utils.devices import choose_device
from ...utils.errors import UserError
from ...utils.tables import duration, text_table
from .estimate import total_seconds
from .parts import Part
from .runs import Workshop, once


def listing(shop: Workshop, parts: Sequence[Part]) -> str:
    """Return a table with a line for each part, and notes on what is missing."""
    device = choose_device(shop.option("--device", "auto"))
    lines, needs, notes = [], [], []
    for part in parts:
        pairs = [pair for pair in map(shop.sets.of, part.columns) if pair]
        sets = ", ".join(dict.fromkeys(name for pair in pairs for name in pair)) or "-"
        notes.append(f"{part.name}: {part.title.split(': ', 1)[1]}")
        try:
            own = part.needs(shop)
        except UserError as error:
            lines.append([part.name, sets, "-", "-", "-"])
            notes.append(f"    not to be had: {error}")
            continue
        needs += own
        runs, left = sum(len(need.seeds) for need in own), sum(shop.missing(need) for need in own)
        time = duration(total_seconds(shop, own)) if left else "-"
        lines.append([part.name, sets, str(runs), str(runs - left), time])
    lacking = [shop.sets.missing(column) for part in parts for column in part.columns if shop.sets.of(column)]
    total = duration(total_seconds(shop, list(once(needs))))
    return "\n\n".join([
        text_table(["", "sets", "runs", "done", f"time left on {device}"], lines),
        f"All of it, runs that several share counted once: {total}. Estimated from forward and backward passes of each "
        f"network, measured now on {device}, whoever else uses it; loading, augmentation and optimizer come on top.",
        "\n".join([*notes, *dict.fromkeys(filter(None, lacking))]),
    ])  # fmt: skip
