"""Rows of the table, and what their floors mean."""

from __future__ import annotations

import csv
import datetime
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .measure import Bench

UNITS = {"s": ((1, "s"), (1e-3, "ms")), "B": ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))}  # what is shown
LIBRARIES = (
    "torch", "torchvision", "kornia", "pytorch-metric-learning", "numpy", "pillow", "faiss-cpu", "faiss-gpu"
)  # fmt: skip
WIDTHS = (54, 34, 13, 13, 8, 11, 5)
COLUMNS = ("component", "size", "ours", "peer", "ratio", "floor", "met")


@dataclass(frozen=True)
class Row:
    """One comparison.

    Args:
        component: what was measured.
        size: of what.
        ours, peer: figures in `unit`; None: not measured.
        unit: "s", "B" (bytes), "pairs/s", or what the figures count.
        floor: what is asked of the ratio, or of ours where there is no peer to compare with; None: nothing.
        rule: "faster", the ratio (how many times faster ours is) is at least the floor; "within", the ratio (how many
            times the peer's ours is) is at most it; "below", ours is at most it; "above", ours is at least it.
        note: what one should know, printed below the table.
    """

    component: str
    size: str
    ours: float | None
    peer: float | None = None
    unit: str = "s"
    floor: float | None = None
    rule: str = "faster"
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """See `rule`."""
        if not self.ours or not self.peer or self.rule in ("below", "above"):
            return None
        more_is_better = self.unit.endswith("/s")
        return self.ours / self.peer if self.rule == "within" or more_is_better else self.peer / self.ours

    @property
    def met(self) -> bool | None:
        """Whether the floor is; None: nothing was asked, or not measured."""
        value = self.ours if self.rule in ("below", "above") else self.ratio
        if self.floor is None or value is None:
            return None
        return value >= self.floor if self.rule in ("faster", "above") else value <= self.floor

    def line(self) -> str:
        """The row as it is printed."""
        sign = ">=" if self.rule in ("faster", "above") else "<="
        absolute = self.rule in ("below", "above")
        asked = "-" if self.floor is None else sign + (shown(self.floor, self.unit) if absolute else f"{self.floor:g}x")
        ratio = "-" if self.ratio is None else f"{self.ratio:.3g}x"
        figures = shown(self.ours, self.unit), shown(self.peer, self.unit), ratio, asked
        return joined(self.component, self.size, *figures, {None: "-", True: "yes", False: "NO"}[self.met])


def shown(value: float | None, unit: str) -> str:
    """A figure with the unit that suits it."""
    if value is None:
        return "-"
    for scale, name in UNITS.get(unit, ()):
        if abs(value) >= scale or name in ("ms", "KiB"):
            return f"{value / scale:.3g} {name}"
    return f"{value:.3g}" + (f" {unit}" if unit.endswith("/s") else "")


def joined(*cells: str) -> str:
    """Cells in columns, numbers to the right."""
    return "".join(
        f"{cell:{width}s}" if i < 2 else f"{cell:>{width}s}" for i, (cell, width) in enumerate(zip(cells, WIDTHS))
    )


def heading(bench: Bench) -> str:
    """When, where and with what, then the names of the columns."""
    clock = "CPU seconds of the thread" if bench.clock_is_cpu else "elapsed seconds"
    lines = [
        f"{datetime.date.today()}  {bench.device_name}, {bench.threads} thread(s), {clock}, size {bench.size}",
        ", ".join(f"{name} {version}" for name, version in versions().items()), "", joined(*COLUMNS),
    ]  # fmt: skip
    return "\n".join([*lines, "-" * sum(WIDTHS)])


def versions() -> dict[str, str]:
    """Of Python and of the libraries that ours and the peers run on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"Python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def notes(rows: Iterable[Row]) -> str:
    """The rows' notes, each once."""
    told = dict.fromkeys(f"{row.component}, {row.size}: {row.note}" for row in rows if row.note)
    return "\n".join(["", *told, ""]) if told else ""


def write(rows: Iterable[Row], bench: Bench, path: Path) -> None:
    """The table as a file, in seconds and bytes."""
    common = {"device": bench.device_name, "threads": bench.threads, "date": datetime.date.today().isoformat()}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "unit", "rule", "note", *common])
        for row in rows:
            met = {None: "", True: "yes", False: "no"}[row.met]
            numbers = [row.ours, row.peer, row.ratio, row.floor]
            writer.writerow([row.component, row.size, *numbers, met, row.unit, row.rule, row.note, *common.values()])
