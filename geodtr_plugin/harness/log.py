"""What a run says: on the terminal between the progress bars, in the run folder's log.txt, and to TensorBoard."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

log = logging.getLogger("geodtr_plugin")


class _AboveProgressBars(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record))


def start_log(file: Path | None) -> None:
    """Send the package's messages to the terminal and, appended, to `file`; an earlier call's file is let go.

    With None they go nowhere: of several processes, one speaks.
    """
    stop_log()
    log.setLevel(logging.INFO)
    log.propagate = False
    if file is None:
        log.addHandler(logging.NullHandler())
        return
    log.addHandler(_AboveProgressBars())
    log.addHandler(logging.FileHandler(file, encoding="utf-8"))


def stop_log() -> None:
    """Let go of terminal and file."""
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()


class Scalars:
    """Writes the records of metrics.jsonl as TensorBoard scalars; does nothing without TensorBoard."""

    def __init__(self, writer: Any = None):
        self.writer = writer

    def add(self, record: dict[str, Any]) -> None:
        """Write the record of an epoch."""
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
    """Return scalars in the `tensorboard` folder of a run."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return Scalars()
    return Scalars(SummaryWriter(folder / "tensorboard"))
