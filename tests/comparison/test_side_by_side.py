"""Runs side by side: exact tests on hits against naive ones, and a page that says what the results say."""

from __future__ import annotations

import csv
import json
import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from pages import Page, check_page

from geodtr_plugin.commands.main import main
from geodtr_plugin.comparison.paired_queries import PairedHits, compare_hits
from geodtr_plugin.comparison.side_by_side import is_comparison, write_comparison_report, write_side_by_side
from geodtr_plugin.harness import settings
from geodtr_plugin.harness.report.material import RankTable
from geodtr_plugin.utils.errors import UserError

QUERIES = 40


def ranked(hits: dict[str, bool]) -> RankTable:
    rank = np.array([1.0 if hit else 7.0 for hit in hits.values()])
    return RankTable(list(hits), [""] * len(hits), {"rank": rank})


def write_run(folder: Path, recall: int, seed: int = 0, label: str = "simple") -> Path:
    """Write what a report reads of a run that found the first `recall` of QUERIES, moved on by the seed."""
    folder.mkdir(parents=True)
    config = settings(f"--method {label.split(':')[0]} --train synth-suburb --test synth-suburb --seed {seed}")
    (folder / "config.json").write_text(json.dumps({"run": config.to_dict()}), encoding="utf-8")
    hits = [(i - seed) % QUERIES < recall for i in range(QUERIES)]
    with (folder / "ranks-synth-suburb.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["query", "rank", "similarity", "wrong", "wrong_similarity"])
        writer.writerows([f"q{i}", 1 if hit else 9, 0.5, f"r{i}", 0.4] for i, hit in enumerate(hits))
    at_1 = 100 * recall / QUERIES
    scores = {"recall_at_1": at_1, "recall_at_5": 90.0, "hit_rate": at_1, "recall_at_1_low": at_1 / 2,
              "recall_at_1_high": at_1 + 5, "num_queries": QUERIES, "num_references": 100}  # fmt: skip
    test = {"kind": "same area", "last": scores, "best": None, "published": {}, "chance_recall_at_1": 1.0,
            "rules": {"ties": "pessimistic", "rank": "as it is"}, "data": {"fingerprint": "abc"}}  # fmt: skip
    results = {"method": config.method, "train": ["synth-suburb"], "polar": False, "parameters": 10,
               "embedding_size": 3, "recipe": config.recipe.to_dict(), "tests": {"synth-suburb": test}}  # fmt: skip
    (folder / "results.json").write_text(json.dumps(json.loads(json.dumps(results))), encoding="utf-8")
    return folder


@pytest.fixture
def comparison(tmp_path):
    root = tmp_path / "compare-<b>"
    for label, recalls in {"simple": (4, 5), "safa": (9, 12)}.items():
        for seed, recall in enumerate(recalls):
            write_run(root / label / f"seed-{seed}", recall, seed, label)
    return root


def test_the_exact_test_is_that_of_scipy_and_of_counting():
    from scipy.stats import binomtest

    for a, b in [*product(range(9), repeat=2), (30, 11), (0, 40), (200, 260)]:
        hits = PairedHits(5, a, b, 9)
        if not a + b:
            assert (hits.p_value, hits.interval) == (1.0, None)
            continue
        assert hits.p_value == pytest.approx(binomtest(b, a + b).pvalue)
        low, high = binomtest(b, a + b).proportion_ci(method="exact")
        share = 100 * (a + b) / hits.queries
        assert hits.interval == pytest.approx((share * (2 * low - 1), share * (2 * high - 1)))
        outside = hits.interval[0] > 0 or hits.interval[1] < 0
        assert outside == (hits.p_value < 0.05), "test and interval agree"
        assert hits.interval[0] <= hits.difference <= hits.interval[1]
    flips = [sum(flip) for flip in product((0, 1), repeat=7)]  # 1 and 6 of 7, by all that chance could do
    assert PairedHits(0, 1, 6, 0).p_value == pytest.approx(sum(n <= 1 or n >= 6 for n in flips) / 2**7)


def test_queries_are_matched_by_their_ids():
    rng = np.random.default_rng(0)
    one, other = ({f"q{i}": bool(rng.random() < 0.5) for i in range(50)} for _ in range(2))
    shuffled = {name: other[name] for name in rng.permutation(list(other))[:33]}
    found = compare_hits(ranked(one), ranked(shuffled))
    assert found is not None and found.queries == 33
    assert found.only_second == sum(shuffled[name] and not one[name] for name in shuffled)
    assert found.only_first == sum(one[name] and not shuffled[name] for name in shuffled)
    assert compare_hits(ranked({"a": True}), ranked({"b": True})) is None


def test_the_page_of_a_comparison_says_what_the_results_say(comparison, capsys):
    assert is_comparison(comparison)
    assert main(["report", str(comparison)]) == 0
    page = Page((comparison / "report.html").read_text(encoding="utf-8"))
    check_page(page)
    found = {key: (value, text) for key, value, text in page.numbers}
    assert found["simple", "synth-suburb", "recall_at_1"] == (pytest.approx(11.25), "11.25 ± 1.77")
    assert found["safa", "synth-suburb", "recall_at_1"] == (pytest.approx(26.25), "26.25 ± 5.30")
    # seed 0: safa finds q0 to q8, simple q0 to q3
    key = "difference", "safa", "simple", "synth-suburb"
    assert found[(*key, "0")] == (-12.5, "-12.50") and found[(*key, "1")] == (-17.5, "-17.50")
    assert "0.0625" in page.text, "5 of 5: 2 / 2^5"
    assert "-15.00 2.50 -6.0" in page.text, "over the seeds"
    assert "compare-<b>" in page.text and "Left out" not in page.text


def test_entries_stand_in_the_order_of_the_table(comparison):
    (comparison / "table.csv").write_text("label,mean\nsimple,1\nsimple,2\nsafa,1\n", encoding="utf-8")
    text = Page(write_comparison_report(comparison).read_text(encoding="utf-8")).text
    assert "Each entry minus simple" in text


def test_two_runs_side_by_side(comparison, tmp_path):
    runs = [comparison / "simple/seed-0", comparison / "safa/seed-1"]
    page = Page(write_side_by_side(runs, tmp_path / "both.html").read_text(encoding="utf-8"))
    check_page(page)
    found = {key: value for key, value, _ in page.numbers}
    # q1 to q12 against q0 to q3: q0 was found by the first alone, q4 to q12 by the second
    assert found["difference", "simple/seed-0", "safa/seed-1", "synth-suburb", "0"] == pytest.approx(100 * 8 / 40)
    assert "1 and 0 40 3 1 9 +20.00" in page.text and "95 % interval of the choice of queries" in page.text


def test_links_lead_to_the_reports_of_the_runs(comparison):
    (comparison / "safa/seed-1/report.html").write_text("<p>", encoding="utf-8")
    page = Page(write_comparison_report(comparison).read_text(encoding="utf-8"))
    links = [link for link in page.attributes("href") if not link.startswith("#")]
    assert links == ["safa/seed-1/report.html"]


def test_runs_that_lack_pieces_cost_their_parts_alone(comparison):
    (comparison / "safa/seed-0/ranks-synth-suburb.csv").unlink()
    (comparison / "safa/seed-1/results.json").unlink()
    page = Page(write_comparison_report(comparison).read_text(encoding="utf-8"))
    check_page(page)
    assert page.text.count("Left out.") == 2, "differences and recall"
    assert math.isclose(next(value for key, value, _ in page.numbers if key[0] == "safa"), 22.5)


def test_mistakes_are_told(comparison, tmp_path, capsys):
    run = str(comparison / "simple/seed-0")
    with pytest.raises(UserError, match="named twice"):
        write_side_by_side([run, f"{run}/../seed-0"], tmp_path / "both.html")
    assert main(["report", run, str(tmp_path)]) == 1
    assert "no run folder" in capsys.readouterr().err
    assert main(["report", str(comparison), "-o", str(tmp_path)]) == 1
    assert "is a folder" in capsys.readouterr().err
