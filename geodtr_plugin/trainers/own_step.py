"""A training step of a method's own, in which several optimizers take turns, as in adversarial training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import torch
from pytorch_metric_learning.utils.key_checker import KeyChecker
from torch import Tensor, nn

from ..utils.precision import at_least_float32, autocast
from .batches import Batch, BatchEmbeddings

if TYPE_CHECKING:
    from .cross_view import CrossViewTrainer


class OwnStep(Protocol):
    """What a method brings that does its own steps; see `TwoTower.own_step`.

    The first part is that of the embeddings: its optimizer also steps what the losses learn.
    """

    losses: tuple[str, ...]  # what it reports beside the losses of the embeddings
    without: str  # the option that does without it, for messages

    def parts(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """Return the parameters of each optimizer by the name of the part; none is in two of them."""
        ...

    def settings(self, part: str) -> Mapping[str, Any]:
        """Return the settings of a part's optimizer that differ from the recipe's, by the names that these have."""
        ...

    def __call__(
        self, step: Stepper, query: Tensor, reference: Tensor, labels: Tensor
    ) -> tuple[tuple[Tensor, Tensor], Mapping[str, Tensor]]:
        """Do a step on prepared images `[B, 3, H, W]` and labels `[B]`.

        Returns:
            The embeddings of queries and references, `[B, D]` each, and a number `[]` for each of `losses`.
        """
        ...


class Stepper:
    """What the trainer offers to an `OwnStep`, for one step."""

    def __init__(self, trainer: CrossViewTrainer):
        self.trainer = trainer
        self.kept: dict[str, Any] | None = None  # the losses of the embeddings that are reported
        self.norms: list[Tensor] = []

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context of the recipe's precision, in which networks run."""
        return autocast(self.trainer.precision, self.trainer.data_device)

    def embedding_loss(self, query: Tensor, reference: Tensor, labels: Tensor) -> Tensor:
        """Return the recipe's loss [] of embeddings `[B, D]`; that of a step's first call is reported."""
        trainer = self.trainer
        trainer.zero_losses()
        trainer.compute_losses(BatchEmbeddings(at_least_float32(query), at_least_float32(reference)), labels)
        trainer.loss_tracker.update(trainer.loss_weights)
        loss = trainer.losses["total_loss"]
        self.kept = self.kept or dict(trainer.losses)
        return loss

    def descend(self, part: str, loss: Tensor) -> None:
        """Let the optimizer of a part step down a loss []; no other parameter gets a gradient.

        Gradients are clipped part by part. A part that is frozen stays.
        """
        optimizer = self.trainer.optimizers.get(f"{part}_optimizer")
        if optimizer is None:
            return
        optimizer.zero_grad()
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        loss.backward(inputs=parameters)
        self.norms.append(self.trainer.clip(parameters))
        optimizer.step()


def expect_parts(step: OwnStep, trainer: CrossViewTrainer) -> None:
    """Make PML's trainer expect an optimizer, and schedules, for each part of a step."""
    parts, ends = list(step.parts()), trainer.allowed_lr_scheduler_key_suffixes.values()
    schedulers = [part + end for part in parts for end in ends]
    trainer.schema["optimizers"] = KeyChecker([f"{part}_optimizer" for part in parts], important=[])
    trainer.schema["lr_schedulers"] = KeyChecker(schedulers, warn_empty=False, important=[])


def take_own_step(trainer: CrossViewTrainer, batch: Batch) -> BatchEmbeddings:
    """Do the method's own step on a batch; fill `losses` and `grad_norm` (of all parts together) of the trainer."""
    query, reference, labels = trainer.prepare(batch.query, batch.reference, batch.labels)
    stepper = Stepper(trainer)
    embeddings, losses = trainer.own_step(stepper, query, reference, labels)
    trainer.losses.update((stepper.kept or {}) | dict(losses))
    trainer.grad_norm = torch.linalg.vector_norm(torch.stack(stepper.norms)) if stepper.norms else 0.0
    return BatchEmbeddings(*embeddings)
