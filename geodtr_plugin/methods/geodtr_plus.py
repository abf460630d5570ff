"""GeoDTR+: layout descriptors for cross-view geo-localization, with hard pairs generated in the batch (CHSG)."""

from __future__ import annotations

from typing import Any

from ..layers import LayoutTower, build_trunk, square_for
from . import register_method
from .base import Paper, TwoTower, published_row
from .recipe import Augment, Evaluation, Loss, Optim, Recipe


@register_method("geodtr_plus")
class GeoDTRPlus(TwoTower):
    """GeoDTR+ (Zhang et al., TPAMI 2024).

    Args:
        query_size: (height, width) of ground panoramas.
        reference_size: (height, width) of aerial images; None is `query_size` with polar, else a square of like area.
        polar: aerial images arrive polar-transformed.
        tile_size: pixels along a tile that larger ones are reduced to, antialiased, before they are unrolled; None
            unrolls them as they are stored, as the authors do.
        backbone: trunk of each view, see `layers.build_trunk`.
        share: one trunk for both views, of half the parameters; the layout extractors stay apart.
        pretrained: start the trunks from ImageNet weights.
        descriptors: number of layout descriptors K (the paper's 8; Table V has 6, 4 and 2).
        extractor: version of the layout extractor, `v2`, or GeoDTR's `v1` (Table IV).
        heads, layers, dropout: of the layout extractor's Transformer.
        feedforward: likewise; None is what the extractor comes with, 512 (v2) or 2048 (v1).
        bottleneck: the linear bottleneck over positions of extractor v2; v1 has none.
        mask: `sigmoid` as in the released code, or `hardtanh` as in the text of the paper; None is sigmoid with
            extractor v2 and hardtanh with v1.
    """

    def __init__(
        self, query_size: tuple[int, int] = (122, 671), reference_size: tuple[int, int] | None = None,
        polar: bool = True, backbone: str = "convnext_tiny", pretrained: bool = True, descriptors: int = 8,
        extractor: str = "v2", heads: int = 4, layers: int = 2, feedforward: int | None = None, dropout: float = 0.3,
        bottleneck: bool = True, mask: str | None = None, share: bool = False,
        tile_size: int | None = None,
    ):  # fmt: skip
        if tile_size is not None and (tile_size < 1 or tile_size % 1):
            raise ValueError(f"tile_size counts pixels, so that it cannot be {tile_size}")
        super().__init__(query_size, reference_size or (query_size if polar else square_for(query_size)), polar)
        layout: dict[str, Any] = dict(
            extractor=extractor, descriptors=descriptors, heads=heads, layers=layers, dropout=dropout
        )
        own = dict(feedforward=feedforward, mask=mask, bottleneck=bottleneck if extractor == "v2" else None)
        layout |= {name: value for name, value in own.items() if value is not None}

        sizes = self.query_size, self.reference_size
        common = build_trunk(backbone, pretrained, *sizes) if share else None

        def tower(image_size: tuple[int, int]) -> LayoutTower:
            return LayoutTower(common or build_trunk(backbone, pretrained, image_size), image_size, **layout)

        self.query_tower, self.reference_tower = map(tower, sizes)
        self.backbone, self.tile_size = backbone, tile_size
        self.embedding_size = self.query_tower.embedding_size

    has_counterfactual = True
    recipes = {
        "paper": Recipe(
            augment=Augment(chsg="l+s", layout="strong", semantic="strong"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=1.0, beta=5.0),
            optim=Optim(
                "adamw", lr=1e-4, weight_decay=0.03, eps=1e-6, epochs=200, batch_size=32, schedule="cosine",
                warmup_epochs=5, max_grad_norm=1.0, precision="bf16",
            ),
            evaluation=Evaluation(every=5),
        ),
        "laptop": Recipe(
            model=dict(
                query_size=(32, 88), backbone="tiny", pretrained=False, feedforward=192, dropout=0.0, mask="hardtanh"
            ),
            augment=Augment(chsg="l+s", layout="strong", semantic="strong"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=1.0, beta=5.0),
            optim=Optim(
                "adamw", lr=1e-3, weight_decay=0.03, eps=1e-6, epochs=10, batch_size=32, schedule="cosine",
                warmup_epochs=1, max_grad_norm=1.0, precision="fp32",
            ),
            evaluation=Evaluation(every=5),
        ),
        # Not the paper's: a trunk from ImageNet, the whole batch as negatives, few epochs; the one that carries over
        # best from rendered worlds to photographs, and the recipe of the weights that come with the package.
        "ours": Recipe(
            model=dict(
                query_size=(64, 176), tile_size=96, backbone="tf_efficientnet_lite2", feedforward=192, dropout=0.0,
                mask="hardtanh",
            ),
            augment=Augment(chsg="l+s", layout="strong", semantic="strong"),
            loss=Loss("info_nce", counterfactual=1.0, beta=5.0),
            optim=Optim(
                "adamw", lr=1e-3, weight_decay=0.03, eps=1e-6, epochs=12, batch_size=128, schedule="cosine",
                schedule_step="step", warmup_epochs=0.5, max_grad_norm=1.0, precision="fp32",
            ),
            evaluation=Evaluation(every=5),
        ),
    }  # fmt: skip
    recipes["paper_offset"] = recipes["paper"].replace(
        model=dict(query_size=(320, 640), reference_size=(320, 320), polar=False)
    )
    recipes["laptop_offset"] = recipes["laptop"].replace(model=dict(polar=False))

    paper = Paper(
        title="GeoDTR+: Toward Generic Cross-View Geolocalization via Geometric Disentanglement",
        venue="TPAMI 2024",
        url="https://arxiv.org/abs/2308.09624",
        code="https://github.com/zxh009123/GeoDTR_plus",
        licence="none",
        weights="https://github.com/zxh009123/GeoDTR_plus (README, Pre-trained weights)",
        published={
            ("cvusa", "cvusa", True): published_row(95.40, 98.44, 99.05, 99.75),  # Table I
            ("cvusa", "cvusa", False): published_row(95.05, 98.42, 98.92, 99.77),
            ("cvact", "cvact", True): published_row(87.61, 95.48, 96.52, 98.34),
            ("cvact", "cvact", False): published_row(87.76, 95.50, 96.50, 98.32),
            ("cvact", "cvact-test", True): published_row(67.57, 89.84, 92.57, 98.54),
            ("cvact", "cvact-test", False): published_row(67.75, 90.15, 92.73, 98.53),
            ("cvusa", "cvact", True): published_row(61.17, 80.22, 85.45, 94.56),  # Table II
            ("cvusa", "cvact", False): published_row(60.16, 79.97, 84.67, 94.48),
            ("cvact", "cvusa", True): published_row(53.89, 74.56, 81.10, 94.93),
            ("cvact", "cvusa", False): published_row(52.56, 73.08, 79.82, 94.80),
            # Table III
            ("vigor-same", "vigor-same", False): published_row(59.01, 81.77, 87.10, 99.07) | dict(hit_rate=67.41),
            ("vigor-cross", "vigor-cross", False): published_row(36.01, 59.06, 67.22, 94.95) | dict(hit_rate=39.40),
        },
    )

    def author_key(self, key: str) -> str:
        """Return the name of one of our tensors in the authors' checkpoints."""
        tower, part, rest = key.split(".", 2)
        view = {"query_tower": "grd", "reference_tower": "sat"}[tower]
        if part == "trunk":
            return f"backbone_{view}.{'layers' if self.backbone == 'resnet34' else 'net'}.{rest}"
        return f"GLE_{view}.{self.query_tower.layout.author_key(rest)}"
