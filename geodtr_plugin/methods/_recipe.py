"""A recipe: everything that decides what a training run computes, apart from the data and the seed.

This module imports no torch, so that the command line can show every option at once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ..utils.errors import UserError

Strength = Literal["strong", "weak", "none"]


@dataclass(frozen=True)
class Augment:
    """How a batch is varied before it reaches the network.

    Args:
        chsg: variant of the contrastive hard sample generator: l+s (the paper's), raw, ls, s, s+same-l, l, same-s+l
        layout: layout simulation: strong is flip and rotation, weak is flip only
        semantic: colour, blur and posterize of each image by itself
    """

    chsg: str = "l+s"
    layout: Strength = "strong"
    semantic: Strength = "strong"


@dataclass(frozen=True)
class Loss:
    """What is minimised.

    Args:
        alpha: slope of the soft margin, on squared distances
        hard_ratio: share of the hardest triplets that is kept; 1 keeps all
        counterfactual: weight of the counterfactual loss; 0 leaves the branch out
        beta: slope of the counterfactual loss, on squared distances
    """

    alpha: float = 10.0
    hard_ratio: float = 1.0
    counterfactual: float = 1.0
    beta: float = 5.0


@dataclass(frozen=True)
class Optim:
    """How the weights move.

    Args:
        lr: peak learning rate of AdamW
        weight_decay: on all parameters, as the authors do
        eps: AdamW's denominator term
        epochs: passes over the training pairs
        batch_size: raw pairs in a batch; CHSG doubles the rows that the network sees
        warmup_epochs: epochs until the peak; a half cosine follows
        zero_first_epoch: reproduce the authors' schedule, whose first epoch has a learning rate of 0
        max_grad_norm: gradients are clipped to this norm; null leaves them alone
        precision: bf16 runs the network in bfloat16 autocast; losses and ranks stay in fp32
    """

    lr: float = 1e-4
    weight_decay: float = 0.03
    eps: float = 1e-6
    epochs: int = 200
    batch_size: int = 32
    warmup_epochs: int = 5
    zero_first_epoch: bool = False
    max_grad_norm: float | None = 1.0
    precision: Literal["fp32", "bf16"] = "bf16"

    def __post_init__(self):
        if self.batch_size < 2:
            raise UserError(
                f"A batch of {self.batch_size} pair has no negatives to learn from. Set --batch-size to 2 or more."
            )
        if self.epochs < 0:
            raise UserError(f"--epochs is {self.epochs}; it must be 0 (evaluate only) or more.")


@dataclass(frozen=True)
class Evaluation:
    """When and how a model is measured.

    Args:
        every: evaluate each time this many epochs have passed, and after the last one
        batch_size: images embedded at once
        ties: pessimistic counts ties against the method; optimistic reproduces the authors' scripts
    """

    every: int = 5
    batch_size: int = 64
    ties: Literal["pessimistic", "optimistic"] = "pessimistic"


@dataclass(frozen=True)
class Recipe:
    """One method's settings. `model` holds what `create_model` gets beyond the defaults of the method's class."""

    model: dict[str, Any] = field(default_factory=dict)
    augment: Augment = Augment()
    loss: Loss = Loss()
    optim: Optim = Optim()
    evaluation: Evaluation = Evaluation()

    def __post_init__(self):
        # sizes come as lists from the command line and from JSON, as tuples from code
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in self.model.items()}
        object.__setattr__(self, "model", plain)

    def but(self, **parts: dict[str, Any]) -> Recipe:
        """A copy with some settings replaced: `recipe.but(optim={"lr": 1e-3}, model={"polar": False})`."""
        changed = {}
        for part, settings in parts.items():
            current = getattr(self, part)
            changed[part] = {**current, **settings} if part == "model" else replace(current, **settings)
        return replace(self, **changed)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Recipe:
        parts = {"augment": Augment, "loss": Loss, "optim": Optim, "evaluation": Evaluation}
        return cls(settings["model"], **{name: part(**settings[name]) for name, part in parts.items()})
