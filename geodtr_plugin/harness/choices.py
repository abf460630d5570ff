"""What the names in a recipe stand for: losses, miners, optimizers, schedules, augmentations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning import miners as pml_miners
from pytorch_metric_learning.distances import CosineSimilarity
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from ..augmentations import CutoutAugmentation, LayoutSimulation, SemanticAugmentation
from ..losses import InfoNCELoss, NearbyPlaces, SARELoss, SoftMarginTripletLoss, TupleHingeLoss
from ..methods import Augment, Loss, Optim
from ..miners import CHSG, TwinMiner
from ..trainers.asam import ASAM
from ..trainers.schedules import SCHEDULES
from ..utils.errors import UnknownNameError, UserError
from .log import log

# losses of pytorch-metric-learning with its own settings, on cosine similarity
PML_LOSSES = {
    "triplet": pml_losses.TripletMarginLoss,
    "contrastive": pml_losses.ContrastiveLoss,
    "multi_similarity": pml_losses.MultiSimilarityLoss,
    "circle": pml_losses.CircleLoss,
}
# losses of ground-to-ground place recognition
TUPLE_LOSSES = {
    "hinge": lambda loss, exclusion: TupleHingeLoss(loss.margin, exclusion=exclusion),
    "sare_ind": lambda loss, exclusion: SARELoss("ind", loss.kernel, exclusion=exclusion),
    "sare_joint": lambda loss, exclusion: SARELoss("joint", loss.kernel, exclusion=exclusion),
}
LOSSES = ("soft_margin", "info_nce", *TUPLE_LOSSES, *PML_LOSSES)
MINERS = {
    "all": lambda: None,
    "batch_hard": lambda: pml_miners.BatchHardMiner(distance=CosineSimilarity()),
    "semihard": lambda: pml_miners.TripletMarginMiner(
        margin=0.2, distance=CosineSimilarity(), type_of_triplets="semihard"
    ),
    "twin": lambda: TwinMiner("only"),
    "twin+all": lambda: TwinMiner("with_all"),
}
OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}


def metric_loss(loss: Loss, exclusion: NearbyPlaces | None = None) -> nn.Module:
    """The loss by name; `exclusion` tells which places are too near each other to be negatives."""
    if loss.name == "soft_margin":
        return SoftMarginTripletLoss(loss.alpha, loss.hard_ratio, exclusion=exclusion)
    if loss.name == "info_nce":
        return InfoNCELoss(loss.temperature, loss.learn_temperature, loss.label_smoothing, exclusion=exclusion)
    if loss.name in TUPLE_LOSSES:
        return TUPLE_LOSSES[loss.name](loss, exclusion)
    if loss.name not in PML_LOSSES:
        raise UnknownNameError("loss", loss.name, LOSSES)
    if exclusion is not None:
        log.warning(f"the loss {loss.name} cannot leave out places that are near each other: they count as negatives")
    return PML_LOSSES[loss.name](distance=CosineSimilarity())


def tuple_miner(loss: Loss, twins: bool) -> Any:
    """The miner by name, None for all of a batch. Args: loss; twins, whether the batch holds twins.

    Raises:
        UserError: the miner has nothing to find.
    """
    if loss.miner not in MINERS:
        raise UnknownNameError("miner", loss.miner, MINERS)
    if loss.miner.startswith("twin") and not twins:
        raise UserError(
            f"The miner {loss.miner!r} looks for twins, which this batch does not have. Choose a CHSG variant that "
            "makes them, such as --chsg l+s, or --miner all."
        )
    return MINERS[loss.miner]()


def optimizer(optim: Optim, parameters: Iterable[nn.Parameter], fused: bool) -> torch.optim.Optimizer:
    """The optimizer by name, in ASAM's two passes where the recipe asks for it."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    common = dict(lr=optim.lr, weight_decay=optim.weight_decay, fused=fused and not optim.sharpness)
    if optim.name == "sgd":
        chosen = torch.optim.SGD(trained, momentum=optim.momentum, **common)
    else:
        chosen = OPTIMIZERS[optim.name](trained, eps=optim.eps, **common)
    return ASAM(chosen, optim.sharpness) if optim.sharpness else chosen


def schedule(optim: Optim, chosen: torch.optim.Optimizer, steps_per_epoch: int) -> dict[str, LRScheduler]:
    """The schedule under the key that makes the trainer step it once an epoch, or once a step."""
    shape = SCHEDULES[optim.schedule]
    if optim.schedule == "halving" and optim.schedule_step == "step":
        raise UserError("The schedule 'halving' counts epochs. Choose --optim.schedule_step epoch.")
    if optim.schedule_step == "epoch":
        found = shape(chosen, optim.epochs, optim.warmup_epochs, optim.zero_first_epoch)
        return {"trunk_scheduler_by_epoch": found}
    steps = optim.epochs * steps_per_epoch
    found = shape(chosen, steps, round(optim.warmup_epochs * steps_per_epoch), optim.zero_first_epoch)
    return {"trunk_scheduler_by_iteration": found}


def augmentation(augment: Augment, polar: bool, reference_size: tuple[int, int]) -> CHSG:
    """CHSG with the layouts and colours of the recipe.

    Raises:
        UserError: the layouts turn aerial images by quarters, and these are not square.
    """
    layout = LayoutSimulation(polar, augment.layout)
    cutout = augment.semantic == "cutout"
    chsg = CHSG(layout, CutoutAugmentation() if cutout else SemanticAugmentation(augment.semantic), augment.chsg)
    height, width = reference_size
    if chsg.turns and not polar and height != width:
        raise UserError(
            f"The CHSG variant {chsg.name} turns aerial images by quarters, and these are {height}x{width}. Make them "
            f"square (--model.reference_size [{height},{height}]), or choose a variant that does not: --chsg raw or s."
        )
    return chsg
