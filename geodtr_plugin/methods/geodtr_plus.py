"""GeoDTR+: layout descriptors for cross-view geo-localization, with hard pairs generated in the batch (CHSG)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..layers import MASK_RANGE, LayoutExtractorV2, build_trunk, feature_size
from . import register_method
from ._base import Facts, TwoTower, scores
from ._recipe import Evaluation, Optim, Recipe


class LayoutTower(nn.Module):
    """Trunk, layout extractor and modulation of one view.

    Source: Zhang et al., TPAMI 2024, section 3.2; embedding of length channels * descriptors, channel-major.
    """

    def __init__(self, trunk: nn.Module, image_size: tuple[int, int], **layout):
        super().__init__()
        self.trunk = trunk
        channels, height, width = feature_size(trunk, image_size)
        self.layout = LayoutExtractorV2(channels, height * width, **layout)
        self.embedding_size = channels * layout["descriptors"]

    def forward(self, images: Tensor, counterfactual: bool = False):
        """[B, 3, H, W] -> [B, D] of unit norm, or that and its counterfactual: the same features under random masks."""
        features = self.trunk(images)
        masks = self.layout(features)
        embedding = modulate(features, masks)
        if not counterfactual:
            return embedding
        return embedding, modulate(features, torch.empty_like(masks).uniform_(*MASK_RANGE[self.layout.mask]))


def modulate(features: Tensor, masks: Tensor) -> Tensor:
    """Features [B, C, h, w] summed under each mask [B, h * w, K] -> [B, C * K] of unit norm, in fp32."""
    with torch.autocast(features.device.type, enabled=False):
        return nn.functional.normalize((features.float().flatten(2) @ masks.float()).flatten(1), dim=1)


def square_for(query_size: tuple[int, int]) -> tuple[int, int]:
    """The aerial size that goes with a panorama size: a square of 0.8 times its pixels (122 x 671 -> 256 x 256)."""
    side = 8 * round(math.sqrt(0.8 * query_size[0] * query_size[1]) / 8)
    return side, side


@register_method("geodtr_plus")
class GeoDTRPlus(TwoTower):
    """GeoDTR+ (Zhang et al., TPAMI 2024).

    Args:
        query_size: (height, width) of ground panoramas.
        reference_size: (height, width) of aerial images; None is `query_size` with polar, else a square of like area.
        polar: aerial images arrive polar-transformed.
        backbone: trunk of each view, see `layers.build_trunk`; not shared.
        pretrained: start the trunks from ImageNet weights.
        descriptors: number of layout descriptors K (the paper's 8; Table V has 6, 4 and 2).
        heads, layers, feedforward, dropout: of the layout extractor's Transformer.
        bottleneck: the extractor's linear bottleneck over positions.
        mask: `sigmoid` as in the released code, or `hardtanh` as in the text of the paper.
    """

    def __init__(
        self, query_size: tuple[int, int] = (122, 671), reference_size: tuple[int, int] | None = None,
        polar: bool = True, backbone: str = "convnext_tiny", pretrained: bool = True, descriptors: int = 8,
        heads: int = 4, layers: int = 2, feedforward: int = 512, dropout: float = 0.3, bottleneck: bool = True,
        mask: str = "sigmoid",
    ):  # fmt: skip
        super().__init__(query_size, reference_size or (query_size if polar else square_for(query_size)), polar)
        layout = dict(
            descriptors=descriptors, heads=heads, layers=layers, feedforward=feedforward, dropout=dropout,
            bottleneck=bottleneck, mask=mask,
        )  # fmt: skip
        self.query_tower = LayoutTower(build_trunk(backbone, pretrained), self.query_size, **layout)
        self.reference_tower = LayoutTower(build_trunk(backbone, pretrained), self.reference_size, **layout)
        self.backbone = backbone
        self.embedding_size = self.query_tower.embedding_size

    has_counterfactual = True
    recipes = {
        "paper": Recipe(),
        "paper_offset": Recipe(model=dict(query_size=(320, 640), reference_size=(320, 320), polar=False)),
        "laptop": Recipe(
            model=dict(
                query_size=(32, 88), backbone="tiny", pretrained=False, feedforward=192, dropout=0.0, mask="hardtanh"
            ),
            optim=Optim(lr=1e-3, epochs=10, warmup_epochs=1, precision="fp32"),
            evaluation=Evaluation(every=5),
        ),
    }
    recipes["laptop_offset"] = recipes["laptop"].but(model={"polar": False})

    facts = Facts(
        title="GeoDTR+: Toward Generic Cross-View Geolocalization via Geometric Disentanglement",
        venue="TPAMI 2024",
        url="https://arxiv.org/abs/2308.09624",
        code="https://github.com/zxh009123/GeoDTR_plus",
        licence="none",
        published={
            ("cvusa", "cvusa", True): scores(95.40, 98.44, 99.05, 99.75),  # Table I
            ("cvusa", "cvusa", False): scores(95.05, 98.42, 98.92, 99.77),
            ("cvact", "cvact", True): scores(87.61, 95.48, 96.52, 98.34),
            ("cvact", "cvact", False): scores(87.76, 95.50, 96.50, 98.32),
            ("cvusa", "cvact", True): scores(61.17, 80.22, 85.45, 94.56),  # Table II
            ("cvusa", "cvact", False): scores(60.16, 79.97, 84.67, 94.48),
            ("cvact", "cvusa", True): scores(53.89, 74.56, 81.10, 94.93),
            ("cvact", "cvusa", False): scores(52.56, 73.08, 79.82, 94.80),
        },
    )

    def author_key(self, key: str) -> str:
        """Name of one of our tensors in the authors' checkpoints."""
        tower, part, rest = key.split(".", 2)
        view = {"query_tower": "grd", "reference_tower": "sat"}[tower]
        if part == "trunk":
            return f"backbone_{view}.{'layers' if self.backbone == 'resnet34' else 'net'}.{rest}"
        for ours, theirs in (("position", "pe.pe"), ("encoder.", "transformer_encoder."), ("bottleneck.", "")):
            if rest.startswith(ours):
                rest = theirs + rest.removeprefix(ours)
        return f"GLE_{view}.{rest}"
