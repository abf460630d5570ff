"""GeoDTR: layout descriptors for cross-view geo-localization, from the strongest channel of every position."""

from __future__ import annotations

from typing import Any

from ..layers import LayoutTower, build_trunk, square_for
from . import register_method
from .base import Paper, TwoTower, published_row
from .recipe import Augment, Evaluation, Loss, Optim, Recipe


@register_method("geodtr")
class GeoDTR(TwoTower):
    """GeoDTR (Zhang et al., AAAI 2023).

    Args:
        query_size: (height, width) of ground panoramas.
        reference_size: (height, width) of aerial images; None is `query_size` with polar, else a square of like area.
        polar: aerial images arrive polar-transformed.
        backbone: trunk of each view, see `layers.build_trunk`; not shared. The authors have `resnet34` alone.
        pretrained: start the trunks from ImageNet weights.
        descriptors: number of layout descriptors K.
        heads, layers: of the layout extractor's Transformer, as in the authors' README and in the paper's parameter
            count; the defaults of their script are 8 and 8.
        feedforward, dropout: likewise.
        mask: `hardtanh`, as published, or `sigmoid`; counterfactual masks are uniform over the same range.
    """

    def __init__(
        self, query_size: tuple[int, int] = (122, 671), reference_size: tuple[int, int] | None = None,
        polar: bool = True, backbone: str = "resnet34", pretrained: bool = True, descriptors: int = 8,
        heads: int = 4, layers: int = 2, feedforward: int = 2048, dropout: float = 0.3, mask: str = "hardtanh",
    ):  # fmt: skip
        super().__init__(query_size, reference_size or (query_size if polar else square_for(query_size)), polar)
        layout: dict[str, Any] = dict(
            extractor="v1", descriptors=descriptors, heads=heads, layers=layers, feedforward=feedforward,
            dropout=dropout, mask=mask,
        )  # fmt: skip

        def tower(image_size: tuple[int, int]) -> LayoutTower:
            return LayoutTower(build_trunk(backbone, pretrained, image_size), image_size, **layout)

        self.query_tower, self.reference_tower = tower(self.query_size), tower(self.reference_size)
        self.embedding_size = self.query_tower.embedding_size

    has_counterfactual = True
    mean = std = (0.5, 0.5, 0.5)  # unlike its trunk's ImageNet weights
    recipes = {
        "paper": Recipe(
            augment=Augment(chsg="ls", layout="strong", semantic="strong"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=1.0, beta=5.0),
            optim=Optim(
                "adamw", lr=1e-4, weight_decay=0.03, eps=1e-6, epochs=200, batch_size=32, schedule="cosine",
                warmup_epochs=5, max_grad_norm=1.0, precision="bf16",
            ),
            evaluation=Evaluation(every=5),
        ),
        "laptop": Recipe(
            model=dict(query_size=(32, 88), backbone="tiny", pretrained=False, feedforward=192, dropout=0.0),
            augment=Augment(chsg="ls", layout="strong", semantic="strong"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=1.0, beta=5.0),
            optim=Optim(
                "adamw", lr=1e-3, weight_decay=0.03, eps=1e-6, epochs=10, batch_size=32, schedule="cosine",
                warmup_epochs=1, max_grad_norm=1.0, precision="fp32",
            ),
            evaluation=Evaluation(every=5),
        ),
    }  # fmt: skip
    recipes["paper_offset"] = recipes["paper"].replace(  # the authors give no settings for VIGOR: these are GeoDTR+'s
        model=dict(query_size=(320, 640), reference_size=(320, 320), polar=False)
    )
    recipes["laptop_offset"] = recipes["laptop"].replace(  # with strong ones ten epochs are too few from scratch
        model=dict(polar=False), augment=dict(layout="weak", semantic="weak")
    )

    paper = Paper(
        title="Cross-View Geo-Localization via Learning Disentangled Geometric Layout Correspondence",
        venue="AAAI 2023",
        url="https://arxiv.org/abs/2212.04074",
        code="https://github.com/zxh009123/GeoDTR",
        licence="none",
        published={  # as Tables I to III of the GeoDTR+ paper have them
            ("cvusa", "cvusa", True): published_row(95.43, 98.86, 99.34, 99.86),
            ("cvusa", "cvusa", False): published_row(93.76, 98.47, 99.22, 99.85),
            ("cvact", "cvact", True): published_row(86.21, 95.44, 96.72, 98.77),
            ("cvact", "cvact", False): published_row(85.43, 94.81, 96.11, 98.26),
            ("cvact", "cvact-test", True): published_row(64.52, 88.59, 91.96, 98.74),
            ("cvact", "cvact-test", False): published_row(62.96, 87.35, 90.70, 98.61),
            ("cvusa", "cvact", True): published_row(53.16, 75.62, 81.90, 93.80),
            ("cvusa", "cvact", False): published_row(43.72, 66.99, 74.61, 91.83),
            ("cvact", "cvusa", True): published_row(44.07, 64.66, 72.08, 90.09),
            ("cvact", "cvusa", False): published_row(29.85, 49.25, 57.11, 82.47),
            ("vigor-same", "vigor-same", False): published_row(56.51, 80.37, 86.21, 99.25) | dict(hit_rate=61.76),
            ("vigor-cross", "vigor-cross", False): published_row(30.02, 52.67, 61.45, 94.40) | dict(hit_rate=30.19),
        },
    )

    def author_key(self, key: str) -> str:
        """Return the name of one of our tensors in the authors' checkpoints."""
        tower, part, rest = key.split(".", 2)
        view = {"query_tower": "grd", "reference_tower": "sat"}[tower]
        if part == "trunk":
            return f"backbone_{view}.layers.{rest}"
        return f"ge_{view}.{self.query_tower.layout.author_key(rest)}"
