"""Losses on batches of (query, reference) embeddings. All are PML losses; `register_loss` adds one of your own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..utils.lazy import lazy_imports
from ..utils.registry import Registry

if TYPE_CHECKING:
    from .by_name import build_loss
    from .counterfactual import CounterfactualLoss
    from .exclusion import NearbyPlaces, NearbyPlacesOfSets
    from .full_precision import FullPrecisionLoss
    from .her import HERLoss
    from .info_nce import InfoNCELoss
    from .sare import SARELoss
    from .schedule import LossSchedule
    from .soft_margin_triplet import SoftMarginTripletLoss
    from .tuple_hinge import TupleHingeLoss, TupleLoss

__getattr__, __dir__, _lazy = lazy_imports(__name__)
__all__ = ["LOSSES", "register_loss", *_lazy]

LOSSES: Registry[Callable[..., Any]] = Registry(
    "loss",
    __name__,
    {
        "soft_margin_triplet": ("soft_margin",),
        "info_nce": ("info_nce",),
        "her": ("her",),
        "tuple_hinge": ("hinge",),
        "sare": ("sare_ind", "sare_joint"),
        "by_name": ("triplet", "contrastive", "multi_similarity", "circle"),
    },
)


def register_loss(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a loss known to recipes and `--loss` under `name`, as a decorator of a class or a function that builds it.

    It is called with the recipe's `loss.args`, and takes what a PML loss takes: `loss(embeddings, labels,
    indices_tuple, ref_emb=..., ref_labels=...)`. If it has a parameter `exclusion`, it gets the pairs that are no
    negatives (`NearbyPlaces`) where the data set has such; if it has a parameter `paired_rows`, it is told whether
    every batch shows each place once.
    """
    return LOSSES.register(name)
