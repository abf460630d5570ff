"""CHSG, the generator of hard samples, miners for its batches, and memories of embeddings to mine from."""

from .chsg import CHSG, CHSG_VARIANTS
from .memory_bank import EmbeddingBank
from .twin import TwinMiner

__all__ = ["CHSG", "CHSG_VARIANTS", "EmbeddingBank", "TwinMiner"]
