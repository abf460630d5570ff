"""L2LTR: a convolutional stem and a Transformer of self-cross attention, layer to layer, for each view."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from ..layers import build_trunk, feature_size, square_for
from ..layers.self_cross_attention import SelfCrossEncoder
from ..layers.timm_models import timm_model
from . import register_method
from .base import Paper, TwoTower, published_row
from .recipe import Augment, Evaluation, Loss, Optim, Recipe

HYBRID = "vit_base_r50_s16_224.orig_in21k"  # Google's R50+ViT-B/16 of ImageNet-21k, as timm names it
SIZES = {HYBRID: (768, 12, 12), "tiny": (96, 2, 4)}  # width, blocks, heads


def r50_stem() -> nn.Module:
    """Build the first three stages of ResNet-50 with weight standardisation and group norm: 1024 channels at stride 16.

    As the authors have it, which differs from timm's hybrid in symmetric padding, in constants, and in the shortcuts,
    whose norm takes every channel as a group.
    """
    from timm.layers import GroupNormAct, StdConv2d
    from timm.models.resnetv2 import ResNetV2

    stem = ResNetV2(
        (3, 4, 9), num_classes=0, global_pool="", preact=False, conv_layer=partial(StdConv2d, eps=1e-5),
        norm_layer=partial(GroupNormAct, num_groups=32, eps=1e-6),
    )  # fmt: skip
    for stage in stem.stages:
        shortcut = stage.blocks[0].downsample
        shortcut.norm = nn.GroupNorm(shortcut.norm.num_channels, shortcut.norm.num_channels)
    return stem


class HybridTower(nn.Module):
    """Stem, tokens with a class token and learned positions, Transformer; the class token is the embedding.

    Source: Yang et al., NeurIPS 2021; embedding of length `width`.
    """

    def __init__(
        self, trunk: nn.Module, image_size: tuple[int, int], width: int, depth: int, heads: int, dropout: float
    ):
        super().__init__()
        self.trunk = trunk
        channels, rows, columns = feature_size(trunk, image_size)
        self.grid = (rows, columns)
        self.project = nn.Conv2d(channels, width, 1)
        # without pretrained weights, positions as large as tokens tell these apart from the first step on
        self.class_token = nn.Parameter(0.3 * torch.randn(1, 1, width))
        self.position = nn.Parameter(0.3 * torch.randn(1, math.prod(self.grid) + 1, width))
        self.dropout = nn.Dropout(dropout)
        self.encoder = SelfCrossEncoder(width, depth, heads, dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to `[B, width]` of unit norm."""
        tokens = self.project(self.trunk(images)).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(tokens.shape[0], -1, -1), tokens], 1) + self.position
        embedding = self.encoder(self.dropout(tokens))[:, 0]
        with torch.autocast(images.device.type, enabled=False):
            return nn.functional.normalize(embedding.float(), dim=1)


