"""Trainers for pytorch-metric-learning."""

from geodtr_plugin.trainers.cross_view import CrossViewTrainer
from geodtr_plugin.trainers.errors import NonFiniteLossError

__all__ = ["CrossViewTrainer", "NonFiniteLossError"]
