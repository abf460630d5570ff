"""What Ctrl-C and SIGTERM (SLURM, machines that are lent) mean for a training: end where it can be gone on from."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from ..trainers.epoch_loop import Stopped
from ..utils.errors import Terminated

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """While the block runs, let a signal end a trainer's `train` with `Stopped`, and a second one end it at once.

    Within an epoch the step is finished first. In a hook, such as an evaluation, the signal is answered at once, unless
    `hold` is set: then at the latest after the next step.

    Args:
        trainer: an `EpochLoop`.
    """

    def __init__(self, trainer: Any):
        self.trainer = trainer
        self.hold = False
        self.number: int | None = None  # of the signal that came
        self.before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # elsewhere python does not allow it
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # as in the background of a shell script
                    self.before[number] = signal.signal(number, self._answer)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def interruption(self) -> KeyboardInterrupt:
        """Return what the process is to end with."""
        return Terminated() if self.number == signal.SIGTERM else KeyboardInterrupt()

    def _answer(self, number: int, frame: FrameType | None) -> None:
        again, self.number = self.number is not None, number
        if again:
            raise self.interruption()
        if not (self.trainer.in_steps or self.hold):
            raise Stopped
        self.trainer.stop_requested = True
        os.write(2, b"\nStopping after this step; once more stops at once.\n")  # print may be what was interrupted
