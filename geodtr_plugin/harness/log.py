"""What a run says: on the terminal, between the progress bars, and in the run folder's log.txt."""

from __future__ import annotations

import logging
from pathlib import Path

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
