"""From the name in a recipe to a miner: one of the table, or any of pytorch-metric-learning by its class name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_metric_learning import miners as pml_miners
from pytorch_metric_learning.distances import BaseDistance, CosineSimilarity

from ..utils.errors import UserError
from ..utils.pml_names import pml_class, with_pml_parts
from ..utils.registry import built, takes
from . import MINERS, register_miner


def build_miner(name: str, args: Mapping[str, Any], twins: bool, distance: BaseDistance | None = None) -> Any:
    """Build a miner by its name in `MINERS`, or by the class name of a miner of pytorch-metric-learning.

    Args:
        name: such as "batch_hard" or "AngularMiner".
        args: its arguments; see `losses.build_loss`.
        twins: whether batches hold twins.
        distance: by which the model compares embeddings, where it has one of its own; `args` may name another.

    Returns:
        The miner; None for all pairs of a batch.

    Raises:
        UnknownNameError: there is no such miner.
        UserError: it does not take these arguments, or looks for twins where there are none.
    """
    factory = MINERS[name] if name in MINERS else pml_class(pml_miners, name, "miner", MINERS)
    given = with_pml_parts(args)
    if distance is not None and takes(factory, "distance"):  # others, such as "all", compare nothing
        given.setdefault("distance", distance)
    miner = built("miner", name, factory, given)
    if getattr(miner, "needs_twins", False) and not twins:
        raise UserError(
            f"The miner {name!r} looks for twins, which this batch does not have.",
            "Choose a CHSG variant that makes them, such as --chsg l+s, or --miner all.",
        )
    return miner


@register_miner("all")
def all_pairs() -> None:
    """Return None: the loss takes all pairs or triplets of a batch."""


@register_miner("batch_hard")
def batch_hard(**args: Any) -> pml_miners.BatchHardMiner:
    """Return PML's BatchHardMiner on cosine similarity."""
    return pml_miners.BatchHardMiner(**{"distance": CosineSimilarity(), **args})


@register_miner("semihard")
def semihard(**args: Any) -> pml_miners.TripletMarginMiner:
    """Return PML's TripletMarginMiner for semihard triplets on cosine similarity."""
    defaults = {"margin": 0.2, "distance": CosineSimilarity(), "type_of_triplets": "semihard"}
    return pml_miners.TripletMarginMiner(**{**defaults, **args})
