"""What only shows the results never costs them: pictures, TensorBoard, and a reader of the output that leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from geodtr_plugin.commands.run import run_command
from geodtr_plugin.harness import runner
from geodtr_plugin.harness.log import Scalars

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"
WORDS = (
    "--method simple --train synth-suburb --test synth-suburb --data.count 8 --batch-size 4 --epochs 2 --workers 0 "
    "--threads 1 --device cpu"
).split()


def metrics_of(folder: Path) -> list[str]:
    return (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()


def recall_of(folder: Path) -> float:
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return results["tests"]["synth-suburb"]["last"]["recall_at_1"]


@pytest.mark.slow
def test_a_backend_that_is_not_installed_costs_nothing(tmp_path):
    environment = {**os.environ, "MPLBACKEND": "nonsense"}
    words = [sys.executable, str(SCRIPT), *WORDS, "--out", str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert recall_of(tmp_path / "run") >= 0
    assert (tmp_path / "run/learning_curve.png").stat().st_size > 1000


@pytest.mark.slow
def test_pictures_that_fail_are_warnings(tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise RuntimeError("no font")

    monkeypatch.setattr(runner, "learning_curve", fail)
    monkeypatch.setattr(runner, "retrieval_examples", fail)
    monkeypatch.setattr(runner, "report_on_run", fail)
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", fail)
    assert run_command([*WORDS, "--out", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    for what in ("The learning curve", "The examples of synth-suburb", "The report", "TensorBoard's file"):
        assert out.count(f"{what} could not be written (RuntimeError: no font)") == 1, out
    assert recall_of(tmp_path / "run") >= 0 and len(metrics_of(tmp_path / "run")) == 2


def test_a_writer_that_failed_is_not_asked_again():
    class Full:
        asked = 0

        def add_scalar(self, *arguments):
            self.asked += 1
            raise OSError("disk full")

    scalars, writer = Scalars(Full()), Full()
    scalars.writer = writer
    record = {"losses": {"metric_loss": 1.0}, "lr": 0.1, "pairs_per_second": 1, "data_wait_share": 0, "epoch": 1}
    scalars.add(record)
    scalars.add(record)
    scalars.close()
    assert writer.asked == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="pipes of a POSIX shell")
def test_a_reader_that_leaves_ends_the_messages_and_not_the_run(tmp_path):
    words = [sys.executable, str(SCRIPT), *WORDS, "--out", str(tmp_path / "run")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline()
    process.stdout.close()  # as head does
    error = process.communicate()[1] if process.stderr is None else process.stderr.read()
    process.wait()
    assert recall_of(tmp_path / "run") >= 0 and len(metrics_of(tmp_path / "run")) == 2, error
    assert "Traceback" not in error
