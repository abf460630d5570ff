"""What a run reports: results.json and the table at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..datasets import Split, same_area
from ..datasets.joined import parts_of
from ..evaluation.headings import WITHIN
from ..methods import METHODS, TwoTower
from ..methods.base import count_parameters
from ..utils.distributed import world_size
from .config import RunConfig
from .initial_weights import InitialWeights

COLUMNS = {  # heading -> name of the calculator
    "R@1": "recall_at_1", "R@5": "recall_at_5", "R@10": "recall_at_10", "R@20": "recall_at_20",
    "R@1%": "recall_at_1_percent", "hit": "hit_rate",
}  # fmt: skip
METRES = {"median m": "median_metres", "with offset": "median_metres_with_offset"}  # the same of errors in metres


def chance_of(split: Split) -> float:
    """Return R@1 of a random ranking in percent: the mean share of the gallery that is right."""
    return 100 * float(np.mean(split.truth.positives.counts())) / len(split.references)


def collect_results(
    config: RunConfig, model: TwoTower, train: Split | None, tests: Mapping[str, Split], last: Mapping[str, Any],
    best: Mapping[str, Any] | None, seconds: float, initial: InitialWeights | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the content of results.json.

    Args:
        config: what the run was asked to do.
        model: what was measured.
        train: the training split, if there was one.
        tests: the test splits by name.
        last: scores after the last epoch, by test set.
        best: epoch, test set that it was selected on, and scores of the best epoch, if there was a training.
        seconds: how long the run took.
        initial: the weights that the run started from.
    """
    trained_on = config.train if config.recipe.optim.epochs else (initial and initial.train) or config.train
    selected = {name: {**best["tests"][name], "epoch": best["epoch"]} if best else None for name in tests}
    results = {
        "method": config.method,
        "mark": model.mark,
        "notes": model.paper.notes_on(tests),
        "train": config.train,
        "polar": model.polar,
        "seed": config.seed,
        "parameters": count_parameters(model),
        "trained_parameters": count_parameters(model, trained=True),
        "embedding_size": model.embedding_size,
        "epochs": config.recipe.optim.epochs,
        "processes": world_size(),
        "seconds": round(seconds, 1),
        "best_selected_on": f"{best['selected_on']} (a test set, as published numbers are)" if best else None,
        "tests": {
            name: test_entry(config, trained_on, name, split, model.polar, last[name], selected[name])
            for name, split in tests.items()
        },
        "initial_weights": initial.to_dict() if initial else None,
        "recipe": config.recipe.to_dict(),
    }
    return results if train is None else {**results, "train_data": describe_training(train, config.shares)}


def published(method: str, train: Sequence[str], test: str, polar: bool) -> dict[str, float]:
    """Return the paper's row for training set, test set and kind of aerial image; empty if it has none.

    `test` is the name of a set, under the view of `FieldOfView.test_name`.

    Papers train on one set: there is no row for several.
    """
    return dict(METHODS[method].paper.published.get(("+".join(train), test, polar), {}))


def kind_of_test(trained_on: Sequence[str], test: str) -> str:
    """Return "same area" where the test set is of the area of one of the training sets, else "cross area".

    "area unknown" is said where nothing tells what the weights were trained on.
    """
    if not trained_on:
        return "area unknown"
    return "same area" if any(same_area(name, test) for name in trained_on) else "cross area"


def describe_training(train: Split, shares: Sequence[float] | None = None) -> dict[str, Any]:
    """Return what a reader must know about the training split, and about each of several sets, with its share."""
    parts = parts_of(train)
    if len(parts) == 1:
        return describe(train)
    weights = [len(part.pairs) for part in parts] if shares is None else shares
    sets = {part.name: {**describe(part), "share": w / sum(weights)} for part, w in zip(parts, weights)}
    return {**describe(train), "sets": sets}


def describe(split: Split) -> dict[str, Any]:
    """Return what a reader must know about a split to trust a number on it."""
    return {
        "queries": len(split.queries), "references": len(split.references), "pairs": len(split.pairs),
        "fingerprint": split.fingerprint(), "layout": split.layout, "provenance": split.provenance,
        "notes": list(split.notes), "subsets": {subset.name: subset.what for subset in split.subsets},
    }  # fmt: skip


