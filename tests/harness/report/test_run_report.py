"""The report of a run: its numbers are those of results.json, it needs nothing, and nothing that lacks ends it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from pages import Page, check_page, leaves

from geodtr_plugin.commands.main import main
from geodtr_plugin.datasets import load_split
from geodtr_plugin.harness.report import run_page, write_report
from geodtr_plugin.harness.report.material import Material, add_data_and_network, read_ranks, read_run
from geodtr_plugin.harness.run_folder import RunFolder
from geodtr_plugin.utils.errors import UserError

pytestmark = pytest.mark.slow  # all of them need a training, though a short one
HOSTILE = "<script>alert('x')</script>\"onload=\"x\" &amp; $title \x1b[2J"


def results_of(folder) -> dict:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def material(run_folder) -> Material:
    found = read_run(run_folder)
    add_data_and_network(found)
    return found


@pytest.fixture(scope="session")
def page(run_folder) -> Page:
    """The page that the run itself has written."""
    return Page((run_folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture
def copy(run_folder, tmp_path):
    return shutil.copytree(run_folder, tmp_path / "copy")


def test_each_number_is_that_of_the_results(page, run_folder):
    expected = dict(leaves({"tests": results_of(run_folder)["tests"]}))
    for key, value, text in page.numbers:
        assert value == expected[key], key
        shown = float(text.replace(",", ""))
        assert shown == pytest.approx(value, abs=0.5 * 10.0 ** -len(text.partition(".")[2])), (key, text)
    assert {key for key, _, _ in page.numbers} == set(expected), "all of them are there"


def test_numbers_that_other_parts_add_are_shown_too(material):
    tests = {name: {**entry, "heading": {"median_error": 12.5, "coarse": {"share": 3.0}}}
             for name, entry in material.results["tests"].items()}  # fmt: skip
    numbers = Page(run_page(replace(material, results={**material.results, "tests": tests}, network=None))).numbers
    found = {key: value for key, value, _ in numbers}
    assert found["tests", "synth-suburb", "heading", "median_error"] == 12.5
    assert found["tests", "synth-downtown", "heading", "coarse", "share"] == 3.0


def test_the_page_is_well_formed_and_needs_nothing(page):
    check_page(page)
    assert len(page.source) < 1_000_000 and "Left out" not in page.text
    for part in ("Numbers", "Notes", "Learning", "Ranks", "Queries", "Map", "Layout descriptors", "Distances"):
        assert part in page.text
    assert sum(tag == "img" for tag, _ in page.elements) > 60, "queries, references and masks"


def test_command_data_and_machine_are_told(page, run_folder):
    results = results_of(run_folder)
    for entry in (results["train_data"], *(test["data"] for test in results["tests"].values())):
        assert entry["fingerprint"] in page.text
    for words in ("run.py", f"--resume {run_folder} --epochs N", "most memory of the process", "torch", "pessimistic"):
        assert words in page.text


def test_the_command_writes_the_same_page(page, run_folder, tmp_path, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    file = tmp_path / "a b.html"
    assert main(["report", str(run_folder), "-o", str(file), "--open"]) == 0
    assert str(file) in capsys.readouterr().out and shown == [file.as_uri()]
    again = Page(file.read_text(encoding="utf-8"))
    assert again.numbers == page.numbers
    assert [own for tag, own in again.elements if tag == "img"] == [own for tag, own in page.elements if tag == "img"]


def test_names_cannot_break_out(material):
    entry, ranks = material.results["tests"]["synth-suburb"], material.ranks("synth-suburb")

    class Hostile(Material):
        def ranks(self, test):
            return replace(ranks, queries=[f"{HOSTILE}{i}" for i in range(8)], wrong=[HOSTILE] * 8)

    data = {**entry["data"], "notes": [HOSTILE], "subsets": {HOSTILE: HOSTILE}, "provenance": HOSTILE}
    last = {**entry["last"], HOSTILE: 1.0, "subsets": {HOSTILE: entry["last"]}}
    results = {**material.results, "method": HOSTILE, "train": [HOSTILE], "notes": [HOSTILE],
               "tests": {HOSTILE: {**entry, "data": data, "last": last, "rules": {HOSTILE: HOSTILE}}}}  # fmt: skip
    split = load_split("synth-suburb", "test", count=8)
    source = run_page(Hostile(material.folder, results, {HOSTILE: split}))
    page = Page(source)
    check_page(page)
    assert "\x1b" not in source and "\\x1b[2J" in page.text
    assert HOSTILE.replace("\x1b", "\\x1b") in page.text and "alert" in page.text
    assert dict(page.elements)["data"]["data-key"].count("<script>") == 1


@pytest.mark.parametrize("gone", ["data", "weights", "settings"])
def test_a_run_whose_data_or_weights_are_gone_has_a_report(copy, gone, page, monkeypatch):
    def lost(*arguments, **options):
        raise UserError("The data set is nowhere.", "Extract it.")

    if gone == "data":
        monkeypatch.setattr("geodtr_plugin.harness.data.load_split", lost)
    elif gone == "weights":
        for file in copy.glob("*.safetensors"):
            file.unlink()
    else:
        (copy / "config.json").write_text("{", encoding="utf-8")
    left = Page(write_report(copy).read_text(encoding="utf-8"))
    check_page(left)
    assert left.numbers == page.numbers
    sentence = {
        "data": "The images of synth-suburb are not shown. The data set is nowhere.",
        "weights": "The network is not looked into.",
        "settings": "config.json cannot be read",
    }[gone]
    assert sentence in left.text
    assert "Left out. This needs the network" in left.text
    assert "rank 1" in left.text, "queries are named, with or without pictures"


@pytest.mark.parametrize("name, words", [
    ("ranks-synth-suburb.csv", "cannot be read"), ("metrics.jsonl", "There was no training"),
    ("recipe.yaml", "recipe.yaml is not there"), ("command.txt", "command.txt is not there"),
    ("environment.json", "Machine"), ("last.ckpt", "Numbers"),
])  # fmt: skip
def test_a_file_that_lacks_costs_its_part_alone(copy, material, name, words):
    (copy / name).unlink()
    page = Page(run_page(replace(material, folder=RunFolder(copy), network=None)))
    check_page(page)
    assert words in page.text and {key[1] for key, _, _ in page.numbers} == {"synth-suburb", "synth-downtown"}


@pytest.mark.parametrize("content", ["", "query,rank\n", "query,rank,similarity,wrong,wrong_similarity\na,b,c,d,e"])
def test_damaged_ranks_cost_their_parts_alone(copy, material, content):
    (copy / "ranks-synth-downtown.csv").write_text(content, encoding="utf-8")
    page = Page(run_page(replace(material, folder=RunFolder(copy), network=None)))
    check_page(page)
    assert len(page.numbers) > 50


def test_another_data_set_under_the_same_name_is_told(copy):
    results = results_of(copy)
    results["tests"]["synth-suburb"]["data"]["fingerprint"] = "0" * 12
    (copy / "results.json").write_text(json.dumps(results), encoding="utf-8")
    found = read_run(copy)
    add_data_and_network(found)
    assert found.missing == ["synth-suburb has changed: images and places are those of now, numbers those of then."]


def test_a_run_without_training(run_folder, tmp_path):
    words = f"--test synth-suburb --data.count 8 --epochs 0 --init-weights {run_folder} --evaluation.examples 0"
    assert main(f"run {words} --device cpu --threads 1 --out {tmp_path / 'tested'}".split()) == 0
    for write in (lambda: tmp_path / "tested/report.html", lambda: write_report(tmp_path / "tested")):
        page = Page(write().read_text(encoding="utf-8"))
        check_page(page)
        assert "There was no training" in page.text and "not trained here" in page.text
        assert "trained on rendered worlds (synth-suburb)" in page.text and "Distances" in page.text
        assert "Left out" not in page.text, "its weights are found where they came from"


def test_weights_that_have_changed_since_are_not_looked_into(run_folder, tmp_path):
    source = shutil.copytree(run_folder, tmp_path / "source")
    words = f"--test synth-suburb --data.count 8 --epochs 0 --init-weights {source} --evaluation.examples 0"
    assert main(f"run {words} --device cpu --threads 1 --out {tmp_path / 'tested'}".split()) == 0
    shutil.copy(source / "best.safetensors", source / "last.safetensors")
    with (source / "last.safetensors").open("ab") as file:
        file.write(b"\0")
    found = read_run(tmp_path / "tested")
    add_data_and_network(found)
    assert found.network is None and "has changed since" in found.missing[0]


def test_what_is_no_finished_run_is_refused(copy, tmp_path, capsys):
    (copy / "results.json").unlink()
    assert main(["report", str(copy)]) == 1
    assert f"{copy} holds no results yet. Let the run end: run.py --resume {copy}." in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 1
    assert "is no run folder" in capsys.readouterr().err


def test_a_part_that_fails_costs_a_word(material, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("a <b>bug</b>")

    monkeypatch.setattr("geodtr_plugin.harness.report.places.map_part", broken)
    page = Page(run_page(replace(material, network=None)))
    check_page(page)
    assert "Left out. RuntimeError: a <b>bug</b>" in page.text


def test_ranks_are_read_as_they_were_written(run_folder):
    table = read_ranks(run_folder / "ranks-synth-suburb.csv")
    recall = results_of(run_folder)["tests"]["synth-suburb"]["last"]["recall_at_1"]
    assert 100 * np.mean(table.rank == 1) == pytest.approx(recall, abs=1e-4)
    assert ((table.rank == 1) == (table.margin > 0)).all()
