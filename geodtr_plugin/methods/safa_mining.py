"""SAFA + Mining: SAFA as VIGOR's authors train it, on batches of which one half confuses the network with the other."""

from __future__ import annotations

from ..layers import VGG16, square_for
from . import register_method
from .base import Paper, published_row
from .recipe import Augment, Evaluation, Loss, Optim, Recipe, Sampling
from .safa import SAFA, SPATIAL

# the authors' rate falls by one factor with every step, to a tenth in 150,000: 30 epochs of 52,609 pairs in batches of
# 14 are 112,710 steps
FALLEN = 0.1 ** (112_710 / 150_000)


@register_method("safa_mining")
class SAFAMining(SAFA):
    """SAFA without polar transform and dropout, its masks made of the maximum over channels (Zhu et al., CVPR 2021).

    The first stage of `vigor`. Difference from the authors': every pair comes once in an epoch, where they draw pairs
    with replacement.

    Args:
        query_size: (height, width) of ground panoramas.
        reference_size: (height, width) of aerial images; None is a square of half the area, or `query_size` with polar.
        polar: aerial images arrive polar-transformed.
        backbone: trunk of each view, not shared; see `safa`.
        pretrained: start the trunks from ImageNet weights.
        heads: number of spatial embeddings.
    """

    def __init__(
        self, query_size: tuple[int, int] = (320, 640), reference_size: tuple[int, int] | None = None,
        polar: bool = False, backbone: str = "vgg16", pretrained: bool = True, heads: int = 8,
    ):  # fmt: skip
        if reference_size is None and not polar:
            reference_size = square_for(query_size, share=0.5, multiple=32)  # 320 x 640 -> 320 x 320
        super().__init__(query_size, reference_size, polar, backbone, pretrained, heads, pool="max", dropout=0.0)

    recipes = {
        "paper": Recipe(
            augment=Augment(chsg="raw"),
            sampling=Sampling("hard", args=dict(pool=40_000, top=100)),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(
                "adam", lr=1e-5, weight_decay=0.0, eps=1e-8, epochs=30, batch_size=14, schedule="exponential",
                schedule_step="step", decay=FALLEN, warmup_epochs=0, max_grad_norm=None, precision="bf16",
            ),
            evaluation=Evaluation(every=5),
        ),
        "laptop": Recipe(  # AdamW with warm-up and cosine, because a trunk from scratch needs a large learning rate
            model=dict(query_size=(32, 88), reference_size=(64, 64), backbone="tiny", pretrained=False),
            augment=Augment(chsg="raw"),
            sampling=Sampling("hard", args=dict(pool=1_000, top=20)),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(
                "adamw", lr=1e-3, weight_decay=0.03, eps=1e-6, epochs=10, batch_size=32, schedule="cosine",
                warmup_epochs=1, max_grad_norm=1.0, precision="fp32",
            ),
            evaluation=Evaluation(every=5),
        ),
    }  # fmt: skip
    recipes["paper_offset"] = recipes["paper"]  # that of the same-area split; across areas they stop after 11 epochs
    recipes["laptop_offset"] = recipes["laptop"]

    paper = Paper(
        title="VIGOR: Cross-View Image Geo-localization beyond One-to-one Retrieval",
        venue="CVPR 2021; the baseline SAFA + Mining",
        url="https://arxiv.org/abs/2011.12172",
        code="https://github.com/Jeff-Zilence/VIGOR",
        licence="MIT",
        weights="https://github.com/Jeff-Zilence/VIGOR (README, same area; of TensorFlow: save its variables as .npz)",
        published={  # as the GeoDTR+ paper has them
            ("vigor-same", "vigor-same", False): published_row(38.02, 62.87, 71.12, 97.63) | dict(hit_rate=41.81),
            ("vigor-cross", "vigor-cross", False): published_row(9.23, 21.12, 28.02, 77.84) | dict(hit_rate=9.92),
        },
    )

    def author_key(self, key: str) -> str | None:
        """Return the authors' name of one of our tensors: `query_tower.trunk.2.bias` is `vgg_grd/conv2d_1/bias`.

        Raises:
            UserError: the trunk is not theirs.
        """
        role, part, rest = key.split(".", 2)
        view = {"query_tower": "grd", "reference_tower": "sat"}[role]
        if part == "spatial":
            return f"spatial_{view}/{SPATIAL[rest]}"
        trunk = self.query_tower.trunk
        if not isinstance(trunk, VGG16):
            return super().author_key(key)
        index, parameter = rest.split(".")
        number = [i for i, layer in enumerate(trunk) if hasattr(layer, "weight")].index(int(index))
        name = f"conv2d_{number}" if number else "conv2d"  # TensorFlow numbers those without a name
        return f"vgg_{view}/{name}/{'kernel' if parameter == 'weight' else 'bias'}"

