"""Of two processes one has the folder, and a dead one has none."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from geodtr_plugin.utils import claims
from geodtr_plugin.utils.claims import InUseError, claimed

HOLD = """
import sys
from pathlib import Path
from geodtr_plugin.utils.claims import claimed
with claimed(Path(sys.argv[1]), "The run"):
    print("held", flush=True)
    sys.stdin.read()
"""
pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere a warning says that there is no lock")


@pytest.fixture
def holder(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run" / ".lock")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()


def test_a_second_process_is_refused_and_told_who_has_the_folder(tmp_path, holder):
    lock = tmp_path / "run" / ".lock"
    with pytest.raises(InUseError, match=f"The run is in use by process {holder.pid} on .*Wait until"):
        with claimed(lock, "The run"):
            raise AssertionError
    assert lock.exists()
    holder.stdin.close()
    holder.wait()
    assert not lock.exists()
    with claimed(lock, "The run"):
        assert lock.exists()
    assert not lock.parent.exists()  # it was made for the lock


def test_a_killed_process_keeps_nothing(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lock = tmp_path / "run" / ".lock"
    assert lock.exists()
    with claimed(lock, "The run"):
        assert lock.read_text() == f"process {os.getpid()} on {claims.socket.gethostname()}"
    assert not lock.exists()


def test_one_process_has_a_folder_once(tmp_path):
    with claimed(tmp_path / ".lock", "The run"):
        with pytest.raises(InUseError, match="this process"), claimed(tmp_path / ".lock", "The run"):
            raise AssertionError
        assert (tmp_path / ".lock").exists()
    with claimed(tmp_path / ".lock", "The run"):
        pass


def _wait(connection):
    connection.recv()


def test_a_child_does_not_keep_it(tmp_path):
    here, there = multiprocessing.get_context("fork").Pipe()
    with claimed(tmp_path / ".lock", "The run"):
        child = multiprocessing.get_context("fork").Process(target=_wait, args=(there,))
        child.start()
    probe = subprocess.run([sys.executable, "-c", HOLD, str(tmp_path / ".lock")], input=b"", capture_output=True)
    assert child.is_alive() and probe.stdout == b"held\n"
    here.send(None)
    child.join()


def test_of_many_that_come_at_once_one_at_a_time_is_let_in(tmp_path):
    script = f"""
import os, sys, time
from pathlib import Path
from geodtr_plugin.utils.claims import InUseError, claimed
for _ in range(300):
    try:
        with claimed(Path({str(tmp_path / "lock")!r}), "It"):
            os.close(os.open({str(tmp_path / "inside")!r}, os.O_CREAT | os.O_EXCL))
            os.unlink({str(tmp_path / "inside")!r})
    except InUseError:
        pass
"""
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert os.listdir(tmp_path) == []


def test_without_locks_a_warning_says_what_is_not_promised(tmp_path, monkeypatch, caplog):
    def refuse(file):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(claims, "_lock", refuse)
    monkeypatch.setattr(claims.log, "propagate", True)
    with claimed(tmp_path / ".lock", "The run"):
        assert "a second process in it would not be noticed" in caplog.text
