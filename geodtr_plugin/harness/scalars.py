"""Losses and recalls for TensorBoard, where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Scalars:
    """Writes the records of metrics.jsonl as TensorBoard scalars; does nothing without TensorBoard."""

    def __init__(self, writer: Any = None):
        self.writer = writer

    def add(self, record: dict[str, Any]) -> None:
        """One epoch's record."""
        if self.writer is None:
            return
        named = {f"loss/{name}": value for name, value in record["losses"].items()}
        named |= {name: record[name] for name in ("lr", "pairs_per_second", "data_wait_share")}
        for test, scores in record.get("tests", {}).items():
            named |= {f"{test}/{name}": value for name, value in scores.items() if not isinstance(value, dict)}
        for name, value in named.items():
            self.writer.add_scalar(name, value, record["epoch"])

    def close(self) -> None:
        """Flush what has been written."""
        if self.writer is not None:
            self.writer.close()


def open_scalars(folder: Path) -> Scalars:
    """Scalars in the `tensorboard` folder of a run."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return Scalars()
    return Scalars(SummaryWriter(folder / "tensorboard"))
