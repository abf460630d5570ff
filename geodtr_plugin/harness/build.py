"""From a run's settings to its parts: model, image transforms, losses, sampler, trainer; none is known by name here."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.utils.data import BatchSampler

from ..augmentations import SEMANTIC, BatchTransform, ImageTransform, LayoutSimulation, Misalignment, RoleTransform
from ..augmentations.field_of_view import narrow_width
from ..datasets import PairDataset, Split
from ..datasets.joined import parts_of
from ..losses import CounterfactualLoss, LossSchedule, NearbyPlaces, NearbyPlacesOfSets, build_loss
from ..losses.pairs import Exclusion
from ..methods import METHODS, Recipe, TwoTower, create_model
from ..methods.recipe import Augment, Optim
from ..methods.weights import load_weights
from ..miners import CHSG, build_miner
from ..samplers import EmbeddingBank, JointBatchSampler, build_joint_sampler, build_sampler, shows_places_once
from ..trainers import CrossViewTrainer, WeightAverage
from ..trainers.freeze import TRUNK, freeze, parameters_of
from ..trainers.optim import build_optimizer, build_schedule
from ..trainers.own_step import OwnStep
from ..utils.distributed import is_main_process, share_of, world_size
from ..utils.errors import UserError
from ..utils.roles import ROLES, Role
from . import checks
from .compiling import compile_network
from .config import RunConfig
from .log import log
from .objectives import choose_objectives, data_for


def choose_workers(workers: int | None, device: torch.device) -> int:
    """Return how many processes load: as asked, else none beside a network on the CPU, and up to 16 beside a GPU."""
    if workers is not None:
        return workers
    return 0 if device.type == "cpu" else min(16, os.cpu_count() or 1)


def build_model(config: RunConfig, weights: str | None = None) -> TwoTower:
    """Return the method's model, filled from a weights file if there is one."""
    settings = model_settings(config)
    if isinstance(name := settings.get("pretrained"), str):  # the results must know what it was trained on
        raise UserError(f"--model.pretrained is {name!r}, a whole model.", f"Start from it with --init-weights {name}.")
    if config.init_weights:
        settings["pretrained"] = False  # the weights that follow replace ImageNet's
    model = create_model(config.method, **settings)
    return load_weights(model, weights) if weights else model


def model_settings(config: RunConfig) -> dict[str, Any]:
    """Return the arguments of `create_model`; with a limited field of view, the query is a part of a panorama.

    A method with an option `aligned` is told whether it is known where queries look, if the recipe does not say it.
    """
    settings, view = dict(config.recipe.model), config.recipe.view
    if "aligned" in inspect.signature(METHODS[config.method]).parameters:  # it need not look for what is known
        settings.setdefault("aligned", view.known)
    if view.fov == 360:
        return settings
    height, width = (whole := panorama_model(config)).query_size
    narrow = (height, narrow_width(width, view.fov))
    return {**settings, "query_size": narrow, "reference_size": whole.reference_size}


def panorama_model(config: RunConfig) -> TwoTower:
    """Return the method's model for whole panoramas, of sizes without numbers."""
    with torch.device("meta"):
        return create_model(config.method, **{**config.recipe.model, "pretrained": False})


def build_image_transforms(config: RunConfig, model: TwoTower) -> dict[str, ImageTransform]:
    """Return how stored images of either role get the size that this model takes."""
    limited = config.recipe.view.fov < 360
    panorama_width = panorama_model(config).query_size[1] if limited else None
    return {
        "query": ImageTransform(model.query_size[0], model.query_size[1], panorama_width=panorama_width),
        "reference": ImageTransform(
            model.reference_size[0], model.reference_size[1], model.polar, tile=model.tile_size if model.polar else None
        ),
    }


def build_role_transforms(model: TwoTower, transforms: dict[str, ImageTransform]) -> dict[Role, RoleTransform]:
    """Return image transforms with normalisation, for evaluation."""
    return {role: model.role_transform(role, transforms[role]) for role in ROLES}


def build_augmentation(augment: Augment, polar: bool, reference_size: Sequence[int]) -> CHSG:
    """Return CHSG with the layouts and colours of the recipe.

    Raises:
        UserError: the layouts turn aerial images by quarters, and these are not square.
    """
    chsg = CHSG(LayoutSimulation(polar, augment.layout), SEMANTIC[augment.semantic](), augment.chsg)
    checks.check_square(chsg, reference_size)
    return chsg