@register_method("l2ltr")
class L2LTR(TwoTower):
    """L2LTR, layer-to-layer Transformer (Yang, Lu and Zhu, NeurIPS 2021).

    Args:
        query_size: (height, width) of ground panoramas.
        reference_size: (height, width) of aerial images; None is `query_size` with polar, else a square of like area.
        polar: aerial images arrive polar-transformed.
        backbone: stem of each view, not shared: the hybrid's ResNet-50 (`vit_base_r50_s16_224.orig_in21k`), or a trunk
            of `layers.build_trunk`.
        pretrained: start from ImageNet-21k weights, the Transformer included; with another stem, its weights alone.
        width, depth, heads: of the Transformer; None is the paper's 768, 12 and 12, or 96, 2 and 4 for `tiny`.
        dropout: on tokens and in feed-forward parts.
    """

    def __init__(
        self, query_size: tuple[int, int] = (128, 512), reference_size: tuple[int, int] | None = None,
        polar: bool = True, backbone: str = HYBRID, pretrained: bool = True, width: int | None = None,
        depth: int | None = None, heads: int | None = None, dropout: float = 0.1,
    ):  # fmt: skip
        square = square_for(query_size, share=1, multiple=16)  # 128 x 512 -> 256 x 256
        super().__init__(query_size, reference_size or (query_size if polar else square), polar)
        usual = SIZES.get(backbone, SIZES[HYBRID])
        size = (width or usual[0], depth or usual[1], heads or usual[2])
        if pretrained and backbone == HYBRID and size != usual:
            raise ValueError(f"{HYBRID} has weights for width, depth and heads {usual} alone; set pretrained to false.")
        self.backbone, self.embedding_size = backbone, size[0]

        def tower(image_size: tuple[int, int]) -> HybridTower:
            trunk = r50_stem() if backbone == HYBRID else build_trunk(backbone, pretrained, image_size)
            return HybridTower(trunk, image_size, *size, dropout)

        self.query_tower, self.reference_tower = tower(self.query_size), tower(self.reference_size)
        if pretrained and backbone == HYBRID:
            weights = timm_model(HYBRID, pretrained=True, num_classes=0).state_dict()
            for each in (self.query_tower, self.reference_tower):
                each.load_state_dict(from_timm(weights, each.grid))

    recipes = {
        "paper": Recipe(
            augment=Augment(chsg="raw", layout="none", semantic="none"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(
                "adamw", lr=1e-4, weight_decay=0.03, eps=1e-6, epochs=200, batch_size=32, schedule="cosine",
                schedule_step="step", warmup_epochs=500 / 1110,  # 500 steps, in epochs of 1,110
                max_grad_norm=1.0, precision="bf16",
            ),
            evaluation=Evaluation(every=1),
        ),
        "laptop": Recipe(
            model=dict(query_size=(32, 88), backbone="tiny", pretrained=False, dropout=0.0),
            # so few places would be learned by heart without layouts
            augment=Augment(chsg="ls", layout="strong", semantic="none"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(
                "adamw", lr=1e-3, weight_decay=0.03, eps=1e-6, epochs=10, batch_size=32, schedule="cosine",
                schedule_step="step", warmup_epochs=1, max_grad_norm=1.0, precision="fp32",
            ),
            evaluation=Evaluation(every=5),
        ),
    }  # fmt: skip
    recipes["paper_offset"] = recipes["paper"].replace(  # no settings of the authors': sizes as others have them
        model=dict(query_size=(320, 640), reference_size=(320, 320), polar=False)
    )
    recipes["laptop_offset"] = recipes["laptop"].replace(model=dict(polar=False))

    paper = Paper(
        title="Cross-view Geo-localization with Layer-to-Layer Transformer",
        venue="NeurIPS 2021",
        url="https://proceedings.neurips.cc/paper/2021/hash/f31b20466ae89669f9741e047487eb37-Abstract.html",
        code="https://github.com/yanghongji2007/cross_view_localization_L2LTR",
        licence="MIT",
        weights="https://github.com/yanghongji2007/cross_view_localization_L2LTR (README, Trained models)",
        published={
            ("cvusa", "cvusa", True): published_row(94.05, 98.27, 98.99, 99.67),
            ("cvusa", "cvusa", False): published_row(91.99, 97.68, 98.65, 99.75),
            ("cvact", "cvact", True): published_row(84.89, 94.59, 95.96, 98.37),
            ("cvact", "cvact", False): published_row(83.14, 93.84, 95.51, 98.40),
            ("cvact", "cvact-test", True): published_row(60.72, 85.85, 89.88, 96.12),
            ("cvact", "cvact-test", False): published_row(58.33, 84.23, 88.60, 95.83),
            ("cvusa", "cvact", True): published_row(47.55, 70.58, 77.39, 91.39),
            ("cvact", "cvusa", True): published_row(33.00, 51.87, 60.63, 84.79),
        },
    )

    def author_key(self, key: str) -> str:
        """Return the name of one of our tensors in the authors' checkpoints."""
        tower, rest = key.split(".", 1)
        return {"query_tower": "model_grd", "reference_tower": "model_sat"}[tower] + ".transformer." + author_name(rest)


AUTHOR_PARTS = {  # where our names begin, and what stands there in the authors'
    "trunk.stem.conv": "embeddings.hybrid_model.root.conv",
    "trunk.stem.norm": "embeddings.hybrid_model.root.gn",
    "project": "embeddings.patch_embeddings",
    "class_token": "embeddings.cls_token",
    "position": "embeddings.position_embeddings",
    "encoder.norm": "encoder.encoder_norm",
}
AUTHOR_BLOCK = {
    "norm": "attention_norm_1", "norm_previous": "attention_norm_2", "norm_mlp": "ffn_norm", "fc1": "ffn.fc1",
    "fc2": "ffn.fc2", "attention": "attn",
}  # fmt: skip


def author_name(key: str) -> str:
    """Return the authors' name of a tensor of a tower, by ours."""
    parts = key.split(".")
    if key.startswith("encoder.blocks."):
        return ".".join(["encoder.layer", parts[2], AUTHOR_BLOCK[parts[3]], *parts[4:]])
    if key.startswith("trunk.stages."):
        _, _, stage, _, block, *rest = parts
        name = ".".join(rest).replace("downsample.conv", "downsample").replace("downsample.norm", "gn_proj")
        return f"embeddings.hybrid_model.body.block{int(stage) + 1}.unit{int(block) + 1}." + name.replace("norm", "gn")
    begin = next((part for part in AUTHOR_PARTS if key == part or key.startswith(part + ".")), "")
    return AUTHOR_PARTS.get(begin, "") + key.removeprefix(begin)


def from_timm(weights: Mapping[str, Tensor], grid: tuple[int, int]) -> dict[str, Tensor]:
    """Return timm's hybrid under our names, its positions `[1, 1 + 14 * 14, width]` stretched to a grid."""
    ours = {
        "class_token": weights["cls_token"], "position": stretch(weights["pos_embed"], grid),
        "project.weight": weights["patch_embed.proj.weight"], "project.bias": weights["patch_embed.proj.bias"],
    }  # fmt: skip
    for key, tensor in weights.items():
        if key.startswith("patch_embed.backbone."):
            ours["trunk." + key.removeprefix("patch_embed.backbone.")] = tensor
        elif key.startswith("norm."):
            ours["encoder." + key] = tensor
        elif key.startswith("blocks."):
            _, block, part = key.split(".", 2)
            ours |= {f"encoder.blocks.{block}.{name}": own for name, own in from_timm_block(part, tensor).items()}
    return ours


def from_timm_block(part: str, tensor: Tensor) -> dict[str, Tensor]:
    """Return a tensor of one of timm's blocks, of any shape, under our names, by its name there."""
    kind = part.rpartition(".")[2]
    if part.startswith("attn.qkv."):
        return {f"attention.{name}.{kind}": own for name, own in zip(("query", "key", "value"), tensor.chunk(3))}
    # both layer norms before the attention start as its one
    names = {
        "norm1": ("norm", "norm_previous"), "norm2": ("norm_mlp",), "attn.proj": ("attention.out",),
        "mlp.fc1": ("fc1",), "mlp.fc2": ("fc2",),
    }[part.removesuffix("." + kind)]  # fmt: skip
    return {f"{name}.{kind}": tensor for name in names}


def stretch(position: Tensor, grid: tuple[int, int]) -> Tensor:
    """Stretch positions `[1, 1 + S * S, width]` of a square to `[1, 1 + h * w, width]`, corners on corners."""
    square = position[:, 1:].unflatten(1, (math.isqrt(position.shape[1] - 1), -1)).permute(0, 3, 1, 2)
    stretched = nn.functional.interpolate(square, grid, mode="bilinear", align_corners=True)
    return torch.cat([position[:, :1], stretched.flatten(2).transpose(1, 2)], 1)
