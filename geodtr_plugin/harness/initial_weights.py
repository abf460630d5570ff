"""The weights that a run starts from: which file, how it was chosen, and what it was trained on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..datasets.names import in_words, names_in
from ..methods.packaged import packaged_folder, remedy_for
from ..utils.digest import sha256_of
from ..utils.errors import DamagedFileError, UserError
from ..utils.reading import read_json
from ..utils.typed import typed

CHOICES = ("last", "best")  # of a run folder: RUN or RUN:last, and RUN:best


@dataclass(frozen=True)
class InitialWeights:
    """A file of weights, and what is known about it; what is not known is None.

    Args:
        file: its path, as the command line named it or the folder of the run with the file's name.
        sha256: of its content.
        method: that it belongs to.
        train: data sets that it was trained on.
        epoch: after which it was kept.
        chosen: how: after the last epoch, or by which test set.
    """

    file: str
    sha256: str
    method: str | None = None
    train: tuple[str, ...] | None = None
    epoch: int | None = None
    chosen: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as they stand in results.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> InitialWeights:
        """Return what `to_dict` described, also in an earlier version of this package.

        Raises:
            ValueError, TypeError: it is no such description.
        """
        return typed(cls, {**facts, "train": names_in(facts.get("train")) or None}, "initial_weights")

    def sentence(self) -> str:
        """Return the facts for the line below a table."""
        epoch = "" if self.epoch is None else f", epoch {self.epoch}"
        chosen = self.chosen or "nobody knows how chosen"
        return f"Weights: {self.file}{epoch} ({chosen}), trained on {trained_on(self.train)}."


def trained_on(train: Sequence[str] | None) -> str:
    """Return in words what weights were trained on; worlds that were rendered are called that."""
    words = in_words(train or ()) or "what is not known"
    return f"rendered worlds ({words})" if train and all(name.startswith("synth-") for name in train) else words


def split_choice(source: str) -> tuple[Path, str]:
    """Return the path in the value of `--init-weights`, and "last" or "best"; of a model in the package, its folder."""
    if packaged := packaged_folder(source):
        return packaged, "last"
    path, _, choice = source.rpartition(":")
    return (Path(path), choice) if path and choice in CHOICES and not os.path.exists(source) else (Path(source), "last")


def find_initial_weights(source: str) -> InitialWeights:
    """Return the file that `--init-weights` names: a file, a run folder (its last weights), or `RUN:best`.

    The name of a model that comes with the package goes before a folder of that name, which is `./name`.

    Raises:
        UserError: there is no such file, or it may not be read.
    """
    path, choice = split_choice(source)
    file = path
    if os.path.isdir(path):
        exported = path / "model.safetensors"
        file = path / f"{choice}.safetensors"
        if not file.is_file() and exported.is_file():
            file = exported
        if not file.is_file() and not (path / "config.json").is_file():
            raise UserError(f"{path} is no run folder.", "Name a run folder, or a file of weights.")
        if not file.is_file():
            other = "Resume the run to its end" if choice == "last" else "Train it with a test set"
            kept = [name for name in CHOICES if (path / f"{name}.safetensors").is_file()]
            also = f", or name {path}:{kept[0]}" if kept else ""
            raise UserError(f"{path} holds no {choice}.safetensors.", remedy_for(path, f"{other}{also}."))
    if not os.path.isfile(file):
        raise UserError(f"There is no weights file {file}.")
    try:
        digest = sha256_of(file)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from error
    return InitialWeights(str(file), digest, **_provenance(file))


def _provenance(file: Path) -> dict[str, Any]:
    """Return what the config.json and the results beside a file say about it."""
    config, results = _read(file.parent / "config.json"), _read(file.parent / "results.json")
    run = config.get("run")
    if file.suffix != ".safetensors" or not isinstance(run, dict):
        return {}
    try:
        return _facts(file, config, run, results)
    except (AttributeError, LookupError, TypeError):  # of a file that nobody wrote like this, nothing is known
        return {}


def _facts(file: Path, config: dict[str, Any], run: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    choice = config.get("weights") if file.stem == "model" else file.stem  # an export says which it took
    epochs = run.get("recipe", {}).get("optim", {}).get("epochs")
    facts = {"method": run.get("method"), "train": names_in(run.get("train")) if epochs else None}
    if choice == "last":
        return {**facts, "epoch": epochs, "chosen": "after the last epoch"}
    selected = results.get("best_selected_on") or config.get("training", {}).get("selected_on") or "a test set"
    best = next((entry["best"] for entry in results.get("tests", {}).values() if entry.get("best")), None)
    return {**facts, "epoch": best and best["epoch"], "chosen": f"best R@1 on {selected}"}


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_json(file)
    except DamagedFileError:
        return {}
