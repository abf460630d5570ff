"""One run, from settings to results: read it from top to bottom."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..methods.base import count_parameters
from ..trainers import CrossViewTrainer
from ..trainers.checkpoint import load_training_state, save_training_state
from ..utils import distributed
from ..utils.devices import choose_device
from ..utils.errors import UserError
from ..utils.figures import failing_with_a_warning
from ..utils.files import write_json, write_safetensors
from ..utils.malloc import keep_freed_memory
from ..utils.seed import seed_everything
from .build import build_image_transforms, build_model, build_trainer
from .checks import check_recipe
from .config import RunConfig
from .data import load_splits
from .evaluate import Details, Evaluator, write_ranks
from .initial_weights import find_initial_weights
from .log import Scalars, log, open_scalars, start_log, stop_log
from .pictures import learning_curve, retrieval_examples
from .records import read_results
from .results import chance_of, collect_results, table
from .run_folder import RunFolder
from .training_images import TrainingImages

MUCH_WAITING, LONG_EPOCH = 0.2, 30  # share of an epoch, and its seconds: what is worth a word about the loader


def run(config: RunConfig, settings: str = "", command: Sequence[str] = ()) -> dict[str, Any]:
    """Train (unless there are no epochs) and test; return what results.json holds.

    Args:
        config: what to do.
        settings: the same as YAML, kept in the run folder for `--config`.
        command: the words of the command line, kept there too.

    Raises:
        UserError: what is asked for is not there, or does not go together.
    """
    check_recipe(config)
    distributed.init_process_group(choose_device(config.device))
    if distributed.is_main_process():
        folder = RunFolder.create(config, settings, command)
        if config.later_stages:
            folder.write_stages(config)
    path = distributed.gather_objects(str(folder.path) if distributed.is_main_process() else None)[0]
    folder = RunFolder(path)
    if config.later_stages:
        return run_stages(folder)
    return _prepared(config, folder).finish()


def resume(path: str | Path, **changed: Any) -> dict[str, Any]:
    """Go on with an interrupted run after its last complete epoch.

    Args:
        path: the run folder.
        **changed: settings of RunConfig that may differ now: data_root, device, workers, threads; None leaves them.

    Raises:
        UserError: there is no run in the folder, or nothing to go on from.
    """
    changes = {name: value for name, value in changed.items() if value is not None}
    distributed.init_process_group(choose_device(changed.get("device") or "auto"))
    if RunFolder(path).stages_file.is_file():
        return run_stages(RunFolder(path), **changes)
    folder = RunFolder.existing(path)
    if folder.config().recipe.optim.epochs and not folder.state_file.is_file():
        raise UserError(f"{path} holds no training state ({folder.state_file.name}) to go on from.", "Start a new run.")
    return Run(replace(folder.config(), **changes), folder, resumed=True).finish(resumed=True)


def run_stages(whole: RunFolder, **changed: Any) -> dict[str, Any]:
    """Do the stages of a run that are not done yet, one after the other; return the last one's results."""
    for number, (folder, config) in enumerate(stages := whole.stages(), start=1):
        if folder.results_file.is_file():
            continue
        begun = folder.config_file.is_file()
        config = replace(folder.config() if begun else config, **changed)
        try:
            prepared = _prepared(config, folder, keep=begun)
        except BaseException:
            if number == 1 and not begun and distributed.is_main_process():
                whole.discard()
            raise
        log.info(f"stage {number} of {len(stages)}")
        prepared.finish(resumed=begun)
    return read_results(whole.results_file)


def _prepared(config: RunConfig, folder: RunFolder, keep: bool = False) -> Run:
    """Return the parts of a run; if that fails (wrong names, missing data), a new folder is not worth keeping."""
    folder.path.mkdir(parents=True, exist_ok=True)
    try:
        return Run(config, folder, resumed=keep)
    except BaseException:
        stop_log()
        if not keep and distributed.is_main_process():
            folder.discard()
        raise


