"""VIGOR: SAFA + Mining that also learns how far tiles overlap, and where in its tile the panorama was taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import SpatialTower
from ..losses import Objective, OffsetObjective, OverlapObjective
from ..utils.pair_data import OFFSET
from . import register_method
from .base import Embeddings, Paper, published_row
from .recipe import Recipe
from .safa_mining import FALLEN, SAFAMining

HEAD = "offset_head"
OBJECTIVES = {"overlap": 1.0, "offset": 1.0}  # their scales, 1/10 and 1/100, are part of them


INITIAL_STD, INITIAL_BIAS = 0.005, 0.1  # of the head; the former is cut off at two of them


def second_stage(first: Recipe, **optim: float) -> Recipe:
    """Return the recipe that adds the offset head and both objectives; what is not named is as in the first."""
    recipe = replace(first, next_stage=None)
    return recipe.replace(model=dict(offset_head=True), loss=dict(objectives=OBJECTIVES), optim=optim)


@register_method("vigor")
class VIGOR(SAFAMining):
    """VIGOR (Zhu et al., CVPR 2021).

    The first stage is `safa_mining`; the second goes on from its weights with a fresh offset head. Recipes for cameras
    at the centres have no second stage. Data sets without offsets or semi-positives leave out the objectives that need
    them, and the head with them.

    Differences from the authors': those of `safa_mining`; the optimizer and the bank of embeddings of the second stage
    start afresh, so that its first epoch draws all pairs at random; similarities that the overlap objective divides by
    are at least 0.001 in size.

    Args:
        query_size: (height, width) of ground panoramas.
        reference_size: (height, width) of aerial images; None is a square of half the area.
        polar: must be False: the cameras do not stand at the centres.
        backbone: trunk of each view, not shared; see `safa`.
        pretrained: start the trunks from ImageNet weights.
        heads: number of spatial embeddings.
        offset_head: predict where in the tile the query was taken, as `extras["offset"]` of the pairs.
    """

    query_tower: SpatialTower
    reference_tower: SpatialTower

    def __init__(
        self, query_size: tuple[int, int] = (320, 640), reference_size: tuple[int, int] | None = None,
        polar: bool = False, backbone: str = "vgg16", pretrained: bool = True, heads: int = 8,
        offset_head: bool = True,
    ):  # fmt: skip
        if polar:
            raise ValueError("VIGOR has cameras off the centres of their tiles, which no polar transform fits.")
        super().__init__(query_size, reference_size, polar, backbone, pretrained, heads)
        self.predicts_offset = offset_head
        if offset_head:
            self.offset_head = OffsetHead(self.embedding_size)

    recipes = {
        "paper": SAFAMining.recipes["paper"].replace(model=dict(offset_head=False)),
        "laptop": SAFAMining.recipes["laptop"].replace(model=dict(offset_head=False)),
    }
    # that of the same-area split; across areas the authors stop after 11 epochs, and after 10 in the second stage
    recipes["paper_offset"] = replace(recipes["paper"], next_stage="paper_offset_stage2")
    recipes["paper_offset_stage2"] = second_stage(  # 15 epochs of as many steps, with the rate where it had come to
        recipes["paper"], lr=1e-5 * FALLEN, decay=FALLEN**0.5, batch_size=10, epochs=15
    )
    recipes["laptop_offset"] = replace(recipes["laptop"], next_stage="laptop_offset_stage2")
    recipes["laptop_offset_stage2"] = second_stage(recipes["laptop"], lr=5e-4, epochs=5)

    paper = Paper(
        title="VIGOR: Cross-View Image Geo-localization beyond One-to-one Retrieval",
        venue="CVPR 2021",
        url="https://arxiv.org/abs/2011.12172",
        code="https://github.com/Jeff-Zilence/VIGOR",
        licence="MIT",
        weights=SAFAMining.paper.weights,
        published={  # as the GeoDTR+ paper has them
            ("vigor-same", "vigor-same", False): published_row(41.07, 65.81, 74.05, 98.37) | dict(hit_rate=44.71),
            ("vigor-cross", "vigor-cross", False): published_row(11.00, 23.56, 30.76, 80.22) | dict(hit_rate=11.64),
        },
    )

    def forward(
        self, query: Tensor | None = None, reference: Tensor | None = None, counterfactual: bool = False
    ) -> Embeddings:
        """Embed both views in one call; with the head, `extras["offset"]` are the offsets of the pairs, `[B, 2]`."""
        if counterfactual or not self.predicts_offset or query is None or reference is None:
            return super().forward(query, reference, counterfactual)
        q, r = self.query_tower.sums(query), self.reference_tower.sums(reference)
        offsets = self.offset_head(r[: len(q)], q)
        return Embeddings(F.normalize(q, dim=1), F.normalize(r, dim=1), extras={OFFSET: offsets})

    def build_objectives(self) -> dict[str, Objective]:
        """Return `overlap` and, with the head, `offset`."""
        objectives: dict[str, Objective] = {"overlap": OverlapObjective(), "offset": OffsetObjective(HEAD)}
        return objectives if self.predicts_offset else {}

    def adapt(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return weights of a first stage with this model's own head."""
        if any(name.startswith(f"{HEAD}.") for name in tensors):
            return tensors
        return {**tensors, **{name: own for name, own in self.state_dict().items() if name.startswith(f"{HEAD}.")}}

    def author_key(self, key: str) -> str | None:
        """Return the authors' name of one of our tensors: `offset_head.out.bias` is `fc_delta_2/biases`.

        Raises:
            UserError: the trunk is not theirs.
        """
        if not key.startswith(f"{HEAD}."):
            return super().author_key(key)
        _, layer, parameter = key.split(".")
        number = 1 if layer == "hidden" else 2
        return f"fc_delta_{number}/{'weights' if parameter == 'weight' else 'biases'}"

    def author_tensors(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the authors' tensors with the features that the head sees in our order."""
        name, heads = "fc_delta_1/weights", self.query_tower.spatial.w1.shape[-1]
        if name not in tensors or tensors[name].shape[0] != 2 * self.embedding_size:  # which is told of later
            return tensors
        by_head = tensors[name].unflatten(0, (2, heads, -1))  # of the reference, of the query
        return {**tensors, name: by_head.transpose(1, 2).flatten(0, 2)}


class OffsetHead(nn.Module):
    """Two linear maps with a rectifier between, of the features of both images together.

    The authors count halves of the tile's side, down and to the left; what comes out is in the unit of
    `datasets.Offsets`: (down, right) in parts of the side.

    Args:
        size: features of one image.
        hidden: features between the two maps.
    """

    def __init__(self, size: int, hidden: int = 512):
        super().__init__()
        self.hidden, self.out = nn.Linear(2 * size, hidden), nn.Linear(hidden, 2)
        for layer in (self.hidden, self.out):
            nn.init.trunc_normal_(layer.weight, std=INITIAL_STD, a=-2 * INITIAL_STD, b=2 * INITIAL_STD)
            nn.init.constant_(layer.bias, INITIAL_BIAS)

    def forward(self, reference: Tensor, query: Tensor) -> Tensor:
        """Map features `[B, size]` of both roles, not normalised, to offsets `[B, 2]`, in fp32."""
        with torch.autocast(query.device.type, enabled=False):
            both = torch.cat([reference, query], dim=1).float()
            down, left = self.out(torch.relu(self.hidden(both))).unbind(dim=1)
            return torch.stack([down, -left], dim=1) / 2
