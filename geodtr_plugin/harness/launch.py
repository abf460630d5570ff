"""Begin a run or go on with one: claim its folder, then do its stages one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..trainers.checkpoint import read_training_state
from ..utils import distributed
from ..utils.devices import choose_device
from ..utils.errors import UserError
from .checks import check_recipe
from .config import RunConfig
from .log import log, stop_log
from .run_folder import RunFolder
from .runner import Run


def run(config: RunConfig, settings: str = "", command: Sequence[str] = ()) -> dict[str, Any]:
    """Train (unless there are no epochs) and test; return what results.json holds.

    Args:
        config: what to do.
        settings: the same as YAML, kept in the run folder for `--config`.
        command: the words of the command line, kept there too.

    Raises:
        UserError: what is asked for is not there, or does not go together, or the folder holds another run.
    """
    check_recipe(config)
    distributed.init_process_group(choose_device(config.device))
    place = RunFolder.place(config) if distributed.is_main_process() else None
    folder = RunFolder(distributed.gather_objects(place)[0])
    with _claimed(folder):
        if distributed.is_main_process():
            folder.begin(config, settings, command)
        distributed.wait_for_all()
        try:
            return _do_stages(folder)
        except BaseException:
            if distributed.is_main_process() and not folder.holds_work():
                folder.discard()  # wrong names, missing data: not worth keeping
            raise


def resume(path: str | Path, epochs: int | None = None, **changed: Any) -> dict[str, Any]:
    """Go on with a run where it was interrupted, or train a finished one for more epochs.

    Args:
        path: the run folder.
        epochs: another number of epochs for the (last) stage; None: as before.
        **changed: settings of RunConfig that may differ now: data_root, device, workers, threads; None leaves them.

    Raises:
        UserError: there is no run in the folder, or nothing to go on from, or another process works in it, or it was
            trained for more epochs already.
    """
    changes = {name: value for name, value in changed.items() if value is not None}
    distributed.init_process_group(choose_device(changed.get("device") or "auto"))
    folder = RunFolder.existing(path)
    with _claimed(folder):
        if epochs is not None:
            _check_epochs(folder, epochs)
            distributed.wait_for_all()
            if distributed.is_main_process():
                folder.set_epochs(epochs)
            distributed.wait_for_all()
        return _do_stages(folder, **changes)


def _check_epochs(folder: RunFolder, epochs: int) -> None:
    """Refuse a number of epochs that a run is beyond."""
    done = 0
    if folder.state_file.is_file():
        state = read_training_state(folder.state_file)
        done = state["epoch"] + bool(state.get("position"))
    if epochs < max(1, done):
        raise UserError(
            f"--epochs is {epochs}, and {folder.path} is in epoch {done} already." if done else
            f"--epochs is {epochs}; a run that is resumed has 1 at least.",
            "Name more epochs, or leave --epochs out.",
        )  # fmt: skip


def _claimed(folder: RunFolder) -> AbstractContextManager[None]:
    """Claim a folder for the first process, and with it for all."""
    return folder.claimed() if distributed.is_main_process() else nullcontext()


def _do_stages(whole: RunFolder, **changed: Any) -> dict[str, Any]:
    """Do the stages of a run that are not done yet, one after the other; return the last one's results."""
    stages = whole.stages()
    results: dict[str, Any] = {}
    for number, (folder, config) in enumerate(stages, start=1):
        if number < len(stages) and stages[number][0].state_file.is_file():
            continue  # the next stage has begun, so that this one has all its files
        begun = folder.state_file.is_file()
        if not begun and folder.metrics_file.is_file():
            raise UserError(
                f"{folder.path} holds no training state ({folder.state_file.name}) to go on from.", "Start a new run."
            )
        try:
            prepared = Run(replace(config, **changed), folder, resumed=begun)
            if len(stages) > 1:
                log.info(f"stage {number} of {len(stages)}")
            results = prepared.finish()
        finally:
            stop_log()
    return results
