"""How robust trained models are: `benchmarks/robustness.py` measures each under many conditions, and compares them."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..harness.config import RunConfig
from ..harness.options import parse_run
from ..utils.console import guarded, say
from ..utils.errors import UserError
from .compare import Parser, parse_compare
from .jobs import settings_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..datasets import Split
    from ..harness.evaluate import Evaluator
    from .conditions import Condition

DESCRIPTION = """Measure how robust trained models are to what may become of the images of a test set.

  python benchmarks/robustness.py runs/my_run --test cvusa
  python benchmarks/robustness.py worlds runs/my_run --test synth-suburb --kinds fov look
  python benchmarks/robustness.py worlds --test synth-suburb --sheet sheet.png

A model is a run folder (RUN:best for its best weights), a folder of geodtr export, or a name in the package.

  noise, blur, weather, digital   16 corruptions of the queries at 5 severities (Hendrycks and Dietterich, ICLR 2019)
  c_all   one of them at one severity for each query, drawn from a fixed seed
  fov     a part of the panorama is known, at a known heading and at an unknown one
  shift   tiles are not centred on the camera
  tilt    the camera leans
  scale   tiles show less
  look    synthetic worlds: the same places by night, in snow, years later

Each model's numbers stand in robustness.json in its run folder (of others in runs/robustness-NAME), with tables and
curves of the set at hand in robustness.md and .png; of several models together in --out too. The same command again
measures what is missing. Other options are run.py's.
"""
REFUSED = {
    option: "The models are trained already: name their run folders."
    for option in ("--train", "--resume", "--epochs", "--init-weights", "--recipe", "--config")
}


@dataclass
class Measured:
    """A model and what is known of its robustness on one test set.

    Args:
        label: what tables call it.
        config: an evaluation of the model.
        file: robustness.json.
        content: of it.
    """

    label: str
    config: RunConfig
    file: Path
    content: dict[str, Any] = field(default_factory=dict)

    @property
    def test(self) -> str:
        """The test set."""
        return self.config.test[0]

    @property
    def numbers(self) -> dict[str, dict[str, Any]]:
        """The scores under each condition on the test set, by its key; "plain" is none."""
        return self.content["tests"][self.test]["conditions"]


def robustness_command(argv: Sequence[str] | None = None) -> int:
    """Run `benchmarks/robustness.py`; return 0, or 1 after a message of what was wrong."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _command(argv), argv)


def robustness_parser() -> argparse.ArgumentParser:
    """Return the parser of the options that are not run.py's."""
    parser = Parser("robustness.py", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter,
                    allow_abbrev=False)  # fmt: skip
    add = parser.add_argument
    add("models", nargs="+", metavar="RUN", help="run folders, exported folders or names of models in the package")
    add("--test", required=True, help="data set whose test queries are asked")
    add("--kinds", nargs="+", metavar="KIND", help="groups above, or single corruptions (default: all)")
    add("--severities", nargs="+", type=int, default=[1, 2, 3, 4, 5], help="of the corruptions (default: all five)")
    add("--sheet", metavar="PICTURE", help="draw all conditions on one query and its tile, and measure nothing")
    add("--out", help="folder of the comparison of several models (default: runs/robustness)")
    return parser


def _command(argv: Sequence[str]) -> int:
    options, words = parse_compare(robustness_parser(), argv, REFUSED)
    if wrong := [severity for severity in options.severities if not 1 <= severity <= 5]:
        raise UserError(f"--severities names {wrong[0]}.", "There are 1 to 5.")
    models = [open_model(source, options.test, words) for source in dict.fromkeys(options.models)]
    from .conditions import GROUPS

    options.kinds = options.kinds or list(GROUPS)
    if options.sheet:
        from .robustness_sheet import write_sheet

        split, all_conditions = _prepared(models[0].config, options.kinds, options.severities)
        write_sheet(split, all_conditions, options.sheet)
        say(f"Written: {options.sheet}")
        return 0
    from .robustness_report import write_report

    for model in models:
        measure_model(model, options.kinds, options.severities)
        text = write_report([model], model.file.parent)
    if len(models) > 1:
        text = write_report(models, Path(options.out or "runs/robustness"))
    say(f"\n{text}")
    return 0


def open_model(source: str, test: str, words: Sequence[str]) -> Measured:
    """Return a model that is to be measured on a test set, and what was measured before.

    Args:
        source: as on the command line.
        test: name of the data set.
        words: further options of run.py.

    Raises:
        UserError: there is no such model, or an option means nothing.
    """
    from ..harness.initial_weights import split_choice
    from ..methods.packaged import packaged_names
    from ..methods.weights import read_config

    path, choice = split_choice(source)
    method = ["--method", read_config(path)["model"]["method"]] if path.is_dir() else []
    fixed = [*method, f"--init-weights={source}", "--epochs=0", "--test", test, "--evaluation.embeddings=memory"]
    config = parse_run([*fixed, *words])[0]
    own = path.is_dir() and source not in packaged_names() and os.access(path, os.W_OK)
    folder = path if own else Path("runs") / f"robustness-{re.sub('[^A-Za-z0-9_.-]+', '-', source)}"
    return Measured(source, config, folder / ("robustness-best.json" if choice == "best" else "robustness.json"))


