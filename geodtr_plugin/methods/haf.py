"""HAF: NetVLAD on a pyramid of three depths of VGG16, for ground-to-ground place recognition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import VGG16, build_trunk
from ..layers.trunks import ResidualBlock, map_sizes
from ..utils.errors import UserError
from . import register_method
from .base import Paper
from .netvlad import VladMethod, VladTower
from .recipe import Augment, Evaluation, Loss, Optim, Recipe, Sampling

# channels of the projections, lowest level first; the figure of the paper has the last two of "large" the other way
# round than the released scripts
WIDTHS = {"small": (64, 64, 64), "middle": (128, 128, 128), "large": (384, 256, 512)}
PAPER_WIDTHS = {**WIDTHS, "large": (384, 512, 256)}
TAPS = {"code": ("pool3", "pool4", "pool5"), "paper": ("relu3_3", "relu4_3", "relu5_3")}
BRANCHES = ("conv_1", "conv_m", "conv_h")  # of the released checkpoints, lowest level first


class PyramidTower(VladTower):
    """Three maps of a trunk, each projected, brought to the size of a fine grid and concatenated; then NetVLAD.

    The grid has twice the resolution of the finest map. A projection of single positions and the nearest-neighbour
    enlargement commute exactly, so that projecting first gives the same for 4, 16 and 64 times fewer positions.

    Args:
        trunk: `[B, 3, H, W]` -> three maps `[B, C, h, w]`, the finest first.
        channels: C of each map.
        widths: channels of each projection.
        attention: mask the levels and weigh them, see `PeakAttention`.
        clusters, pca: as in `VladTower`.
    """

    def __init__(
        self, trunk: nn.Module, channels: Sequence[int], widths: Sequence[int], attention: bool, clusters: int,
        pca: int | None,
    ):  # fmt: skip
        super().__init__(trunk, sum(widths), clusters, pca)
        self.projections = nn.ModuleList(nn.Conv2d(c, width, 1) for c, width in zip(channels, widths))
        self.attention = PeakAttention(len(widths)) if attention else None

    def local(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map `[B, 3, H, W]` to descriptors `[B, sum of widths, h, w]` and their weights `[B, 1, h, w]` or None."""
        maps = [project(features) for project, features in zip(self.projections, self.trunk(images))]
        grid = tuple(2 * side for side in maps[0].shape[2:])
        masks = None
        if self.attention is not None:
            masks = self.attention(maps)
            maps = [mask * features for mask, features in zip(masks, maps)]
            masks = sum(F.interpolate(mask, grid) for mask in masks)
        return torch.cat([F.interpolate(features, grid) for features in reversed(maps)], dim=1), masks


class PeakAttention(nn.Module):
    """The weight of each position of each level: peaks count, times a learned weight of the level.

    This is our reading of the paper's figure, which shows a mask on each level, the masks' weights w1 to w3, and their
    sum; the released code has none of it, and its authors call ASLFeat similar. The mask is therefore ASLFeat's
    measure of peaks (Luo et al., CVPR 2020, section 3.3), the largest over channels of softplus(x - mean of the 3 x 3
    around it) * softplus(x - mean over channels), of features divided by their largest size in the image. The weights
    are a softmax over levels, equal at the start.
    """

    def __init__(self, levels: int):
        super().__init__()
        self.level = nn.Parameter(torch.zeros(levels))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map feature maps `[B, C, h, w]` to weighted masks `[B, 1, h, w]`, in fp32."""
        with torch.autocast(maps[0].device.type, enabled=False):
            return [weight * peaks(features.float()) for weight, features in zip(self.level.softmax(0), maps)]


def peaks(features: Tensor) -> Tensor:
    """Map `[B, C, h, w]` to how much each position stands out, `[B, 1, h, w]`."""
    x = features / features.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)
    in_space = F.softplus(x - F.avg_pool2d(x, 3, 1, 1, count_include_pad=False))
    in_depth = F.softplus(x - x.mean(dim=1, keepdim=True))
    return (in_space * in_depth).amax(dim=1, keepdim=True)


class Stages(nn.Sequential):
    """The outputs of the last three stages of a sequential trunk: with the tiny one, at strides 4, 8 and 16."""

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map `[B, 3, H, W]` to three maps, the finest first."""
        maps = [images]
        for stage in self:
            maps.append(stage(maps[-1]))
        return maps[-3:]


def build_pyramid(backbone: str, taps: Sequence[str], pretrained: bool, freeze: bool) -> nn.Module:
    """Build a trunk of three maps, `vgg16` or `tiny`.

    Raises:
        ValueError: there is no such pyramid.
    """
    if backbone == "vgg16":
        return VGG16(taps, "caffe" if pretrained else None, frozen=taps[-1] if freeze else None)
    if backbone == "tiny":
        return Stages(*build_trunk(backbone, pretrained), ResidualBlock(96, 96, 2))
    raise ValueError(f"backbone is {backbone!r}; the pyramid is of vgg16 or tiny.")


