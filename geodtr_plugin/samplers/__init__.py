"""Batch samplers: which pairs must not meet in a batch, and which should. `register_sampler` adds one of your own.

They go wherever PML takes a `sampler`. Rows are those of `Split.pairs`, which are the items of `PairDataset`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..utils.lazy import lazy_imports
from ..utils.registry import Registry

if TYPE_CHECKING:
    from .base import EpochBatchSampler
    from .by_name import build_sampler, default_sampler, shows_places_once
    from .disjoint import DisjointTilesBatchSampler, PlaceBatchSampler
    from .embedding_bank import EmbeddingBank
    from .hard import HardBatchSampler
    from .joint import JointBatchSampler, build_joint_sampler
    from .neighbours import GeoNeighbourBatchSampler, NeighbourBatchSampler, SimilarBatchSampler

__getattr__, __dir__, _lazy = lazy_imports(__name__)
__all__ = ["SAMPLERS", "register_sampler", *_lazy]

SAMPLERS: Registry[Callable[..., Any]] = Registry(
    "sampler",
    __name__,
    {"by_name": ("auto", "shuffle"), "hard": ("hard",), "neighbours": ("geo", "similar", "geo+similar")},
)


def register_sampler(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a sampler known to recipes and `--sampler` under `name`, as a decorator of a function that builds it.

    It is called as `build(split, batch_size, seed, **args)` with the training `Split` and the recipe's `sampling.args`,
    and returns a torch `BatchSampler`, or None for a plain shuffle. What a sampler may have besides:

    * `set_epoch(epoch)`: is called before each epoch;
    * `places_differ = True`: it promises that a batch shows each place once, which spares the loss a look;
    * `follows`: "training" or "measurement", and `update(query, reference)`: after an epoch it gets the embeddings
      [P, D] of all training pairs, as training last saw them, or as measured anew every `sampling.every` epochs; of
      models that compare by a distance of their own also `distance=`, without which it is refused for them;
    * `state_dict`, `load_state_dict`: are kept in training states.
    """
    return SAMPLERS.register(name)
