"""CVM-Net: local features of two trunks, summed up by NetVLAD, in one space for both views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import VGG16, NetVLAD, build_trunk, feature_size, square_for
from . import register_method
from .base import Paper, TwoTower, published_row
from .recipe import Augment, Evaluation, Loss, Optim, Recipe
from .safa import CAFFE_MEAN, CAFFE_STD
from .tensorflow import PARAMETERS, vgg16_variable

SPREAD, BIAS = 0.005, 0.1  # of variant I's projection at its start
VIEWS = {"query_tower": "grd", "reference_tower": "sat"}  # the authors' names
VLAD = {"assign.weight": "cluster_weights", "assign.bias": "cluster_biases", "centroids": "cluster_weights2"}
VLAD_AT = 6  # its place among the shared layers of variant II, behind the two convolutions
CONVOLUTIONS = {0: "trans_conv1", 3: "trans_conv2"}


class VladTower(nn.Module):
    """Trunk, a view's own layers, and those that both views share.

    Args:
        trunk: `[B, 3, H, W]` -> `[B, C, h, w]`.
        own: the view's own layers.
        shared: registered by the model, once, and not here, so that its weights have one name.
    """

    def __init__(self, trunk: nn.Module, own: nn.Module, shared: nn.Module):
        super().__init__()
        self.trunk, self.own, self._shared = trunk, own, (shared,)

    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to `[B, D]` of unit norm."""
        return F.normalize(self._shared[0](self.own(self.trunk(images))).float(), dim=1)


