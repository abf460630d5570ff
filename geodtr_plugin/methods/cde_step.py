"""The training step of CDE: discriminator, retrieval and generator take turns on one batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from ..trainers.own_step import Stepper
    from .cde import CDE

REAL = 0.9  # what the discriminator is to say of photographs; below 1, so that it is never sure
FAKE = 0.0  # of painted panoramas
L1_WEIGHT = 100.0  # of the mean difference to the photograph, in the generator's objective
RETRIEVAL_WEIGHT = 1000.0  # of the retrieval's loss there


def generate(model: CDE, reference: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return the encoder's maps of aerial images `[B, 3, H, W]`, and the panoramas painted from them, likewise."""
    maps = model.reference_tower.trunk.maps(reference)
    return maps, model.decoder(maps, reference.shape[2:])


def judged_as(target: float, logits: Tensor) -> Tensor:
    """Return how far logits `[B, 1, h, w]` are from a target: the mean binary cross-entropy [], in fp32."""
    logits = logits.float()
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


class CDEStep:
    """Update the discriminator, then the retrieval on the encoder's map as it is, then the generator.

    The generator's objective is to deceive the discriminator, to come near the photograph, and to be found by the
    retrieval; the other two parts stay as they are meanwhile.

    Source: Toker et al., CVPR 2021, section 3; order and constants from the released code.
    """

    losses: tuple[str, ...] = ("discriminator_loss", "generator_loss", "l1_loss")
    without = "--model.generator false"

    def __init__(self, model: CDE):
        self.model = model

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of retrieval, discriminator and generator."""
        model = self.model
        modules = {
            "retrieval": (model.query_tower, model.reference_tower.spatial),
            "discriminator": (model.discriminator,),
            "generator": (model.reference_tower.trunk, model.decoder),
        }
        return {part: [p for module in own for p in module.parameters()] for part, own in modules.items()}

    def settings(self, part: str) -> Mapping[str, Any]:
        """Return no setting: the three optimizers are alike."""
        return {}

    def __call__(
        self, step: Stepper, query: Tensor, reference: Tensor, labels: Tensor
    ) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
        """Do a step on prepared images `[B, 3, H, W]` and labels `[B]`; return embeddings `[B, D]` and the losses."""
        with step.autocast():
            maps, painted = generate(self.model, reference)
        discriminator = self.discriminate(step, query, reference, painted.detach())
        step.descend("discriminator", discriminator)

        features = maps[-1].detach()
        with step.autocast():
            embeddings = self.model.query_tower(query), self.model.reference_tower.aggregate(features)
        step.descend("retrieval", step.embedding_loss(*embeddings, labels))

        with step.autocast():
            with torch.no_grad():
                found = self.model.query_tower(query)
            wanted = self.model.reference_tower.aggregate(maps[-1])
            deceived = judged_as(REAL, self.model.discriminator(torch.cat([reference, painted], 1)))
        l1 = F.l1_loss(painted.float(), query.float())
        generator = deceived + L1_WEIGHT * l1 + RETRIEVAL_WEIGHT * step.embedding_loss(found, wanted, labels)
        step.descend("generator", generator)
        losses = {"discriminator_loss": discriminator, "generator_loss": generator, "l1_loss": l1}
        return embeddings, {name: loss.detach() for name, loss in losses.items()}

    def discriminate(self, step: Stepper, query: Tensor, reference: Tensor, painted: Tensor) -> Tensor:
        """Return the discriminator's loss []: it sees the tile beside the painted, and beside the real panorama."""
        with step.autocast():
            fake, real = (self.model.discriminator(torch.cat([reference, x.to(query)], 1)) for x in (painted, query))
        return (judged_as(REAL, real) + judged_as(FAKE, fake)) / 2