def test_entry(
    config: RunConfig, trained_on: Sequence[str], name: str, split: Split, polar: bool, last: dict[str, Any],
    best: dict[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    """Return one test set's part of results.json: scores after the last and at the best epoch, chance, the paper."""
    return {
        "kind": kind_of_test(trained_on, name),
        "data": describe(split),
        "last": last,
        "best": best,
        "chance_recall_at_1": chance_of(split),
        "published": published(config.method, trained_on, config.recipe.view.test_name(name), polar),
        "rules": {
            "ties": config.recipe.evaluation.ties,
            "percent_rounding": split.percent_rounding,
            "rank": "references at least as similar as the best positive, other positives aside"
            if config.recipe.evaluation.ties == "pessimistic"
            else "references more similar than the best positive, other positives aside",
            "hit_rate": "as R@1, with the query's semi-positives taken out of the gallery",
            "metres": "between the query and the centre of the most similar reference, or the place that the model's "
            "head finds in it; below: less than",
        },
    }


def columns_of(scores: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Return the part of COLUMNS that at least one of some test sets has; R@20 belongs to place recognition."""
    known = set().union(*scores)
    return {title: name for title, name in COLUMNS.items() if name in known}


def table(results: dict[str, Any]) -> str:
    """Return the table of the numbers after the last epoch, a row a test set, chance and published R@1 beside them.

    Parts of a test set (the queries that are not in the training list, say) follow it, with their number of queries.
    """
    columns = columns_of(entry["last"] for entry in results["tests"].values())
    lasts = [entry["last"] for entry in results["tests"].values()]
    metres = {title: name for title, name in METRES.items() if any(name in last for last in lasts)}
    head = ["test set", "", *columns, "95 % of R@1", *metres, "chance", "published R@1", "best R@1 (epoch)"]
    rows = [head]
    for name, entry in results["tests"].items():
        last, best = entry["last"], entry["best"]
        rows.append([
            name, entry["kind"], *_numbers(last, columns),
            *(f"{last[key]:,.1f}" if key in last else "-" for key in metres.values()),
            f"{entry['chance_recall_at_1']:.2f}",
            f"{entry['published']['recall_at_1']:.2f}" if entry["published"] else "-",
            f"{best['recall_at_1']:.2f} ({best['epoch']})" if best else "-",
        ])  # fmt: skip
        for part, scores in last.get("subsets", {}).items():
            empty = [""] * (len(metres) + 3)
            rows.append([f"  {part}", f"{scores['num_queries']:,} queries", *_numbers(scores, columns), *empty])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join([*map(str.ljust, row[:2], widths[:2]), *map(str.rjust, row[2:], widths[2:])]) for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def training_lines(results: dict[str, Any]) -> list[str]:
    """Return a line for each of several training sets: its pairs, and its share of the training."""
    sets = results.get("train_data", {}).get("sets", {})
    return [f"Trained on {name}: {own['pairs']:,} pairs, {own['share']:.1%} of an epoch." for name, own in sets.items()]


def heading_lines(results: dict[str, Any]) -> list[str]:
    """Return a line for each test set on which headings were told: how far they are from the true ones."""
    told = {name: entry["last"] for name, entry in results["tests"].items() if "heading_median_error" in entry["last"]}
    return [
        f"Headings on {name}: median error {scores['heading_median_error']:.2f} degrees, {_shares(scores)}"
        + (f"; where the first reference is right, {_shares(scores, '_of_hits')}." if scores["recall_at_1"] else ".")
        for name, scores in told.items()
    ]


def _shares(scores: dict[str, Any], of: str = "") -> str:
    return ", ".join(f"{scores[f'heading_within_{degrees}{of}']:.2f} % within {degrees}" for degrees in WITHIN)


def _numbers(scores: dict[str, Any], columns: dict[str, str]) -> list[str]:
    interval = f"{scores['recall_at_1_low']:.1f} to {scores['recall_at_1_high']:.1f}"
    return [*(f"{scores[name]:.2f}" if name in scores else "-" for name in columns.values()), interval]
