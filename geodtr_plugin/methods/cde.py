"""CDE, Coming Down to Earth: retrieval on what a generator learns that paints the panorama from the polar tile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..layers import SpatialTower, build_trunk, square_for
from ..layers.panorama_generator import RESIDUAL_BLOCKS, PanoramaDecoder, PanoramaEncoder
from ..layers.patch_discriminator import PatchDiscriminator
from ..layers.spatial_embedding import INITIAL_STD
from . import register_method
from .base import Paper, TwoTower, published_row
from .cde_step import CDEStep, generate
from .recipe import Augment, Evaluation, Loss, Optim, Recipe

TRUNKS = {"resnet34": slice(0, 6)}  # what is used of a trunk: of ResNet-34, conv1 to layer3 (256 channels, stride 8)


@register_method("cde")
class CDE(TwoTower):
    """CDE (Toker et al., CVPR 2021): a generator and a discriminator beside the retrieval, as in the authors' code.

    The reference tower is the generator's encoder and a spatial embedding. The decoder, which paints the panorama, and
    the discriminator take part in training alone; weights hold them, embeddings do not need them.

    Args:
        query_size: (height, width) of ground panoramas.
        reference_size: (height, width) of aerial images; None is `query_size` with polar, else a square of like area.
        polar: aerial images arrive polar-transformed.
        backbone: trunk of the panoramas: `resnet34` up to its third stage, without max-pooling, or any name of
            `layers.build_trunk`; the encoder ends in as many channels.
        pretrained: start that trunk from ImageNet weights.
        heads: number of spatial embeddings; an embedding has 256 numbers for each with ResNet-34.
        generator: train the generator and the discriminator; without, the loss of the retrieval trains the encoder
            directly. With it, both roles' images have one size.
        width: channels of the generator at full size; None is an eighth of those at its end, as the authors have it.
        discriminator_width: channels of the discriminator's first layer.
    """

    mean = std = (0.5, 0.5, 0.5)  # pixels from -1 to 1, as the generator paints them

    def __init__(
        self, query_size: tuple[int, int] = (112, 616), reference_size: tuple[int, int] | None = None,
        polar: bool = True, backbone: str = "resnet34", pretrained: bool = True, heads: int = 8,
        generator: bool = True, width: int | None = None, discriminator_width: int = 64,
    ):  # fmt: skip
        square = square_for(query_size, share=1, multiple=32)  # 112 x 616 -> 256 x 256
        super().__init__(query_size, reference_size or (query_size if polar else square), polar)
        if generator and self.query_size != self.reference_size:
            sizes = " and ".join("x".join(map(str, size)) for size in (self.query_size, self.reference_size))
            raise ValueError(
                f"the generator paints the panorama over the aerial image, pixel for pixel, and these have {sizes}. "
                "Train the retrieval alone (--model.generator false), or give both one size"
            )
        trunk = build_trunk(backbone, pretrained, self.query_size)
        if backbone in TRUNKS:
            trunk = trunk[TRUNKS[backbone]]
        self.query_tower = SpatialTower(trunk, self.query_size, heads, "max")
        self.embedding_size = self.query_tower.embedding_size
        channels = self.embedding_size // heads
        width = width or channels // 8
        self.reference_tower = SpatialTower(PanoramaEncoder(width, channels), self.reference_size, heads, "max")
        for tower in (self.query_tower, self.reference_tower):
            for weight in (tower.spatial.w1, tower.spatial.w2):
                nn.init.normal_(weight, std=INITIAL_STD)  # not cut off, as SAFA's are
        self.backbone = backbone
        self.decoder: Any = PanoramaDecoder(width, channels) if generator else None
        self.discriminator: Any = PatchDiscriminator(6, discriminator_width) if generator else None

    recipes = {
        "paper": Recipe(
            augment=Augment(chsg="ls", layout="weak", semantic="none"),  # both images mirrored, or none
            loss=Loss(
                "soft_margin", args=dict(alpha=10.0, hard_ratio=1.0),
                # the hardest triplets alone from the 22nd, 42nd and 62nd epoch on
                schedule=dict(hard_ratio=[[0, 1.0], [21, 0.1], [41, 0.05], [61, 0.01]]), counterfactual=0.0,
            ),
            optim=Optim(
                "adam", lr=1e-4, weight_decay=0.0, eps=1e-8, momentum=0.5, epochs=200, batch_size=32,
                schedule="constant", warmup_epochs=0, max_grad_norm=None, precision="bf16",
            ),
            evaluation=Evaluation(every=5),
        ),
        "laptop": Recipe(
            model=dict(query_size=(32, 88), backbone="tiny", pretrained=False, width=8, discriminator_width=16),
            augment=Augment(chsg="ls", layout="weak", semantic="none"),
            # all triplets: the hardest alone let all embeddings become one at this learning rate
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(
                "adam", lr=1e-3, weight_decay=0.0, eps=1e-8, momentum=0.5, epochs=5, batch_size=32, schedule="cosine",
                warmup_epochs=1, max_grad_norm=None, precision="fp32",
            ),
            evaluation=Evaluation(every=5),
        ),
    }  # fmt: skip
    # beside the centre, no column of a tile is a direction of the panorama: the retrieval alone
    recipes["paper_offset"] = recipes["paper"].replace(
        model=dict(query_size=(320, 640), reference_size=(320, 320), polar=False, generator=False)
    )
    recipes["laptop_offset"] = recipes["laptop"].replace(model=dict(polar=False, generator=False))

    paper = Paper(
        title="Coming Down to Earth: Satellite-to-Street View Synthesis for Geo-Localization",
        venue="CVPR 2021",
        url="https://arxiv.org/abs/2103.06818",
        code="https://github.com/aysim/comingdowntoearth",
        licence="MIT",
        weights="https://github.com/aysim/comingdowntoearth (README)",
        published={
            ("cvusa", "cvusa", True): published_row(92.56, 97.55, 98.33, 99.57),
            ("cvact", "cvact", True): published_row(83.28, 93.57, 95.42, 98.22),
            ("cvact", "cvact-test", True): published_row(61.29, 85.13, 89.14, 98.32),
        },
    )

    @property
    def mark(self) -> str:
        """What tables say where the retrieval is trained alone."""
        return "" if self.decoder is not None else "without generator"

    def own_step(self) -> CDEStep | None:
        """Return the alternating step of discriminator, retrieval and generator; None without a generator."""
        return CDEStep(self) if self.decoder is not None else None

    def pictures(self, query: Tensor, reference: Tensor) -> dict[str, Tensor]:
        """Return the polar tile, the painted panorama and the photographed one."""
        if self.decoder is None:
            return {}
        _, painted = generate(self, reference)
        columns = {"polar tile": reference, "generated panorama": painted, "real panorama": query}
        return {title: (images.float() / 2 + 0.5).clamp(0, 1) for title, images in columns.items()}

    def author_key(self, key: str) -> str:
        """Return the name of one of our tensors in the authors' checkpoints."""
        part = max((part for part in AUTHOR_PARTS if f"{key}.".startswith(f"{part}.")), key=len)
        rest = key.removeprefix(part).replace("parametrizations.weight.original", "weight_orig")
        return AUTHOR_PARTS[part] + rest.replace("parametrizations.weight.0.", "weight_")

    def author_tensors(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the authors' tensors, of any shapes; without a generator, those of the encoder and the retrieval."""
        if self.decoder is not None:
            return tensors
        training = tuple(name for part, name in AUTHOR_PARTS.items() if part.startswith(("decoder", "discriminator")))
        return {name: tensor for name, tensor in tensors.items() if not name.startswith(training)}


def _author_parts() -> dict[str, str]:
    """Return the authors' name of each part, by ours; of parts within parts, the longer name counts."""
    generator, discriminator = "generator_model_dict", "discriminator_model_dict.model"
    retrieval = "retriebal_model_dict"  # as they spell it
    names = {
        "query_tower.trunk": f"{retrieval}.extract2.layers", "query_tower.spatial": f"{retrieval}.sa2",
        "reference_tower.spatial": f"{retrieval}.sa1", "discriminator.layers": discriminator,
        "reference_tower.trunk.stem.0": f"{generator}.begin_conv",
        "reference_tower.trunk.stem.1": f"{generator}.begini_e", "decoder.paint": f"{generator}.conv_end.0",
    }  # fmt: skip
    attention = {"query": "theta", "key": "phi", "value": "g", "out": "o", "gain": "gamma"}
    names |= {f"decoder.attention.{part}": f"{generator}.attention2.{name}" for part, name in attention.items()}
    names |= {f"discriminator.layers.4.{part}": f"{discriminator}.4.{name}" for part, name in attention.items()}
    block = {"conv1": "conv_r1.conv2d", "conv2": "conv_r2.conv2d", "shortcut": "conv_l.conv2d", "norm1": "norm_r1",
             "norm2": "norm_r2"}  # fmt: skip
    for i in range(3):
        down, up = f"reference_tower.trunk.down.{i}", f"decoder.up.{i}"
        names |= {f"{down}.0.{part}": f"{generator}.conv{i + 1}.{name}" for part, name in block.items()}
        names |= {f"{up}.{part}": f"{generator}.deconv{3 - i}.{name}" for part, name in block.items()}
        names |= {f"{down}.1": f"{generator}.in{i + 1}_e", f"decoder.norm.{i}": f"{generator}.in{3 - i}_d"}
    for i in range(RESIDUAL_BLOCKS):
        ours, theirs = f"reference_tower.trunk.residual.{i}", f"{generator}.res{i + 1}"
        names |= {f"{ours}.conv{n}": f"{theirs}.conv{n}.conv2d" for n in (1, 2)}
        names |= {f"{ours}.norm{n}": f"{theirs}.in{n}" for n in (1, 2)}
    return names


AUTHOR_PARTS = _author_parts()
