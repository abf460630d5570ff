"""From a run's settings to its parts: model, views, losses, trainer."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import BatchSampler

from ..augmentations import BatchTransform, RoleTransform, ViewTransform
from ..augmentations.field_of_view import narrow_width
from ..datasets.base import Index, PairDataset
from ..losses import CounterfactualLoss, NearbyPlaces
from ..methods import Recipe, create_model
from ..methods._base import TwoTower
from ..methods._weights import load_weights
from ..samplers import EmbeddingBank, choose_sampler
from ..trainers import CrossViewTrainer
from ..utils.distributed import is_first, share_of, world_size
from ..utils.errors import UserError
from . import choices
from .compiling import compile_network
from .config import RunConfig
from .log import log

ROLES = ("query", "reference")


def choose_workers(workers: int | None, device: torch.device) -> int:
    """Loader processes: as asked, else none beside a network that needs the CPU itself, and up to 16 beside a GPU."""
    if workers is not None:
        return workers
    return 0 if device.type == "cpu" else min(16, os.cpu_count() or 1)


def build_model(config: RunConfig) -> TwoTower:
    """The method's model, with initial weights if the run has some."""
    settings = model_settings(config)
    if config.init_weights:
        settings["pretrained"] = False  # the weights that follow replace ImageNet's
    model = create_model(config.method, **settings)
    return load_weights(model, config.init_weights) if config.init_weights else model


def model_settings(config: RunConfig) -> dict[str, Any]:
    """What `create_model` gets; with a limited field of view the query is a part of the method's panorama."""
    settings = dict(config.recipe.model)
    if config.recipe.view.fov == 360:
        return settings
    height, width = (whole := panorama_model(config)).query_size
    narrow = (height, narrow_width(width, config.recipe.view.fov))
    return {**settings, "query_size": narrow, "reference_size": whole.reference_size}


def panorama_model(config: RunConfig) -> TwoTower:
    """The method's model for whole panoramas, of sizes without numbers."""
    with torch.device("meta"):
        return create_model(config.method, **{**config.recipe.model, "pretrained": False})


def build_views(config: RunConfig, model: TwoTower) -> dict[str, ViewTransform]:
    """How stored images of either role become what this model takes."""
    limited = config.recipe.view.fov < 360
    panorama_width = panorama_model(config).query_size[1] if limited else None
    return {
        "query": ViewTransform(*model.query_size, panorama_width=panorama_width),
        "reference": ViewTransform(*model.reference_size, model.polar),
    }


def build_role_transforms(model: TwoTower, views: dict[str, ViewTransform]) -> dict[str, RoleTransform]:
    """Views and normalisation, for evaluation."""
    return {role: RoleTransform(views[role], model.mean, model.std) for role in ROLES}


def build_batch_transform(recipe: Recipe, model: TwoTower, views: dict[str, ViewTransform]) -> BatchTransform:
    """Views, CHSG with layout simulation and semantic augmentation, field of view, normalisation: for training."""
    return BatchTransform(
        views["query"], views["reference"],
        choices.augmentation(recipe.augment, model.polar, model.reference_size),
        model.mean, model.std, random_heading=recipe.view.heading == "random",
    )  # fmt: skip


def check_polar(model: TwoTower, index: Index) -> None:
    """Refuse to unroll tiles around a centre where no camera stands."""
    if model.polar and not index.centred:
        raise UserError(
            f"{index.name} has cameras off the centre of their tiles, where the polar transform makes no sense. "
            "Use a model without it: --no-polar."
        )


def build_exclusion(train: Index, samples_per_place: int) -> NearbyPlaces | None:
    """Which places are too near each other to be negatives, where the data set has such a rule."""
    if train.exclusion_radius is None:
        return None
    located, places = train.references, train.reference_places
    if located.coordinates is None:
        located, places = train.queries, train.query_places
    log.info(f"places within {train.exclusion_radius:g} m are no negatives of each other")
    return NearbyPlaces.from_coordinates(
        places, located.coordinates, located.coordinate_kind, train.exclusion_radius, samples_per_place
    )


