"""The numbers of a comparison: each entry's results over its seeds, their statistics, and what was set differently."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..datasets.names import in_words, names_in
from ..harness import results
from ..harness.records import DAMAGED, read_results
from ..utils.reading import read_json_lines, understood
from .jobs import flatten

if TYPE_CHECKING:
    from ..harness.run_folder import RunFolder
    from .jobs import Variant

OWN_NUMBERS = ("--polar", "--no-polar")  # options for which papers have a row of their own


class Summary(NamedTuple):
    """Mean over seeds and sample standard deviation, which one seed does not have."""

    mean: float
    sd: float | None
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.2f}" if self.sd is None else f"{self.mean:.2f} ± {self.sd:.2f}"


def summarise(values: Iterable[float]) -> Summary:
    """Return mean, sample standard deviation (n - 1) and number."""
    values = list(values)
    return Summary(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


class Difference(NamedTuple):
    """Mean of the differences seed by seed, and its standard error, which one seed does not have."""

    mean: float
    error: float | None
    n: int

    @property
    def times(self) -> float | None:
        """The mean in standard errors; None where there is no error to measure it by."""
        return self.mean / self.error if self.error else None


def paired_difference(later: Mapping[int, float], earlier: Mapping[int, float]) -> Difference | None:
    """Compute `later` minus `earlier` over the seeds that both have; None where they share none."""
    differences = [later[seed] - earlier[seed] for seed in later if seed in earlier]
    if not differences:
        return None
    mean, sd, n = summarise(differences)
    return Difference(mean, None if sd is None else sd / math.sqrt(n), n)


@dataclass(frozen=True)
class Row:
    """One entry with the results of its runs.

    Args:
        label, method: of the entry.
        results: content of results.json by seed.
        train_seconds: time in training steps by seed.
        published: percent by test set and name of the calculator.
    """

    label: str
    method: str
    results: dict[int, dict[str, Any]]
    train_seconds: dict[int, float] = field(default_factory=dict)
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What tables call the entry."""
        mark = self.any.get("mark")
        return f"{self.label} ({mark})" if mark else self.label

    @property
    def any(self) -> dict[str, Any]:
        """The results of one of the seeds, for what all seeds share."""
        return next(iter(self.results.values()))

    def values(self, test: str, metric: str, epoch: str = "last") -> dict[int, float]:
        """Return percent by seed, after the last epoch or at the best one; empty where it was not measured."""
        entries = {seed: result["tests"].get(test, {}).get(epoch) for seed, result in self.results.items()}
        return {seed: scores[metric] for seed, scores in entries.items() if scores and metric in scores}

    def summary(self, test: str, metric: str, epoch: str = "last") -> Summary | None:
        """Summarise a metric over all seeds; None where it was not measured."""
        values = self.values(test, metric, epoch)
        return summarise(values.values()) if values else None


def read_row(
    entry: Variant, runs: Mapping[int, RunFolder], published: Mapping[str, Mapping[str, float]] | None = None
) -> Row | None:
    """Read an entry's finished runs; None where there are none.

    Args:
        entry: of the comparison.
        runs: its run folders by seed.
        published: percent by test set, instead of the method's own numbers.
    """
    done = {seed: folder for seed, folder in runs.items() if folder.results_file.is_file()}
    if not done:
        return None
    results = {seed: read_results(folder.results_file) for seed, folder in done.items()}
    if published is None:
        # an option makes it something else than what the paper measured
        plain = all(word in OWN_NUMBERS for word in entry.words)
        tests = next(iter(results.values()))["tests"]
        published = {name: test["published"] for name, test in tests.items()} if plain else {}
    seconds = {seed: train_seconds(done[seed], results[seed]) for seed in done}
    return Row(entry.label, entry.method, results, seconds, published)


def train_seconds(folder: RunFolder, results: Mapping[str, Any]) -> float:
    """Return the time in training steps, of all stages and of every session of a run that was interrupted."""
    files = [folder.metrics_file, *folder.path.glob("stage-*/metrics.jsonl")]
    batch = results["recipe"]["optim"]["batch_size"]
    pairs = results.get("train_data", {}).get("pairs", 0) // batch * batch
    seconds = 0.0
    for file in filter(Path.is_file, files):
        with understood(file, DAMAGED):
            seconds += sum(pairs / record["pairs_per_second"] for record in read_json_lines(file, DAMAGED))
    return seconds


def tests_of(rows: Sequence[Row]) -> list[str]:
    """List the names of all test sets, those of the same area first."""
    kinds = {name: test["kind"] for row in rows for name, test in row.any["tests"].items()}
    return sorted(kinds, key=lambda name: kinds[name] != "same area")


def kind_of(rows: Sequence[Row], test: str) -> str:
    """Return "same area" or "cross area"; both where the entries were trained on different sets."""
    return " or ".join(sorted({row.any["tests"][test]["kind"] for row in rows if test in row.any["tests"]}))


def columns_of(rows: Sequence[Row], test: str) -> dict[str, str]:
    """Return headings and metrics of a test set; the hit rate only where it differs from R@1."""
    hits = any(row.values(test, "hit_rate") != row.values(test, "recall_at_1") for row in rows)
    known = results.columns_of(row.any["tests"][test]["last"] for row in rows if test in row.any["tests"])
    return {head: metric for head, metric in known.items() if metric != "hit_rate" or hits}


def chance_at(rows: Sequence[Row], test: str) -> float:
    """Return R@1 of a random ranking in percent."""
    return next(row.any["tests"][test]["chance_recall_at_1"] for row in rows if test in row.any["tests"])


def variant_pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Return (later, earlier) for all entries that are the same method under different options."""
    return [(later, earlier) for earlier, later in combinations(rows, 2) if later.method == earlier.method]


def differing_settings(rows: Sequence[Row]) -> dict[str, dict[str, list[str]]]:
    """Return the settings that are not the same for all entries that have them: labels by value by setting."""
    labels: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        train = in_words(names_in(row.any["train"]))
        settings = {"train": train, "polar": row.any["polar"], **flatten(row.any["recipe"])}
        for name, value in settings.items():
            labels.setdefault(name, {}).setdefault(_plain(value), []).append(row.label)
    return {name: by_value for name, by_value in labels.items() if len(by_value) > 1 and name != "model.polar"}


def unequal_data(rows: Sequence[Row]) -> list[str]:
    """List the test sets that were not the same images in all runs."""
    runs = [result for row in rows for result in row.results.values()]
    prints = {name: {r["tests"][name]["data"]["fingerprint"] for r in runs if name in r["tests"]}
              for name in tests_of(rows)}  # fmt: skip
    return [name for name, different in prints.items() if len(different) > 1]


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "on", False: "off", None: "none"}[value]
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)
