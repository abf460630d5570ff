"""Loaders whose processes end, or get no memory: a sentence that says what to do, wherever it comes up."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest
import torch
from torch.utils.data import Dataset

from geodtr_plugin.utils.console import guarded
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.loading import ReportingLoader

REMEDY = "--workers 0 for none. A run goes on with --resume."
TORCH_SAYS = [
    ("DataLoader worker (pid 4711) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
     "shared memory. Please try to raise your shared memory limit.", "images was killed by signal: Bus error."),
    ("DataLoader worker (pid(s) 4711, 4712) exited unexpectedly", "images exited unexpectedly."),
    ("unable to open shared memory object </torch_21_33> in read-write mode: Too many open files (24)",
     "images got no shared memory."),
    ("Caught RuntimeError in DataLoader worker process 0.\nTraceback\nRuntimeError: unable to write to file "
     "</torch_29_2>: No space left on device (28)", "images got no shared memory."),
    ("received 0 items of ancdata", "images got no shared memory."),
    ("Too many open files. Communication with the workers is no longer possible.", "images got no shared memory."),
]  # fmt: skip


class Fatal(Dataset):
    def __init__(self, number: int):
        self.number = number

    def __len__(self) -> int:
        return 8

    def __getitem__(self, i: int) -> int:
        if i == 5:
            os.kill(os.getpid(), self.number)
        return i


class Raising(Dataset):
    def __init__(self, error: Exception):
        self.error = error

    def __len__(self) -> int:
        return 1

    def __getitem__(self, i: int) -> int:
        raise self.error


class Sizes(Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, i: int) -> torch.Tensor:
        return torch.zeros(3, 8 + i, 8 + i)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="signals of Linux")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGBUS"])
def test_a_process_that_is_killed_is_a_sentence(name):
    done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True)
    assert "Error: A process that loads images " in done.stderr  # was killed, or has ended: as torch finds it first
    assert done.returncode == 1 and REMEDY in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("text, said", TORCH_SAYS)
def test_what_torch_says_is_a_sentence_in_the_loader_and_outside_of_it(text, said, capsys):
    with pytest.raises(UserError) as caught:
        next(iter(ReportingLoader(Raising(RuntimeError(text)))))

    def training_step() -> int:
        raise RuntimeError(text)

    assert guarded(training_step, []) == 1
    for sentence in (str(caught.value), capsys.readouterr().err.strip()):
        assert f"A process that loads {said}" in sentence and sentence.endswith(REMEDY)


def test_other_errors_of_torch_stay_what_they_are():
    error = RuntimeError("Caught RuntimeError in DataLoader worker process 0.\nmat1 and mat2 shapes do not fit")
    with pytest.raises(RuntimeError, match="do not fit"):
        list(ReportingLoader(Raising(error)))


def test_limits_of_the_system_are_sentences(capsys):
    def fork() -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    assert guarded(fork, []) == 1
    assert "Error: The system gives no more: Too many open files." in capsys.readouterr().err


@pytest.mark.parametrize("workers", [0, 1])
def test_images_of_different_sizes_are_a_sentence(workers):
    sizes = r"different sizes: \[3, 8, 8\] at entry 0 and \[3, 9, 9\] at entry 1. Make them of one size"
    with pytest.raises(UserError, match=sizes):
        list(ReportingLoader(Sizes(), 2, num_workers=workers))


if __name__ == "__main__":  # a process of its own: torch raises on SIGCHLD, wherever pytest is then
    loader = ReportingLoader(Fatal(getattr(signal, sys.argv[1])), 2, num_workers=1)
    sys.exit(guarded(lambda: len(list(loader)), []))
