"""The real command on miniature data: what it prints, what it leaves behind, and how it goes on after a crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import trees
from safetensors.torch import load_file

from geodtr_plugin import load_model
from geodtr_plugin.commands.run import run_command
from geodtr_plugin.harness import runner

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"
SMALL = "--data.count 32 --batch-size 8 --workers 0 --threads 1 --device cpu --model.dropout 0.1".split()
WORLDS = "--train synth-suburb --test synth-suburb synth-downtown".split()


def command(*words: str, **options) -> subprocess.Popen:
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen([sys.executable, str(SCRIPT), *words], **(pipes | options))


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> tuple[Path, str]:
    """Folder and output of an uninterrupted run of four epochs."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    process = command("--method", "geodtr_plus", *WORLDS, *SMALL, "--epochs", "4", "--out", str(folder))
    out, error = process.communicate(timeout=240)
    assert process.returncode == 0, error
    return folder, out


def results_of(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def test_the_command_ends_with_a_table_and_the_folder(straight):
    folder, out = straight
    table = [line for line in out.splitlines() if " area " in line]
    assert [line.split()[0] for line in table] == ["synth-suburb", "synth-downtown"]
    assert "same area" in table[0] and "cross area" in table[1]
    assert all("3.12" in line for line in table), "chance is 1 in 32"
    assert str(folder / "results.json") in out and "chance" in out


def test_the_run_folder_is_complete(straight):
    folder, _ = straight
    names = {path.name for path in folder.iterdir()}
    assert {
        "config.json", "recipe.yaml", "command.txt", "environment.json", "log.txt", "metrics.jsonl", "last.ckpt",
        "best.safetensors", "last.safetensors", "results.json", "learning_curve.png", "tensorboard",
        "examples-synth-suburb.png", "examples-synth-downtown.png",
    } <= names  # fmt: skip
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[-1]["losses"]["total_loss"] < rows[0]["losses"]["total_loss"]
    assert "--train synth-suburb" in (folder / "command.txt").read_text()


def test_the_log_says_how_much_of_the_time_went_into_waiting_for_data(straight):
    lines = [line for line in (straight[0] / "log.txt").read_text().splitlines() if "data wait" in line]
    assert lines and all(0 <= int(line.rsplit("data wait ", 1)[1].rstrip("%")) <= 100 for line in lines)


@pytest.mark.parametrize(("share", "seconds", "warns"), [(0.5, 100, True), (0.1, 100, False), (0.5, 5, False)])
def test_much_waiting_is_warned_of_once_with_a_remedy(monkeypatch, share, seconds, warns):
    said = []
    monkeypatch.setattr(runner.log, "warning", said.append)
    run = SimpleNamespace(warned_of_waiting=False, config=SimpleNamespace(cache=False))
    trainer = SimpleNamespace(epoch_stats={"data_wait_share": share, "seconds": seconds}, dataloader_num_workers=4)
    for _ in range(2):
        runner.Run._warn_of_waiting(run, trainer)
    assert len(said) == warns
    assert not warns or ("50% of the epoch" in said[0] and "--cache" in said[0] and "--workers 8 (now 4)" in said[0])


def test_results_say_what_the_numbers_are(straight):
    results = results_of(straight[0])
    entry = results["tests"]["synth-downtown"]
    assert entry["kind"] == "cross area" and entry["chance_recall_at_1"] == pytest.approx(100 / 32)
    assert entry["last"]["num_queries"] == entry["last"]["num_references"] == 32
    assert 0 <= entry["last"]["recall_at_1"] <= entry["last"]["recall_at_10"] <= 100
    assert entry["rules"]["ties"] == "pessimistic" and entry["rules"]["percent_rounding"] == "floor"
    assert len(entry["data"]["fingerprint"]) == 12
    assert results["best_selected_on"].startswith("synth-suburb")
    assert entry["best"]["epoch"] in (3, 4)  # evaluated after every third and after the last


def test_the_model_of_a_run_can_be_loaded(straight):
    folder, _ = straight
    model = load_model(folder, "last.safetensors")
    query = torch.rand(2, 3, *model.query_size)
    torch.testing.assert_close(model.encode_query(query).norm(dim=1), torch.ones(2))
    assert not model.training and model.polar


def test_evaluation_alone_gives_the_numbers_of_the_run(straight, tmp_path, capsys):
    folder, _ = straight
    words = ["--test", "synth-downtown", "--epochs", "0", *SMALL, "--out", str(tmp_path / "again")]
    assert run_command([*words, "--init-weights", str(folder / "last.safetensors"), "--recipe", "laptop"]) == 0
    again = results_of(tmp_path / "again")["tests"]["synth-downtown"]["last"]
    assert again == results_of(folder)["tests"]["synth-downtown"]["last"]
    assert run_command([*words[:-1], str(tmp_path / "best"), "--init-weights", str(folder)]) == 0
    best = results_of(folder)["tests"]["synth-downtown"]["best"]
    again = results_of(tmp_path / "best")["tests"]["synth-downtown"]["last"]
    assert again == {name: value for name, value in best.items() if name != "epoch"}


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_a_run_that_was_killed_within_an_epoch_ends_as_if_it_had_not_been(straight, tmp_path):
    folder = tmp_path / "killed"
    process = command(*WORLDS, *SMALL, "--epochs", "4", "--out", str(folder), stdout=subprocess.DEVNULL)
    wait_for(lambda: lines(folder / "metrics.jsonl") == 2)
    time.sleep(0.15)  # into the third epoch: one takes longer than this
    process.kill()
    process.communicate()
    assert lines(folder / "metrics.jsonl") == 2 and not (folder / "results.json").exists()
    again = command("--resume", str(folder))
    _, error = again.communicate(timeout=240)
    assert again.returncode == 0, error
    ends = [results_of(path) for path in (folder, straight[0])]
    assert ends[0]["tests"] == ends[1]["tests"]
    weights = [load_file(path / "last.safetensors") for path in (folder, straight[0])]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    assert lines(folder / "metrics.jsonl") == 4


@pytest.mark.skipif(os.name != "posix", reason="sends an interrupt as a terminal does")
def test_ctrl_c_leaves_a_run_that_can_go_on(tmp_path):
    folder = tmp_path / "stopped"
    # the suite itself may have been started with interrupts ignored, as a shell does in the background
    heard = dict(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    process = command(*WORLDS, *SMALL, "--epochs", "50", "--out", str(folder), **heard)
    wait_for(lambda: lines(folder / "metrics.jsonl") == 1)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in error
    assert f"--resume {folder}" in out
    assert (folder / "last.ckpt").exists()


def test_a_finished_run_is_not_overwritten_and_resuming_it_only_reports(straight, capsys):
    folder, _ = straight
    before = results_of(folder)["tests"]
    assert run_command([*WORLDS, *SMALL, "--out", str(folder)]) == 1
    assert "already holds a run" in capsys.readouterr().err
    assert run_command(["--resume", str(folder)]) == 0
    assert results_of(folder)["tests"] == before


def test_a_world_with_cameras_off_the_centre_has_a_hit_rate(tmp_path):
    words = "--train synth-suburb-offset --epochs 1".split()
    assert run_command([*words, *SMALL, "--out", str(tmp_path / "run")]) == 0
    results = results_of(tmp_path / "run")
    last = results["tests"]["synth-suburb-offset"]["last"]
    assert last["num_references"] > last["num_queries"] == 32
    assert last["hit_rate"] >= last["recall_at_1"]
    assert not results["polar"]
    assert results["tests"]["synth-suburb-offset"]["rules"]["percent_rounding"] == "floor_plus_one"


@pytest.fixture(scope="module")
def data_root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    trees.write_cvusa(root / "CVUSA", train=range(1, 13), val=range(13, 19))
    trees.write_cvact(root / "CVACT", num_train=12, num_val=6)
    return root


TINY = "--backbone tiny --model.pretrained false --model.query_size [32,88] --precision fp32".split()


@pytest.mark.parametrize("polar", ["--polar", "--no-polar"])
def test_the_main_job_on_trees_in_the_real_format(data_root, tmp_path, polar, capsys):
    words = "--method geodtr_plus --train cvusa --test cvact cvusa --epochs 1 --batch-size 4 --workers 1".split()
    folder = tmp_path / "run"
    assert run_command([*words, *TINY, polar, "--data-root", str(data_root), "--out", str(folder)]) == 0
    results = results_of(folder)
    published = {"--polar": 61.17, "--no-polar": 60.16}[polar]
    assert results["tests"]["cvact"]["published"]["recall_at_1"] == published
    assert results["tests"]["cvact"]["last"]["num_references"] == 6
    assert f"{published:.2f}" in capsys.readouterr().out


def test_limit_keeps_the_first_pairs(data_root, tmp_path):
    words = "--train cvusa --epochs 1 --batch-size 4 --workers 0 --limit 4".split()
    assert run_command([*words, *TINY, "--data-root", str(data_root), "--out", str(tmp_path / "run")]) == 0
    results = results_of(tmp_path / "run")
    assert results["tests"]["cvusa"]["last"]["num_references"] == 4
    assert results["train_data"]["pairs"] == 4 and "limited to the first 4" in str(results["train_data"]["notes"])
