"""CHSG, the generator of hard pairs, and a miner for its batches."""

from .chsg import CHSG, CHSG_VARIANTS
from .twin import TwinMiner

__all__ = ["CHSG", "CHSG_VARIANTS", "TwinMiner"]
