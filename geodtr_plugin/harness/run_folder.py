"""The folder of a run: which file holds what, and how it is written."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shlex
import shutil
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..utils.claims import claimed
from ..utils.errors import DamagedFileError, UserError
from ..utils.files import write_json, write_text
from ..utils.leftovers import sweep_own
from ..utils.reading import read_json, understood
from ..utils.versions import package_versions
from .config import RunConfig
from .initial_weights import InitialWeights
from .records import DAMAGED, read_epochs

if TYPE_CHECKING:
    from ..methods import TwoTower

NOTES = ("recipe.yaml", "command.txt", "environment.json", "log.txt")  # what may be lost with a run that did nothing


class RunFolder:
    """Paths and records of one run.

    Files: `config.json` (everything that `load_model` and `--resume` need; the first that is written), `recipe.yaml`
    (the settings, for --config), `command.txt`, `environment.json`, `log.txt`, `metrics.jsonl` (a line an epoch),
    `last.ckpt` (the training state), `best.safetensors` and `last.safetensors` (weights), `results.json`,
    `ranks-TEST.csv` (a line a query), `report.html`, `learning_curve.png`, `examples-TEST.png`, `made-TEST.png` of
    methods that make images, `embeddings/` if they are kept. A run of several stages has `stages.json` and the folders
    `stage-1` ... for all stages but the last, which lives in the folder itself.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config_file = self.path / "config.json"
        self.stages_file = self.path / "stages.json"
        self.metrics_file = self.path / "metrics.jsonl"
        self.state_file = self.path / "last.ckpt"
        self.results_file = self.path / "results.json"
        self.best_weights = self.path / "best.safetensors"
        self.last_weights = self.path / "last.safetensors"

    @property
    def resume_folder(self) -> Path:
        """The folder that --resume takes: this one, or for an earlier stage that of the whole run."""
        return self.path.parent if RunFolder(self.path.parent).stages_file.is_file() else self.path

    @staticmethod
    def place(config: RunConfig) -> str:
        """Return where a new run goes: where --out says, else a new folder runs/METHOD-DATA-TIME, which is made."""
        if config.out:
            return config.out
        trained = _as_file_name("+".join(config.train) or "evaluate")[-60:]
        stem = f"{config.method}-{trained}-{time.strftime('%Y%m%d-%H%M%S')}"
        for number in itertools.count(1):
            path = Path("runs") / (stem if number == 1 else f"{stem}-{number}")
            with contextlib.suppress(FileExistsError):
                path.mkdir(parents=True)
                break
        return str(path)

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes out while the block runs; what a killed process left unfinished is removed first.

        A folder that is empty at the end goes.

        Raises:
            InUseError: another process works on the run.
            UserError: the folder cannot be made or written to.
        """
        try:
            with claimed(self.path / ".lock", f"The run {self.path}"):
                for folder in (self.path, *self.path.glob("stage-*")):
                    sweep_own(folder)
                    sweep_own(folder / "embeddings")
                yield
        finally:
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def begin(self, config: RunConfig, settings: str = "", command: Sequence[str] = ()) -> None:
        """Write what is to be done. A beginning that never came to its first step is replaced.

        Raises:
            UserError: there is a run in the folder.
        """
        if self.holds_work():
            raise UserError(
                f"{self.path} already holds a run.",
                f"Continue it with --resume {self.path}, or choose another --out.",
            )
        if self.config_file.exists() or self.stages_file.exists():
            self.discard()
        if config.later_stages:
            write_json(self.stages_file, config.to_dict())
        else:
            write_json(self.config_file, {"run": config.to_dict()})
        write_text(self.path / "recipe.yaml", settings)
        write_text(self.path / "command.txt", f"{shlex.join([Path(sys.argv[0]).name, *command])}\n")

    def holds_work(self) -> bool:
        """Tell whether there is more than the beginning of a run: states, weights, results, or what is of no run."""
        for file, part in ((self.config_file, "run"), (self.stages_file, "recipe")):
            try:
                if file.exists() and part not in read_json(file):
                    return True
            except DamagedFileError:
                return True
        return any(
            any(folder.glob(pattern))
            for folder in (self.path, self.path / "stage-1")
            for pattern in ("*.ckpt", "*.safetensors", "results.json", "metrics.jsonl")
        )

    def discard(self) -> None:
        """Remove a beginning; what is not of a run stays."""
        for folder in (self.path / "stage-1", self.path):
            for name in ("config.json", "stages.json", *NOTES):
                (folder / name).unlink(missing_ok=True)
            shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        with contextlib.suppress(OSError):
            (self.path / "stage-1").rmdir()

    @classmethod
    def existing(cls, path: str | Path) -> RunFolder:
        """Return the folder of an earlier run.

        Raises:
            UserError: there is no run in it.
        """
        folder = cls(path)
        if not any(map(os.path.isfile, (folder.config_file, folder.stages_file))):
            raise UserError(
                f"{path} is no run folder (it has no config.json).", "Name the folder that the run printed."
            )
        return folder

    def picture(self, name: str) -> Path:
        """Return the file of a picture; characters of its name that cannot stand in a file's name are replaced."""
        return self.path / f"{_as_file_name(name)}.png"

    def ranks(self, name: str) -> Path:
        """Return the file of the ranks of a test set's queries."""
        return self.path / f"ranks-{_as_file_name(name)}.csv"

    def embeddings(self, name: str, role: str, split: str = "test") -> Path:
        """Return the file of a data set's embeddings: `embeddings/cvact-query.npy`, of its training part with `train-`.

        The rows are in the order of the split that `load_split(name, split)` gives with the run's options. A name with
        what cannot stand in a file's name gets eight digits of its own, so that no two sets share a file.
        """
        plain = _as_file_name(name)
        if plain != name:
            plain += f"-{zlib.crc32(name.encode()):08x}"
        return self.path / "embeddings" / f"{'' if split == 'test' else f'{split}-'}{plain}-{role}.npy"

    def config(self) -> RunConfig:
        """Return the settings of the run.

        Raises:
            DamagedFileError: config.json is damaged, or of another version.
        """
        content = read_json(self.config_file, DAMAGED)
        with understood(self.config_file, DAMAGED):
            return RunConfig.from_dict(content["run"])

    def set_epochs(self, epochs: int) -> None:
        """Change for how many epochs the (last) stage is to train; results of another number of epochs are removed."""
        several = self.stages_file.is_file()
        content = read_json(self.stages_file if several else self.config_file, DAMAGED)
        settings = content if several else content["run"]
        recipe = settings["later_stages"][-1][1] if several else settings["recipe"]
        if recipe["optim"]["epochs"] == epochs:
            return
        recipe["optim"]["epochs"] = epochs
        self.results_file.unlink(missing_ok=True)
        write_json(self.stages_file if several else self.config_file, content)

    def whole_config(self) -> RunConfig:
        """Return what a run of several stages was asked to do; errors as for `stages`."""
        content = read_json(self.stages_file, DAMAGED)
        with understood(self.stages_file, DAMAGED):
            return RunConfig.from_dict(content)

    def stages(self) -> list[tuple[RunFolder, RunConfig]]:
        """Return folder and settings of every stage; each starts from the last weights of the one before.

        Raises:
            DamagedFileError: stages.json is damaged, or of another version.
        """
        if not self.stages_file.is_file():
            return [(self, self.config())]
        whole = self.whole_config()
        recipes = [(whole.recipe_name, whole.recipe), *whole.later_stages]
        folders = [RunFolder(self.path / f"stage-{i}") for i in range(1, len(recipes))] + [self]
        stages, weights = [], whole.init_weights
        for folder, (name, recipe) in zip(folders, recipes):
            config = replace(
                whole, recipe=recipe, recipe_name=name, later_stages=(), init_weights=weights, out=str(folder.path)
            )
            stages.append((folder, config))
            weights = str(folder.last_weights)
        return stages

    def write_config(
        self, config: RunConfig, model: TwoTower, transforms: dict[str, Any], initial: InitialWeights | None = None
    ) -> None:
        """Write config.json: the settings of the run, of its model and image transforms, and its initial weights."""
        normalisation = {"mean": list(model.mean), "std": list(model.std)}
        content = {
            "model": model.config, "views": transforms, "normalisation": normalisation, "run": config.to_dict()
        }  # fmt: skip
        write_json(self.config_file, content | ({"initial_weights": initial.to_dict()} if initial else {}))
        write_json(self.path / "environment.json", environment())

    def add_to_environment(self, **facts: Any) -> None:
        """Add what is known only at the end of a run to environment.json."""
        file = self.path / "environment.json"
        write_json(file, {**read_json(file, DAMAGED), **facts})

    def initial_weights(self) -> InitialWeights | None:
        """Return what is known of the weights that the run started from; None where it named none.

        Raises:
            DamagedFileError: config.json is damaged.
        """
        facts = read_json(self.config_file, DAMAGED).get("initial_weights")
        with understood(self.config_file, DAMAGED):
            return InitialWeights.from_dict(facts) if facts else None

    def restore_normalisation(self, model: TwoTower) -> None:
        """Normalise as the run did when it began.

        Raises:
            DamagedFileError: config.json is damaged.
        """
        content = read_json(self.config_file, DAMAGED)
        with understood(self.config_file, DAMAGED):
            model.restore_normalisation(content.get("normalisation"))

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Add the record of one epoch."""
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Return the records of all epochs so far.

        Raises:
            DamagedFileError: a line is damaged.
        """
        return read_epochs(self.metrics_file) if self.metrics_file.exists() else []

    def drop_metrics_after(self, epoch: int) -> None:
        """Forget epochs that a resumed run will go through again; a last line that was cut off in writing goes too.

        Raises:
            DamagedFileError: another line is damaged.
        """
        records = read_epochs(self.metrics_file, may_be_cut=True) if self.metrics_file.exists() else []
        lines = (json.dumps(record) for record in records if record["epoch"] <= epoch)
        write_text(self.metrics_file, "".join(f"{line}\n" for line in lines))


def environment() -> dict[str, Any]:
    """Return versions and hardware that a number depends on."""
    import platform

    import torch

    packages = ("torch", "torchvision", "timm", "pytorch-metric-learning", "kornia", "numpy", "geodtr_plugin")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": package_versions(packages),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _as_file_name(name: str) -> str:
    return re.sub("[^A-Za-z0-9_.-]+", "-", name)[-100:]