@register_method("cvm_net")
class CVMNet(TwoTower):
    """CVM-Net (Hu et al., CVPR 2018), as in the authors' TensorFlow code.

    Variant I sums up each view by a NetVLAD of its own and projects both by one matrix. Variant II aligns local
    features, by a layer of each view and two shared ones, and has one NetVLAD and projection; its embeddings have unit
    norm here, which the authors leave out. All begins at random, but the trunks.

    Args:
        query_size: (height, width) of ground panoramas.
        reference_size: (height, width) of aerial images; None is `query_size` with polar, else a square of like area.
        polar: aerial images arrive polar-transformed; the authors' do not.
        backbone: trunk of each view, not shared: `vgg16` with poolings that round up, or any name of
            `layers.build_trunk`, whose images are normalised as it wants them.
        pretrained: start the trunks from ImageNet weights.
        variant: `I` or `II`.
        clusters: centres of NetVLAD.
        dim: length of the embedding.
        freeze: keep conv1 to conv3 of VGG16 as they are. Other trunks are always trained.
        dropout: probability of dropout behind the last six convolutions of VGG16, and behind those of variant II.
    """

    def __init__(
        self, query_size: tuple[int, int] = (224, 1232), reference_size: tuple[int, int] | None = None,
        polar: bool = False, backbone: str = "vgg16", pretrained: bool = True, variant: Literal["I", "II"] = "I",
        clusters: int = 64, dim: int = 4096, freeze: bool = True, dropout: float = 0.2,
    ):  # fmt: skip
        square = square_for(query_size, share=1, multiple=32 if backbone == "vgg16" else 8)  # 224 x 1232 -> 512 x 512
        super().__init__(query_size, reference_size or (query_size if polar else square), polar)
        if variant not in ("I", "II"):
            raise ValueError(f"variant is {variant!r}; CVM-Net has variants I and II")
        self.variant, self.embedding_size = variant, dim

        def trunk(image_size: tuple[int, int]) -> nn.Module:
            if backbone != "vgg16":
                return build_trunk(backbone, pretrained, image_size)
            weights, frozen = "caffe" if pretrained else None, "conv3_3" if freeze else None
            return VGG16("relu5_3", weights, ceil_mode=True, dropout=dropout, frozen=frozen)

        sizes = self.query_size, self.reference_size
        trunks = [trunk(size) for size in sizes]
        channels, *_ = (feature_size(trunk, size)[0] for trunk, size in zip(trunks, sizes))
        if variant == "I":
            own = [NetVLAD(channels, clusters, bias=True) for _ in trunks]
            self.shared: nn.Module = nn.Linear(clusters * channels, dim)
            nn.init.trunc_normal_(self.shared.weight, std=SPREAD, a=-2 * SPREAD, b=2 * SPREAD)
            nn.init.constant_(self.shared.bias, BIAS)
        else:
            own = [nn.Sequential(*_aligning(channels, 1, dropout)) for _ in trunks]
            projection = nn.Linear(clusters * channels, dim, bias=False)
            nn.init.normal_(projection.weight, std=clusters**-0.5)
            self.shared = nn.Sequential(
                *_aligning(channels, 3, dropout), *_aligning(channels, 1, dropout),
                NetVLAD(channels, clusters, bias=True), projection,
            )  # fmt: skip
        self.query_tower, self.reference_tower = (VladTower(*parts, self.shared) for parts in zip(trunks, own))
        if backbone == "vgg16":
            self.mean, self.std = CAFFE_MEAN, CAFFE_STD

    recipes = {
        "paper": Recipe(
            augment=Augment(chsg="raw", tiles="crop+turn"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(  # the authors launch 5 epochs again and again, for three days on two GPUs of 2017
                "adam", lr=1e-5, weight_decay=0.0, eps=1e-8, epochs=100, batch_size=12, schedule="constant",
                warmup_epochs=0, max_grad_norm=None, precision="bf16",
            ),
            evaluation=Evaluation(every=5),
        ),
        # AdamW with warm-up and cosine, because a trunk from scratch needs a large learning rate; tiles stay as they
        # are, because there are few steps
        "laptop": Recipe(
            model=dict(
                query_size=(32, 88), reference_size=(64, 64), backbone="tiny", pretrained=False, clusters=16, dim=512
            ),
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
        title="CVM-Net: Cross-View Matching Network for Image-Based Ground-to-Aerial Geo-Localization",
        venue="CVPR 2018",
        url="https://openaccess.thecvf.com/content_cvpr_2018/papers/Hu_CVM-Net_Cross-View_Matching_CVPR_2018_paper.pdf",
        code="https://github.com/david-husx/crossview_localisation",
        licence="none",
        weights="https://github.com/david-husx/crossview_localisation (README, Google Drive; of TensorFlow)",
        published={  # as Tables I to III of the GeoDTR+ paper have them; the paper itself has R@1% 91.4 on CVUSA
            ("cvusa", "cvusa", False): published_row(22.47, 49.98, 63.18, 93.62),
            ("cvact", "cvact", False): published_row(20.15, 45.00, 56.87, 87.57),
            ("cvact", "cvact-test", False): published_row(5.41, 14.79, 25.63, 54.53),
        },
    )
    author_framework = "tensorflow"

    def author_key(self, key: str) -> str | None:
        """Return the authors' name: `query_tower.own.centroids` of variant I is `netvlad_grd/cluster_weights2`.

        Raises:
            UserError: the trunk is not theirs.
        """
        part, _, rest = key.partition(".")
        if part == "shared":
            return self._shared_key(rest)
        layers, _, rest = rest.partition(".")
        if layers == "own":
            own = VLAD.get(rest) or PARAMETERS[rest.removeprefix("0.")]
            scope = "netvlad_{}" if self.variant == "I" else "transformation_trans/{}_trans_conv1"
            return f"{scope.format(VIEWS[part])}/{own}"
        if not isinstance(self.query_tower.trunk, VGG16):
            return super().author_key(key)
        return vgg16_variable(f"VGG_{VIEWS[part]}", rest)

    def _shared_key(self, key: str) -> str:
        if self.variant == "I":
            return f"dim_reduction/fc1/{PARAMETERS[key]}"
        place, _, rest = key.partition(".")
        if int(place) in CONVOLUTIONS:
            return f"transformation_trans_shared/{CONVOLUTIONS[int(place)]}/{PARAMETERS[rest]}"
        return f"netvlad/{VLAD[rest]}" if int(place) == VLAD_AT else "netvlad/hidden1_weights"

    def author_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors with NetVLAD's as a convolution and a list of centres, cluster after cluster."""
        vlad = self.query_tower.own if self.variant == "I" else self.shared[VLAD_AT]
        clusters, channels = vlad.centroids.shape
        result = dict(tensors)
        for name, tensor in tensors.items():
            if name.endswith("/cluster_weights"):  # [channels, clusters]
                result[name] = tensor[None, None]
            elif name.endswith("/cluster_weights2"):  # [1, channels, clusters]
                result[name] = tensor.flatten(0, -2).T
            elif name.endswith(("fc1/weights", "hidden1_weights")) and len(tensor) == clusters * channels:
                result[name] = tensor.unflatten(0, (channels, clusters)).transpose(0, 1).flatten(0, 1)
        return result


def _aligning(channels: int, kernel: int, dropout: float) -> tuple[nn.Module, ...]:
    """Return a convolution that keeps size and channels, its rectifier and dropout."""
    conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
    nn.init.xavier_uniform_(conv.weight)
    nn.init.zeros_(conv.bias)
    return conv, nn.ReLU(), nn.Dropout(dropout)
