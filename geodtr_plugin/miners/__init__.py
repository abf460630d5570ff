"""CHSG, the generator of hard samples, and miners for its batches."""

from .chsg import CHSG, CHSG_VARIANTS
from .twin import TwinMiner

__all__ = ["CHSG", "CHSG_VARIANTS", "TwinMiner"]
