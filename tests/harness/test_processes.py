"""Two processes on the CPU train what one process does, here on two data sets, and end together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
# no augmentation and no counterfactual masks: those draw in each process; batch normalisation would see half of a batch
WORDS = (
    "--method geodtr_plus --train synth-suburb synth-downtown --test synth-suburb synth-downtown --data.count 16 "
    "--shares 1 3 --batch-size 8 "
    "--chsg raw --loss.counterfactual 0 --workers 0 --threads 1 --device cpu --backbone convnext_atto --lr 3e-4 "
    "--model.query_size [32,64]"
).split()

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="torchrun and signals as POSIX has them")]


def run(words: list[str], launcher: list[str], **options) -> subprocess.Popen:
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen([*launcher, str(SCRIPT), *words], env=environment, **pipes, **options)


def finished(words: list[str], launcher: list[str]) -> None:
    process = run(words, launcher)
    out, error = process.communicate(timeout=240)
    assert process.returncode == 0, out + error


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[int, Path]:
    """Run folders of one epoch by the number of processes."""
    folders = {number: tmp_path_factory.mktemp("processes") / "run" for number in (1, 2)}
    for number, launcher in ((1, [sys.executable]), (2, TORCHRUN)):
        finished([*WORDS, "--epochs", "1", "--out", str(folders[number])], launcher)
    return folders


def test_two_processes_train_as_one(trained):
    one, two = (load_file(folder / "last.safetensors") for folder in trained.values())
    assert set(one) == set(two)
    # not entry by entry: Adam makes a whole step out of any gradient, also out of the rounding of one that is 0
    weights, others = (torch.cat([x[name].flatten().double() for name in one]) for x in (one, two))
    assert (weights - others).norm() < 1e-5 * weights.norm()
    losses = [json.loads((f / "metrics.jsonl").read_text().splitlines()[0])["losses"] for f in trained.values()]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_numbers_are_equal_and_written_once(trained):
    results = [json.loads((folder / "results.json").read_text()) for folder in trained.values()]
    assert [r["processes"] for r in results] == [1, 2]
    for name in ("synth-suburb", "synth-downtown"):
        one, two = (r["tests"][name]["last"] for r in results)
        assert {k: v for k, v in two.items()} == pytest.approx(one, abs=1e-3)
    lines = (trained[2] / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 1 and (trained[2] / "log.txt").read_text().count("R@1   R@5") <= 1


def test_another_number_of_processes_does_not_resume_silently(trained):
    process = run(["--resume", str(trained[2])], [sys.executable])
    _, error = process.communicate(timeout=120)
    assert process.returncode == 1 and "processes" in error and "Traceback" not in error


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    words = [*WORDS, "--batch-size", "7", "--epochs", "1", "--out", str(tmp_path / "run")]
    process = run(words, TORCHRUN)
    _, error = process.communicate(timeout=120)
    assert process.returncode != 0 and "cannot be shared evenly by 2 processes" in error


def test_a_process_that_dies_ends_the_others(tmp_path):
    process = run([*WORDS, "--epochs", "500", "--out", str(tmp_path / "run")], TORCHRUN)
    try:
        metrics = tmp_path / "run" / "metrics.jsonl"
        deadline = time.monotonic() + 120
        while not metrics.is_file() and time.monotonic() < deadline:
            time.sleep(0.2)
        workers = [pid for pid in children(process.pid) if "run.py" in command_of(pid)]
        assert len(workers) == 2, workers
        os.kill(workers[1], signal.SIGKILL)
        _, error = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0
    assert "SIGKILL" in error or "Signal 9" in error, error[-2000:]
    assert not any(Path(f"/proc/{pid}").exists() and "run.py" in command_of(pid) for pid in workers)


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in found.read_text().split()] if found.exists() else []


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