def build_losses(recipe: Recipe, model: TwoTower, exclusion: NearbyPlaces | None = None) -> dict[str, Any]:
    """The metric loss, and the counterfactual loss where it has a weight."""
    losses = {"metric_loss": choices.metric_loss(recipe.loss, exclusion)}
    if recipe.loss.counterfactual > 0:
        if not model.has_counterfactual:
            raise UserError(
                f"{model.method_name} has no counterfactual branch. Leave that loss out: --loss.counterfactual 0."
            )
        losses["counterfactual_loss"] = CounterfactualLoss(recipe.loss.beta)
    return losses


def build_trainer(
    config: RunConfig, model: TwoTower, views: dict[str, ViewTransform], train: Index, device: torch.device,
    **hooks: Any,
) -> CrossViewTrainer:  # fmt: skip
    """The trainer with the recipe's optimizer, schedule, losses, sampler and augmentation."""
    recipe, optim = config.recipe, config.recipe.optim
    check_polar(model, train)
    check_micro_batch(config, model)
    if len(train.pairs) < optim.batch_size:
        raise UserError(f"{train!r} does not fill one batch of {optim.batch_size}. Lower --batch-size.")
    transform = build_batch_transform(recipe, model, views).to(device)
    losses = {
        name: loss.to(device)
        for name, loss in build_losses(recipe, model, build_exclusion(train, transform.multiplier)).items()
    }
    miner = choices.tuple_miner(recipe.loss, transform.multiplier > 1)
    sampler = build_sampler(config, train)
    weights = {"metric_loss": 1.0, "counterfactual_loss": recipe.loss.counterfactual}
    steps = len(sampler) if sampler is not None else len(train.pairs) // optim.batch_size
    learned = [*model.parameters(), *losses["metric_loss"].parameters()]  # a loss may learn its temperature
    optimizer = choices.optimizer(optim, learned, fused=device.type == "cuda")
    rows = transform.multiplier * optim.batch_size
    log.info(f"batch {optim.batch_size} pairs, {rows} rows in the network (CHSG variant {recipe.augment.chsg})")
    trainer = CrossViewTrainer(
        {"trunk": parallel(model, device)},
        {"trunk_optimizer": optimizer},
        optim.batch_size,
        losses,
        PairDataset(train, views["query"], views["reference"]),
        mining_funcs={"tuple_miner": miner},
        sampler=sampler,
        lr_schedulers=choices.schedule(optim, optimizer, steps),
        loss_weights={name: weights[name] for name in losses},
        data_device=device,
        dataloader_num_workers=choose_workers(config.workers, device),
        batch_transform=transform,
        precision=optim.precision,
        max_grad_norm=optim.max_grad_norm,
        max_grad_value=optim.max_grad_value,
        micro_batch=optim.micro_batch,
        bank=EmbeddingBank(len(train.pairs)) if recipe.sampling.name == "hard" else None,
        seed=config.seed,
        progress=is_first(),
        **hooks,
    )
    if optim.compile:
        compile_network(trainer, optim.micro_batch or share_of(optim.batch_size))
    return trainer


def parallel(model: TwoTower, device: torch.device) -> nn.Module:
    """The model as several processes train it: gradients are averaged; on GPUs, batches are normalised together."""
    if world_size() == 1:
        return model
    if device.type == "cuda":  # in place: evaluation and weights know the same modules
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)


def check_micro_batch(config: RunConfig, model: TwoTower) -> None:
    """Say what a micro-batch changes, and refuse where it cannot be had."""
    optim = config.recipe.optim
    if optim.micro_batch and optim.sharpness:
        raise UserError("ASAM's two passes cannot be combined with --micro-batch. Leave one of them out.")
    if optim.micro_batch and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
        log.warning(
            f"{config.method} normalises over batches, now over {optim.micro_batch} pairs at a time: this is not the "
            "step of the whole batch. Backbones without batch normalisation, such as convnext_tiny, give just that."
        )


def build_sampler(config: RunConfig, train: Index) -> BatchSampler | None:
    """The batches of the recipe; None: a plain shuffle."""
    sampling, size = config.recipe.sampling, config.recipe.optim.batch_size
    sampler = choose_sampler(
        train, sampling.name, size, config.seed, pool=sampling.pool, top=sampling.top,
        neighbours=sampling.neighbours, neighbour_range=sampling.neighbour_range,
    )  # fmt: skip
    if sampler is not None:
        used = len(sampler) * size
        log.info(f"{type(sampler).__name__}: {used:,} of {len(train.pairs):,} pairs an epoch, no place met by itself")
    return sampler
