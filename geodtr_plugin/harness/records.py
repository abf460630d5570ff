"""The records that a run leaves: an epoch's line of metrics.jsonl, and results.json, as others read them back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from ..utils.errors import DamagedFileError
from ..utils.reading import parse_json, read_json, read_text, understood
from ..utils.typed import check

DAMAGED = "Take it from a copy of the run's folder, or start a new run."
MOST = 1e18  # of a score: none comes near, and from sums of more statistics break
Scores = dict[str, Any]  # numbers by name, and those of subsets


class Epoch(TypedDict):
    """A line of metrics.jsonl, as far as anything depends on it."""

    epoch: int
    losses: dict[str, float]
    pairs_per_second: float


class MeasuredEpoch(Epoch, total=False):
    """The same with what stands on lines after which there was an evaluation."""

    tests: dict[str, Scores]


class Rules(TypedDict):
    """How ranks were counted."""

    ties: str
    rank: str


class Data(TypedDict):
    """What was tested on."""

    fingerprint: str


class Test(TypedDict):
    """One test set of results.json."""

    kind: str
    data: Data
    last: Scores
    best: Scores | None
    chance_recall_at_1: float
    published: dict[str, float]
    rules: Rules


class Optim(TypedDict):
    """The part of a recipe that times depend on."""

    batch_size: int


class RecipeOfRun(TypedDict):
    """The recipe in results.json, which is shown and no longer run."""

    optim: Optim


class Results(TypedDict):
    """results.json, as far as comparisons and exports depend on it."""

    train: list[str] | str | None  # one name or null in earlier versions
    polar: bool
    parameters: int
    embedding_size: int
    tests: dict[str, Test]
    recipe: RecipeOfRun


class TrainData(TypedDict):
    """What was trained on."""

    pairs: int


class TrainedResults(Results, total=False):
    """The same with what not every run has."""

    train_data: TrainData
    best_selected_on: str | None
    mark: str  # what tables add to the method's name
    notes: list[str]  # what a reader of published numbers must know


def read_results(file: Path, remedy: str = DAMAGED) -> dict[str, Any]:
    """Return the content of results.json.

    Raises:
        DamagedFileError: it cannot be read, or lacks what others depend on.
    """
    results = read_json(file, remedy)
    with understood(file, remedy):
        check(results, TrainedResults, "its content")
        for name, test in results["tests"].items():
            for epoch in ("last", "best"):
                _check_scores(test[epoch] or {}, f"tests.{name}.{epoch}")
        if not results["tests"] or results["recipe"]["optim"]["batch_size"] < 1:
            raise ValueError("there are no tests, or batches of nothing")
    return results


def _check_scores(scores: Scores, name: str) -> None:
    """Check that all scores are numbers, those of subsets included."""
    for part, own in {"": scores, **scores.get("subsets", {})}.items():
        numbers = {key: value for key, value in own.items() if part or key != "subsets"}
        check(numbers, dict[str, float], f"{name}.subsets.{part}" if part else name)
        for key, value in numbers.items():
            if not abs(value) < MOST:
                raise ValueError(f"{name}.{key} is {value}")


def read_epochs(file: Path, may_be_cut: bool = False) -> list[dict[str, Any]]:
    """Return the records of metrics.jsonl.

    Args:
        file: the file.
        may_be_cut: leave out a last line that cannot be read, as a crash leaves one.

    Raises:
        DamagedFileError: a line cannot be read, or lacks what others depend on.
    """
    remedy = "Remove the line; numbers of the other epochs stay as they are."
    lines, records = read_text(file, remedy).splitlines(), []
    for number, line in enumerate(lines, start=1):
        where = f"Line {number} of {file}"
        try:
            record = parse_json(line, where, remedy)
            with understood(where, remedy):
                check(record, MeasuredEpoch, "the record")
                if not record["pairs_per_second"] > 0:
                    raise ValueError("there is no speed in it")
                for name, scores in record.get("tests", {}).items():
                    _check_scores(scores, f"tests.{name}")
        except DamagedFileError:
            if may_be_cut and number == len(lines):
                break
            raise
        records.append(record)
    return records
