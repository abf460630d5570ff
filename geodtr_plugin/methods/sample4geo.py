"""Sample4Geo: one ConvNeXt for both views, hard negatives by sampling, and a symmetric InfoNCE loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..layers import build_trunk, feature_size
from ..layers.timm_models import timm_model
from . import register_method
from .base import Paper, TwoTower, published_row
from .recipe import Augment, Evaluation, Loss, Optim, Recipe, Sampling


class PooledTower(nn.Module):
    """A network that ends in a vector of each image, and the vector's direction.

    Args:
        trunk: `[B, 3, H, W]` -> `[B, D]`.
    """

    def __init__(self, trunk: nn.Module):
        super().__init__()
        self.trunk = trunk

    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to `[B, D]` of unit norm."""
        features = self.trunk(images)
        with torch.autocast(images.device.type, enabled=False):
            return nn.functional.normalize(features.float(), dim=1)


def tiny_network() -> nn.Module:
    """Build the small trunk with what follows ConvNeXt's last stage, which maps `[B, 3, H, W]` to `[B, 96]`.

    Each channel of an image is normalised by itself: running statistics of a batch would be those of neither view.
    """
    trunk = build_trunk("tiny")
    for module in list(trunk.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(child.num_features, child.num_features))
    return nn.Sequential(trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(96, eps=1e-6))


@register_method("sample4geo")
class Sample4Geo(TwoTower):
    """Sample4Geo (Deuser, Habel and Oswald, ICCV 2023).

    Args:
        query_size: (height, width) of ground panoramas.
        reference_size: (height, width) of aerial images; None is `query_size` with polar, else a square of half the
            panorama's width.
        polar: aerial images arrive polar-transformed, which the authors tried and found to gain nothing.
        backbone: the network, one for both views: any of timm's that takes images of both sizes, with its pooling, or
            `tiny` for tests and laptops.
        pretrained: start from timm's weights; `tiny` has none.
    """

    def __init__(
        self, query_size: tuple[int, int] = (140, 768), reference_size: tuple[int, int] | None = None,
        polar: bool = False, backbone: str = "convnext_base.fb_in22k_ft_in1k_384", pretrained: bool = True,
    ):  # fmt: skip
        half = query_size[1] // 2
        super().__init__(query_size, reference_size or (query_size if polar else (half, half)), polar)
        if backbone == "tiny":
            self.tower = PooledTower(tiny_network())
        else:
            self.tower = PooledTower(timm_model(backbone, pretrained, num_classes=0))
            self.mean, self.std = self.tower.trunk.pretrained_cfg["mean"], self.tower.trunk.pretrained_cfg["std"]
        self.embedding_size = self._features(backbone)

    def _features(self, backbone: str) -> int:
        """Return the length of the embedding, the same for images of both sizes."""
        try:
            (length,), _ = (feature_size(self.tower.trunk, size) for size in (self.query_size, self.reference_size))
        except ValueError as error:
            raise ValueError(
                f"{backbone} does not make one vector of images of {self.query_size} and {self.reference_size} pixels: "
                "choose a convolutional network that ends in pooling, and images that it does not shrink to nothing."
            ) from error
        return length

    @property
    def query_tower(self) -> nn.Module:
        """The one network, which the state dict holds once."""
        return self.tower

    @property
    def reference_tower(self) -> nn.Module:
        """The one network."""
        return self.tower

    author_extras = frozenset({"logit_scale"})  # ours is a part of the loss
    recipes = {
        "paper": Recipe(
            augment=Augment(chsg="ls", layout="strong", semantic="cutout"),
            sampling=Sampling("geo+similar", args=dict(neighbours=64, neighbour_range=128), every=4),
            loss=Loss("info_nce", args=dict(temperature=0.07, learn_temperature=True, label_smoothing=0.1)),
            optim=Optim(
                "adamw", lr=1e-3, weight_decay=0.01, eps=1e-8, epochs=40, batch_size=128, schedule="cosine",
                schedule_step="step", warmup_epochs=1, max_grad_norm=None, max_grad_value=100.0, precision="bf16",
            ),
            evaluation=Evaluation(every=4),
            data={"crop": False},  # CVACT's panorama is squeezed, not cut
        ),
        # from scratch, nothing is learned with holes, with look-alikes in every batch and with a low temperature
        "laptop": Recipe(
            model=dict(query_size=(32, 88), reference_size=(64, 64), backbone="tiny", pretrained=False),
            augment=Augment(chsg="ls", layout="strong", semantic="none"),
            sampling=Sampling("auto"),
            loss=Loss("info_nce", args=dict(temperature=0.2, learn_temperature=True, label_smoothing=0.0)),
            optim=Optim(
                "adamw", lr=3e-3, weight_decay=0.01, eps=1e-8, epochs=10, batch_size=32, schedule="cosine",
                schedule_step="step", warmup_epochs=1, max_grad_norm=None, max_grad_value=100.0, precision="fp32",
            ),
            evaluation=Evaluation(every=5),
            data={"crop": False},
        ),
    }  # fmt: skip
    recipes["paper_offset"] = recipes["paper"].replace(model=dict(query_size=(384, 768), reference_size=(384, 384)))
    recipes["laptop_offset"] = recipes["laptop"]

    paper = Paper(
        title="Sample4Geo: Hard Negative Sampling For Cross-View Geo-Localisation",
        venue="ICCV 2023",
        url="https://arxiv.org/abs/2303.11851",
        code="https://github.com/Skyy93/Sample4Geo",
        licence="none",
        weights="https://github.com/Skyy93/Sample4Geo (README, Weights)",
        published={
            ("cvusa", "cvusa", False): published_row(98.68, 99.68, 99.78, 99.87),
            ("cvact", "cvact", False): published_row(90.81, 96.74, 97.48, 98.77),
            ("cvact", "cvact-test", False): published_row(71.51, 92.42, 94.45, 98.70),
            ("cvusa", "cvact", False): dict(recall_at_1=56.62),
            ("cvact", "cvusa", False): dict(recall_at_1=44.95),
            ("vigor-same", "vigor-same", False): published_row(77.86, 95.66, 97.21, 99.61) | dict(hit_rate=89.82),
            ("vigor-cross", "vigor-cross", False): published_row(61.70, 83.50, 88.00, 98.17) | dict(hit_rate=69.87),
        },
    )

    def author_key(self, key: str) -> str:
        """Return the name of one of our tensors in the authors' checkpoints."""
        return "model." + key.removeprefix("tower.trunk.")
