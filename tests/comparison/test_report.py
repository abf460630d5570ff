"""The report of a comparison: statistics against numbers worked out by hand, tables, notes and the plot."""

from __future__ import annotations

import csv
import io
import json
import math
import re

import pytest
from matplotlib.figure import Figure
from PIL import Image

from geodtr_plugin.comparison.jobs import Variant
from geodtr_plugin.comparison.plot import comparison_plot, looks, mean_recall
from geodtr_plugin.comparison.report import as_csv, as_markdown, as_text
from geodtr_plugin.comparison.statistics import (
    Row,
    Summary,
    columns_of,
    differing_settings,
    paired_difference,
    read_row,
    summarise,
    variant_pairs,
)  # fmt: skip
from geodtr_plugin.harness.run_folder import RunFolder
from geodtr_plugin.utils.tables import duration, markdown_table, text_table

TESTS = {"home": "same area", "away": "cross area"}


def results(recalls: dict[str, float], hit: float = 0.0, lr: float = 1e-3, fingerprint: str = "a") -> dict:
    """A results.json with these R@1; R@5 is 10 more, R@10 20 more, the hit rate `hit` more."""
    entries = {}
    for test, recall in recalls.items():
        scores = {
            "recall_at_1": recall, "recall_at_5": recall + 10, "recall_at_10": recall + 20,
            "recall_at_1_percent": recall + 30, "hit_rate": recall + hit,
        }  # fmt: skip
        entries[test] = {
            "kind": TESTS[test], "last": scores, "best": {**scores, "recall_at_1": recall + 1}, "published": {},
            "chance_recall_at_1": 0.5, "rules": {"ties": "pessimistic", "rank": "as it is"},
            "data": {"fingerprint": fingerprint},
        }  # fmt: skip
    return {"train": "home", "polar": True, "parameters": 1234567, "embedding_size": 768, "tests": entries,
            "recipe": {"optim": {"lr": lr, "batch_size": 8}, "model": {}}}  # fmt: skip


def row(label: str, home: list[float], away: list[float], **more) -> Row:
    runs = {seed: results({"home": h, "away": a}, **more) for seed, (h, a) in enumerate(zip(home, away))}
    return Row(label, label.split(":")[0], runs, dict.fromkeys(runs, 200.0))


@pytest.fixture
def rows() -> list[Row]:
    return [
        row("safa", [40, 44, 42], [3, 5, 4]),
        row("plus", [60, 62, 67], [10, 14, 12]),
        row("plus:chsg=raw", [61, 60, 62], [8, 9, 10]),
    ]


def test_mean_and_sample_deviation():
    assert summarise([60, 62, 67]) == (63, pytest.approx(math.sqrt(13)), 3)  # (9 + 1 + 16) / 2
    assert summarise([5.0]) == (5.0, None, 1)
    assert str(summarise([60, 62, 67])) == "63.00 ± 3.61" and str(Summary(5.0, None, 1)) == "5.00"


def test_differences_are_paired_by_seed():
    found = paired_difference({0: 61, 1: 60, 2: 62, 7: 99}, {2: 67, 0: 60, 1: 62})  # 1, -2, -5
    assert (found.mean, found.n) == (-2, 3)
    assert found.error == pytest.approx(3 / math.sqrt(3)) and found.times == pytest.approx(-2 / math.sqrt(3))
    assert paired_difference({0: 1.5}, {0: 1.0}) == (0.5, None, 1)
    assert paired_difference({0: 1.5}, {0: 1.0}).times is None
    assert paired_difference({0: 2.0, 1: 3.0}, {0: 1.0, 1: 2.0}).times is None, "no error to measure by"
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_only_variants_of_one_method_are_compared(rows):
    assert [(a.label, b.label) for a, b in variant_pairs(rows)] == [("plus:chsg=raw", "plus")]


def test_the_markdown_table(rows):
    text = as_markdown(rows)
    head, _, second, *lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:9]]
    assert head[1] == "home, same area" and head[6] == "away, cross area"
    assert second[1:6] == ["R@1", "R@5", "R@10", "R@1%", "published"]
    assert second[-4:] == ["seeds", "parameters", "embedding", "training"]
    plus = lines[1]
    assert plus[:6] == ["plus", "**63.00 ± 3.61**", "**73.00 ± 3.61**", "**83.00 ± 3.61**", "**93.00 ± 3.61**", "-"]
    assert plus[-4:] == ["3", "1,234,567", "768", "3 min 20 s"]
    assert lines[2][1] == "61.00 ± 1.00", "only the best of a column is bold"
    assert lines[3][:3] == ["chance", "0.50", "-"]
    assert re.search(r"plus:chsg=raw minus plus \| +-2.00 \(error 1.73\) \| +-1.2 \|", text)


def test_the_terminal_shows_the_same_numbers(rows):
    text = as_text(rows, [("l2ltr", 0, "It broke. Mend it."), ("l2ltr", 1, "It broke. Mend it.")])
    home, away, size, differences, notes = text.split("\n\n")
    assert home.startswith("home, same area") and "*63.00 ± 3.61" in home and " 61.00 ± 1.00" in home
    assert "*12.00 ± 2.00" in away and "1,234,567" in size and "chance" not in size
    assert "-1.2" in differences
    assert notes.startswith("Failed: l2ltr, seeds 0, 1: It broke. Mend it.\n")
    assert "exceeds 4.3 standard errors" in notes and "Star: best" in notes


def test_one_seed_and_one_entry_claim_nothing():
    text = as_markdown([row("plus", [60], [10])])
    assert "60.00" in text and "±" not in text and "**" not in text and "seed 0 alone" in text
    assert "Differences" not in text
    two = as_markdown([row("plus", [60], [10]), row("plus:chsg=raw", [61], [8])])
    assert "+1.00 (error -)" in two and "standard errors in one" not in two


