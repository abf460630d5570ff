"""What a report is drawn from: the files of a run, and its data and network where they can still be had."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...utils.errors import UserError
from ...utils.reading import read_text, understood
from ...utils.visible import from_csv_cell
from ..records import DAMAGED, read_results
from ..run_folder import RunFolder

if TYPE_CHECKING:
    from ...augmentations import RoleTransform
    from ...datasets import Split
    from ...methods import TwoTower
    from ...utils.roles import Role
    from ..config import RunConfig

NUMBERS = ("rank", "similarity", "wrong_similarity", "heading", "true_heading")  # columns of ranks-TEST.csv


@dataclass(frozen=True, eq=False)
class RankTable:
    """The content of ranks-TEST.csv: a row a query.

    Args:
        queries: ids, N.
        wrong: ids of the most similar wrong references, "" where there is none.
        numbers: the other columns by name, float64 `[N]`, NaN where a cell is empty.
    """

    queries: list[str]
    wrong: list[str]
    numbers: dict[str, np.ndarray]

    @property
    def rank(self) -> np.ndarray:
        """Place of the first right reference, 1 is the top, float64 `[N]`; infinite where there is none."""
        return np.nan_to_num(self.numbers["rank"], nan=np.inf)

    @property
    def margin(self) -> np.ndarray:
        """By how much the right reference is more similar than the best wrong one, float64 `[N]`, or NaN."""
        return self.numbers["similarity"] - self.numbers["wrong_similarity"]

    @property
    def heading_errors(self) -> np.ndarray | None:
        """By how many degrees headings were missed, 0 to 180, float64 `[N]`, or NaN; None where none were told."""
        if "heading" not in self.numbers:
            return None
        return np.abs((self.numbers["heading"] - self.numbers["true_heading"] + 180) % 360 - 180)


def read_ranks(file: Path) -> RankTable:
    """Return the content of ranks-TEST.csv.

    Raises:
        DamagedFileError: it cannot be read, or is no such table.
    """
    text = read_text(file, DAMAGED)
    with understood(file, DAMAGED):
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
        names = [name for name in NUMBERS if not rows or name in rows[0]]
        numbers = {name: np.array([float(row[name] or "nan") for row in rows]) for name in (*NUMBERS[:3], *names[3:])}
        queries, wrong = ([from_csv_cell(row[name]) for row in rows] for name in ("query", "wrong"))
        return RankTable(queries, wrong, numbers)


@dataclass
class Material:
    """What a report is drawn from.

    Args:
        folder: of the run.
        results: content of results.json.
        tests: the test sets that can be had, by name.
        network: the model after the last epoch, and its image transforms by role; None where it cannot be had.
        missing: why something cannot be had, sentences.
    """

    folder: RunFolder
    results: dict[str, Any]
    tests: Mapping[str, Split] = field(default_factory=dict)
    network: tuple[TwoTower, Mapping[Role, RoleTransform]] | None = None
    missing: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The method and what it was trained on."""
        return title_of(self.results)

    def ranks(self, test: str) -> RankTable:
        """Return what became of the queries of a test set; errors as of `read_ranks`."""
        return read_ranks(self.folder.ranks(test))


def title_of(results: Mapping[str, Any]) -> str:
    """Return the method of a run and what it was trained on."""
    from ...datasets.names import in_words, names_in

    mark = f" ({results['mark']})" if results.get("mark") else ""
    trained = in_words(names_in(results["train"])) if results.get("epochs", 1) else ""
    return f"{results.get('method', 'a run')}{mark}" + (f" trained on {trained}" if trained else ", not trained here")


def read_run(path: str | Path) -> Material:
    """Return what the files of a run say, without its data and its network.

    Raises:
        UserError: there is no run in the folder, or it has no results yet.
        DamagedFileError: results.json cannot be read.
    """
    folder = RunFolder.existing(path)
    if not folder.results_file.is_file():
        raise UserError(f"{path} holds no results yet.", f"Let the run end: run.py --resume {path}.")
    return Material(folder, read_results(folder.results_file))


def add_data_and_network(material: Material, data_root: str | None = None) -> None:
    """Add the test sets and the network of a run, or say why they cannot be had."""
    try:
        config = material.folder.config()
    except UserError as error:
        material.missing.append(f"{error}")
        return
    config = config if data_root is None else replace(config, data_root=data_root)
    material.tests = {}
    for name in material.results["tests"]:
        with _noted(material.missing, f"The images of {name} are not shown"):
            material.tests[name] = _load_test(config, name, material)
    with _noted(material.missing, "The network is not looked into"):
        material.network = _load_network(config, material.folder)


def _load_test(config: RunConfig, name: str, material: Material) -> Split:
    """Load a test set as the run did, without a look at its images; whether it is the same is noted."""
    from ..data import load_as_asked

    split = load_as_asked(config, name, "test")
    if split.fingerprint() != material.results["tests"][name]["data"]["fingerprint"] and not config.skip_corrupt:
        material.missing.append(f"{name} has changed: images and places are those of now, numbers those of then.")
    return split


def _load_network(config: RunConfig, folder: RunFolder) -> tuple[TwoTower, Mapping[Role, RoleTransform]]:
    """Load the model as the run measured it last.

    Raises:
        UserError: there are no such weights.
    """
    from ...methods.weights import load_model, transforms_of
    from ..build import build_model
    from ..initial_weights import find_initial_weights

    transforms = transforms_of(folder.path)
    if folder.last_weights.is_file():
        return load_model(folder.path, folder.last_weights.name), transforms
    if not config.init_weights:
        raise UserError(f"{folder.path} holds no weights.")
    now, then = find_initial_weights(config.init_weights), folder.initial_weights()
    if then is not None and now.sha256 != then.sha256:
        raise UserError(f"{now.file} has changed since.")
    return build_model(config, now.file).eval(), transforms


@contextlib.contextmanager
def _noted(sentences: list[str], what: str) -> Iterator[None]:
    """Turn what a block raises into a sentence on what the report does without."""
    try:
        yield
    except UserError as error:
        sentences.append(f"{what}. {error}")
    except Exception as error:
        sentences.append(f"{what}. {type(error).__name__}: {error}.")


def rows_of(ids: Sequence[str]) -> dict[str, int]:
    """Return the row of every id; of one that stands twice, the first."""
    rows: dict[str, int] = {}
    for row, name in enumerate(ids):
        rows.setdefault(name, row)
    return rows