def build_batch_transform(recipe: Recipe, model: TwoTower, transforms: dict[str, ImageTransform]) -> BatchTransform:
    """Return image transforms, CHSG with LS and semantic augmentation, field of view, normalisation: for training."""
    maps = {f"{role}_maps": model.input_maps(role, transforms[role].size) for role in ROLES}
    chsg = build_augmentation(recipe.augment, model.polar, model.reference_size)
    misalign = Misalignment(recipe.augment.tiles, recipe.augment.panoramas)
    checks.check_misalignment(misalign, chsg, model)
    return BatchTransform(
        transforms["query"], transforms["reference"], chsg, model.mean, model.std,
        random_heading=recipe.view.heading == "random", turned=recipe.view.turned == "always", misalign=misalign,
        **maps,
    )  # fmt: skip


def build_exclusion(train: Split, samples_per_place: int) -> Exclusion | None:
    """Return which places are too near each other to be negatives, where the data set has such a rule."""
    rules = []
    for part in parts_of(train):
        if part.exclusion_radius is None:
            continue
        located, places = part.references, part.reference_places
        if located.coordinates is None:
            located, places = part.queries, part.query_places
        where = f" of {part.name}" if part is not train else ""
        log.info(f"places{where} within {part.exclusion_radius:g} m are no negatives of each other")
        kind = located.coordinate_kind or "latlon"
        rules.append(
            NearbyPlaces.from_coordinates(places, located.coordinates, kind, part.exclusion_radius, samples_per_place)
        )
    return NearbyPlacesOfSets(rules) if len(rules) > 1 else rules[0] if rules else None


def build_losses(
    recipe: Recipe, model: TwoTower, exclusion: Exclusion | None = None, paired_rows: bool = False
) -> dict[str, Any]:
    """Return the metric loss, and the counterfactual loss where it has a weight.

    Raises:
        UserError: the loss cannot be built, or the model has no counterfactual branch.
    """
    name, args = recipe.loss.name, recipe.loss.args
    losses = {"metric_loss": build_loss(name, args, exclusion, paired_rows, model.distance)}
    if recipe.loss.counterfactual > 0:
        checks.check_counterfactual(model)
        losses["counterfactual_loss"] = CounterfactualLoss(recipe.loss.beta)
    return losses


def build_trainer(
    config: RunConfig, model: TwoTower, transforms: dict[str, ImageTransform], train: Split, device: torch.device,
    **hooks: Any,
) -> CrossViewTrainer:  # fmt: skip
    """Return the trainer with the recipe's optimizer, schedule, losses, sampler and augmentation.

    Raises:
        UserError: what the recipe asks for does not go together.
    """
    recipe, optim = config.recipe, config.recipe.optim
    for part in parts_of(train):
        checks.check_polar(model, part)
    checks.check_batches(config, model, train)
    transform = build_batch_transform(recipe, model, transforms).to(device)
    checks.check_twins(model, transform.augment)
    sampler = build_run_sampler(config, train)
    checks.check_sampler(model, sampler)
    exclusion = build_exclusion(train, transform.multiplier)
    objectives, idle = choose_objectives(recipe.loss, model, train)
    checks.check_offsets(objectives, recipe.augment.tiles)
    losses: dict[str, Any] = build_losses(recipe, model, exclusion, shows_places_once(sampler, train))
    losses = {name: loss.to(device) for name, loss in {**losses, **objectives}.items()}
    schedule = LossSchedule(losses["metric_loss"], recipe.loss.schedule, objectives.values())
    weights = {"metric_loss": 1.0, "counterfactual_loss": recipe.loss.counterfactual}
    weights |= {name: objective.weight for name, objective in objectives.items()}
    steps = len(sampler) if sampler is not None else len(train.pairs) // optim.batch_size
    frozen = freeze(model, ",".join([optim.freeze, *idle]))
    own_step = model.own_step()
    optimizers = build_run_optimizers(optim, model, own_step, losses.values(), device)
    rows = transform.multiplier * optim.batch_size
    log.info(f"batch {optim.batch_size} pairs, {rows} rows in the network (CHSG variant {recipe.augment.chsg})")
    trainer = CrossViewTrainer(
        {"trunk": parallel(model, device)},
        {f"{part}_optimizer": optimizer for part, optimizer in optimizers.items()},
        optim.batch_size,
        losses,
        PairDataset(train, transforms["query"], transforms["reference"], data_for(objectives)),
        mining_funcs={
            "tuple_miner": build_miner(
                recipe.loss.miner, recipe.loss.miner_args, transform.multiplier > 1, model.distance
            )
        },
        sampler=sampler,
        lr_schedulers=build_run_schedules(optim, optimizers, steps),
        loss_weights={name: weights[name] for name in losses},
        data_device=device,
        dataloader_num_workers=choose_workers(config.workers, device),
        batch_transform=transform,
        precision=optim.precision,
        max_grad_norm=optim.max_grad_norm,
        max_grad_value=optim.max_grad_value,
        micro_batch=optim.micro_batch,
        average=WeightAverage(model, optim.ema) if optim.ema else None,
        bank=EmbeddingBank(len(train.pairs)) if getattr(sampler, "follows", None) == "training" else None,
        frozen=frozen,
        own_step=own_step,
        seed=config.seed,
        progress=is_main_process(),
        begin_epoch_hook=lambda trainer: schedule.begin(trainer.epoch - 1),
        **hooks,
    )  # fmt: skip
    model.configure_trainer(trainer)
    if optim.compile:
        compile_network(trainer, optim.micro_batch or share_of(optim.batch_size))
    return trainer