class Run:
    """The parts of one run, and what happens at the end of an epoch."""

    def __init__(self, config: RunConfig, folder: RunFolder, resumed: bool = False):
        self.config, self.folder = config, folder
        self.begun = time.perf_counter()
        self.warned_of_waiting = False
        self.details: dict[str, Details] = {}  # of the evaluation after the last epoch
        start_log(folder.path / "log.txt" if distributed.is_main_process() else None)
        if config.threads:
            torch.set_num_threads(config.threads)
        seed_everything(config.seed)
        self.device = choose_device(config.device)
        keep_freed_memory()
        with distributed.main_process_first():  # a world is rendered once
            splits = load_splits(config)
        self.train: Any = splits[0]  # a Split; None in a run that only evaluates, which has no trainer either
        self.tests = splits[1]
        in_state = resumed and folder.state_file.is_file()  # which holds all weights: the file may be gone
        self.initial = folder.initial_weights() if resumed else None
        if config.init_weights and self.initial is None and not in_state:
            self.initial = find_initial_weights(config.init_weights)
        weights = self.initial.file if self.initial and not in_state else None
        # channels last: a fifth less time for a step on the CPU, and the layout that tensor cores want
        self.model = build_model(config, weights).to(self.device, memory_format=torch.channels_last)
        self.transforms = build_image_transforms(config, self.model)
        if config.cache:
            with distributed.main_process_first():
                self._cache_images()
        self.evaluate = Evaluator(config, self.model, self.transforms, self.tests, self.device, folder)
        self.trainer: Any = self._build_trainer() if config.recipe.optim.epochs else None
        if distributed.is_main_process():
            transforms = {role: transform.to_config() for role, transform in self.transforms.items()}
            folder.write_config(config, self.model.config, transforms, self.initial)
        self.scalars = open_scalars(folder.path) if distributed.is_main_process() else Scalars()
        if distributed.world_size() > 1:  # from here on, each process augments its own part of a batch
            seed_everything(config.seed + 1_000_003 * distributed.rank())

    def finish(self, resumed: bool = False) -> dict[str, Any]:
        """Do what is left to do, write the results, print the table, and return the results."""
        try:
            self._announce()
            if self.trainer is not None:
                self._run_training(resumed)
            results = self._report()
            self.scalars.close()  # not after Ctrl-C: the thread that it waits for may have been interrupted for good
            return results
        finally:
            stop_log()

    def end_of_epoch(self, trainer: CrossViewTrainer) -> None:
        """Record the epoch, evaluate if it is time, keep the best weights, save the state."""
        epochs, every = self.config.recipe.optim.epochs, self.config.recipe.evaluation.every
        record: dict[str, Any] = {"epoch": trainer.epoch, "losses": trainer.epoch_losses, **trainer.epoch_stats}
        if trainer.epoch == epochs or (every and trainer.epoch % every == 0):
            record["tests"], self.details = self.evaluate(details=trainer.epoch == epochs)
            self._keep_best(trainer, record["tests"])
            recalls = ", ".join(f"{name} {scores['recall_at_1']:.2f}" for name, scores in record["tests"].items())
            log.info(
                f"epoch {trainer.epoch}/{epochs}: loss {trainer.epoch_losses['total_loss']:.4f}, R@1 {recalls}, "
                f"data wait {trainer.epoch_stats['data_wait_share']:.0%}"
            )
        self._warn_of_waiting(trainer)
        self.scalars.add(record)
        if distributed.is_main_process():
            self.folder.append_metrics(record)
        self._refresh_sampler(trainer)
        save_training_state(self.folder.state_file, trainer, trainer.epoch)

    def _warn_of_waiting(self, trainer: CrossViewTrainer) -> None:
        """Say once what helps, where much of an epoch was waiting for data; short ones wait for workers to start."""
        share, seconds = trainer.epoch_stats["data_wait_share"], trainer.epoch_stats["seconds"]
        if self.warned_of_waiting or share <= MUCH_WAITING or seconds < LONG_EPOCH:
            return
        self.warned_of_waiting = True
        workers = trainer.dataloader_num_workers
        more = f"--workers {2 * workers or 2} (now {workers}), where cores are free"
        remedy = more if self.config.cache else f"--cache (decodes every image once), or {more}"
        log.warning(f"Training waited for data in {share:.0%} of the epoch. What helps: {remedy}.")

    def _refresh_sampler(self, trainer: Any) -> None:
        """Hand a sampler that follows the embeddings what the network makes of the training pairs now."""
        follows = getattr(trainer.sampler, "follows", None)
        if follows == "training":
            trainer.sampler.update(trainer.bank.query, trainer.bank.reference)
        elif follows == "measurement" and (every := self.config.recipe.sampling.every) and trainer.epoch % every == 0:
            trainer.sampler.update(*self.evaluate.embed_pairs(self.train))

    def _cache_images(self) -> None:
        """Read all images from disk at the network's size, which is done once and kept."""
        from ..datasets.cache import cached

        transforms, workers = (self.transforms["query"], self.transforms["reference"]), self.config.workers or 0
        self.tests = {name: cached(split, *transforms, workers=workers) for name, split in self.tests.items()}
        if self.train is not None:
            self.train = cached(self.train, *transforms, workers=workers)

    def _build_trainer(self) -> CrossViewTrainer:
        return build_trainer(
            self.config, self.model, self.transforms, self.train, self.device, end_of_epoch_hook=self.end_of_epoch
        )

    def _announce(self) -> None:
        model, recipe = self.model, self.config.recipe
        parameters, trained = count_parameters(model), count_parameters(model, trained=True)
        some = f" ({trained:,} of them trained)" if trained < parameters else ""
        precision = recipe.optim.precision if self.trainer else recipe.evaluation.precision or recipe.optim.precision
        log.info(
            f"{self.config.method}: {parameters:,} parameters{some}, embedding of {model.embedding_size}, query "
            f"{_size(model.query_size)}, reference {_size(model.reference_size)}{' polar' if model.polar else ''}, "
            f"{precision} on {self.device}, recipe {self.config.recipe_name}, seed {self.config.seed}"
        )
        log.info(f"run   {self.folder.path}")

    def _training_images(self) -> TrainingImages:
        return TrainingImages(self.model, self.train, self.transforms, self.config.seed)

    def _run_training(self, resumed: bool) -> None:
        start = 1
        if resumed:
            start = load_training_state(self.folder.state_file, self.trainer)["epoch"] + 1
            if distributed.is_main_process():
                self.folder.drop_metrics_after(start - 1)
            log.info(f"resumed after epoch {start - 1}")
        else:
            if not self.config.init_weights:
                self.model.before_training(self._training_images())
            save_training_state(self.folder.state_file, self.trainer, 0)  # resumable from the first step on
        try:
            self.trainer.train(start, self.config.recipe.optim.epochs)
        except KeyboardInterrupt:
            log.info(f"Stopped. Continue with: python benchmarks/run.py --resume {self.folder.resume_folder}")
            raise

    def _keep_best(self, trainer: CrossViewTrainer, tests: dict[str, dict[str, Any]]) -> None:
        selected_on = next(iter(tests))
        score = tests[selected_on]["recall_at_1"]
        if trainer.best is None or score > trainer.best["score"]:
            trainer.best = {"epoch": trainer.epoch, "score": score, "selected_on": selected_on, "tests": tests}
            if distributed.is_main_process():
                write_safetensors(self.folder.best_weights, self.model.state_dict())

    def _report(self) -> dict[str, Any]:
        distributed.wait_for_all()  # the first process has written its line
        metrics = self.folder.metrics() if self.trainer else []
        changed = self.trainer and self.model.after_training(self._training_images())
        if not self.details or changed:
            last, self.details = self.evaluate(details=True)
        if self.trainer and not changed:
            last = metrics[-1]["tests"]
        best = self.trainer.best if self.trainer else None
        seconds = time.perf_counter() - self.begun
        parts = self.config, self.model, self.train, self.tests
        results = collect_results(*parts, last, best, seconds, self.initial)
        if distributed.is_main_process():
            self._write(results, metrics)
        distributed.wait_for_all()
        return results

    def _write(self, results: dict[str, Any], metrics: list[dict[str, Any]]) -> None:
        """Write weights, ranks, results.json and pictures, and print the table."""
        if self.trainer:
            write_safetensors(self.folder.last_weights, self.model.state_dict())
        for name, details in self.details.items():
            write_ranks(self.folder.ranks(name), self.tests[name], details)
        write_json(self.folder.results_file, results)
        if self.trainer:
            chance = {name: chance_of(split) for name, split in self.tests.items()}
            title = f"{self.config.method} trained on {self.config.train}"
            with failing_with_a_warning("The learning curve"):
                learning_curve(metrics, chance, title, self.folder.path / "learning_curve.png")
        for name, details in self.details.items():
            queries, top = details.examples
            if len(queries):
                with failing_with_a_warning(f"The examples of {name}"):
                    retrieval_examples(self.tests[name], queries, top, name, self.folder.picture(f"examples-{name}"))
        log.info(f"\n{table(results)}\n\n{self._footer()}")

    def _footer(self) -> str:
        ties = self.config.recipe.evaluation.ties
        which = "In percent, after the last epoch"
        if not self.trainer:
            which = f"{self.initial.sentence() if self.initial else 'UNTRAINED weights.'}\nIn percent"
        return f"{which}; ties {ties}; {time.perf_counter() - self.begun:.0f} s. Results: {self.folder.results_file}"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
