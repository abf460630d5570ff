"""SAFA: spatial-aware feature aggregation, after a polar transform of the aerial image."""

from __future__ import annotations

from torch import nn

from ..layers import VGG16, SpatialTower, build_trunk, square_for
from . import register_method
from .base import Paper, TwoTower, published_row
from .recipe import Augment, Evaluation, Loss, Optim, Recipe
from .tensorflow import vgg16_variable

# RGB means of the original VGG16, without division by a standard deviation; red is 123.68 there, the authors have 123.6
CAFFE_MEAN = (123.6 / 255, 116.779 / 255, 103.939 / 255)
CAFFE_STD = (1 / 255, 1 / 255, 1 / 255)
SPATIAL = {"w1": "weights1", "b1": "biases1", "w2": "weights2", "b2": "biases2"}  # ours: the authors' names


@register_method("safa")
class SAFA(TwoTower):
    """SAFA (Shi et al., NeurIPS 2019), as in the authors' TensorFlow code.

    Args:
        query_size: (height, width) of ground panoramas.
        reference_size: (height, width) of aerial images; None is `query_size` with polar, else a square of like area.
        polar: aerial images arrive polar-transformed.
        backbone: trunk of each view, not shared: `vgg16` with poolings that round up, or any name of
            `layers.build_trunk`, whose images are normalised as it wants them.
        pretrained: start the trunks from ImageNet weights.
        heads: number of spatial embeddings; an embedding has 512 numbers for each with VGG16.
        pool: what the spatial embedding sees of a position, the `mean` of its channels (code) or their `max` (paper).
        dropout: probability of dropout behind the last six convolutions of VGG16.
    """

    def __init__(
        self, query_size: tuple[int, int] = (112, 616), reference_size: tuple[int, int] | None = None,
        polar: bool = True, backbone: str = "vgg16", pretrained: bool = True, heads: int = 8, pool: str = "mean",
        dropout: float = 0.2,
    ):  # fmt: skip
        square = square_for(query_size, share=1, multiple=32)  # 112 x 616 -> 256 x 256
        super().__init__(query_size, reference_size or (query_size if polar else square), polar)

        def trunk(image_size: tuple[int, int]) -> nn.Module:
            if backbone != "vgg16":
                return build_trunk(backbone, pretrained, image_size)
            return VGG16("pool5", "caffe" if pretrained else None, ceil_mode=True, dropout=dropout)

        self.query_tower = SpatialTower(trunk(self.query_size), self.query_size, heads, pool)
        self.reference_tower = SpatialTower(trunk(self.reference_size), self.reference_size, heads, pool)
        self.embedding_size = self.query_tower.embedding_size
        if backbone == "vgg16":
            self.mean, self.std = CAFFE_MEAN, CAFFE_STD

    recipes = {
        "paper": Recipe(
            augment=Augment(chsg="raw"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(
                "adam", lr=1e-5, weight_decay=0.0, eps=1e-8, epochs=100, batch_size=32, schedule="constant",
                warmup_epochs=0, max_grad_norm=None, precision="bf16",
            ),
            evaluation=Evaluation(every=5),
        ),
        "laptop": Recipe(  # AdamW with warm-up and cosine, because a trunk from scratch needs a large learning rate
            model=dict(query_size=(32, 88), backbone="tiny", pretrained=False),
            augment=Augment(chsg="raw"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(
                "adamw", lr=1e-3, weight_decay=0.03, eps=1e-6, epochs=10, batch_size=32, schedule="cosine",
                warmup_epochs=1, max_grad_norm=1.0, precision="fp32",
            ),
            evaluation=Evaluation(every=5),
        ),
    }  # fmt: skip
    # as VIGOR's repository trains it; its learning rate also falls, to a fifth over these epochs
    recipes["paper_offset"] = recipes["paper"].replace(
        model=dict(query_size=(320, 640), reference_size=(320, 320), polar=False, pool="max", dropout=0.0),
        optim=dict(batch_size=14, epochs=30),
    )
    recipes["laptop_offset"] = recipes["laptop"].replace(model=dict(polar=False))

    paper = Paper(
        title="Spatial-Aware Feature Aggregation for Image based Cross-View Geo-Localization",
        venue="NeurIPS 2019",
        url="https://proceedings.neurips.cc/paper/2019/hash/ba2f0015122a5955f8b3a50240fb91b2-Abstract.html",
        code="https://github.com/YujiaoShi/cross_view_localization_SAFA",
        licence="none",
        weights="https://github.com/YujiaoShi/cross_view_localization_SAFA (README; of TensorFlow)",
        published={  # as Tables I to III of the GeoDTR+ paper have them
            ("cvusa", "cvusa", True): published_row(89.84, 96.93, 98.14, 99.64),
            ("cvusa", "cvusa", False): published_row(81.15, 94.23, 96.85, 99.49),
            ("cvact", "cvact", True): published_row(81.03, 92.80, 94.84, 98.17),
            ("cvact", "cvact", False): published_row(78.28, 91.60, 93.79, 98.15),
            ("cvact", "cvact-test", True): published_row(55.50, 79.94, 85.08, 94.49),
            ("cvusa", "cvact", True): published_row(30.40, 52.93, 62.29, 85.82),
            ("cvact", "cvusa", True): published_row(21.45, 36.55, 43.79, 69.83),
            # as printed; possibly a plain Siamese VGG16's, and SAFA's far higher: see the VIGOR paper before comparing
            ("vigor-same", "vigor-same", False): published_row(18.69, 43.64, 55.36, 97.55) | dict(hit_rate=21.90),
            ("vigor-cross", "vigor-cross", False): published_row(2.77, 8.61, 12.94, 62.64) | dict(hit_rate=3.16),
        },
    )

    author_framework = "tensorflow"

    def author_key(self, key: str) -> str | None:
        """Return the authors' name of one of our tensors: `query_tower.spatial.w1` is `spatial_grd/weights1`.

        Raises:
            UserError: the trunk is not theirs.
        """
        role, part, rest = key.split(".", 2)
        view = {"query_tower": "grd", "reference_tower": "sat"}[role]
        if part == "spatial":
            return f"spatial_{view}/{SPATIAL[rest]}"
        if not isinstance(self.query_tower.trunk, VGG16):
            return super().author_key(key)
        return vgg16_variable(f"VGG_{view}", rest)