def test_a_missing_measurement_is_a_dash(rows):
    for found in rows[0].results.values():
        del found["tests"]["away"]
    lines = as_markdown(rows).splitlines()
    safa = [cell.strip() for cell in lines[5].split("|")[1:-1]]
    assert safa[1] == "42.00 ± 2.00" and safa[6:11] == ["-"] * 5


def test_the_hit_rate_stands_where_it_says_something(rows):
    assert "hit" not in columns_of(rows, "home")
    assert columns_of([*rows, row("other", [1], [1], hit=2)], "home")["hit"] == "hit_rate"


def test_csv_in_long_form(rows):
    rows[1] = Row("plus", "plus", rows[1].results, {0: 1.0, 1: 3.0}, {"away": {"recall_at_1": 61.17}})
    lines = list(csv.DictReader(io.StringIO(as_csv(rows))))
    assert len(lines) == 3 * 2 * 2 * 5  # entries, test sets, epochs, metrics
    wanted = {"label": "plus", "test": "away", "epoch": "last", "metric": "recall_at_1"}
    (line,) = [line for line in lines if wanted.items() <= line.items()]
    assert (float(line["mean"]), float(line["sd"]), line["n"], line["seeds"]) == (12, 2, "3", "0 1 2")
    assert (line["kind"], line["published"], line["chance"]) == ("cross area", "61.17", "0.5")
    assert (line["parameters"], line["embedding_size"], line["train_seconds"]) == ("1234567", "768", "2.0")
    (best,) = [line for line in lines if {**wanted, "epoch": "best"}.items() <= line.items()]
    assert float(best["mean"]) == 13
    assert all(line["published"] == "" for line in lines if line["label"] != "plus" or line["test"] == "home")


def test_what_was_set_differently_is_said(rows):
    assert "All entries were trained with the same settings." in as_markdown(rows)
    other = row("slow", [1, 2, 3], [1, 2, 3], lr=0.5)
    assert differing_settings([*rows, other]) == {
        "optim.lr": {"0.001": ["safa", "plus", "plus:chsg=raw"], "0.5": ["slow"]}
    }
    assert "optim.lr: 0.001 (safa, plus, plus:chsg=raw); 0.5 (slow)." in as_markdown([*rows, other])


def test_other_images_are_not_passed_over(rows):
    assert "Not comparable" not in as_markdown(rows)
    assert "Not comparable: home was not the same images" in as_markdown([*rows, row("x", [1], [1], fingerprint="b")])


def write_run(folder: RunFolder, found: dict, epochs: list[float]) -> RunFolder:
    folder.path.mkdir(parents=True)
    folder.results_file.write_text(json.dumps(found))
    folder.metrics_file.write_text("".join(json.dumps({"pairs_per_second": rate}) + "\n" for rate in epochs))
    return folder


def test_an_entry_is_read_from_its_finished_runs(tmp_path):
    paper = {"recall_at_1": 95.4}
    found = {**results({"home": 60.0}), "train_data": {"pairs": 20}}
    found["tests"]["home"]["published"] = paper
    runs = {4: write_run(RunFolder(tmp_path / "a"), found, [8.0, 16.0]), 5: RunFolder(tmp_path / "none")}
    plain = read_row(Variant.parse("plus:no-polar"), runs)
    assert list(plain.results) == [4] and plain.published == {"home": paper}
    assert plain.train_seconds == {4: 3.0}  # 16 of 20 pairs fill batches of 8: 2 s and 1 s
    assert read_row(Variant.parse("plus:chsg=raw"), runs).published == {}, "the paper's number is not that of a variant"
    assert read_row(Variant.parse("plus:chsg=raw"), runs, {"home": {"recall_at_1": 9}}).published["home"] != paper
    assert read_row(Variant.parse("plus"), {5: runs[5]}) is None


def test_the_plot(rows, tmp_path, monkeypatch):
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **kw: (figures.append(self), save(self, *args, **kw)))
    comparison_plot(rows, tmp_path / "plot.png")
    assert min(Image.open(tmp_path / "plot.png").size) > 500
    (axes,) = figures[0].axes
    points = {line.get_label(): tuple(line.get_xydata()[0]) for line in axes.lines if line.get_label()[0] != "_"}
    assert points == {"safa": (42, 4), "plus": (63, 12), "plus:chsg=raw": (61, 9)}
    names = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert names == ["plus", "plus:chsg=raw", "safa"], "in the order of their heights"
    boxes = [text.get_window_extent() for text in figures[0].legends[0].get_texts()]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    dotted = [tuple(line.get_xydata()[0]) for line in axes.lines if line.get_linestyle() == ":"]
    assert dotted == [(0.5, 0), (0, 0.5)], "chance"


def test_a_plot_of_one_kind_of_test_set(rows, tmp_path):
    for found in (found for row in rows for found in row.results.values()):
        del found["tests"]["home"]
    comparison_plot(rows, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000


def test_a_method_keeps_its_colour(rows):
    safa, plus, raw = looks(rows)
    assert plus["color"] == raw["color"] != safa["color"] and plus["marker"] != raw["marker"]
    assert mean_recall(rows[1], ["home", "away"]) == (37.5, pytest.approx(math.sqrt(5.25)), 3)  # 35, 38, 39.5


def test_formats():
    assert [duration(s) for s in (8.44, 200, 18120)] == ["8.4 s", "3 min 20 s", "5 h 02 min"]
    assert text_table(["a", "bc"], [["long", "1"]]) == "a     bc\n--------\nlong   1"
    assert markdown_table(["a", "b"], [["x", "12345"]]) == "| a   |     b |\n| --- | ----: |\n| x   | 12345 |"
