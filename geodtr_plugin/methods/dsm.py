"""DSM: feature maps of both views, compared at the heading at which they fit best."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distances import CircularCorrelation
from ..layers import VGG16, build_trunk, feature_size, wrap_columns
from ..utils.roles import Role
from . import register_method
from .base import Paper, TwoTower, published_row
from .recipe import Augment, Evaluation, Loss, Optim, Recipe
from .safa import CAFFE_MEAN, CAFFE_STD
from .tensorflow import PARAMETERS, vgg16_variable

WIDTHS = (256, 64)  # channels behind the first two convolutions of the head, each of which halves the rows
SCOPES = {"narrow1": "conv_dim_reduct_1", "narrow2": "conv5_dim_reduct_2", "narrow3": "conv5_dim_reduct_3"}
VIEWS = {"query_tower": "grd", "reference_tower": "sat"}


@register_method("dsm")
class DSM(TwoTower):
    """DSM (Shi et al., CVPR 2020), as in the authors' TensorFlow code.

    An embedding is a feature map, whose columns are directions. That of a query, which may show a part of the turn,
    slides along that of the reference; see `distances.CircularCorrelation`. Where it is known that queries look at the
    middle of their references, maps are compared as they lie: embeddings are then ordinary unit vectors.

    Args:
        query_size: (height, width) of ground images: panoramas, or parts of them in the scale of the references.
        reference_size: (height, width) of aerial images, which show the full turn; None is `query_size`.
        polar: aerial images arrive polar-transformed; without that, a shift of columns is no change of heading.
        backbone: trunk of each view, not shared: `vgg16` up to its tenth convolution, whose first seven stay as they
            are, or any convolutional name of `layers.build_trunk`, whose images are normalised as it wants them.
        pretrained: start the trunks from ImageNet weights.
        channels: of the feature maps.
        dropout: probability of dropout behind the last three convolutions of VGG16.
        aligned: queries look at the middle of their references. The harness says so where it is known.

    Raises:
        ValueError: the query's map does not fit into that of the reference.
    """

    def __init__(
        self, query_size: tuple[int, int] = (128, 512), reference_size: tuple[int, int] | None = None,
        polar: bool = True, backbone: str = "vgg16", pretrained: bool = True, channels: int = 16, dropout: float = 0.2,
        aligned: bool = False,
    ):  # fmt: skip
        super().__init__(query_size, reference_size or query_size, polar)

        def trunk(image_size: tuple[int, int]) -> nn.Module:
            if backbone != "vgg16":
                return build_trunk(backbone, pretrained, image_size)
            weights = "caffe" if pretrained else None
            return VGG16("relu4_3", weights, ceil_mode=True, dropout=dropout, frozen="pool3")

        self.query_tower = MapTower(trunk(self.query_size), self.query_size, channels)
        self.reference_tower = MapTower(trunk(self.reference_size), self.reference_size, channels, circular=True)
        (height, width, _), whole = self.query_tower.shape, self.reference_tower.shape
        if height != whole[0] or width > whole[1]:
            raise ValueError(f"a map of {height} x {width} does not fit into a reference's of {whole[0]} x {whole[1]}")
        if aligned:
            self.reference_tower.middle = width
        else:
            fov = 360 * self.query_size[1] / self.reference_size[1]
            self.distance = CircularCorrelation(whole, width, min(360, fov))
        self.embedding_size = height * channels * (width if aligned else whole[1])
        self.authors_trunk = backbone == "vgg16"
        if self.authors_trunk:
            self.mean, self.std = CAFFE_MEAN, CAFFE_STD

    def embedding_size_of(self, role: Role) -> int:
        """Return the length of an embedding of a role; a query's is shorter where it shows a part of the turn."""
        height, width, channels = self.query_tower.shape
        return height * width * channels if role == "query" else self.embedding_size

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
            model=dict(query_size=(32, 96), backbone="tiny", pretrained=False),  # maps of 1 x 12
            augment=Augment(chsg="raw"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(
                "adamw", lr=1e-3, weight_decay=0.03, eps=1e-6, epochs=10, batch_size=32, schedule="cosine",
                warmup_epochs=1, max_grad_norm=1.0, precision="fp32",
            ),
            evaluation=Evaluation(every=5),
        ),
    }  # fmt: skip
    # nobody published one: an aerial image is resized like a panorama, and has no columns that are directions
    recipes["paper_offset"] = recipes["paper"].replace(model=dict(polar=False, aligned=True))
    recipes["laptop_offset"] = recipes["laptop"].replace(model=dict(polar=False, aligned=True))

    paper = Paper(
        title="Where Am I Looking At? Joint Location and Orientation Estimation by Cross-View Matching",
        venue="CVPR 2020",
        url="https://arxiv.org/abs/2005.03860",
        code="https://github.com/YujiaoShi/cross_view_localization_DSM",
        licence="none",
        weights="https://github.com/YujiaoShi/cross_view_localization_DSM (README; of TensorFlow)",
        published={  # as Tables I to III of the GeoDTR+ paper have them: panoramas of known headings
            ("cvusa", "cvusa", True): published_row(91.93, 97.50, 98.54, 99.67),
            ("cvact", "cvact", True): published_row(82.49, 92.44, 93.99, 97.32),
            ("cvact", "cvact-test", True): published_row(35.63, 60.07, 69.10, 84.75),
            ("cvusa", "cvact", True): published_row(33.66, 52.17, 59.74, 79.67),
            ("cvact", "cvusa", True): published_row(18.47, 34.46, 42.28, 69.01),
            # of unknown headings, behind the @ degrees of a query; from memory, to be checked against DSM's own tables
            ("cvusa", "cvusa@360", True): dict(recall_at_1=78.1),
            ("cvusa", "cvusa@180", True): dict(recall_at_1=48.5),
            ("cvusa", "cvusa@90", True): dict(recall_at_1=16.2),
            ("cvusa", "cvusa@70", True): dict(recall_at_1=8.8),
            ("cvact", "cvact@360", True): dict(recall_at_1=72.9),
            ("cvact", "cvact@180", True): dict(recall_at_1=49.1),
            ("cvact", "cvact@90", True): dict(recall_at_1=18.1),
            ("cvact", "cvact@70", True): dict(recall_at_1=8.3),
        },
    )
    author_framework = "tensorflow"

    def author_key(self, key: str) -> str | None:
        """Return the authors' name of one of our tensors: `query_tower.narrow3.bias` is theirs of the ground's head.

        Raises:
            UserError: the trunk is not theirs.
        """
        tower, part, rest = key.split(".", 2)
        view = VIEWS[tower]
        if part == "trunk":
            return vgg16_variable(f"VGG_{view}", rest) if self.authors_trunk else super().author_key(key)
        return f"VGG_{view}/{view}/{SCOPES[part]}/{PARAMETERS[rest]}"


