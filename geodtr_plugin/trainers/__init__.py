"""Trainers for pytorch-metric-learning."""

from .cross_view import CrossViewTrainer
from .ema import WeightAverage
from .step_meter import NonFiniteLossError

__all__ = ["CrossViewTrainer", "NonFiniteLossError", "WeightAverage"]
