"""Fine-tuning with few pairs: the real command on miniature data, its table, and what it refuses."""

from __future__ import annotations

import json

import pytest
import torch
from matplotlib.figure import Figure

from geodtr_plugin.comparison.fine_tuning import ENTRIES, fine_tuning_command, parse_study
from geodtr_plugin.harness import run, settings
from geodtr_plugin.methods.weights_file import read_tensors

SMALL = "--data.count 20 --workers 0 --threads 1 --device cpu --evaluation.examples 0".split()


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_drawn():
    """Pictures take longer than runs on miniature data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, file, **_: file.touch())
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A run with settings of its own, which all entries must share."""
    folder = tmp_path_factory.mktemp("weights") / "run"
    words = "--train synth-suburb --model.descriptors 2 --chsg raw --epochs 1 --batch-size 8 --seed 7"
    run(settings(f"{words} --out {folder} {' '.join(SMALL)}"))
    return folder


@pytest.fixture(scope="module")
def words(weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    own = f"--init-weights {weights} --train synth-country --pairs 8 20 --steps 3 --batch-size 8 --seeds 1 --out {out}"
    return [*own.split(), "--entries", "scratch", "trunk-frozen", *SMALL]


@pytest.fixture(scope="module")
def study(words):
    """The study, done."""
    assert fine_tuning_command(words) == 0
    return parse_study(words)


def results_of(study, pairs: int, entry: str) -> dict:
    return json.loads((study.out / f"{pairs}-pairs" / entry / "seed-0/results.json").read_text())


@pytest.mark.slow
def test_all_entries_take_as_many_steps_on_as_many_pairs_with_the_recipe_of_the_weights(study, weights):
    for pairs, epochs in ((8, 3), (20, 2)):  # one step an epoch, and two
        for entry in study.entries:
            found = results_of(study, pairs, entry)
            assert (found["train_data"]["pairs"], found["epochs"], found["embedding_size"]) == (pairs, epochs, 192)
            assert found["tests"]["synth-country"]["last"]["num_references"] == 20
            optim, augment = found["recipe"]["optim"], found["recipe"]["augment"]
            assert augment["chsg"] == "raw" and optim["schedule_step"] == "step"
            assert optim["warmup_epochs"] == pytest.approx(0.1 * epochs)


@pytest.mark.slow
def test_what_starts_from_the_weights_does_and_scratch_does_not(study, weights):
    start = read_tensors(weights / "last.safetensors")
    name = next(name for name in start if ".trunk." in name and name.endswith("weight"))
    folder = study.out / "8-pairs"
    ends = {entry: read_tensors(folder / entry / "seed-0/last.safetensors")[name] for entry in study.entries}
    assert torch.equal(ends["trunk-frozen"], start[name])
    assert not torch.allclose(ends["scratch"], start[name], atol=0.05)
    initial = {entry: results_of(study, 8, entry).get("initial_weights") for entry in study.entries}
    assert initial["scratch"] is None and initial["trunk-frozen"]["train"] == ["synth-suburb"]


@pytest.mark.slow
def test_the_table_says_what_the_runs_say(study):
    content = json.loads((study.out / "fine_tuning.json").read_text())
    assert content["steps"] == {"8": 3, "20": 4} and content["test"] == "synth-country"
    for entry in study.entries:
        for pairs in study.pairs:
            value = results_of(study, pairs, entry)["tests"]["synth-country"]["last"]["recall_at_1"]
            own = {"by_seed": {"0": value}, "mean": value, "standard_error": None}
            assert content["entries"][entry][str(pairs)] == own
    untrained = results_of(study, 0, "weights")["tests"]["synth-country"]["last"]["recall_at_1"]
    assert content["without_training"] == untrained


@pytest.mark.slow
def test_the_same_command_again_trains_nothing(study, words, capsys):
    before = {path: path.stat().st_mtime_ns for path in study.out.glob("*/*/seed-*/*")}
    assert fine_tuning_command(words) == 0
    assert {path: path.stat().st_mtime_ns for path in study.out.glob("*/*/seed-*/*")} == before
    printed = capsys.readouterr().out
    assert "R@1 on synth-country in percent, one seed\n" in printed and "with the weights as they are" in printed


def test_every_entry_is_a_run_of_its_own(weights, tmp_path):
    study = parse_study(f"--init-weights {weights} --train synth-country --out {tmp_path} --lr 0.02".split())
    assert (study.pairs, study.seeds, study.entries) == ((50, 200, 1000), (0, 1, 2), ENTRIES[:-1])
    assert [study.epochs(pairs) for pairs in study.pairs] == [300, 50, 10]
    variants = {name: study.variant(name).words for name in ENTRIES}
    assert len(set(variants.values())) == len(ENTRIES) and "--lr=0.002" in variants["tuned-slowly"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("--pairs 4 --batch-size 8", "4 pairs and 300 steps make no batch"),
        ("--steps 0", "50 pairs and 0 steps make no batch"),
        ("--entries tuned untuned", "There is no entry 'untuned'"),
        ("--epochs 3", "Give the number of steps: --steps"),
        ("--train-limit 3", "Give the numbers of pairs: --pairs"),
        ("--seeds none", "--seeds is 'none'"),
        ("--method safa", "is a run of geodtr_plus, not of safa"),
    ],
)
def test_what_means_nothing_is_refused(weights, tmp_path, words, what, capsys):
    command = f"--init-weights {weights} --train synth-country --out {tmp_path / 'out'} {words}"
    assert fine_tuning_command(command.split()) == 1
    assert what in capsys.readouterr().err
