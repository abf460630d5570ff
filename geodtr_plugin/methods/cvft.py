"""CVFT: the ground view's features are carried to the aerial view's cells by optimal transport."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..layers import VGG16, SameConv2d, build_trunk, feature_size, square_for
from . import register_method
from .base import Paper, TwoTower, published_row
from .recipe import Augment, Evaluation, Loss, Optim, Recipe
from .safa import CAFFE_MEAN, CAFFE_STD
from .tensorflow import PARAMETERS, vgg16_variable

CHANNELS = 64  # of the features that are transported
SHARPNESS = 100.0  # what costs are multiplied by before they become a transport
ROUNDS = 20  # of Sinkhorn's normalisation
INITIAL_STD = 0.005  # of the costs' weights, cut off at two of them
MOST_CELLS = 256  # of the grid: costs have a weight for each three cells, 17 million here
INITIAL_COSTS = {
    "code": lambda cells: torch.eye(cells),  # the authors': staying costs, so that features are spread at first
    "keep": lambda cells: 1 - torch.eye(cells),  # leaving costs
}
VIEWS = {"query_tower": "grd", "reference_tower": "sat"}
SCOPES = {  # our layers: the authors' scopes
    "narrow": "{view}_conv", "transport.score": "ot_grd_branchot_conv", "transport.cost": "ot_grd_branchot_fc"
}  # fmt: skip


@register_method("cvft")
class CVFT(TwoTower):
    """CVFT (Shi et al., AAAI 2020), as in the authors' TensorFlow code.

    The aerial view's features lie on a grid of h x w cells, 8 x 8 at the authors' sizes; those of the panorama are
    resized to it and transported, and either view's cells together are its embedding.

    Args:
        query_size: (height, width) of ground panoramas.
        reference_size: (height, width) of aerial images; None is `query_size` with polar, else a square of like area.
        polar: aerial images arrive polar-transformed; the authors' do not.
        backbone: trunk of each view, not shared: `vgg16` up to its last convolution, whose first seven convolutions
            stay as they are, or any name of `layers.build_trunk`, whose images are normalised as it wants them.
        pretrained: start the trunks from ImageNet weights.
        init: how the costs of transport start: `code`, where a feature pays for staying in its cell, as the authors
            have it, or `keep`, where it pays for leaving.
        dropout: probability of dropout behind the last six convolutions of VGG16.
    """

    def __init__(
        self, query_size: tuple[int, int] = (112, 616), reference_size: tuple[int, int] | None = None,
        polar: bool = False, backbone: str = "vgg16", pretrained: bool = True, init: str = "code",
        dropout: float = 0.2,
    ):  # fmt: skip
        square = square_for(query_size, share=1, multiple=32)  # 112 x 616 -> 256 x 256
        super().__init__(query_size, reference_size or (query_size if polar else square), polar)

        def trunk(image_size: tuple[int, int]) -> nn.Module:
            if backbone != "vgg16":
                return build_trunk(backbone, pretrained, image_size)
            weights = "caffe" if pretrained else None
            return VGG16("relu5_3", weights, ceil_mode=True, dropout=dropout, frozen="pool3")

        self.reference_tower = GridTower(trunk(self.reference_size), self.reference_size)
        grid = self.reference_tower.grid
        self.query_tower = GridTower(trunk(self.query_size), self.query_size, FeatureTransport(grid, init))
        self.embedding_size = CHANNELS * grid[0] * grid[1]
        self.authors_trunk = backbone == "vgg16"
        if self.authors_trunk:
            self.mean, self.std = CAFFE_MEAN, CAFFE_STD

    recipes = {
        "paper": Recipe(  # the script for CVACT has 100 epochs, that for CVUSA 10, and the test's weights are of a 64th
            augment=Augment(chsg="raw"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(
                "adam", lr=1e-5, weight_decay=0.0, eps=1e-8, epochs=100, batch_size=32, schedule="constant",
                warmup_epochs=0, max_grad_norm=None, precision="bf16",
            ),
            evaluation=Evaluation(every=5),
        ),
        "laptop": Recipe(  # AdamW with warm-up and cosine, because a trunk from scratch needs a large learning rate
            model=dict(query_size=(32, 88), reference_size=(64, 64), backbone="tiny", pretrained=False),
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
        title="Optimal Feature Transport for Cross-View Image Geo-Localization",
        venue="AAAI 2020",
        url="https://arxiv.org/abs/1907.05021",
        code="https://github.com/YujiaoShi/cross_view_localization_CVFT",
        licence="none",
        weights="https://github.com/YujiaoShi/cross_view_localization_CVFT (README; of TensorFlow)",
        published={  # without a polar transform, although later tables list it among methods that have one
            ("cvusa", "cvusa", False): published_row(61.43, 84.69, 90.49, 99.02),
            ("cvact", "cvact", False): published_row(61.05, 81.33, 86.52, 95.93),
            ("cvact", "cvact-test", False): published_row(26.12, 45.33, 53.80, 71.69),
        },
    )
    author_framework = "tensorflow"

    def author_key(self, key: str) -> str | None:
        """Return the authors' name of one of our tensors: `query_tower.narrow.bias` is `grd_conv/biases`.

        Raises:
            UserError: the trunk is not theirs.
        """
        tower, part, rest = key.split(".", 2)
        view = VIEWS[tower]
        if part == "trunk":
            return vgg16_variable(f"VGG_{view}", rest) if self.authors_trunk else super().author_key(key)
        scope, parameter = f"{part}.{rest}".rsplit(".", 1)
        return f"{SCOPES[scope].format(view=view)}/{PARAMETERS[parameter]}"


class GridTower(nn.Module):
    """Trunk, a convolution that halves the map, and the cells of the result one after another.

    Args:
        trunk: `[B, 3, H, W]` -> `[B, C, h, w]`.
        image_size: (height, width) of the images.
        transport: `[B, 64, *, *]` -> cells `[B, N, 64]`; None takes the cells as they are.
    """

    def __init__(self, trunk: nn.Module, image_size: tuple[int, int], transport: FeatureTransport | None = None):
        super().__init__()
        self.trunk = trunk
        channels, height, width = feature_size(trunk, image_size)
        self.grid = (height + 1) // 2, (width + 1) // 2
        self.narrow = SameConv2d(channels, CHANNELS, kernel=3, stride=2)
        nn.init.xavier_uniform_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)
        self.transport = transport

    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to `[B, 64 * N]` of unit norm, cell by cell."""
        features = torch.relu(self.narrow(self.trunk(images)))
        with torch.autocast(images.device.type, enabled=False):
            features = features.float()
            cells = features.flatten(2).transpose(1, 2) if self.transport is None else self.transport(features)
            return normalize(cells.flatten(1), dim=1)


