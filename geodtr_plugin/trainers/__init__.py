"""Trainers for pytorch-metric-learning."""

from .cross_view import CrossViewTrainer
from .errors import NonFiniteLossError

__all__ = ["CrossViewTrainer", "NonFiniteLossError"]
