"""OriCNN (Liu and Li): two encoders from scratch that see, beside its colours, where each pixel lies or looks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ..augmentations import COLOURS
from ..layers import GeM, square_for
from ..utils.errors import UserError
from ..utils.roles import Role
from . import register_method
from .base import Paper, TwoTower, published_row
from .recipe import Augment, Evaluation, Loss, Optim, Recipe
from .tensorflow import BATCH_NORM

GROWTH = (1, 2, 4, 8, 8, 8, 8)  # channels of the seven layers, in widths of the first
KERNEL, STRIDE = 4, 2
SLOPE = 0.2  # of the rectifiers below zero
POOLED = 3  # the last layers whose maps are pooled
SPREAD = 0.02  # standard deviation of first weights, and of the first scales of batch normalisation around 1
VIEWS = {"query_tower": "grd_rgbori", "reference_tower": "sat_rgbori"}  # the authors' names


class StatisticsOfBatch(_NormBase):
    """Batch normalisation by the batch at hand, in tests too; running statistics are held, and never used."""

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, C, h, w]` to the like."""
        return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)


class Encoder(nn.Module):
    """Seven convolutions of 4x4 that halve the image, padded as TensorFlow pads; returns the maps of the last three.

    Args:
        channels: of the images.
        width: channels of the first layer.
        norm: class of the normalisation, behind all layers but the first.
    """

    def __init__(self, channels: int, width: int, norm: type[nn.Module]):
        super().__init__()
        widths = [width * growth for growth in GROWTH]
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, KERNEL, STRIDE) for inputs, outputs in zip([channels, *widths], widths)
        )
        self.norms = nn.ModuleList(norm(outputs) for outputs in widths[1:])
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.normal_(parameter, mean=1.0 if name.startswith("norms") else 0.0, std=SPREAD)
            else:
                nn.init.zeros_(parameter)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map `[B, C, H, W]` to three maps `[B, 8 * width, h, w]`, each of half the last one's sides, rounded up."""
        maps = [self.convs[0](_padded(images))]
        for conv, norm in zip(self.convs[1:], self.norms):
            maps.append(norm(conv(_padded(F.leaky_relu(maps[-1], SLOPE)))))
        return tuple(maps[-POOLED:])


def _padded(x: Tensor) -> Tensor:
    """Pad `[B, C, h, w]` for a convolution that halves it, rounded up: an odd side gets one more behind than before."""
    height, width = x.shape[-2:]
    return F.pad(x, (1, 1 + width % 2, 1, 1 + height % 2))


