"""Trainers for pytorch-metric-learning."""

from .cross_view import CrossViewTrainer
from .ema import WeightAverage
from .own_step import OwnStep, Stepper
from .step_meter import NonFiniteLossError

__all__ = ["CrossViewTrainer", "NonFiniteLossError", "OwnStep", "Stepper", "WeightAverage"]
