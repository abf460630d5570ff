"""CHSG, the generator of hard pairs, and miners for batches of pairs; `register_miner` adds one of your own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..utils.lazy import lazy_imports
from ..utils.registry import Registry

if TYPE_CHECKING:
    from .by_name import build_miner
    from .chsg import CHSG, CHSG_VARIANTS
    from .twin import TwinMiner

__getattr__, __dir__, _lazy = lazy_imports(__name__)
__all__ = ["MINERS", "register_miner", *_lazy]

MINERS: Registry[Callable[..., Any]] = Registry(
    "miner", __name__, {"by_name": ("all", "batch_hard", "semihard"), "twin": ("twin", "twin+all")}
)


def register_miner(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a miner known to recipes and `--miner` under `name`, as a decorator of a class or a function.

    It is called with the recipe's `loss.miner_args`, and gives a PML miner, or None for all pairs of a batch.
    """
    return MINERS.register(name)
