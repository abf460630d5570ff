"""The paper's tables and figures: which runs they need, where published numbers stand, and the command itself."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trees
import trees_vigor
from PIL import Image

from geodtr_plugin.comparison.jobs import Variant
from geodtr_plugin.comparison.paper import estimate, sets
from geodtr_plugin.comparison.paper.command import chosen_parts, paper_command
from geodtr_plugin.comparison.paper.entries import Entry, method_entries, option_entries, shortest
from geodtr_plugin.comparison.paper.listing import listing
from geodtr_plugin.comparison.paper.parts import PARTS
from geodtr_plugin.comparison.paper.published import TABLE_4, TABLE_5, TABLE_6, TABLE_8, cells_of
from geodtr_plugin.comparison.paper.repeats import Pair, pixel_hash, repeats_of
from geodtr_plugin.comparison.paper.runs import Need, Workshop, once
from geodtr_plugin.comparison.paper.sets import Sets
from geodtr_plugin.comparison.paper.table import blocks_of, table_text
from geodtr_plugin.harness import runner, settings
from geodtr_plugin.methods import METHODS, list_methods
from geodtr_plugin.utils.errors import UserError

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "paper.py"
PLAIN = "--batch-size 8 --epochs 1 --workers 0 --threads 1 --device cpu --evaluation.examples 0".split()
TINY = [*PLAIN, *"--backbone tiny --model.pretrained false --model.query_size [32,64] --precision fp32".split()]
WORLDS = "--train synth-suburb --test synth-suburb synth-downtown".split()


def shop_of(root: Path, *words: str, **options) -> Workshop:
    return Workshop(root, Sets(False), ["--data.count", "32", *words], **options)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """CVUSA, whose first test place is a training place too, CVACT and VIGOR in miniature."""
    root = tmp_path_factory.mktemp("data")
    trees.write_cvusa(root / "CVUSA", range(1, 9), range(9, 13))
    for folder in ("bingmap/19", "streetview/panos"):
        shutil.copy(root / "CVUSA" / folder / "0000002.jpg", root / "CVUSA" / folder / "0000009.jpg")
    trees.write_cvact(root / "CVACT", num_train=8)
    trees_vigor.write_vigor(root / "VIGOR")
    return root


def paper(root: Path, out: Path, *words: str) -> int:
    parts, options = chosen_parts(words)
    own = ["--methods", "geodtr_plus", "--data-root", str(root), "--out", str(out)]
    return paper_command([*(part.name for part in parts), *TINY, *options, *own])


@pytest.fixture
def without_pictures(monkeypatch):
    """Let runs write no pictures and reports of their own: other tests look at them, and they take most of the time."""
    for name in ("learning_curve", "report_on_run"):
        monkeypatch.setattr(runner, name, lambda *_: None)


def rows_of(file: Path, **cells: str) -> list[dict[str, str]]:
    return [row for row in csv.DictReader(file.open()) if all(row[name] == cell for name, cell in cells.items())]


@pytest.mark.slow
def test_tables_of_methods_on_real_trees(data, tmp_path, capsys, without_pictures):
    assert paper(data, tmp_path, "table1", "table2", "figure1") == 0
    first = capsys.readouterr().out
    assert first.count("epoch 1/1: loss") == 4, "two tables and a figure share two variants on two sets"
    line = rows_of(tmp_path / "table1.csv", label="geodtr_plus", test="cvusa", metric="recall_at_1", epoch="last")
    assert [row["published"] for row in line] == ["95.4"] and 0 <= float(line[0]["mean"]) <= 100
    line = rows_of(tmp_path / "table2.csv", label="geodtr_plus:no-polar", train="cvact", metric="recall_at_5")
    assert {row["published"] for row in line} == {"73.08"} and {row["test"] for row in line} == {"cvusa"}
    page = (tmp_path / "table1.md").read_text()
    assert "67.57 / 89.84 / 92.57 / 98.54" in page and "cvact-test" in page
    assert Image.open(tmp_path / "figure1.png").width > 500
    assert paper(data, tmp_path, "table2") == 0
    assert "epoch 1/1" not in capsys.readouterr().out, "finished runs are not repeated"


@pytest.mark.slow
def test_the_table_of_vigor_on_real_trees(data, tmp_path, without_pictures):
    assert paper(data, tmp_path, "table3", "--model.reference_size", "[32,32]", "--batch-size", "4") == 0
    line = rows_of(tmp_path / "table3.csv", train="vigor-cross", metric="hit_rate", epoch="last")
    assert [row["published"] for row in line] == ["39.4"]


def test_repeated_pairs_of_real_trees(data, tmp_path):
    assert paper(data, tmp_path, "figure6") == 0
    (row,) = csv.DictReader((tmp_path / "figure6.csv").open())
    assert (row["first id"], row["later id"], row["later split"]) == ("0000002", "0000009", "test")
    assert row["alike in"] == "panorama aerial", "without all.csv the places of ids are their own"
    assert Image.open(tmp_path / "figure6.png").width > 500


@pytest.mark.slow
def test_figures_of_the_worlds(tmp_path, capsys, without_pictures):
    parts = ["figure7", "figure9", "figure10", "table6"]
    assert paper_command([*parts, *PLAIN, "--data.count", "16", "--seeds", "4,", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("epoch 1/1: loss") == 5
    for name in parts[:3]:
        assert np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")).std() > 5
    page = (tmp_path / "table6.md").read_text()
    assert "geodtr_plus:chsg=ls:batch-size=16" in page and "published, cvusa" in page


@pytest.mark.parametrize("table, count", [(TABLE_4, 6), (TABLE_5, 4), (TABLE_6, 4), (TABLE_8, 6)])
def test_lines_on_the_real_sets(table, count):
    entries = option_entries(table, "geodtr_plus", settings("--train cvusa"))
    assert len(entries) == count
    for entry in entries:  # each is one that run.py understands
        words = " ".join(entry.variant.words)
        assert settings(f"--method geodtr_plus --train cvusa {words}").recipe_name == "paper"


def test_the_full_method_has_the_same_numbers_in_all_tables():
    full = [
        TABLE_4["model.extractor=v2:backbone=convnext_tiny:chsg=l+s"], TABLE_5["model.descriptors=8"],
        TABLE_6["chsg=l+s"], TABLE_8["chsg=l+s"],
    ]  # fmt: skip
    own = METHODS["geodtr_plus"].paper.published
    for numbers in full:
        for (trained, test), cell in cells_of(numbers).items():
            assert cell["recall_at_1"] == own[trained, test, True]["recall_at_1"]


def test_small_worlds_have_no_column_of_trunks():
    extractors = [f"geodtr_plus:model.extractor={v}:chsg={chsg}" for v in ("v1", "v2") for chsg in ("raw", "l+s")]
    for words, one_trunk in (("--train synth-suburb", False), ("--train cvusa --backbone resnet18", True)):
        entries = option_entries(TABLE_4, "geodtr_plus", settings(words), one_trunk)
        assert [entry.variant.label for entry in entries] == extractors
        assert not any(entry.published for entry in entries), "the paper did not measure them"


def test_another_method_in_the_place_of_geodtr_plus():
    labels = [entry.variant.label for entry in option_entries(TABLE_8, "safa", settings("--train synth-suburb"))]
    assert len(labels) == 6 and labels[-1] == "safa:chsg=l+s"
    with pytest.raises(UserError, match=r"varies model\.descriptors, which safa does not have"):
        option_entries(TABLE_5, "safa", settings("--train synth-suburb"))


def test_methods_with_published_numbers_appear_by_themselves(monkeypatch):
    for columns in (sets.SAME, sets.CROSS, sets.OFFSET):
        labels = [entry.variant.label for entry in method_entries(columns)]
        has = {m for m in list_methods() for a, b, _ in METHODS[m].paper.published if (a, b) in columns}
        assert {label.split(":")[0] for label in labels} == has and len(set(labels)) == len(labels)
    new = {("cvusa", "cvact", False): {"recall_at_1": 99.0}}
    entries = method_entries(sets.CROSS, ["simple", "transgeo"])
    assert [entry.variant.label for entry in entries] == ["simple", "transgeo"] and entries[0].published == {}
    monkeypatch.setattr(METHODS["simple"], "paper", replace(METHODS["simple"].paper, published=new))
    assert method_entries(sets.CROSS)[-1] == Entry(Variant.parse("simple"), {("cvusa", "cvact"): {"recall_at_1": 99.0}})


def test_tables_share_a_run_under_its_shortest_name():
    def short(text: str) -> str:
        return shortest(Variant.parse(text), WORLDS).label

    assert short("geodtr_plus:model.descriptors=8") == short("geodtr_plus:chsg=l+s") == "geodtr_plus"
    assert short("geodtr_plus:polar:model.extractor=v2:chsg=raw") == "geodtr_plus:chsg=raw"
    assert short("geodtr_plus:model.descriptors=4") == "geodtr_plus:model.descriptors=4"


def test_figures_look_into_their_methods(tmp_path):
    shop = shop_of(tmp_path)
    parts = PARTS["figure7"], PARTS["figure8"]
    labels = {part.name: [entry.variant.label for entry in part.entries(shop, part)] for part in parts}
    assert labels == {"figure7": ["geodtr_plus:polar", "geodtr_plus:no-polar"], "figure8": ["geodtr", "geodtr_plus"]}
    shop.method = "simple"
    with pytest.raises(UserError, match="No run of geodtr on synth-suburb has ended"):
        PARTS["figure8"].write(shop, PARTS["figure8"])


def test_needs_are_counted_once(tmp_path):
    shop = shop_of(tmp_path)
    parts, _ = chosen_parts(["table6", "table8", "figure9", "figure10"])
    needs = list(once([need for part in parts for need in part.needs(shop)]))
    runs = [(need.trained, need.variant.label, seed) for need in needs for seed in need.seeds]
    assert len(runs) == len(set(runs)) == 8 * 3, "both tables have raw and l+s, and each others"
    variant = Variant.parse("safa")
    assert list(once([Need("a", variant, (0,)), Need("a", variant, (0, 1))]))[1].seeds == (1,)


def test_worlds_stand_in_for_real_sets():
    worlds = Sets(False)
    assert worlds.of(("cvusa", "cvact")) == ("synth-suburb", "synth-downtown")
    assert worlds.of(("vigor-cross", "vigor-cross")) == ("synth-suburb-offset", "synth-downtown-offset")
    assert worlds.tests_of("synth-suburb-offset") == ["synth-suburb-offset", "synth-downtown-offset"]
    assert worlds.present(sets.SAME) == [("cvusa", "cvusa"), ("cvact", "cvact")]


def test_sets_that_are_not_there_are_left_out(data, tmp_path, capsys):
    tmp_path = tmp_path / "of" / "one"  # sets are also looked for beside the folder, where other tests keep theirs
    shutil.copytree(data / "CVUSA", tmp_path / "CVUSA")
    alone = Sets(True, str(tmp_path))
    assert alone.present(sets.CENTRED) == [("cvusa", "cvusa")] and alone.tests_of("cvusa") == ["cvusa"]
    shop = Workshop(tmp_path, alone, ["--data-root", str(tmp_path)])
    assert [need.trained for need in PARTS["table5"].needs(shop)] == ["cvusa"] * 4
    assert paper(tmp_path, tmp_path, "table3") == 1
    assert "vigor" in capsys.readouterr().err


def test_published_cells_stand_where_nothing_was_run(tmp_path):
    shop, columns = shop_of(tmp_path), sets.SAME[:1]
    entries = [Entry(Variant.parse("geodtr_plus"), {("cvusa", "cvusa"): {"recall_at_1": 95.4, "recall_at_5": 98.44}})]
    page = table_text(shop, "Table", entries, blocks_of(shop, columns, entries, 1))
    assert "95.40 / 98.44" in page and "published, cvusa" in page and "Synthetic worlds stand in" in page


def test_a_run_that_fails_costs_no_other_and_is_tried_once(tmp_path, monkeypatch, capsys):
    def fail(job):
        raise UserError("The disk is full.")

    monkeypatch.setattr("geodtr_plugin.comparison.compare.run_job", fail)
    assert paper_command(["table6", "table8", *PLAIN, "--seeds", "0,", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("The disk is full.") == 8, "four lines of one table, four more of the other"
    page = (tmp_path / "table6.md").read_text()
    assert "Failed: geodtr_plus, seed 0: The disk is full. (trained on synth-suburb)" in page and "95.77" in page


def test_repeats_are_those_with_an_earlier_place_or_pixels():
    pairs = [Pair("train", 0, 0, 5, "a", "x"), Pair("train", 1, 1, 6, "b", "y"), Pair("test", 0, 0, 5, "a", "z"),
             Pair("test", 1, 1, 7, "c", "y"), Pair("test", 2, 2, 8, "d", "w")]  # fmt: skip
    found = [(first.query, later.query, by) for first, later, by in repeats_of(pairs)]
    assert found == [(0, 0, ["panorama", "place"]), (1, 1, ["aerial"])]


def test_hashes_are_those_of_pixels():
    import torch

    image = torch.arange(24, dtype=torch.uint8).reshape(3, 2, 4)
    assert pixel_hash(image) == pixel_hash(image.clone().permute(0, 2, 1).contiguous().permute(0, 2, 1))
    assert pixel_hash(image) != pixel_hash(image.reshape(3, 4, 2)) != pixel_hash(image.flip(0))


def test_estimates_follow_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "_step", lambda *key: estimate.Step(0.1, 0.01))
    words = "--epochs", "2", "--evaluation.every", "0", "--device", "cpu"
    plain, doubled = (Need("synth-suburb", Variant.parse(f"geodtr_plus:chsg={chsg}"), (0, 1)) for chsg in ("raw", "l"))
    shop = shop_of(tmp_path, *words)
    assert estimate.seconds_of(shop, plain) == pytest.approx(2 * (32 * 2 * 0.1 + 2 * 32 * 0.01))
    assert estimate.seconds_of(shop, doubled) == pytest.approx(2 * (2 * 32 * 2 * 0.1 + 2 * 32 * 0.01))
    results = shop.folders(plain)[1].results_file
    results.parent.mkdir(parents=True)
    results.touch()
    assert estimate.seconds_of(shop, plain) == pytest.approx(32 * 2 * 0.1 + 2 * 32 * 0.01), "one is done"
    assert estimate.pairs_of(settings("--train cvusa --limit 100"), "cvusa", "train") == 100
    assert estimate.pairs_of(settings("--train cvusa"), "cvusa", "train") == 35_532


def test_networks_of_large_images_are_not_measured_on_a_cpu(data, tmp_path):
    words = ["--data-root", str(data), "--device", "cpu"]
    shop = Workshop(tmp_path, Sets(True, str(data)), words)
    line = next(line for line in listing(shop, [PARTS["table6"]]).splitlines() if line.startswith("table6 "))
    assert line.split()[1:5] == ["cvusa,", "cvact", "12", "0"] and "unknown without a GPU" in line


def test_a_step_is_measured():
    options = '{"backbone": "tiny", "query_size": [16, 32]}'
    step = estimate._step("geodtr_plus", options, "cpu", batch=2, counterfactual=True, bf16=False)
    assert step.train > 0 and step.embed > 0


def test_the_list_says_what_is_needed_and_there(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "_step", lambda *key: estimate.Step(0.1, 0.01))
    text = listing(shop_of(tmp_path, "--device", "cpu"), chosen_parts(["figure10", "table7"])[0])
    line = next(line for line in text.splitlines() if line.startswith("figure10 "))
    assert "synth-suburb, synth-downtown" in line and line.split()[3:5] == ["2", "0"]
    assert "counted once" in text and not (tmp_path / "runs").exists()


def test_the_script_names_its_parts():
    done = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and all(name in done.stdout for name in PARTS)


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["table9"], "There is no table or figure 'table9'"),
        ([], "No table or figure is named."),
        (["--list", "table1"], "Begin with some of table1"),
        (["table5", "--train", "cvusa"], "--train is an option of run.py alone"),
        (["table5", "--method", "geodtr+"], "There is no method 'geodtr+'"),
        (["table5", "--method", "safa"], "This table varies model.descriptors, which safa does not have."),
        (["table5", "--bacth-size", "3"], "bacth"),
    ],
)
def test_mistakes_are_told(words, sentence, capsys, tmp_path):
    assert paper_command([*words, "--out", str(tmp_path)]) == 1
    assert sentence.lower() in capsys.readouterr().err.lower()