def build_run_optimizers(
    optim: Optim, model: TwoTower, own_step: OwnStep | None, losses: Iterable[nn.Module], device: torch.device
) -> dict[str, Optimizer]:
    """Return the recipe's optimizer of the model and of what the losses learn, such as a temperature.

    Where the method does its own steps, there is one for each part that is not frozen, by its name.
    """
    parts = {"trunk": model.parameters()} if own_step is None else own_step.parts()
    learned = [parameter for loss in losses for parameter in loss.parameters()]  # by the first part's
    trunks = parameters_of(model, TRUNK) if optim.trunk_lr_scale != 1 else ()
    optimizers = {}
    for part, own in parts.items():
        parameters, learned = [*own, *learned], []
        if not any(parameter.requires_grad for parameter in parameters):
            continue
        its = optim if own_step is None else replace(optim, **own_step.settings(part))
        optimizers[part] = build_optimizer(
            its.name, parameters, lr=its.lr, weight_decay=its.weight_decay, eps=its.eps, momentum=its.momentum,
            sharpness=its.sharpness, fused=device.type == "cuda", scaled=trunks, scale=its.trunk_lr_scale,
        )
    return optimizers


def build_run_schedules(optim: Optim, optimizers: Mapping[str, Optimizer], steps: int) -> dict[str, Any]:
    """Return the recipe's schedule for each optimizer; `steps` are those of an epoch."""
    schedules: dict[str, Any] = {}
    for part, optimizer in optimizers.items():
        schedules |= build_schedule(
            optim.schedule, optimizer, epochs=optim.epochs, steps_per_epoch=steps, by=optim.schedule_step,
            warmup_epochs=optim.warmup_epochs, zero_first_epoch=optim.zero_first_epoch, decay=optim.decay,
            part=part,
        )
    return schedules


def build_run_sampler(config: RunConfig, train: Split) -> BatchSampler | None:
    """Return the batches of the recipe; None: a plain shuffle."""
    sampling, size = config.recipe.sampling, config.recipe.optim.batch_size
    if len(parts_of(train)) > 1:
        return _build_joint_sampler(config, parts_of(train))
    sampler = build_sampler(sampling.name, train, size, config.seed, sampling.args)
    if sampler is not None:
        pairs = f"{len(sampler) * size:,} of {len(train.pairs):,} pairs an epoch"
        once = ", no place met by itself" if shows_places_once(sampler, train) else ""
        log.info(f"{type(sampler).__name__}: {pairs}{once}")
    return sampler


def _build_joint_sampler(config: RunConfig, parts: Sequence[Split]) -> JointBatchSampler:
    """Return the batches of several training sets, and log a line for each."""
    sampling, size = config.recipe.sampling, config.recipe.optim.batch_size
    mixed = sampling.sets == "mixed"
    sampler = build_joint_sampler(sampling.name, parts, size, config.seed, sampling.args, config.shares, mixed)
    for part, own, counts in zip(parts, sampler.samplers, sampler.counts.T):
        share = f"{counts.mean():.3g} of {size} pairs" if mixed else f"{counts.sum() // size:,} batches"
        passes = counts.sum() / len(part.pairs)
        log.info(f"{part.name}: {share}, its {len(part.pairs):,} pairs {passes:.2f} times an epoch, {_kind(own)}")
    return sampler


def _kind(sampler: BatchSampler) -> str:
    """Return what the log calls a sampler."""
    return "shuffled" if type(sampler) is BatchSampler else type(sampler).__name__


def parallel(model: TwoTower, device: torch.device) -> nn.Module:
    """Return the model as several processes train it: with averaged gradients, on GPUs with common batch norms."""
    if world_size() == 1:
        return model
    if device.type == "cuda":  # in place: evaluation and weights know the same modules
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)
