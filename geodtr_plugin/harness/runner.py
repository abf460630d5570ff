"""One run, from settings to results: read it from top to bottom."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from ..datasets.joined import with_equal_tiles
from ..datasets.names import in_words
from ..methods import TwoTower
from ..methods.base import count_parameters
from ..trainers import CrossViewTrainer
from ..trainers.checkpoint import load_training_state, save_training_state
from ..trainers.epoch_loop import Stopped
from ..trainers.optim import follow_schedule
from ..utils import distributed
from ..utils.devices import choose_device, peak_memory
from ..utils.figures import failing_with_a_warning
from ..utils.files import write_json, write_safetensors
from ..utils.malloc import keep_freed_memory
from ..utils.seed import isolated_rng, seed_everything
from .build import build_image_transforms, build_model, build_role_transforms, build_trainer
from .config import RunConfig
from .data import load_splits
from .details import Details, write_ranks
from .evaluate import Evaluator
from .initial_weights import find_initial_weights
from .log import Scalars, log, open_scalars, start_log
from .own_pictures import write_own_pictures
from .pictures import learning_curve, retrieval_examples
from .report import report_on_run
from .results import chance_of, collect_results, heading_lines, table, training_lines
from .run_folder import RunFolder
from .stopping import StopSignals
from .training_images import TrainingImages

MUCH_WAITING, LONG_EPOCH = 0.2, 30  # share of an epoch, and its seconds: what is worth a word about the loader


class Run:
    """The parts of one run, and what happens at the end of an epoch."""

    def __init__(self, config: RunConfig, folder: RunFolder, resumed: bool = False):
        self.config, self.folder = config, folder
        self.begun = time.perf_counter()
        self.warned_of_waiting = False
        self.details: dict[str, Details] = {}  # of the evaluation after the last epoch
        folder.path.mkdir(parents=True, exist_ok=True)
        start_log(folder.path / "log.txt" if distributed.is_main_process() else None)
        if config.threads:
            torch.set_num_threads(config.threads)
        self.device = choose_device(config.device)
        keep_freed_memory()
        with distributed.main_process_first():  # a world is rendered once
            splits = load_splits(config)
        self.train: Any = splits[0]  # a Split; None in a run that only evaluates, which has no trainer either
        self.tests = splits[1]
        self.resumed = resumed
        if resumed:  # the state holds all weights: the file of the first ones may be gone
            self.initial = folder.initial_weights()
        else:
            self.initial = find_initial_weights(config.init_weights) if config.init_weights else None
        weights = self.initial.file if self.initial and not resumed else None
        seed_everything(config.seed)
        # channels last: a fifth less time for a step on the CPU, and the layout that tensor cores want
        self.model = build_model(config, weights).to(self.device, memory_format=torch.channels_last)
        if resumed:
            folder.restore_normalisation(self.model)
        self.transforms = build_image_transforms(config, self.model)
        if config.cache:
            with distributed.main_process_first(), isolated_rng(config.seed):  # made or found, it moves no generator
                self._cache_images()
        if self.train is not None and self.model.polar and self.train.centred:
            self.train, tile = with_equal_tiles(self.train)
            if tile is not None:
                log.info(f"tiles of the training sets are resized to {tile}x{tile} pixels, the smallest stored size")
        self.saved_epoch = 0  # of the training state
        self.trainer: Any = self._build_trainer() if config.recipe.optim.epochs else None
        average = self.trainer and self.trainer.average
        self.kept: TwoTower = average.model if average else self.model  # what is measured and saved
        self.evaluate = Evaluator(config, self.kept, self.transforms, self.tests, self.device, folder)
        if distributed.is_main_process():
            transforms = {role: transform.to_config() for role, transform in self.transforms.items()}
            folder.write_config(config, self.model, transforms, self.initial)
        self.signals = StopSignals(self.trainer)
        self.scalars = open_scalars(folder.path) if distributed.is_main_process() else Scalars()
        if distributed.world_size() > 1:  # from here on, each process augments its own part of a batch
            seed_everything(config.seed + 1_000_003 * distributed.rank())

    def finish(self) -> dict[str, Any]:
        """Do what is left to do, write the results, print the table, and return the results."""
        self._announce()
        if self.trainer is not None:
            self._run_training()
        results = self._report()
        self.scalars.close()  # not after Ctrl-C: the thread that it waits for may have been interrupted for good
        return results

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
        pairs = self._pairs_for_sampler(trainer)
        self.signals.hold = True  # a sampler that has been told the pairs twice would draw others
        if pairs is not None:
            own = self.model.distance
            trainer.sampler.update(*pairs, **({} if own is None else {"distance": own}))
        self._save(trainer.epoch)
        self.signals.hold = False

    def _save(self, epoch: int) -> None:
        save_training_state(self.folder.state_file, self.trainer, epoch)
        self.saved_epoch = epoch

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

    def _pairs_for_sampler(self, trainer: Any) -> tuple[Tensor, Tensor] | None:
        """Return what the network makes of the training pairs now, for a sampler that follows that, [P, D] each."""
        follows = getattr(trainer.sampler, "follows", None)
        if follows == "training":
            return trainer.bank.query, trainer.bank.reference
        if follows == "measurement" and (every := self.config.recipe.sampling.every) and trainer.epoch % every == 0:
            return self.evaluate.embed_pairs(self.train)
        return None

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
        mark = f" ({model.mark})" if model.mark else ""
        precision = recipe.optim.precision if self.trainer else recipe.evaluation.precision or recipe.optim.precision
        log.info(
            f"{self.config.method}{mark}: {parameters:,} parameters{some}, embedding of {model.embedding_size}, query "
            f"{_size(model.query_size)}, reference {_size(model.reference_size)}{' polar' if model.polar else ''}, "
            f"{precision} on {self.device}, recipe {self.config.recipe_name}, seed {self.config.seed}"
        )
        log.info(f"run   {self.folder.path}")

    def _training_images(self, model: TwoTower) -> TrainingImages:
        return TrainingImages(model, self.train, self.transforms, self.config.seed)

    def _run_training(self) -> None:
        trainer, epochs = self.trainer, self.config.recipe.optim.epochs
        if self.resumed:
            self._go_on(epochs)
        else:
            if not self.config.init_weights:
                self.model.before_training(self._training_images(self.model))
            self._save(0)  # resumable from the first step on
        try:
            with self.signals:
                try:
                    trainer.train(self.saved_epoch + 1, epochs)
                except Stopped as stop:
                    self.signals.hold = True
                    # several processes meet between steps alone, not wherever in an evaluation each of them was
                    together = stop.agreed or distributed.world_size() == 1
                    if self.saved_epoch < trainer.epoch and together:
                        save_training_state(self.folder.state_file, trainer, trainer.epoch - 1)
                        steps = f"step {trainer.steps_done} of {trainer.iterations_per_epoch}"
                        log.info(f"Saved after {steps} of epoch {trainer.epoch}.")
                    raise self.signals.interruption() from None
        except KeyboardInterrupt:
            log.info(f"Stopped. Continue with: python benchmarks/run.py --resume {self.folder.resume_folder}")
            raise

    def _go_on(self, epochs: int) -> None:
        """Put the state of the run into the trainer, and say where it stands."""
        state = load_training_state(self.folder.state_file, self.trainer)
        self.saved_epoch, position = state["epoch"], state.get("position")
        if distributed.is_main_process():
            self.folder.drop_metrics_after(self.saved_epoch)
        steps = f" and {position['steps_done']} steps" if position else ""
        log.info(f"resumed after epoch {self.saved_epoch}{steps}")
        changed = follow_schedule(self.trainer)
        if changed is not None:
            log.info(
                f"With {epochs} epochs the schedule {self.config.recipe.optim.schedule!r} goes on at a learning rate "
                f"of {changed[1]:.3g}; it had come to {changed[0]:.3g}."
            )

    def _keep_best(self, trainer: CrossViewTrainer, tests: dict[str, dict[str, Any]]) -> None:
        selected_on = next(iter(tests))
        score = tests[selected_on]["recall_at_1"]
        if trainer.best is None or score > trainer.best["score"]:
            if distributed.is_main_process():  # first the file: who goes on from here believes `best`
                write_safetensors(self.folder.best_weights, self.kept.state_dict())
            trainer.best = {"epoch": trainer.epoch, "score": score, "selected_on": selected_on, "tests": tests}

    def _report(self) -> dict[str, Any]:
        distributed.wait_for_all()  # the first process has written its line
        metrics = self.folder.metrics() if self.trainer else []
        changed = self.trainer and self.kept.after_training(self._training_images(self.kept))
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
            write_safetensors(self.folder.last_weights, self.kept.state_dict())
        for name, details in self.details.items():
            write_ranks(self.folder.ranks(name), self.tests[name], details)
        write_json(self.folder.results_file, results)
        if self.trainer:
            chance = {name: chance_of(split) for name, split in self.tests.items()}
            title = f"{self.config.method} trained on {in_words(self.config.train)}"
            with failing_with_a_warning("The learning curve"):
                learning_curve(metrics, chance, title, self.folder.path / "learning_curve.png")
        for name, details in self.details.items():
            queries, top = details.examples
            if len(queries):
                with failing_with_a_warning(f"The examples of {name}"):
                    retrieval_examples(self.tests[name], queries, top, name, self.folder.picture(f"examples-{name}"))
        if self.trainer:
            with failing_with_a_warning("The method's own pictures"):
                write_own_pictures(self.folder, self.evaluate, self.details)
        lines = ["", table(results), "", *heading_lines(results), *training_lines(results), *results["notes"]]
        log.info("\n".join([*lines, self._footer()]))
        with failing_with_a_warning("The report"):
            self.folder.add_to_environment(peak_memory=peak_memory(self.device))
            network = self.kept, build_role_transforms(self.kept, self.transforms)
            log.info(f"Report: {report_on_run(self.folder, results, self.tests, network)}")

    def _footer(self) -> str:
        ties = self.config.recipe.evaluation.ties
        which = "In percent, after the last epoch"
        if not self.trainer:
            which = f"{self.initial.sentence() if self.initial else 'UNTRAINED weights.'}\nIn percent"
        return f"{which}; ties {ties}; {time.perf_counter() - self.begun:.0f} s. Results: {self.folder.results_file}"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
