"""From the name in a recipe to a loss: one of the table, or any loss of pytorch-metric-learning by its class name."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning.distances import BaseDistance, CosineSimilarity
from torch import nn

from ..utils.errors import UserError
from ..utils.pml_names import pml_class, with_pml_parts
from ..utils.registry import built, takes
from . import LOSSES, register_loss
from .pairs import Exclusion

log = logging.getLogger("geodtr_plugin")


def build_loss(
    name: str, args: Mapping[str, Any], exclusion: Exclusion | None = None, paired_rows: bool = False,
    distance: BaseDistance | None = None,
) -> nn.Module:  # fmt: skip
    """Build a loss by its name in `LOSSES`, or by the class name of a loss of pytorch-metric-learning.

    Args:
        name: such as "soft_margin" or "NTXentLoss".
        args: its arguments. PML's parts may be given by class name: `{"distance": "LpDistance"}`.
        exclusion: pairs that are no negatives, for losses that can leave pairs out; others count them, with a warning.
        paired_rows: every batch shows each place once, for losses that can use it.
        distance: by which the model compares embeddings, where it has one of its own; `args` may name another.

    Raises:
        UnknownNameError: there is no such loss.
        UserError: the loss does not take these arguments, or no distance.
    """
    factory = LOSSES[name] if name in LOSSES else pml_class(pml_losses, name, "loss", LOSSES)
    taken = inspect.signature(factory).parameters
    given = with_pml_parts(args)
    if "paired_rows" in taken:
        given.setdefault("paired_rows", paired_rows)
    if distance is not None and "distance" not in given:
        if not takes(factory, "distance"):
            raise UserError(
                f"The loss {name} compares embeddings by a rule of its own, and this model does so too.",
                "Choose one that takes a distance, such as --loss soft_margin.",
            )
        given["distance"] = distance
    if exclusion is not None:
        if "exclusion" in taken:
            given["exclusion"] = exclusion
        else:
            log.warning(f"the loss {name} cannot leave out places that are near each other: they count as negatives")
    return built("loss", name, factory, given)


def _on_cosine(loss: type) -> Callable[..., nn.Module]:
    def build(**args: Any) -> nn.Module:
        return loss(**{"distance": CosineSimilarity(), **args})

    return build


# losses of pytorch-metric-learning with its own settings, but on cosine similarity
for _name, _loss in (
    ("triplet", pml_losses.TripletMarginLoss),
    ("contrastive", pml_losses.ContrastiveLoss),
    ("multi_similarity", pml_losses.MultiSimilarityLoss),
    ("circle", pml_losses.CircleLoss),
):
    register_loss(_name)(_on_cosine(_loss))
