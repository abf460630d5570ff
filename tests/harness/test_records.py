"""metrics.jsonl and results.json are read back whole, or named where they are damaged."""

from __future__ import annotations

import json

import pytest

from geodtr_plugin.harness.records import read_results
from geodtr_plugin.harness.run_folder import RunFolder
from geodtr_plugin.utils.errors import DamagedFileError

LINE = '{"epoch": %d, "losses": {"total": 1.0}, "pairs_per_second": 9.0}\n'


@pytest.fixture
def run(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(LINE % epoch for epoch in (1, 2, 3)))
    return RunFolder(tmp_path)


def test_a_resumed_run_drops_later_epochs_and_a_line_that_was_cut_off(run):
    with run.metrics_file.open("a") as file:
        file.write('{"epoch": 4, "los')
    with pytest.raises(DamagedFileError, match="Line 4 of .*metrics.jsonl .*Remove the line"):
        run.metrics()
    run.drop_metrics_after(2)
    assert [record["epoch"] for record in run.metrics()] == [1, 2]


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"epoch": 1}', LINE.replace("%d", "1.5"), (LINE % 2).replace("9.0", "0"), "\0\0"]
)
def test_a_line_in_the_middle_is_not_dropped_in_silence(run, line):
    run.metrics_file.write_text(f"{LINE % 1}{line.strip()}\n{LINE % 3}")
    before = run.metrics_file.read_bytes()
    with pytest.raises(DamagedFileError, match="Line 2 of"):
        run.drop_metrics_after(9)
    assert run.metrics_file.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tests": {}}, "no tests"), ({"tests": None}, "tests is None, not an object"),
        ({"parameters": "many"}, "parameters is 'many', not int"), ({"recipe": {}}, "recipe lacks optim"),
        ({"tests": {"a": {"kind": "same area"}}}, "tests.a lacks"),
    ],
)  # fmt: skip
def test_results_of_another_shape_are_named(tmp_path, change, said):
    test = {
        "kind": "same area", "last": {"recall_at_1": 1.0, "subsets": {"b": {"recall_at_1": 2.0}}}, "best": None,
        "published": {}, "chance_recall_at_1": 0.5, "data": {"fingerprint": "a"}, "rules": {"ties": "", "rank": ""},
    }  # fmt: skip
    good = {"train": "a", "polar": True, "parameters": 9, "embedding_size": 8, "tests": {"a": test},
            "recipe": {"optim": {"batch_size": 8}}}  # fmt: skip
    (tmp_path / "results.json").write_text(json.dumps(good))
    assert read_results(tmp_path / "results.json") == good
    test["last"]["subsets"]["b"]["recall_at_1"] = "high"
    (tmp_path / "results.json").write_text(json.dumps(good))
    with pytest.raises(DamagedFileError, match="subsets.b.recall_at_1 is 'high', not float"):
        read_results(tmp_path / "results.json")
    (tmp_path / "results.json").write_text(json.dumps(good | change))
    with pytest.raises(DamagedFileError, match=f"results.json .*{said}"):
        read_results(tmp_path / "results.json")