class MapTower(nn.Module):
    """Trunk and head of one view: a feature map, flattened.

    Args:
        trunk: `[B, 3, H, W]` -> `[B, C, h, w]`.
        image_size: (height, width) of the images.
        channels: of the map.
        circular: images show the full turn, and convolutions reach over their seam.

    Raises:
        ValueError: the trunk's do not.

    Attributes:
        shape: (height, width, channels) of the map, `[h / 4, w]` rounded up.
        middle: columns of its middle to which the map is cropped; None leaves it whole.
    """

    middle: int | None = None

    def __init__(self, trunk: nn.Module, image_size: tuple[int, int], channels: int, circular: bool = False):
        super().__init__()
        self.trunk, self.circular = wrap_columns(trunk) if circular else trunk, circular
        inputs, height, width = feature_size(trunk, image_size)
        self.shape = -(-height // 4), width, channels
        self.narrow1 = nn.Conv2d(inputs, WIDTHS[0], 3, (2, 1), (0, 1))
        self.narrow2 = nn.Conv2d(WIDTHS[0], WIDTHS[1], 3, (2, 1), (0, 1))
        self.narrow3 = nn.Conv2d(WIDTHS[1], channels, 3, padding=1)
        for convolution in (self.narrow1, self.narrow2, self.narrow3):
            nn.init.xavier_uniform_(convolution.weight)
            nn.init.zeros_(convolution.bias)  # the authors draw it too, which beside VGG16's activations is nothing
        if circular:
            wrap_columns(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to `[B, D]` of unit norm, row by row, and in it column by column."""
        x = self.trunk(images)
        x = torch.relu(self.narrow1(self._with_rows(x)))
        x = torch.relu(self.narrow2(self._with_rows(x)))
        maps = self.narrow3(x).permute(0, 2, 3, 1)
        if self.middle is not None:
            maps = maps.narrow(2, (maps.shape[2] - self.middle) // 2, self.middle)
        return F.normalize(maps.flatten(1).float(), dim=1)

    def _with_rows(self, x: Tensor) -> Tensor:
        """Add zeros for a stride of 2: none above an even side, as TensorFlow's SAME; the authors' circular one has."""
        return F.pad(x, (0, 0, 1 if self.circular else x.shape[2] % 2, 1))
