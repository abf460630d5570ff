"""SAFA as the GeoDTR+ repository has it in PyTorch: a finer map, squashed masks, a counterfactual branch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..layers import VGG16, SpatialTower, build_trunk, modulate, square_for
from ..layers.vgg16 import LATE_CONVOLUTIONS, LAYERS
from ..utils.errors import UserError
from . import register_method
from .base import Paper, TwoTower
from .recipe import Augment, Evaluation, Loss, Optim, Recipe


@register_method("safa_port")
class SAFAPort(TwoTower):
    """The PyTorch port of SAFA in the GeoDTR+ repository, which differs from the original.

    The last pooling is left out (stride 16), poolings round down, the spatial embedding sees the maximum over channels,
    masks go through tanh, images are normalised for ImageNet, and random masks give counterfactual embeddings.

    Args:
        query_size: (height, width) of ground panoramas.
        reference_size: (height, width) of aerial images; None is `query_size` with polar, else a square of like area.
        polar: aerial images arrive polar-transformed.
        backbone: trunk of each view, not shared: `vgg16`, or any name of `layers.build_trunk`.
        pretrained: start the trunks from ImageNet weights.
        heads: number of spatial embeddings; the port's own default is 1.
        dropout: probability of dropout behind the last six convolutions of VGG16.
    """

    def __init__(
        self, query_size: tuple[int, int] = (122, 671), reference_size: tuple[int, int] | None = None,
        polar: bool = True, backbone: str = "vgg16", pretrained: bool = True, heads: int = 8, dropout: float = 0.2,
    ):  # fmt: skip
        super().__init__(query_size, reference_size or (query_size if polar else square_for(query_size)), polar)

        def trunk(image_size: tuple[int, int]) -> nn.Module:
            if backbone != "vgg16":
                return build_trunk(backbone, pretrained, image_size)
            return VGG16("relu5_3", "torchvision" if pretrained else None, dropout=dropout)

        self.query_tower = PortTower(trunk(self.query_size), self.query_size, heads, "max", "tanh")
        self.reference_tower = PortTower(trunk(self.reference_size), self.reference_size, heads, "max", "tanh")
        self.backbone = backbone
        self.embedding_size = self.query_tower.embedding_size

    has_counterfactual = True
    recipes = {  # nobody published a training of it: these are GeoDTR+'s, so that only the network differs
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
            model=dict(query_size=(32, 88), backbone="tiny", pretrained=False),
            augment=Augment(chsg="l+s", layout="strong", semantic="strong"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=1.0, beta=5.0),
            optim=Optim(
                "adamw", lr=1e-3, weight_decay=0.03, eps=1e-6, epochs=10, batch_size=32, schedule="cosine",
                warmup_epochs=1, max_grad_norm=1.0, precision="fp32",
            ),
            evaluation=Evaluation(every=5),
        ),
    }  # fmt: skip
    recipes["paper_offset"] = recipes["paper"].replace(
        model=dict(query_size=(320, 640), reference_size=(320, 320), polar=False)
    )
    recipes["laptop_offset"] = recipes["laptop"].replace(model=dict(polar=False))

    paper = Paper(
        title="Spatial-Aware Feature Aggregation for Image based Cross-View Geo-Localization",
        venue="NeurIPS 2019; this port has no paper of its own",
        url="https://proceedings.neurips.cc/paper/2019/hash/ba2f0015122a5955f8b3a50240fb91b2-Abstract.html",
        code="https://github.com/zxh009123/GeoDTR_plus",
        licence="none",
    )

    def author_key(self, key: str) -> str:
        """Return the name of one of our tensors in the port's checkpoints.

        Raises:
            UserError: the model's trunk is no VGG16.
        """
        if self.backbone != "vgg16":
            raise UserError(f"The port of SAFA knows VGG16 alone, not {self.backbone!r}.", "Take --backbone vgg16.")
        tower, part, rest = key.split(".", 2)
        view = {"query_tower": "grd", "reference_tower": "sat"}[tower]
        if part == "spatial":
            return f"spatial_aware_{view}.{rest}"
        index, kind = rest.split(".")
        return f"backbone_{view}.0.{_author_index(int(index))}.{kind}"


class PortTower(SpatialTower):
    """SAFA's tower of one view, with a counterfactual branch."""

    def forward(self, images: Tensor, counterfactual: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Map `[B, 3, H, W]` to `[B, D]` of unit norm, or to that and its counterfactual, under random masks."""
        features = self.trunk(images)
        masks = self.spatial(features)
        embedding = modulate(features, masks)
        if not counterfactual:
            return embedding
        return embedding, modulate(features, torch.empty_like(masks).uniform_(-1, 1))  # the range of tanh


def _author_index(index: int) -> int:
    """Return a layer's number in the port, which counts the dropout behind each late convolution as a layer too."""
    return index + sum(LAYERS.index(name) < index for name in LATE_CONVOLUTIONS)
