"""The runs of a comparison: what they are asked to do, how far each has come, and doing one."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..harness.config import RunConfig
from ..harness.options import parse_run
from ..utils.errors import DamagedFileError, UserError

if TYPE_CHECKING:  # its writing of files imports torch, for which --help should not wait
    from ..harness.run_folder import RunFolder

# what may differ between a stored run and the one asked for: it changes where and how fast, not what is computed
ELSEWHERE = ("out", "device", "workers", "threads", "data_root", "cache")
SHOWN = 6  # differing settings that a message names
Failure = tuple[str, int, str]  # label, seed, message


@dataclass(frozen=True)
class Variant:
    """One line of the comparison: a method and the options that it alone gets.

    Args:
        label: what the tables call it, as it was typed.
        method: name of the method.
        words: its own options as run.py takes them.
    """

    label: str
    method: str
    words: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Parse `method`, or `method:option=value:switch`.

        Raises:
            UserError: an option is empty.
        """
        method, *options = text.split(":")
        if not all(options):
            raise UserError(f"The entry {text!r} has an empty option.", "Write method:option=value:option=value.")
        return cls(text, method, tuple(f"--{option}" for option in options))

    @property
    def folder(self) -> str:
        """The label with commas for what file systems or remote copies do not take: `geodtr_plus,chsg=ls`."""
        return re.sub(r'[:/\\<>"|?*\s]', ",", self.label)


class Job(NamedTuple):
    """One run of the matrix."""

    entry: Variant
    seed: int
    config: RunConfig
    settings: str  # the same as YAML
    words: list[str]  # of the command line that would do this run alone
    folder: RunFolder

    @property
    def done(self) -> bool:
        return self.folder.results_file.is_file()

    @property
    def begun(self) -> bool:
        return not self.done and stored_config(self.folder) is not None


def plan(entry: Variant, seed: int, shared: Sequence[str], root: Path) -> Job:
    """Return the run of an entry with a seed.

    Raises:
        UserError: an option means nothing.
    """
    from ..harness.run_folder import RunFolder

    folder = RunFolder(root / entry.folder / f"seed-{seed}")
    words = ["--method", entry.method, *shared, *entry.words, "--seed", str(seed), "--out", str(folder.path)]
    try:
        config, settings = parse_run(words)
    except UserError as error:
        raise UserError(f"{entry.label}: {error.message}", error.remedy) from error
    return Job(entry, seed, config, settings, words, folder)


def check_settings(job: Job) -> None:
    """Refuse to mix a stored run into a comparison under other settings.

    Raises:
        UserError: the folder holds a run that was made otherwise.
    """
    remedy = f"Choose another --out, or remove {job.folder.path} to train it anew."
    try:
        stored = stored_config(job.folder)
    except DamagedFileError as error:
        what = f"{job.folder.path} holds a damaged run, or one of another version of geodtr_plugin"
        raise UserError(f"{what}: {error.message}", remedy) from error
    if stored is None:
        return
    there, here = settings_of(stored), settings_of(job.config)
    differing = [
        f"{name} is {there.get(name)} there and {here.get(name)} now"
        for name in [*there, *(name for name in here if name not in there)]
        if there.get(name) != here.get(name)
    ]
    if differing:
        shown = ", ".join(differing[:SHOWN]) + (", ..." if len(differing) > SHOWN else "")
        raise UserError(f"{job.folder.path} holds a run with other settings: {shown}.", remedy)


def stored_config(folder: RunFolder) -> RunConfig | None:
    """Read the settings of the run in a folder; None where there is no run."""
    if folder.stages_file.is_file():
        return folder.whole_config()
    return folder.config() if folder.config_file.is_file() else None


def settings_of(config: RunConfig) -> dict[str, Any]:
    """Return what decides the results of a run, flat: `optim.lr`, `train`, ..."""
    plain = json.loads(json.dumps(config.to_dict()))
    kept = {name: value for name, value in plain.items() if name not in (*ELSEWHERE, "recipe")}
    kept["later_stages"] = dict(plain["later_stages"])  # the stages that follow, by name
    return flatten({**plain["recipe"], **kept, "data": {**plain["recipe"].get("data", {}), **plain["data"]}})


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by names with dots."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def run_job(job: Job) -> None:
    """Do one run, from where it stands to its results.

    It runs in this process, as the start of another one (torch, data sets) takes longer than a run on miniature data.
    """
    from ..harness import launch

    config = job.config
    try:
        if job.begun:
            launch.resume(job.folder.path, data_root=config.data_root, device=config.device,
                          workers=config.workers, threads=config.threads)  # fmt: skip
        else:
            launch.run(config, settings=job.settings, command=job.words)
    finally:
        gc.collect()  # trainer and hooks refer to each other: the next run needs the memory of this one
