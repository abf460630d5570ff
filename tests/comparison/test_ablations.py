"""The paper's ablations: which variants they compare, where published numbers stand, and the table of costs."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from geodtr_plugin.comparison.ablations import TABLES, ablations_command, entries_for, published_on
from matplotlib.figure import Figure

from geodtr_plugin.comparison.costs import cost_line, paper_model
from geodtr_plugin.comparison.jobs import Variant
from geodtr_plugin.harness import settings

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "ablations.py"
SMALL = "--data.count 32 --batch-size 8 --epochs 1 --workers 0 --threads 1 --device cpu".split()


@pytest.mark.parametrize("name, count", [("table4", 6), ("table5", 4), ("table6", 4), ("table8", 6)])
def test_entries_on_the_real_sets(name, count):
    entries = entries_for(TABLES[name], settings("--train cvusa"))
    assert len(entries) == count
    for label in entries:  # every entry is one that run.py understands
        words = " ".join(Variant.parse(label).words)
        assert settings(f"--method geodtr_plus --train cvusa {words}").recipe_name == "paper"


def test_published_numbers_stand_where_they_were_measured():
    base = settings("--train cvact --test cvact-val cvusa synth-suburb")
    entries = entries_for(TABLES["table5"], base)
    label = "geodtr_plus:model.descriptors=2"
    assert published_on(entries[label], base) == {
        "cvact-val": {"recall_at_1": 86.22}, "cvusa": {"recall_at_1": 50.68}
    }  # fmt: skip
    plain = settings("--train cvact --no-polar")
    assert published_on(entries_for(TABLES["table5"], plain)[label], plain) == {}
    assert published_on(entries_for(TABLES["table8"], base)["geodtr_plus:chsg=s"], base) == {}, "on CVUSA only"
    world = settings("--train synth-suburb --test cvusa")
    assert not any(entries_for(TABLES["table8"], world).values())


def test_the_full_method_has_the_same_numbers_in_all_tables():
    full = {
        "table4": "model.extractor=v2:backbone=convnext_tiny:chsg=l+s", "table5": "model.descriptors=8",
        "table6": "chsg=l+s", "table8": "chsg=l+s",
    }  # fmt: skip
    assert {TABLES[name][options]["cvusa"] for name, options in full.items()} == {(95.40, 61.17)}
    assert {TABLES[name][full[name]]["cvact"] for name in ("table4", "table5")} == {(87.61, 53.89)}


def test_small_worlds_have_no_column_of_trunks():
    labels = list(entries_for(TABLES["table4"], settings("--train synth-suburb")))
    extractors = [f"geodtr_plus:model.extractor={v}:chsg={chsg}" for v in ("v1", "v2") for chsg in ("raw", "l+s")]
    assert labels == extractors
    given = entries_for(TABLES["table4"], settings("--train cvusa --backbone resnet18"), one_trunk=True)
    assert list(given) == extractors and not any(given.values())


@pytest.mark.slow
def test_an_ablation_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: None)  # other tests look at the pictures, which take long
    two = {options: TABLES["table6"][options] for options in ("chsg=ls", "chsg=ls:batch-size=64")}
    monkeypatch.setitem(TABLES, "table6", two)
    assert ablations_command(["table6", "--seeds", "0,", *SMALL, "--out", str(tmp_path)]) == 0
    lines = list(csv.DictReader((tmp_path / "table.csv").open()))
    labels = ["chsg=ls", "chsg=ls:batch-size=16"]
    assert list(dict.fromkeys(line["label"] for line in lines)) == [f"geodtr_plus:{label}" for label in labels]
    assert {line["test"] for line in lines} == {"synth-suburb", "synth-downtown"}
    assert "optim.batch_size: 8 (geodtr_plus:chsg=ls); 16" in (tmp_path / "table.md").read_text()
    assert capsys.readouterr().out.count("epoch 1/1: loss") == 2


def test_the_table_of_costs(capsys):
    assert ablations_command(["table7", "--methods", "geodtr_plus", "--device", "none"]) == 0
    cells = capsys.readouterr().out.splitlines()[2].split()
    assert cells[:3] == ["geodtr_plus", "30,192,336", "24,696,000"]
    assert float(cells[4]) == 11.22 and 12.3 < float(cells[3]) < 12.7
    assert cells[5:] == ["-", "24.7", "M", "11.25", "103"]


def test_time_is_measured_where_a_device_is_given(monkeypatch):
    import torch

    from geodtr_plugin.comparison import costs as cost_table

    def small(method):
        return cost_table.create_model(method, backbone="tiny", pretrained=False, query_size=(32, 88))

    monkeypatch.setattr(cost_table, "paper_model", small)
    cells = cost_line("geodtr_plus", torch.device("cpu"), batch=1, repeats=1)
    assert float(cells[5]) >= 0 and cells[-1] == "103"


def test_a_method_whose_trunks_cannot_be_told_apart_keeps_its_line(monkeypatch, capsys):
    def refuse(model):
        raise ValueError("The query tower of X does not call its `trunk` as a module.")

    monkeypatch.setattr("geodtr_plugin.comparison.complexity.complexity", refuse)
    assert cost_line("geodtr_plus", None, 1, 1)[:5] == ["geodtr_plus", "30,192,336", "-", "-", "-"]
    assert "geodtr_plus: The query tower" in capsys.readouterr().err


def test_paper_models_have_the_papers_sizes():
    import torch

    with torch.device("meta"):
        assert paper_model("geodtr_plus").query_size == (122, 671)


def test_the_script_names_the_tables():
    done = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and all(name in done.stdout for name in (*TABLES, "table7"))


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["table9"], "There is no ablation 'table9'"),
        (["table7", "--device", "none", "--methods", "geodtr+"], "There is no method 'geodtr+'"),
        (["table7", "--bacth", "3"], "--bacth"),
        (["table5", "--methods", "safa"], "--methods"),
    ],
)
def test_mistakes_are_told(words, sentence, capsys):
    assert ablations_command(words) == 1
    assert sentence in capsys.readouterr().err