def measure_model(model: Measured, groups: Sequence[str], severities: Sequence[int]) -> None:
    """Measure a model under all conditions that are missing, and write its file after each."""
    from ..utils.claims import claimed
    from ..utils.files import write_json

    with claimed(model.file.parent / ".robustness.lock", f"The measurement {model.file}"):
        split, wanted = _prepared(model.config, groups, severities)
        if not wanted:
            raise UserError(f"There is nothing to measure on {model.test}.", "Only synthetic worlds have looks.")
        _read(model, split)
        if any(condition.group == "fov" for condition in wanted):
            write_headings(split, model.file.parent / "robustness-headings.csv")
        missing = [condition for condition in wanted if condition.key not in model.numbers]
        say(f"{model.label} on {model.test}: {len(wanted)} conditions, {len(wanted) - len(missing)} measured before")
        if not missing and "plain" in model.numbers:
            return
        measurement = Measurement(_evaluator(model.config, split), split)
        model.numbers["plain"] = measurement.plain
        for condition in missing:
            scores = measurement(condition)
            model.numbers[condition.key] = scores
            write_json(model.file, model.content)
            seconds = f"{scores['seconds']:.1f} s ({measurement.plain['seconds']:.1f} s plain)"
            plain = measurement.plain["recall_at_1"]
            say(f"  {condition.key:28s} R@1 {scores['recall_at_1']:6.2f} ({plain:.2f} plain), {seconds}")


def write_headings(split: Split, file: Path) -> None:
    """Write where the crops of unknown heading look, a line a query: its id, degrees clockwise from north."""
    from ..utils.files import write_text
    from ..utils.visible import csv_cell
    from .conditions import heading_schedule

    turns = heading_schedule(len(split.queries))
    lines = (f"{csv_cell(name)},{360 * turn:.2f}\n" for name, turn in zip(split.queries.ids, turns))
    write_text(file, "query,heading\n" + "".join(lines))


class Measurement:
    """The embeddings of a plain test set, and how a condition changes the numbers.

    What a condition leaves alone is not embedded again: most change the queries only.

    Args:
        evaluator: of the model.
        split: the test set.
    """

    def __init__(self, evaluator: Evaluator, split: Split):
        self.evaluator, self.split = evaluator, split
        self.embeddings: dict[str, Tensor] = {}
        self.plain = self._measure(split)

    def __call__(self, condition: Condition) -> dict[str, Any]:
        """Return the numbers under a condition: percents, and the seconds that the evaluation took."""
        return self._measure(condition.change(self.split))  # to render a world is no part of an evaluation

    def _measure(self, split: Split) -> dict[str, Any]:
        from ..utils.seed import isolated_rng

        begun = time.perf_counter()
        roles = [role for role in ("query", "reference") if not self._is_known(split, role)]
        with isolated_rng(self.evaluator.config.seed):
            found = {**self.embeddings, **self.evaluator.embed(split, roles)}
        self.embeddings = self.embeddings or found
        ranks = self.evaluator.rank(found["query"], found["reference"], split.truth)
        scores = self.evaluator.scores(ranks, split)
        return {**scores, "seconds": round(time.perf_counter() - begun, 3)}

    def _is_known(self, split: Split, role: str) -> bool:
        if not self.embeddings:
            return False
        name = "queries" if role == "query" else "references"
        return _same_images(getattr(split, name), getattr(self.split, name))


def _same_images(one: Any, other: Any) -> bool:
    """Tell whether images are known to be the same: as an object, or pixel by pixel where they are in memory."""
    import numpy as np

    from ..datasets.images import ImageArray

    if isinstance(one, ImageArray) and isinstance(other, ImageArray):
        return np.array_equal(one.array, other.array)
    return one is other


def _prepared(config: RunConfig, groups: Sequence[str], severities: Sequence[int]) -> tuple[Split, list[Condition]]:
    """Return the plain test set and the conditions."""
    from ..datasets.registry import options_of
    from ..harness.data import load_splits
    from .conditions import conditions

    def load(look: str | None = None) -> Split:
        asked = config if look is None else replace(config, data={**config.data, "look": look})
        return load_splits(asked)[1][config.test[0]]

    at_look: Callable[[str], Split] | None = load if "look" in options_of(config.test[0]) else None
    return load(), list(conditions(groups, sorted(set(severities)), at_look))


def _evaluator(config: RunConfig, split: Split) -> Evaluator:
    """Return what measures a model."""
    import torch

    from ..harness.build import build_image_transforms, build_model
    from ..harness.evaluate import Evaluator
    from ..harness.initial_weights import find_initial_weights
    from ..utils.devices import choose_device

    if config.threads:
        torch.set_num_threads(config.threads)
    device = choose_device(config.device)
    model = build_model(config, find_initial_weights(str(config.init_weights)).file)
    model = model.to(device, memory_format=torch.channels_last)
    return Evaluator(config, model, build_image_transforms(config, model), {split.name: split}, device)


def _read(model: Measured, split: Split) -> None:
    """Read what was measured before; what was measured otherwise, or on other data, is measured anew."""
    from ..harness.initial_weights import find_initial_weights
    from ..harness.results import chance_of, describe
    from ..utils.reading import read_json, understood
    from .conditions import PROTOCOL

    initial = find_initial_weights(str(model.config.init_weights))
    settings = settings_of(model.config)
    for name in ("test", "init_weights"):
        settings.pop(name)
    made = {"protocol": PROTOCOL, "weights": initial.sha256, "settings": settings, "data": split.fingerprint()}
    remedy = "Remove it, and measure anew."
    before = read_json(model.file, remedy) if model.file.is_file() else {"tests": {}}
    with understood(model.file, remedy):
        tests = dict(before["tests"])
        if model.test in tests and tests[model.test]["made"] != made:
            say(f"{model.file} was made of other weights, settings or data: {model.test} is measured anew.")
            del tests[model.test]
    new = {"made": made, "data": describe(split), "chance_recall_at_1": chance_of(split), "conditions": {}}
    model.content = {"method": model.config.method, "weights": initial.to_dict(), "tests": {model.test: new, **tests}}
