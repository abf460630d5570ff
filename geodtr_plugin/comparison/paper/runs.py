"""The runs behind the paper's tables: where they are kept, doing those that are missing, reading the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ...harness.config import RunConfig
from ...harness.options import parse_run
from ...utils.errors import UserError
from ..jobs import Failure, Job, Variant, check_settings, plan
from .entries import Entry, shortest
from .sets import Column, Sets

if TYPE_CHECKING:
    from ...harness.run_folder import RunFolder
    from ..statistics import Row


@dataclass(frozen=True)
class Need:
    """Runs that a table needs: one variant, trained on one set, with some seeds."""

    trained: str
    variant: Variant
    seeds: tuple[int, ...]


@dataclass
class Workshop:
    """What all parts of the paper share.

    Args:
        root: the folder that gets tables and pictures; its `runs` holds the runs, by training set.
        sets: the real data sets, or the synthetic worlds.
        shared: run.py's options for all runs.
        method: in the place of GeoDTR+ where one method is varied or looked into.
        methods: of tables that compare methods; empty: all with published numbers.
        seeds: of all runs; None: each part has its own number of them.
        failures: runs that failed, by training set.
    """

    root: Path
    sets: Sets
    shared: list[str]
    method: str = "geodtr_plus"
    methods: Sequence[str] = ()
    seeds: tuple[int, ...] | None = None
    failures: dict[str, list[Failure]] = field(default_factory=dict)
    _configs: dict[tuple[str, Variant], RunConfig] = field(default_factory=dict)
    _jobs: dict[tuple[str, Variant, int], Job] = field(default_factory=dict)
    _short: dict[tuple[str, Variant], Variant] = field(default_factory=dict)

    def words(self, trained: str) -> list[str]:
        """Return run.py's options for a training set, methods aside."""
        return ["--train", trained, "--test", *self.sets.tests_of(trained), *self.shared]

    def option(self, name: str, default: str) -> str:
        """Return the value of one of run.py's options."""
        values = [b for a, b in zip(self.shared, [*self.shared[1:], ""]) if a == name]
        values += [word.partition("=")[2] for word in self.shared if word.startswith(f"{name}=")]
        return values[-1] if values else default

    def config(self, trained: str, variant: Variant | None = None) -> RunConfig:
        """Return the settings of a variant on a training set; None is the method in GeoDTR+'s place."""
        variant = variant or Variant.parse(self.method)
        key = trained, variant
        if key not in self._configs:
            words = ["--method", variant.method, *self.words(trained), *variant.words]
            self._configs[key] = parse_run(words)[0]
        return self._configs[key]

    def short(self, trained: str, variant: Variant) -> Variant:
        """Return a variant under the name that all tables share."""
        key = trained, variant
        if key not in self._short:
            self._short[key] = shortest(variant, self.words(trained))
        return self._short[key]

    def needs(self, columns: Sequence[Column], entries: Sequence[Entry], seeds: int) -> list[Need]:
        """Return the runs that lines need in the columns whose sets are there."""
        numbers = self.seeds or tuple(range(seeds))
        found: dict[Need, None] = {}
        for column in self.sets.present(columns):
            made = self.sets.of(column)
            for entry in entries:
                if made and entry.trained_for(column):
                    found[Need(made[0], self.short(made[0], entry.variant), numbers)] = None
        return list(found)

    def folders(self, need: Need) -> dict[int, RunFolder]:
        """Return the folders of runs by seed, whether they are there or not."""
        from ...harness.run_folder import RunFolder

        place = self.root / "runs" / need.trained / need.variant.folder
        return {seed: RunFolder(place / f"seed-{seed}") for seed in need.seeds}

    def missing(self, need: Need) -> int:
        """Return how many runs are not done."""
        return sum(not folder.results_file.is_file() for folder in self.folders(need).values())

    def do(self, needs: Sequence[Need]) -> None:
        """Do what is missing; what fails is kept in `failures`.

        Raises:
            UserError: a run that is there was made with other settings.
        """
        from ..compare import do_jobs

        for trained in dict.fromkeys(need.trained for need in needs):
            jobs = [
                self._job(need, seed)
                for seed in sorted({seed for need in needs for seed in need.seeds})
                for need in needs if need.trained == trained and seed in need.seeds
            ]  # fmt: skip
            before = self.failures.setdefault(trained, [])
            failed = {(label, seed) for label, seed, _ in before}  # for another table: once is enough
            before += do_jobs([job for job in jobs if (job.entry.label, job.seed) not in failed])

    def _job(self, need: Need, seed: int) -> Job:
        """Return a run, checked against the one that is there."""
        key = need.trained, need.variant, seed
        if key not in self._jobs:
            self._jobs[key] = plan(need.variant, seed, self.words(need.trained), self.root / "runs" / need.trained)
            check_settings(self._jobs[key])
        return self._jobs[key]

    def row(self, column: Column, entry: Entry, seeds: int) -> Row | None:
        """Return what a line has in a column, the paper's numbers beside; None where no run is done."""
        from ..statistics import read_row

        made = self.sets.of(column)
        if made is None:
            return None
        need = Need(made[0], self.short(made[0], entry.variant), self.seeds or tuple(range(seeds)))
        return read_row(entry.variant, self.folders(need), {made[1]: entry.published.get(column, {})})

    def finished(self, trained: str, variant: Variant) -> list[RunFolder]:
        """Return the finished runs of a variant, by their seeds; at least one.

        Raises:
            UserError: there is none.
        """
        need = Need(trained, self.short(trained, variant), self.seeds or (0,))
        done = [folder for folder in self.folders(need).values() if folder.results_file.is_file()]
        if not done:
            raise UserError(f"No run of {variant.label} on {trained} has ended.", "See above for what stopped it.")
        return done


def once(needs: Sequence[Need]) -> Iterator[Need]:
    """Yield needs, each with the seeds that no earlier one has."""
    seen: set[tuple[str, str, int]] = set()
    for need in needs:
        new = tuple(seed for seed in need.seeds if (need.trained, need.variant.label, seed) not in seen)
        seen |= {(need.trained, need.variant.label, seed) for seed in new}
        if new:
            yield Need(need.trained, need.variant, new)
