"""GeoDTR+ for pytorch-metric-learning: cross-view geo-localization, trained and tested under one set of rules.

Names are imported when they are first used, so that `import geodtr_plugin` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__
from .utils.lazy import lazy_imports

if TYPE_CHECKING:
    from .augmentations import LayoutSimulation, PolarTransform, SemanticAugmentation
    from .datasets import list_datasets, load_split
    from .datasets import load_split as load_index  # its name in another vocabulary
    from .evaluation import CrossViewAccuracyCalculator, Truth, recall
    from .losses import CounterfactualLoss, SoftMarginTripletLoss
    from .methods import create_model, list_methods, register_method
    from .methods.weights import load_author_weights, load_model
    from .miners import CHSG, TwinMiner
    from .search import Locator
    from .testers import CrossViewTester
    from .trainers import CrossViewTrainer

__getattr__, __dir__, __all__ = lazy_imports(__name__)
__all__ = ["__version__", *__all__]
