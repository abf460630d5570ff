"""What a run says: on the terminal between the progress bars, in the run folder's log.txt, and to TensorBoard."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

from ..utils.figures import failing_with_a_warning
from ..utils.visible import visible

log = logging.getLogger("geodtr_plugin")


class _AboveProgressBars(logging.Handler):
    """Messages on standard output; a reader that leaves, as `head` does, ends the messages and not the run."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        try:
            tqdm.write(self.format(record))
            sys.stdout.flush()  # a reader that has left is noticed here, and not in the midst of a step
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Visible(logging.Formatter):
    """Messages with control characters spelled out, such as those in names of files."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


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
    for handler in (_AboveProgressBars(), logging.FileHandler(file, encoding="utf-8")):
        handler.setFormatter(_Visible())
        log.addHandler(handler)


def stop_log() -> None:
    """Let go of terminal and file."""
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()


class Scalars:
    """The records of metrics.jsonl as TensorBoard scalars; nothing without TensorBoard, or once it has failed."""

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
        writer, self.writer = self.writer, None
        with failing_with_a_warning("TensorBoard's file"):
            for name, value in named.items():
                writer.add_scalar(name, value, record["epoch"])
            self.writer = writer

    def close(self) -> None:
        """Flush what has been written."""
        if self.writer is not None:
            with failing_with_a_warning("TensorBoard's file"):
                self.writer.close()


def open_scalars(folder: Path) -> Scalars:
    """Return scalars in the `tensorboard` folder of a run."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return Scalars()
    with failing_with_a_warning("TensorBoard's file"):
        return Scalars(SummaryWriter(folder / "tensorboard"))
    return Scalars()