class OriTower(nn.Module):
    """The encoder, its last three maps at the positions of the last one, and their generalised mean with p = 3."""

    def __init__(self, trunk: Encoder):
        super().__init__()
        self.trunk, self.pool = trunk, GeM(3.0, learned=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, C, H, W]` to `[B, 24 * width]` of unit norm."""
        maps = [features.float() for features in self.trunk(images)]
        size = maps[-1].shape[-2:]  # larger maps are interpolated at the centres of its cells
        joined = torch.cat([F.interpolate(m, size, mode="bilinear", align_corners=False) for m in maps], 1)
        return F.normalize(self.pool(joined), dim=1)


@register_method("oricnn")
class OriCNN(TwoTower):
    """OriCNN (Liu and Li, CVPR 2019), as in the authors' TensorFlow code.

    An image brings two maps along: of a panorama yaw and pitch, of a tile azimuth and distance from its centre. They
    are computed for any size. Below the centre's horizon pitch is positive; its step is that of yaw, as in CVUSA.

    Args:
        query_size: (height, width) of ground panoramas.
        reference_size: (height, width) of aerial images; None is `query_size` with polar, else a square of like area.
        polar: aerial images arrive polar-transformed; the authors' do not.
        width: channels of the first layer; an embedding has 24 numbers for each.
        maps: the networks see the maps; False: colours alone.
        statistics: what tests normalise by: `running` means and variances of the training, or those of the test's
            `batch`, as the authors do, where an embedding depends on what else is in its batch. Their weights need it:
            they hold no running statistics.
    """

    mean = std = (0.5, 0.5, 0.5)  # images from -1 to 1

    def __init__(
        self, query_size: tuple[int, int] = (224, 1232), reference_size: tuple[int, int] | None = None,
        polar: bool = False, width: int = 64, maps: bool = True, statistics: Literal["running", "batch"] = "running",
    ):  # fmt: skip
        square = square_for(query_size, share=1, multiple=128)  # 224 x 1232 -> 512 x 512
        super().__init__(query_size, reference_size or (query_size if polar else square), polar)
        if statistics not in ("running", "batch"):
            raise ValueError(f"statistics is {statistics!r}, which must be 'running' or 'batch'")
        self.maps, self.statistics = maps, statistics
        norm = nn.BatchNorm2d if statistics == "running" else StatisticsOfBatch
        channels = COLOURS + 2 * maps
        self.query_tower, self.reference_tower = (OriTower(Encoder(channels, width, norm)) for _ in range(2))
        self.embedding_size = POOLED * GROWTH[-1] * width

    def input_maps(self, role: Role, size: tuple[int, int] | None = None) -> Tensor | None:
        """Return the maps `[2, *size]` of a role, each from -1 to 1; None without maps. Arguments are the base's."""
        if not self.maps:
            return None
        size = size or self.size_of(role)
        if role == "query":
            return yaw_and_pitch(*size)
        return polar_azimuth_and_distance(*size) if self.polar else azimuth_and_distance(*size)

    recipes = {
        "paper": Recipe(
            augment=Augment(chsg="raw", tiles="crop+turn", panoramas="roll"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(
                "adam", lr=1e-5, weight_decay=0.0, eps=1e-8, epochs=100, batch_size=12, schedule="constant",
                warmup_epochs=0, max_grad_norm=None, precision="bf16",
            ),
            evaluation=Evaluation(every=5),
        ),
        # AdamW with warm-up and cosine, as there are few steps: too few to learn directions from the maps of images
        # that move by themselves, so that pairs stay aligned
        "laptop": Recipe(
            model=dict(query_size=(64, 176), reference_size=(96, 96), width=16),
            augment=Augment(chsg="raw"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(
                "adamw", lr=2e-3, weight_decay=0.03, eps=1e-6, epochs=10, batch_size=32, schedule="cosine",
                warmup_epochs=1, max_grad_norm=1.0, precision="fp32",
            ),
            evaluation=Evaluation(every=5),
        ),
    }  # fmt: skip
    recipes["paper_offset"] = recipes["paper"].replace(model=dict(query_size=(320, 640), reference_size=(320, 320)))
    recipes["laptop_offset"] = recipes["laptop"]

    paper = Paper(
        title="Lending Orientation to Neural Networks for Cross-view Geo-localization",
        venue="CVPR 2019",
        url="https://arxiv.org/abs/1903.12351",
        code="https://github.com/Liumouliu/OriCNN",
        licence="MIT",
        weights="https://github.com/Liumouliu/OriCNN (README, Google Drive; of TensorFlow)",
        published={  # as Tables I to III of the GeoDTR+ paper have them
            ("cvusa", "cvusa", False): published_row(40.79, 66.82, 76.36, 96.12),
            ("cvact", "cvact", False): published_row(46.96, 68.28, 75.48, 92.01),
            ("cvact", "cvact-test", False): published_row(19.21, 35.97, 43.30, 60.69),
        },
    )
    author_framework = "tensorflow"

    def author_key(self, key: str) -> str | None:
        """Return the authors' name: `query_tower.trunk.convs.1.weight` is `grd_rgboriencoder_2/conv2d/kernel`."""
        tower, _, kind, index, name = key.split(".")
        if kind == "convs":
            return f"{VIEWS[tower]}encoder_{int(index) + 1}/conv2d/{dict(weight='kernel', bias='bias')[name]}"
        theirs = BATCH_NORM[name]
        return theirs and f"{VIEWS[tower]}encoder_{int(index) + 2}/batch_normalization/{theirs}"

    def author_tensors(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the tensors as they are.

        Raises:
            UserError: they hold no running statistics, and this model would normalise by those.
        """
        means = [tensor for name, tensor in tensors.items() if name.endswith("moving_mean")]
        if self.statistics == "running" and means and not any(tensor.any() for tensor in means):
            raise UserError(
                "These weights hold no running statistics: their authors normalised by each batch, in tests too.",
                'Build the model so: statistics="batch".',
            )
        return tensors


def yaw_and_pitch(height: int, width: int) -> Tensor:
    """Return where a panorama's pixels look, in half turns, `[2, height, width]`.

    Yaw is -1 in the first column and 1 in the last; pitch is 0 between the middle rows, above them negative.
    """
    yaw = torch.linspace(-1, 1, width)
    pitch = (torch.arange(height) - (height - 1) / 2) * (2 / max(1, width - 1))
    return torch.stack([yaw.expand(height, -1), pitch[:, None].expand(-1, width)])


def azimuth_and_distance(height: int, width: int) -> Tensor:
    """Return where a tile's pixels lie, seen from its centre, `[2, height, width]`.

    The azimuth is in half turns: 0 in the north, 0.5 in the east, -0.5 in the west, with a seam in the south. The
    distance is -1 at the centre, 1 on the inscribed circle and beyond.
    """
    right, down = ((2 * torch.arange(side) + 1) / side - 1 for side in (width, height))
    azimuth = torch.atan2(right.expand(height, -1), -down[:, None].expand(-1, width)) / math.pi
    return torch.stack([azimuth, 2 * torch.hypot(right, down[:, None]).clamp(max=1) - 1])


def polar_azimuth_and_distance(height: int, width: int) -> Tensor:
    """Return the same of a polar-transformed tile, whose columns are directions and whose rows are distances."""
    azimuth = 2 * torch.arange(width) / width - 1
    distance = 2 * (height - 1 - torch.arange(height)) / height - 1
    return torch.stack([azimuth.expand(height, -1), distance[:, None].expand(-1, width)])
