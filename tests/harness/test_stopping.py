"""Ctrl-C and SIGTERM lose no step, a folder has one run at a time, and a run can be begun and gone on with anywhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from geodtr_plugin.commands.run import run_command
from geodtr_plugin.harness.evaluate import Evaluator
from geodtr_plugin.harness.run_folder import RunFolder
from geodtr_plugin.harness.runner import Run
from geodtr_plugin.trainers import CrossViewTrainer
from geodtr_plugin.trainers.checkpoint import read_training_state

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="sends signals as POSIX has them")]
WORDS = (
    "--method geodtr_plus --train synth-suburb --test synth-suburb --data.count 16 --batch-size 8 --threads 1 "
    "--device cpu --workers 0 --epochs 2 --evaluation.every 1"
).split()
RUN_PY = Path(__file__).parents[2] / "benchmarks" / "run.py"


@pytest.fixture(autouse=True)
def both_are_heard():
    """Undo what a shell does to processes in its background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight") / "run"
    assert run_command([*WORDS, "--out", str(folder)]) == 0
    return folder


def assert_same(folder, straight):
    assert sorted(os.listdir(folder)) == sorted(os.listdir(straight))
    for name in ("last.safetensors", "best.safetensors"):
        one, two = load_file(straight / name), load_file(folder / name)
        assert all(torch.equal(tensor, two[key]) for key, tensor in one.items())
    records = [
        [{"epoch": r["epoch"], "losses": r["losses"], "tests": r["tests"]} for r in RunFolder(f).metrics()]
        for f in (folder, straight)
    ]
    assert records[0] == records[1]
    assert json.loads((folder / "results.json").read_text())["tests"] == (
        json.loads((straight / "results.json").read_text())["tests"]
    )


@pytest.mark.parametrize(
    "place, number, code",
    [
        ("first step", signal.SIGTERM, 143),
        ("first step", signal.SIGINT, 130),
        ("last step", signal.SIGTERM, 143),
        ("evaluation", signal.SIGTERM, 143),
        ("saving", signal.SIGTERM, 143),
    ],
)
def test_a_signal_loses_no_step(straight, tmp_path, monkeypatch, capfd, number, code, place):
    sent = []

    def at(owner, name, when):
        whole = getattr(owner, name)

        def spy(self, *args, **kwargs):
            if not sent and when(self):
                sent.append(number)
                os.kill(os.getpid(), number)
            return whole(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, spy)

    if "step" in place:
        at(CrossViewTrainer, "compute_losses", lambda t: (t.epoch, t.iteration) == (2, 0 if "first" in place else 1))
    elif place == "evaluation":
        at(Evaluator, "__call__", lambda evaluator: evaluator.trainer.epoch == 2)
        monkeypatch.setattr(Evaluator, "trainer", None, raising=False)
        announce = Run._announce
        monkeypatch.setattr(Run, "_announce", lambda run: (setattr(Evaluator, "trainer", run.trainer), announce(run)))
    else:
        at(Run, "_save", lambda run: run.trainer.epoch == 1)
    folder = tmp_path / "run"
    assert run_command([*WORDS, "--out", str(folder)]) == code and sent
    monkeypatch.undo()
    output = capfd.readouterr()
    assert f"Continue with: python benchmarks/run.py --resume {folder}" in output.out
    state = read_training_state(folder / "last.ckpt")
    assert state["epoch"] == 1 and state["position"]["steps_done"] == (
        {"first step": 1, "last step": 2, "evaluation": 2, "saving": 1}[place]
    )
    assert run_command(["--resume", str(folder)]) == 0
    assert_same(folder, straight)


