"""TransGeo: two Transformers; in a second stage the aerial one drops patches of little attention."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..layers import AttentionGuide, CroppedTower, DistilledTower, build_distilled_vit, resize_positions
from ..utils.errors import UserError
from . import register_method
from .base import Paper, TwoTower, published_row
from .recipe import Augment, Evaluation, Loss, Optim, Recipe, Sampling

ZOOM = 1.25  # stage 2's aerial images against stage 1's: 320 and 256 pixels, or 400 and 320; 0.64 is 1 / 1.25^2
AUTHOR_PREFIXES = {
    "query_tower.trunk.": "query_net.",
    "reference_tower.trunk.": "reference_net.",
    "reference_tower.guide.trunk.": "guide.",
}


def scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Return (height, width), each times a factor."""
    return round(size[0] * factor), round(size[1] * factor)


def second_stage(first: Recipe, side: int, **optim: float) -> Recipe:
    """Return the recipe of stage 2 for square aerial images; what is not named is as in the first."""
    return replace(first, next_stage=None).replace(model=dict(stage=2, reference_size=(side, side)), optim=optim)


@register_method("transgeo")
class TransGeo(TwoTower):
    """TransGeo (Zhu et al., CVPR 2022).

    Stage 2 takes larger aerial images, of which only the patches with most attention enter the network. The authors
    store the attention of the stage-1 network as an 8-bit picture for each aerial image. Here that network is a frozen
    part of the reference tower, the `guide`, and looks at each image as it comes, resized to its own size. So the crop
    follows augmentation, works on any data set, and needs no files beside the weights; the price is a third forward
    pass without gradient. Differences: attention is not rounded to 8 bits (`eight_bit` does that), and the guide's
    image is a smaller copy of stage 2's and not of the stored one.

    The guide is filled together with the towers from weights of stage 1, ours or the authors'. A stage-2 file of the
    authors holds no guide: fill it from their stage-1 file by `load_guide`.

    Args:
        query_size: (height, width) of ground panoramas.
        reference_size: (height, width) of aerial images; None is a square of like area (256 x 256 for the default), in
            stage 2 one of 1.25 times its width.
        polar: must be False: the method's point is to do without.
        backbone: Transformer of each view, see `layers.build_distilled_vit`; not shared.
        pretrained: start both (and the guide) from ImageNet weights.
        embedding_size: outputs of the heads; 1000 keeps those of ImageNet.
        stage: 2 is the stage with the attention-guided crop.
        keep: share of the aerial patches that stage 2 keeps.
        guide_size: (height, width) of the guide's images; None is `reference_size` / 1.25.
        eight_bit: round attention as the authors' pictures do.
    """

    def __init__(
        self, query_size: tuple[int, int] = (112, 616), reference_size: tuple[int, int] | None = None,
        polar: bool = False, backbone: str = "deit_small_distilled_patch16_224", pretrained: bool = True,
        embedding_size: int = 1000, stage: int = 1, keep: float = 0.64, guide_size: tuple[int, int] | None = None,
        eight_bit: bool = False,
    ):  # fmt: skip
        if polar:
            raise ValueError("TransGeo looks at aerial images as they are, without a polar transform: use --no-polar.")
        if stage not in (1, 2):
            raise ValueError(f"stage is {stage}; TransGeo has stages 1 and 2.")
        side = 16 * max(1, math.isqrt(query_size[0] * query_size[1]) // 16)
        super().__init__(query_size, reference_size or scaled((side, side), ZOOM if stage == 2 else 1), polar)
        self.vit: dict[str, Any] = dict(backbone=backbone, pretrained=pretrained, embedding_size=embedding_size)
        self.embedding_size, self.stage = embedding_size, stage
        self.guide_size: tuple[int, int] | None = None

        def build(size: tuple[int, int]) -> nn.Module:
            return build_distilled_vit(backbone, size, embedding_size, pretrained)

        self.query_tower = DistilledTower(build(self.query_size))
        if stage == 1:
            self.reference_tower = DistilledTower(build(self.reference_size))
        else:
            height, width = guide_size or scaled(self.reference_size, 1 / ZOOM)
            self.guide_size = (height, width)
            guide = AttentionGuide(build(self.guide_size), eight_bit)
            self.reference_tower = CroppedTower(build(self.reference_size), guide, keep)

    option_ranges = {**TwoTower.option_ranges, "stage": (1, 2)}
    recipes = {
        "paper": Recipe(
            augment=Augment(chsg="raw", layout="none", semantic="none"),
            sampling=Sampling("hard", args=dict(pool=40_000, top=100)),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(
                "adamw", lr=1e-4, weight_decay=0.03, eps=1e-8, sharpness=2.5, epochs=100, batch_size=32,
                schedule="cosine", warmup_epochs=0, max_grad_norm=None, precision="fp32",
            ),
            evaluation=Evaluation(every=5),
            next_stage="paper_stage2",
        ),
        "laptop": Recipe(  # with flips and rotations, without which 1,500 pairs are learned by heart, and without ASAM
            model=dict(query_size=(32, 88), reference_size=(64, 64), backbone="tiny", pretrained=False),
            augment=Augment(chsg="ls", layout="strong", semantic="none"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(
                "adamw", lr=2e-3, weight_decay=0.03, eps=1e-8, epochs=10, batch_size=32, schedule="cosine",
                schedule_step="step", warmup_epochs=1, max_grad_norm=None, precision="fp32",
            ),
            evaluation=Evaluation(every=5),
            next_stage="laptop_stage2",
        ),
    }  # fmt: skip
    recipes["paper_offset"] = replace(recipes["paper"], next_stage="paper_offset_stage2").replace(
        model=dict(query_size=(320, 640), reference_size=(320, 320)), optim=dict(lr=5e-5, epochs=50, batch_size=16)
    )
    recipes["laptop_offset"] = recipes["laptop"]
    recipes["paper_stage2"] = second_stage(recipes["paper"], 320, lr=1e-5, epochs=50)
    recipes["paper_offset_stage2"] = second_stage(recipes["paper_offset"], 400, lr=5e-6, epochs=50)
    recipes["laptop_stage2"] = second_stage(recipes["laptop"], 80, lr=2e-4, epochs=3)

    paper = Paper(
        title="TransGeo: Transformer Is All You Need for Cross-view Image Geo-localization",
        venue="CVPR 2022",
        url="https://arxiv.org/abs/2204.00097",
        code="https://github.com/Jeff-Zilence/TransGeo2022",
        licence="MIT",
        weights="https://github.com/Jeff-Zilence/TransGeo2022 (README, Pretrained Models)",
        published={  # after stage 2
            ("cvusa", "cvusa", False): published_row(94.08, 98.36, 99.04, 99.77),
            ("cvact", "cvact", False): published_row(84.95, 94.14, 95.78, 98.37),
            ("cvusa", "cvact", False): published_row(37.81, 61.57, 69.86, 89.14),  # as the GeoDTR+ paper has it
            ("cvact", "cvusa", False): published_row(17.45, 32.49, 40.48, 69.14),
            ("vigor-same", "vigor-same", False): published_row(61.48, 87.54, 91.88, 99.56) | dict(hit_rate=73.09),
            ("vigor-cross", "vigor-cross", False): published_row(18.99, 38.24, 46.91, 88.94) | dict(hit_rate=21.21),
        },
    )

    def author_key(self, key: str) -> str:
        """Return the name of one of our tensors in the authors' checkpoints, or in `author_tensors`."""
        ours = next(ours for ours in AUTHOR_PREFIXES if key.startswith(ours))
        return AUTHOR_PREFIXES[ours] + key.removeprefix(ours)

    def author_tensors(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the tensors, of any shapes; in stage 2 with a guide, a stage-1 file's or the present one."""
        positions = tensors.get("reference_net.pos_embed")
        if self.stage == 1 or positions is None:
            return tensors
        guide = self.reference_tower.guide
        if positions.shape == guide.trunk.pos_embed.shape != self.reference_tower.trunk.pos_embed.shape:
            return self._with_guide(tensors, "reference_net.", "guide.")
        if not guide.filled:
            warnings.warn(
                "A stage-2 checkpoint of TransGeo comes without the stage-1 network that chooses the patches. Fill it "
                "with model.load_guide(the stage-1 checkpoint), or the crop is arbitrary.",
                stacklevel=2,
            )
        return {**{f"guide.{name}": tensor for name, tensor in guide.trunk.state_dict().items()}, **tensors}

    def adapt(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the start of stage 2, tensors of any shapes, of stage-1 weights, also of another aerial size."""
        return self._with_guide(tensors, "reference_tower.trunk.", "reference_tower.guide.trunk.")

    def load_guide(self, weights: str | Path | Mapping[str, Tensor]) -> TransGeo:
        """Fill the guide of stage 2 from stage-1 weights: a file or run folder of ours, or a checkpoint of the authors.

        A mapping is the authors' content, tensors of any shapes, as in `load_author_weights`.

        Raises:
            UserError: the model has no guide, or the weights do not fit.
        """
        from .weights import load_author_weights, load_weights

        if self.stage == 1:
            raise UserError("Only stage 2 has a guide.", "Build the model with stage=2.")
        stage1 = TransGeo(self.query_size, self.guide_size, **{**self.vit, "pretrained": False})
        stage1.reference_tower = self.reference_tower.guide
        if isinstance(weights, Mapping):
            load_author_weights(stage1, weights)
        else:
            load_weights(stage1, weights)
        return self

    def _with_guide(self, tensors: Mapping[str, Tensor], trunk: str, guide: str) -> Mapping[str, Tensor]:
        """Return stage-1 weights with the aerial network twice, each with position embeddings for its grid."""
        stage1 = {name.removeprefix(trunk): tensor for name, tensor in tensors.items() if name.startswith(trunk)}
        if self.stage == 1 or "pos_embed" not in stage1 or any(name.startswith(guide) for name in tensors):
            return tensors
        tower, adapted = self.reference_tower, dict(tensors)
        for prefix, vit in ((trunk, tower.trunk), (guide, tower.guide.trunk)):
            positions = resize_positions(stage1["pos_embed"], vit.patch_embed.grid_size)
            adapted |= {prefix + name: tensor for name, tensor in {**stage1, "pos_embed": positions}.items()}
        return adapted
