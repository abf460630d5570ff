"""Fine-tuning with little data: trained weights against none, at equal numbers of pairs and of steps."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ..harness.config import RunConfig
from ..harness.options import parse_run
from ..utils.console import guarded, say
from ..utils.errors import UnknownNameError, UserError
from .compare import Parser, compare, parse_compare, parse_seeds
from .jobs import Variant

if TYPE_CHECKING:
    from .statistics import Summary

DESCRIPTION = """Fine-tune trained weights on few pairs, against training on these pairs without them for as many steps.

  python benchmarks/fine_tuning.py --init-weights runs/my_run --train synth-country
  python benchmarks/fine_tuning.py --init-weights runs/my_run --train folder:my_city --pairs 50 --entries scratch tuned

  scratch        random weights
  tuned          the weights, all of which learn at the recipe's rate
  tuned-slowly   the same at a tenth of the rate
  trunk-slowly   the trunks learn at a tenth of the rate, the rest at all of it
  trunk-frozen   the trunks stay as they are
  imagenet       trunks from ImageNet, where the recipe's have such weights (only by --entries)

All have the recipe of the weights' run, apart from steps and batches, and are tested on all test queries of the set.
What the weights do as they are stands below the table. Give a training set that they have never seen.

Runs live in OUT/N-pairs/ENTRY/seed-N, and the same command again goes on where it stopped. All other options are those
of run.py (python benchmarks/run.py --help).
"""
SLOWLY = 0.1  # of the rate, where something is to learn more slowly
WARM_UP = 0.1  # of the steps
ENTRIES = ("scratch", "tuned", "tuned-slowly", "trunk-slowly", "trunk-frozen", "imagenet")
METRIC = "recall_at_1"
RESULTS = "fine_tuning.json"
REFUSED = {
    "--seed": "Name the seeds with --seeds.",
    "--resume": "The same command again resumes what was interrupted.",
    "--epochs": "Give the number of steps: --steps.",
    "--limit": "Give the numbers of pairs: --pairs.",
    "--train-limit": "Give the numbers of pairs: --pairs.",
}


@dataclass(frozen=True)
class Study:
    """What is compared.

    Args:
        weights: as `--init-weights` takes them.
        pairs: numbers of training pairs.
        steps: of every run, at least.
        entries: names, of ENTRIES.
        seeds: each entry is trained with each.
        base: the run that all of them vary.
        shared: run.py's options for all of them.
        out: folder of the study.
    """

    weights: str
    pairs: tuple[int, ...]
    steps: int
    entries: tuple[str, ...]
    seeds: tuple[int, ...]
    base: RunConfig
    shared: tuple[str, ...]
    out: Path

    @property
    def test(self) -> str:
        """The test set that the table is about: the first."""
        return self.base.test[0]

    def epochs(self, pairs: int) -> int:
        """Return how many passes over so many pairs make the steps."""
        return math.ceil(self.steps / (pairs // self.base.recipe.optim.batch_size))

    def variant(self, name: str) -> Variant:
        """Return an entry as one of a comparison."""
        tuned = (f"--init-weights={self.weights}",)
        words = {
            "scratch": ("--model.pretrained=false",),
            "tuned": tuned,
            "tuned-slowly": (*tuned, f"--lr={SLOWLY * self.base.recipe.optim.lr:g}"),
            "trunk-slowly": (*tuned, f"--optim.trunk_lr_scale={SLOWLY}"),
            "trunk-frozen": (*tuned, "--optim.freeze=trunk"),
            "imagenet": ("--model.pretrained=true",),
        }
        return Variant(name, self.base.method, words[name])


def fine_tuning_command(argv: Sequence[str] | None = None) -> int:
    """Run `benchmarks/fine_tuning.py`; return 0, or 1 when a run failed or after a message of what was wrong."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _fine_tune(argv), argv)


def fine_tuning_parser() -> argparse.ArgumentParser:
    """Return the parser of the options that are not run.py's."""
    parser = Parser("fine_tuning.py", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter,
                    allow_abbrev=False)  # fmt: skip
    add = parser.add_argument
    add("--init-weights", required=True, help="the weights: a run folder, RUN:best, or a file")
    add("--train", required=True, help="data set whose first pairs are trained on, and whose test queries are asked")
    add("--pairs", type=int, nargs="+", default=[50, 200, 1000], help="numbers of pairs (default: 50 200 1000)")
    add("--steps", type=int, default=300, help="of every run, to the end of an epoch (default: 300)")
    add("--batch-size", type=int, default=32, help="pairs in a step (default: 32)")
    add("--entries", nargs="+", default=list(ENTRIES[:-1]), help=f"of {', '.join(ENTRIES)}")
    add("--seeds", default="3", help="3: the seeds 0, 1 and 2; 4,7: these; 4,: this one (default: 3)")
    add("--out", help="folder of the study (default: runs/fine_tuning)")
    return parser


def _fine_tune(argv: Sequence[str]) -> int:
    study = parse_study(argv)
    code = 0
    for pairs in study.pairs:
        say(f"{pairs:,} pairs, {study.epochs(pairs):,} epochs")
        words = [*study.shared, f"--train-limit={pairs}", *_schedule(study.epochs(pairs))]
        entries = [study.variant(name) for name in study.entries]
        code = max(code, compare(entries, study.seeds, words, str(_folder(study, pairs)), {}))
    say("Without training")
    code = max(code, compare([_untrained(study)], study.seeds[:1], study.shared, str(_folder(study, 0)), {}))
    say(f"\n{report(study)}")
    return code


