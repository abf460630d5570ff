"""The plain baseline: a trunk, generalised-mean pooling and a linear map for each view."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..layers import GeM, build_trunk, feature_size, square_for
from . import register_method
from .base import Paper, TwoTower
from .recipe import Augment, Evaluation, Loss, Optim, Recipe


@register_method("simple")
class Simple(TwoTower):
    """The plain baseline: no masks, no attention, no generated pairs, no polar transform.

    Args:
        query_size: (height, width) of ground panoramas.
        reference_size: (height, width) of aerial images; None is `query_size` with polar, else a square of like area.
        polar: aerial images arrive polar-transformed.
        backbone: trunk of each view, see `layers.build_trunk`.
        pretrained: start the trunks from ImageNet weights.
        shared: one tower for both views, of half the parameters.
        dim: length of the embedding, by a linear map of the pooled channels; 0 leaves the map out.
        p: where the learned exponent of the pooling starts.
    """

    def __init__(
        self, query_size: tuple[int, int] = (122, 671), reference_size: tuple[int, int] | None = None,
        polar: bool = False, backbone: str = "convnext_tiny", pretrained: bool = True, shared: bool = False,
        dim: int = 512, p: float = 3.0,
    ):  # fmt: skip
        super().__init__(query_size, reference_size or (query_size if polar else square_for(query_size)), polar)

        def tower(*sizes: tuple[int, int]) -> GeMTower:
            return GeMTower(build_trunk(backbone, pretrained, *sizes), sizes[0], dim, p)

        both = self.query_size, self.reference_size
        self.towers = nn.ModuleList([tower(*both)] if shared else map(tower, both))
        self.embedding_size = self.query_tower.embedding_size

    @property
    def query_tower(self) -> GeMTower:
        """The tower of queries."""
        return self.towers[0]

    @property
    def reference_tower(self) -> GeMTower:
        """The tower of references, or the shared one."""
        return self.towers[-1]

    option_ranges = {"dim": (0, 2**20), "p": (0.1, 100.0)}  # a mean is p = 1, all but the maximum p = 100
    recipes = {
        "paper": Recipe(
            augment=Augment(chsg="raw"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(
                "adamw", lr=1e-4, weight_decay=0.03, eps=1e-6, epochs=200, batch_size=32, schedule="cosine",
                warmup_epochs=5, max_grad_norm=1.0, precision="bf16",
            ),
            evaluation=Evaluation(every=5),
        ),
        "laptop": Recipe(
            model=dict(query_size=(32, 88), reference_size=(64, 64), backbone="tiny", pretrained=False, dim=256),
            augment=Augment(chsg="raw"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(
                "adamw", lr=1e-3, weight_decay=0.03, eps=1e-6, epochs=10, batch_size=32, schedule="cosine",
                warmup_epochs=1, max_grad_norm=1.0, precision="fp32",
            ),
            evaluation=Evaluation(every=5),
        ),
    }  # fmt: skip
    recipes["paper_offset"] = recipes["paper"].replace(model=dict(query_size=(320, 640), reference_size=(320, 320)))
    recipes["laptop_offset"] = recipes["laptop"]

    paper = Paper(
        title="Two trunks with generalised-mean pooling, a baseline of this package",
        venue="no paper; the pooling is Radenović et al., TPAMI 2019",
        url="https://arxiv.org/abs/1711.02512",
        code="geodtr_plugin/methods/simple.py",
        licence="MIT",
    )


class GeMTower(nn.Module):
    """Trunk, pooling and linear map of one view; images may have any size that the trunk takes."""

    def __init__(self, trunk: nn.Module, image_size: tuple[int, int], dim: int, p: float):
        super().__init__()
        self.trunk = trunk
        channels = feature_size(trunk, image_size)[0]
        self.pool = GeM(p)
        self.project = nn.Linear(channels, dim) if dim else nn.Identity()
        self.embedding_size = dim or channels

    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to `[B, D]` of unit norm."""
        features = self.trunk(images)
        with torch.autocast(features.device.type, enabled=False):
            return nn.functional.normalize(self.project(self.pool(features)), dim=1)
