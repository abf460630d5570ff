"""The table of `benchmarks/speed.py`: its rows as text and as a CSV file."""

from __future__ import annotations

import csv
import datetime
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bench import Bench

SCALES = {"s": ((1, "s"), (1e-3, "ms")), "B": ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))}
LIBRARIES = (
    "torch", "torchvision", "kornia", "pytorch-metric-learning", "numpy", "pillow", "faiss-cpu", "faiss-gpu"
)  # fmt: skip
COLUMNS = {"component": 52, "size": 30, "ours": 17, "peer": 17, "ratio": 9}


@dataclass(frozen=True)
class Row:
    """One figure of ours, and that of its peer.

    Args:
        component: what was measured.
        size: of what.
        ours, peer: figures in `unit`; None: not measured, or there is no peer.
        unit: "s", "B" (bytes), "pairs/s", or "" for a plain number.
        note: what one should know, printed below the row.
    """

    component: str
    size: str
    ours: float | None
    peer: float | None = None
    unit: str = "s"
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times faster ours is, or how many times less it takes."""
        if not self.ours or not self.peer:
            return None
        return self.ours / self.peer if self.unit.endswith("/s") else self.peer / self.ours

    def line(self) -> str:
        """Return the row as it is printed."""
        ratio = "-" if self.ratio is None else f"{self.ratio:.3g}x"
        ours, peer = (_figure(value, self.unit) for value in (self.ours, self.peer))
        cells = _joined([self.component, self.size, ours, peer, ratio])
        return f"{cells}\n    {self.note}" if self.note else cells


def heading(bench: Bench) -> str:
    """Return when, where and with what is measured, and the names of the columns."""
    from geodtr_plugin.utils.versions import package_versions

    clock = "CPU seconds of the thread" if bench.clock_is_cpu else "elapsed seconds"
    versions = {"Python": platform.python_version(), **package_versions(LIBRARIES)}
    return "\n".join([
        f"{datetime.date.today()}  {bench.device_name}, {bench.threads} thread(s), {clock}, size {bench.size}",
        ", ".join(f"{name} {version}" for name, version in versions.items() if version), "",
        _joined(list(COLUMNS)), "-" * sum(COLUMNS.values()),
    ])  # fmt: skip


def write(rows: Iterable[Row], bench: Bench, path: Path) -> None:
    """Write the table as a file, in seconds and bytes."""
    common = {"device": bench.device_name, "threads": bench.threads, "date": datetime.date.today().isoformat()}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "unit", "note", *common])
        for row in rows:
            numbers = [row.ours, row.peer, row.ratio]
            writer.writerow([row.component, row.size, *numbers, row.unit, row.note, *common.values()])


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    for scale, name in SCALES.get(unit, ()):
        if abs(value) >= scale or name in ("ms", "KiB"):
            return f"{value / scale:.3g} {name}"
    return f"{value:,.0f} {unit}".rstrip() if abs(value) >= 1000 else f"{value:.3g} {unit}".rstrip()


def _joined(cells: list[str]) -> str:
    aligned = zip(cells, COLUMNS.values())
    return "".join(f"{cell:{width}s}" if i < 2 else f"{cell:>{width}s}" for i, (cell, width) in enumerate(aligned))
