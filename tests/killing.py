"""Kill a piece of work at one file-system event after the other, and see that it can be done again.

The events are those of which Python's audit hooks tell: files opened for writing, renamed, removed, cut; folders made
and removed. Each piece of work runs in a fork of this process, which must not have started threads.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink")


def in_a_fork(work: Callable[[], object]) -> int:
    """Do the work, and return how it ended: 0, the number of the signal that ended it negated, or 1 if it failed."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def kill_at(event: int, root: Path) -> None:
    """Let this process kill itself at an event, counted from 0, below a folder."""
    left, prefix = [event], str(root)

    def hook(name: str, arguments: tuple) -> None:
        if name == "open":
            path, _, flags = arguments
            if not (isinstance(flags, int) and flags & WRITING):
                return
        elif name in CHANGES:
            path = arguments[0]
        else:
            return
        path = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
        # within a tree that is removed, names are relative to a folder that is held open
        if path.startswith(prefix) or (path and os.sep not in path):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

    sys.addaudithook(hook)


def every_kill(
    root: Path, prepare: Callable[[], None], work: Callable[[], object], again: Callable[[], object],
    check: Callable[[], None], step: int = 1,
) -> int:  # fmt: skip
    """Kill `work` at every `step`-th event, do `again`, and `check`; return at how many events that was.

    Args:
        root: where events count.
        prepare: makes the state before the work.
        work: what is killed.
        again: what a user does next; must end well.
        check: raises if something is not as it should be.
        step: 1 tries every event.
    """
    for event in range(0, 100_000, step):
        prepare()
        ended = in_a_fork(lambda event=event: (kill_at(event, root), work()))
        if ended == 0:
            return event // step
        assert ended == -signal.SIGKILL, f"the work itself failed before event {event}"
        assert in_a_fork(again) == 0, f"killed at event {event}, it cannot be done again"
        check()
    raise AssertionError("the work has no end")