def parse_study(argv: Sequence[str]) -> Study:
    """Return the study that a command line describes, and write the settings that its runs share.

    Raises:
        UserError: an option means nothing, or there are fewer pairs than make a batch.
    """
    options, others = parse_compare(fine_tuning_parser(), argv, refused=REFUSED)
    unknown = [name for name in options.entries if name not in ENTRIES]
    if unknown:
        raise UnknownNameError("entry", unknown[0], ENTRIES)
    if options.steps < 1 or min(options.pairs) < options.batch_size:
        remedy = f"--pairs must be {options.batch_size} at least, which is --batch-size, and --steps 1."
        raise UserError(f"{min(options.pairs)} pairs and {options.steps} steps make no batch to learn from.", remedy)
    words = [f"--train={options.train}", f"--batch-size={options.batch_size}", "--evaluation.every=0", *others]
    base, settings = parse_run([*words, f"--init-weights={options.init_weights}"])
    out = Path(options.out or "runs/fine_tuning")
    pairs, entries = (tuple(dict.fromkeys(named)) for named in (options.pairs, options.entries))
    shared = (f"--config={_write_settings(settings, out)}", *words)
    seeds = tuple(parse_seeds(options.seeds))
    return Study(options.init_weights, pairs, options.steps, entries, seeds, base, shared, out)


def _write_settings(settings: str, out: Path) -> Path:
    """Write the recipe of the weights' run without the weights, for those that start from none."""
    from ..utils.files import write_text

    content = {**yaml.safe_load(settings), "init_weights": None, "out": None}
    write_text(out / "recipe.yaml", yaml.safe_dump(content, sort_keys=False))
    return out / "recipe.yaml"


def _schedule(epochs: int) -> list[str]:
    """Return the options of a schedule that counts steps, so that it is the same for any number of pairs."""
    return [f"--epochs={epochs}", "--optim.schedule_step=step", f"--optim.warmup_epochs={WARM_UP * epochs:g}"]


def _untrained(study: Study) -> Variant:
    return Variant("weights", study.base.method, (f"--init-weights={study.weights}", "--epochs=0"))


def _folder(study: Study, pairs: int) -> Path:
    return study.out / f"{pairs}-pairs"


def report(study: Study) -> str:
    """Write fine_tuning.json, and return the table as text: R@1 with standard errors over seeds."""
    from ..utils.files import write_json
    from ..utils.tables import text_table

    found = {name: {pairs: _measured(study, study.variant(name), pairs) for pairs in study.pairs}
             for name in study.entries}  # fmt: skip
    before = _measured(study, _untrained(study), 0)
    content = {
        "weights": study.weights, "train": study.base.train, "test": study.test, "metric": METRIC,
        "steps": {pairs: study.epochs(pairs) * (pairs // study.base.recipe.optim.batch_size) for pairs in study.pairs},
        "batch_size": study.base.recipe.optim.batch_size, "without_training": next(iter(before.values()), None),
        "entries": {name: {str(pairs): _entry(values) for pairs, values in row.items()} for name, row in found.items()},
    }  # fmt: skip
    write_json(study.out / RESULTS, content)
    heads = ["", *(f"{pairs:,} pairs" for pairs in study.pairs)]
    lines = [[name, *map(_cell, row.values())] for name, row in found.items()]
    table = text_table(heads, lines)
    without = f"{_cell(before)} with the weights as they are"
    count = f"± standard error over {len(study.seeds)} seeds" if len(study.seeds) > 1 else "one seed"
    return f"R@1 on {study.test} in percent, {count}\n{table}\n{without}\n\nWritten: {study.out / RESULTS}"


def _measured(study: Study, entry: Variant, pairs: int) -> dict[int, float]:
    """Return R@1 in percent after the last epoch by seed, of the runs that have finished."""
    from ..harness.run_folder import RunFolder
    from .statistics import read_row

    folder = _folder(study, pairs) / entry.folder
    runs = {seed: RunFolder(folder / f"seed-{seed}") for seed in study.seeds}
    row = read_row(entry, runs, {})
    return {} if row is None else row.values(study.test, METRIC)


def _summary(values: Mapping[int, float]) -> Summary:
    from .statistics import summarise

    return summarise(values.values())


def _entry(values: Mapping[int, float]) -> dict[str, Any]:
    """Return an entry of the results: R@1 by seed, its mean, and the standard error of that."""
    if not values:
        return {"by_seed": {}, "mean": None, "standard_error": None}
    mean, sd, n = _summary(values)
    return {"by_seed": {str(seed): value for seed, value in values.items()}, "mean": mean,
            "standard_error": None if sd is None else sd / math.sqrt(n)}  # fmt: skip


def _cell(values: Mapping[int, float]) -> str:
    entry = _entry(values)
    if entry["mean"] is None:
        return "-"
    error = entry["standard_error"]
    return f"{entry['mean']:.1f}" if error is None else f"{entry['mean']:.1f} ± {error:.1f}"
