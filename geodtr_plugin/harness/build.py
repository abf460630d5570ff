"""From a run's settings to its parts: model, views, losses, trainer."""

from __future__ import annotations

import os
from typing import Any

import torch

from ..augmentations import BatchTransform, LayoutSimulation, RoleTransform, SemanticAugmentation, ViewTransform
from ..datasets.base import Index, PairDataset
from ..datasets.samplers import default_sampler
from ..losses import CounterfactualLoss, NearbyPlaces, SoftMarginTripletLoss
from ..methods import Recipe, create_model
from ..methods._base import TwoTower
from ..methods._weights import load_weights
from ..miners import CHSG
from ..trainers import CrossViewTrainer
from ..utils.errors import UserError
from ..utils.schedule import warmup_cosine
from .config import RunConfig
from .log import log

ROLES = ("query", "reference")


def choose_device(name: str) -> torch.device:
    """The device by name; "auto" takes a GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"The device {name!r} cannot be used: {reason}. Try --device cpu.") from error
    return torch.device(name)


def choose_workers(workers: int | None, device: torch.device) -> int:
    """Loader processes: as asked, else none beside a network that needs the CPU itself, and up to 16 beside a GPU."""
    if workers is not None:
        return workers
    return 0 if device.type == "cpu" else min(16, os.cpu_count() or 1)


def build_model(config: RunConfig) -> TwoTower:
    """The method's model, with initial weights if the run has some."""
    settings = dict(config.recipe.model)
    if config.init_weights:
        settings["pretrained"] = False  # the weights that follow replace ImageNet's
    model = create_model(config.method, **settings)
    return load_weights(model, config.init_weights) if config.init_weights else model


def build_views(model: TwoTower) -> dict[str, ViewTransform]:
    """How stored images of either role become what this model takes."""
    return {"query": ViewTransform(*model.query_size), "reference": ViewTransform(*model.reference_size, model.polar)}


def build_role_transforms(model: TwoTower, views: dict[str, ViewTransform]) -> dict[str, RoleTransform]:
    """Views and normalisation, for evaluation."""
    return {role: RoleTransform(views[role], model.mean, model.std) for role in ROLES}


def build_batch_transform(recipe: Recipe, model: TwoTower, views: dict[str, ViewTransform]) -> BatchTransform:
    """Views, CHSG with layout simulation and semantic augmentation, normalisation: for training."""
    layout = LayoutSimulation(model.polar, recipe.augment.layout)
    chsg = CHSG(layout, SemanticAugmentation(recipe.augment.semantic), recipe.augment.chsg)
    return BatchTransform(views["query"], views["reference"], chsg, model.mean, model.std)


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


def build_losses(recipe: Recipe, exclusion: NearbyPlaces | None = None) -> dict[str, Any]:
    """The metric loss, and the counterfactual loss where it has a weight."""
    losses = {"metric_loss": SoftMarginTripletLoss(recipe.loss.alpha, recipe.loss.hard_ratio, exclusion=exclusion)}
    if recipe.loss.counterfactual > 0:
        losses["counterfactual_loss"] = CounterfactualLoss(recipe.loss.beta)
    return losses


def build_trainer(
    config: RunConfig, model: TwoTower, views: dict[str, ViewTransform], train: Index, device: torch.device,
    **hooks: Any,
) -> CrossViewTrainer:  # fmt: skip
    """The trainer with the recipe's optimizer, schedule, losses and augmentation."""
    recipe, optim = config.recipe, config.recipe.optim
    check_polar(model, train)
    if len(train.pairs) < optim.batch_size:
        raise UserError(f"{train!r} does not fill one batch of {optim.batch_size}. Lower --batch-size.")
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=optim.lr, weight_decay=optim.weight_decay, eps=optim.eps, fused=device.type == "cuda"
    )
    schedule = warmup_cosine(optimizer, optim.epochs, optim.warmup_epochs, optim.zero_first_epoch)
    transform = build_batch_transform(recipe, model, views).to(device)
    sampler = default_sampler(train, optim.batch_size, config.seed)
    rows = transform.multiplier * optim.batch_size
    log.info(f"batch {optim.batch_size} pairs, {rows} rows in the network (CHSG variant {recipe.augment.chsg})")
    if sampler is not None:
        used = len(sampler) * optim.batch_size
        log.info(f"{type(sampler).__name__}: {used:,} of {len(train.pairs):,} pairs an epoch, no place met by itself")
    return CrossViewTrainer(
        {"trunk": model},
        {"trunk_optimizer": optimizer},
        optim.batch_size,
        build_losses(recipe, build_exclusion(train, transform.multiplier)),
        PairDataset(train, views["query"], views["reference"]),
        sampler=sampler,
        lr_schedulers={"trunk_scheduler_by_epoch": schedule},
        loss_weights={"metric_loss": 1.0, "counterfactual_loss": recipe.loss.counterfactual},
        data_device=device,
        dataloader_num_workers=choose_workers(config.workers, device),
        batch_transform=transform,
        precision=optim.precision,
        max_grad_norm=optim.max_grad_norm,
        seed=config.seed,
        **hooks,
    )