class FeatureTransport(nn.Module):
    """Features resized to a grid and moved between its N cells by a doubly stochastic matrix made from them, in fp32.

    Args:
        grid: (height, width) of the grid.
        init: how the costs start, one of `INITIAL_COSTS`.

    Raises:
        ValueError: `init` is not known, or the grid has one cell or too many.

    Source: Shi et al., AAAI 2020, section 3; constants from the released code.
    """

    def __init__(self, grid: tuple[int, int], init: str = "code"):
        super().__init__()
        cells = grid[0] * grid[1]
        if init not in INITIAL_COSTS:
            raise ValueError(f"init is {init!r}; it must be one of {', '.join(INITIAL_COSTS)}.")
        if not 1 < cells <= MOST_CELLS:
            raise ValueError(
                f"Features are transported between 2 to {MOST_CELLS} cells, and this aerial view has {grid[0]} x "
                f"{grid[1]}. Take a reference_size of about 16 times 16 pixels for each cell, 256 x 256 for 8 x 8."
            )
        self.grid = grid
        self.score = nn.Conv2d(CHANNELS, 1, 1)
        self.cost = nn.Linear(cells, cells**2)
        nn.init.xavier_uniform_(self.score.weight)
        nn.init.zeros_(self.score.bias)
        nn.init.trunc_normal_(self.cost.weight, std=INITIAL_STD, a=-2 * INITIAL_STD, b=2 * INITIAL_STD)
        with torch.no_grad():
            self.cost.bias.copy_(INITIAL_COSTS[init](cells).flatten())

    def forward(self, features: Tensor) -> Tensor:
        """Map `[B, 64, *, *]` to cells `[B, N, 64]`."""
        features = resize_as_tensorflow(features, self.grid)
        plan = self.plan(features)
        return plan.transpose(1, 2) @ features.flatten(2).transpose(1, 2)

    def plan(self, features: Tensor) -> Tensor:
        """Return how features `[B, 64, *grid]` move, `[B, N, N]`: from the cell of a row to that of a column."""
        scores = torch.relu(self.score(features)).flatten(1)
        return sinkhorn(-SHARPNESS * self.cost(scores).unflatten(1, (-1, scores.shape[1])))


def sinkhorn(logits: Tensor, rounds: int = ROUNDS) -> Tensor:
    """Turn logits `[B, N, N]` into matrices whose rows and columns come near sums of 1, columns nearest."""
    for _ in range(rounds):
        logits = logits.log_softmax(dim=2).log_softmax(dim=1)
    return logits.exp()


def resize_as_tensorflow(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize `[B, C, *, *]` to `size` as TensorFlow 1 does: position i of n comes from i * inputs / n of the input."""
    down, across = (_interpolation(have, want).to(x) for have, want in zip(x.shape[2:], size))
    return down @ x @ across.T


def _interpolation(inputs: int, outputs: int) -> Tensor:
    """Return the weights `[outputs, inputs]` of linear interpolation; beyond the last input, that one counts."""
    places = (torch.arange(outputs) * (inputs / outputs))[:, None]
    return (1 - (places.clamp(max=inputs - 1) - torch.arange(inputs)).abs()).clamp(min=0)