def command(*words):
    return subprocess.Popen(
        [sys.executable, str(RUN_PY), *words], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def wait_for(process, folder, epochs):
    while len(RunFolder(folder).metrics() if folder.exists() else []) < epochs:
        assert process.poll() is None
        time.sleep(0.02)


def test_workers_live_until_the_step_is_done(straight, tmp_path):
    """SLURM and terminals signal every process of a job."""
    folder = tmp_path / "run"
    process = command(*WORDS, "--epochs", "40", "--workers", "2", "--out", str(folder))
    wait_for(process, folder, 2)
    os.killpg(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert "--resume" in output and "Traceback" not in output and "killed" not in output


def test_a_run_that_is_alive_is_neither_resumed_nor_begun_again(tmp_path, capsys):
    folder = tmp_path / "run"
    process = command(*WORDS, "--epochs", "400", "--out", str(folder))
    wait_for(process, folder, 1)
    for words in (["--resume", str(folder)], [*WORDS, "--out", str(folder)]):
        assert run_command(words) == 1
        assert f"is in use by process {process.pid} on " in capsys.readouterr().err
    process.kill()
    process.communicate()
    assert (folder / ".lock").exists()
    done = len(RunFolder(folder).metrics())
    assert run_command(["--resume", str(folder), "--epochs", str(done + 2)]) == 0
    assert not (folder / ".lock").exists() and len(RunFolder(folder).metrics()) == done + 2


@pytest.mark.parametrize(
    "files, again",
    [(["config.json"], ["--resume"]), (["config.json", "recipe.yaml", "log.txt"], [*WORDS, "--out"])],
)
def test_a_beginning_without_a_step_is_no_obstacle(straight, tmp_path, files, again):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in files:
        shutil.copy(straight / name, folder)
    (folder / ".last.00000000-1-00000000.ckpt").write_text("half")
    assert run_command([*again, str(folder)]) == 0
    missing = set() if again != ["--resume"] else {"recipe.yaml", "command.txt"} - set(files)
    assert set(os.listdir(straight)) - set(os.listdir(folder)) == missing
    one, two = (load_file(path / "last.safetensors") for path in (straight, folder))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


@pytest.mark.parametrize("name", ["config.json", "last.safetensors", "results.json"])
def test_what_is_no_beginning_is_not_overwritten(tmp_path, capsys, name):
    (tmp_path / name).write_text("{}")
    assert run_command([*WORDS, "--out", str(tmp_path)]) == 1
    assert "already holds a run" in capsys.readouterr().err and (tmp_path / name).read_text() == "{}"


@pytest.mark.parametrize("schedule, word", [("constant", None), ("cosine", "it had come to 0.")])
def test_a_finished_run_is_trained_for_more_epochs(tmp_path, capsys, schedule, word):
    words = [*WORDS, "--optim.schedule", schedule, "--optim.warmup_epochs", "0", "--epochs"]
    assert run_command([*words, "1", "--out", str(tmp_path / "longer")]) == 0
    capsys.readouterr()
    assert run_command(["--resume", str(tmp_path / "longer"), "--epochs", "2"]) == 0
    said = capsys.readouterr().out
    assert ("With 2 epochs the schedule 'cosine' goes on at a learning rate of" in said and word in said) == bool(word)
    assert json.loads((tmp_path / "longer" / "results.json").read_text())["recipe"]["optim"]["epochs"] == 2
    if schedule == "constant":
        assert run_command([*words, "2", "--out", str(tmp_path / "whole")]) == 0
        one, two = (load_file(tmp_path / name / "last.safetensors") for name in ("longer", "whole"))
        assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    assert run_command(["--resume", str(tmp_path / "longer"), "--epochs", "1"]) == 1
    assert "is in epoch 2 already. Name more epochs" in capsys.readouterr().err
    assert (tmp_path / "longer" / "results.json").exists()


def test_a_moved_run_of_two_stages_goes_on(tmp_path, monkeypatch):
    words = [*WORDS, "--method", "transgeo", "--epochs", "1"]
    whole, calls = Run.end_of_epoch, []

    def interrupted(self, trainer):
        calls.append(trainer)
        if len(calls) == 2:
            raise KeyboardInterrupt
        whole(self, trainer)

    monkeypatch.setattr(Run, "end_of_epoch", interrupted)
    assert run_command([*words, "--out", str(tmp_path / "run")]) == 130
    monkeypatch.undo()
    (tmp_path / "run" / "last.ckpt").unlink()  # killed before its first step
    moved = Path(shutil.move(tmp_path / "run", tmp_path / "moved"))
    assert run_command(["--resume", str(moved)]) == 0
    facts = json.loads((moved / "results.json").read_text())["initial_weights"]
    assert facts["file"] == str(moved / "stage-1" / "last.safetensors") and not (tmp_path / "run").exists()