@register_method("haf")
class HAF(VladMethod):
    """HAF, hierarchical attention fusion (Yan et al., ICASSP 2021), ground to ground.

    `variant="code"` is what the authors released: the maps behind the last three poolings of a frozen VGG16, projected,
    enlarged to a quarter of the image's resolution and concatenated, without any attention. `variant="paper"` follows
    the figure of the paper as we read it, since no code and no formula of its attention are public: the maps before
    these poolings, on half of the image's resolution, masked and weighted as `PeakAttention` says; the sum of the masks
    also says how much a position counts in NetVLAD. The published numbers belong to "code".

    Args:
        query_size: (height, width) of the queries. The authors train at 128x128 and test at 480x640; this is one size.
        reference_size: (height, width) of the references; None is `query_size`.
        polar: False; there are no aerial images.
        backbone: `vgg16`, or `tiny`, the tiny trunk and one more stage.
        pretrained: start the trunk from ImageNet weights. Those of VGG16 are the first ones, which belong to images of
            0 to 255; the authors feed such images to torchvision's.
        variant: `code` or `paper`.
        size: channels of the three projections, `small`, `middle` or `large`; the first two were published.
        clusters: number of centres.
        freeze: keep VGG16 as it is; training it needs False. Other trunks are always trained.
        pca: components of the whitening (the authors' 4096); None is without.
    """

    def __init__(
        self, query_size: tuple[int, int] = (480, 640), reference_size: tuple[int, int] | None = None,
        polar: bool = False, backbone: str = "vgg16", pretrained: bool = True, variant: str = "code",
        size: str = "middle", clusters: int = 64, freeze: bool = True, pca: int | None = None,
    ):  # fmt: skip
        for name, value, known in (("variant", variant, TAPS), ("size", size, WIDTHS)):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(known)}.")
        trunk = build_pyramid(backbone, TAPS[variant], pretrained, freeze)
        for height, width in (query_size, reference_size or query_size):
            if min(height, width) < 32:  # nothing is left behind the fifth pooling
                raise ValueError(f"images of {height}x{width} pixels are too small: 32 are needed each way.")
        channels = [shape[0] for shape in map_sizes(trunk, query_size)]
        widths = (PAPER_WIDTHS if variant == "paper" else WIDTHS)[size]
        tower = PyramidTower(trunk, channels, widths, variant == "paper", clusters, pca)
        super().__init__(query_size, reference_size, polar, tower, caffe=backbone == "vgg16")

    # four tuples of a query, a positive and four negatives have as many images as 12 pairs
    recipes = {
        "paper": Recipe(
            augment=Augment(chsg="raw"),
            sampling=Sampling("hard", args=dict(pool=1000, top=10)),
            loss=Loss("sare_ind", args=dict(kernel="gaussian")),
            optim=Optim(
                "sgd", lr=1e-3, weight_decay=1e-3, momentum=0.9, epochs=5, batch_size=12, schedule="halving",
                warmup_epochs=0, max_grad_norm=None, precision="bf16",
            ),
            evaluation=Evaluation(every=1, batch_size=32),
        ),
        "laptop": Recipe(
            model=dict(query_size=(32, 48), backbone="tiny", size="small", pretrained=False, clusters=16),
            augment=Augment(chsg="raw"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(
                "adamw", lr=1e-3, weight_decay=0.03, eps=1e-6, epochs=10, batch_size=32, schedule="cosine",
                warmup_epochs=1, max_grad_norm=1.0, precision="fp32",
            ),
            evaluation=Evaluation(every=5),
        ),
    }  # fmt: skip
    recipes["paper_offset"], recipes["laptop_offset"] = recipes["paper"], recipes["laptop"]

    paper = Paper(
        title="Hierarchical Attention Fusion for Geo-Localization",
        venue="ICASSP 2021",
        url="https://arxiv.org/abs/2102.09186",
        code="https://github.com/YanLiqi/HAF",
        licence="MIT",
        weights="https://github.com/YanLiqi/HAF (docs/MODEL_ZOO.md)",
        published={  # the released model of size "middle", variant "code"; the paper's own table is not reproduced here
            ("pitts30k", "pitts30k", False): dict(recall_at_1=65.5, recall_at_5=80.6, recall_at_10=85.5)
        },
    )

    def author_key(self, key: str) -> str | None:
        """Return the name of one of our tensors in the authors' checkpoints; their branches copy one trunk."""
        part, rest = key.removeprefix("tower.").split(".", 1)
        if part == "trunk":
            return f"base_model.{BRANCHES[-1]}.0.{rest}"
        if part == "projections":
            level, rest = rest.split(".", 1)
            return f"base_model.{BRANCHES[int(level)]}.2.{rest}"
        return None if part == "attention" else super().author_key(key)

    def author_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors, of any shapes, with the trunk once instead of in each of three branches.

        Raises:
            UserError: the branches' copies of the trunk differ.
        """
        tensors = super().author_tensors(tensors)
        for branch in BRANCHES[:-1]:
            prefix = f"base_model.{branch}.0."
            for name in [name for name in tensors if name.startswith(prefix)]:
                original = f"base_model.{BRANCHES[-1]}.0.{name.removeprefix(prefix)}"
                if original not in tensors or not torch.equal(tensors.pop(name), tensors[original]):
                    raise UserError(
                        f"{name} differs from {original} in the checkpoint: HAF has one trunk in three branches.",
                        "These weights belong to another model, or were changed.",
                    )
        return tensors
