"""NetVLAD: ground-to-ground place recognition by the residuals of local descriptors to learned centres."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..layers import VGG16, NetVLAD, PCAWhitening, build_trunk, feature_size, sample_locations
from ..layers.netvlad import DESCRIPTORS, LOCATIONS_PER_IMAGE
from ..utils.errors import UserError
from . import register_method
from .base import Paper, TrainingImages, TwoTower
from .recipe import Augment, Evaluation, Loss, Optim, Recipe, Sampling

log = logging.getLogger("geodtr_plugin")
# pixels of 0 to 255 less the mean of ImageNet, as the first VGG16 was trained with
CAFFE_MEAN = (123.68 / 255, 116.779 / 255, 103.939 / 255)
CAFFE_STD = (1 / 255, 1 / 255, 1 / 255)
START_IMAGES = DESCRIPTORS // LOCATIONS_PER_IMAGE  # images that give the first clusters
PCA_IMAGES = 10_000  # images from which whitening is learned, at most
SEED = 43  # of the first clusters, as in OpenIBL


class VladTower(nn.Module):
    """Trunk, NetVLAD and, once it is fitted, PCA with whitening.

    Args:
        trunk: `[B, 3, H, W]` -> `[B, C, h, w]`.
        channels: C, or the number of channels that `local` gives.
        clusters: centres of NetVLAD.
        pca: components that whitening keeps; None is without.

    Source: Arandjelovic et al., CVPR 2016, section 3.
    """

    def __init__(self, trunk: nn.Module, channels: int, clusters: int, pca: int | None):
        super().__init__()
        self.trunk, self.vlad = trunk, NetVLAD(channels, clusters)
        self.pca = None if pca is None else PCAWhitening(self.vlad.embedding_size, pca)

    @property
    def embedding_size(self) -> int:
        """Length of an embedding: NetVLAD's, or that of fitted whitening."""
        return (self.vlad if self.pca is None else self.pca).embedding_size

    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to `[B, D]` of unit norm."""
        pooled = self.pooled(images)
        return pooled if self.pca is None else self.pca(pooled)

    def pooled(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to `[B, clusters * channels]` of unit norm, before whitening."""
        return self.vlad(*self.local(images))

    def local(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map `[B, 3, H, W]` to descriptors `[B, C, h, w]` and their weights `[B, 1, h, w]`; None: all the same."""
        return self.trunk(images), None


class VladMethod(TwoTower):
    """The base of methods on NetVLAD: one tower for both views, its first clusters, its whitening.

    Args:
        query_size, reference_size: (height, width) of the images; None as `reference_size` is `query_size`.
        polar: False; there are no aerial images.
        tower: the tower of both views.
        caffe: images are normalised as the first VGG16's.

    Raises:
        ValueError: `polar` is True.
    """

    def __init__(
        self, query_size: tuple[int, int], reference_size: tuple[int, int] | None, polar: bool, tower: VladTower,
        caffe: bool,
    ):  # fmt: skip
        if polar:
            raise ValueError("both views are photographs from the ground, which have no polar transform: --no-polar.")
        super().__init__(query_size, reference_size or query_size, polar)
        self.tower = tower
        if caffe:
            self.mean, self.std = CAFFE_MEAN, CAFFE_STD

    @property
    def query_tower(self) -> VladTower:
        """The tower of both views."""
        return self.tower

    @property
    def reference_tower(self) -> VladTower:
        """The tower of both views."""
        return self.tower

    @property
    def embedding_size(self) -> int:  # type: ignore[override]  # a plain attribute of the base class
        """Length of an embedding; fitting the PCA changes it."""
        return self.tower.embedding_size

    def before_training(self, images: TrainingImages) -> None:
        """Start the clusters from descriptors of training images, as the authors do."""
        batches = itertools.count()  # another seed for each batch

        def descriptors(batch: Tensor) -> Tensor:
            features, _ = self.tower.local(batch)
            return sample_locations(features.float(), seed=SEED + next(batches))

        log.info(f"{self.method_name} starts its clusters from up to {START_IMAGES} training images")
        self.tower.vlad.init_kmeans(images(descriptors, START_IMAGES), SEED)

    def after_training(self, images: TrainingImages) -> bool:
        """Learn the whitening, if the model was built with `pca`; return whether it was."""
        if self.tower.pca is None:
            return False
        log.info(f"{self.method_name} learns its whitening to {self.config['pca']} dimensions")
        self.tower.pca.fit(images(self.tower.pooled, PCA_IMAGES))
        return True

    def author_key(self, key: str) -> str | None:
        """Return the name of one of our tensors in OpenIBL's checkpoints, or in HAF's, which has OpenIBL's heads."""
        part, rest = key.removeprefix("tower.").split(".", 1)
        if part == "trunk":
            return f"base_model.base.{rest}"
        return f"pca_layer.{rest}" if part == "pca" else f"net_vlad.{rest.replace('assign', 'conv')}"

    def author_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors, of any shapes, with whitening as a matrix; without it in a checkpoint, ours stays.

        Raises:
            UserError: the checkpoint has whitening, and the model none.
        """
        tensors = dict(tensors)
        if "pca_layer.weight" in tensors:
            if self.tower.pca is None:
                size = len(tensors["pca_layer.weight"])
                raise UserError(f"The checkpoint has a PCA to {size} dimensions.", f"Build it so: --model.pca {size}.")
            whitening = {"weight": tensors["pca_layer.weight"].flatten(1), "fitted": torch.tensor(True)}
        else:
            whitening = {} if self.tower.pca is None else self.tower.pca.state_dict()
        return tensors | {f"pca_layer.{name}": tensor for name, tensor in whitening.items()}


@register_method("netvlad")
class NetVLADMethod(VladMethod):
    """NetVLAD (Arandjelovic et al., CVPR 2016), ground to ground: one tower sees queries and references.

    The clusters start at random; `before_training` starts them from training images. `after_training` learns the
    whitening; until then an embedding is NetVLAD's own vector, 64 * 512 numbers.

    Args:
        query_size: (height, width) of the queries.
        reference_size: (height, width) of the references; None is `query_size`.
        polar: False; there are no aerial images.
        backbone: `vgg16`, cut before the rectifier of conv5_3, or any trunk of `layers.build_trunk`.
        pretrained: start the trunk from ImageNet weights; those of VGG16 are the first ones, not torchvision's.
        clusters: number of centres.
        freeze: keep conv1 to conv4 of VGG16 as they are; training all of it from scratch needs False. Other trunks are
            always trained.
        pca: components of the whitening (the authors' 4096); None is without.
    """

    def __init__(
        self, query_size: tuple[int, int] = (480, 640), reference_size: tuple[int, int] | None = None,
        polar: bool = False, backbone: str = "vgg16", pretrained: bool = True, clusters: int = 64, freeze: bool = True,
        pca: int | None = None,
    ):  # fmt: skip
        sizes = query_size, reference_size or query_size
        if backbone == "vgg16":
            weights, frozen = "caffe" if pretrained else None, "conv4_3" if freeze else None
            trunk = VGG16("conv5_3", weights, frozen=frozen)
        else:
            trunk = build_trunk(backbone, pretrained, *sizes)
        channels, *_ = (feature_size(trunk, size)[0] for size in sizes)
        tower = VladTower(trunk, channels, clusters, pca)
        super().__init__(query_size, reference_size, polar, tower, caffe=backbone == "vgg16")

    recipes = {
        # The authors step on four tuples of a query, a positive and ten negatives; as many images are 24 pairs, each
        # of which has the references of all others as negatives.
        "paper": Recipe(
            augment=Augment(chsg="raw"),
            sampling=Sampling("hard", args=dict(pool=1000, top=10)),
            loss=Loss("hinge", args=dict(margin=0.1)),
            optim=Optim(
                "sgd", lr=1e-3, weight_decay=1e-3, momentum=0.9, epochs=30, batch_size=24, schedule="halving",
                warmup_epochs=0, max_grad_norm=None, precision="bf16",
            ),
            evaluation=Evaluation(every=1, batch_size=32),
        ),
        # The hinge learns from scratch too, but the soft margin of the other methods, which has no margin beyond which
        # it stops, gets further in the few steps of a laptop run.
        "laptop": Recipe(
            model=dict(query_size=(48, 64), backbone="tiny", pretrained=False, clusters=16),
            augment=Augment(chsg="raw"),
            loss=Loss("soft_margin", args=dict(alpha=10.0, hard_ratio=1.0), counterfactual=0.0),
            optim=Optim(
                "adamw", lr=1e-3, weight_decay=0.03, eps=1e-6, epochs=10, batch_size=32, schedule="cosine",
                warmup_epochs=1, max_grad_norm=1.0, precision="fp32",
            ),
            evaluation=Evaluation(every=5),
        ),
    }  # fmt: skip
    recipes["sare"] = recipes["paper"].replace(  # Liu et al., ICCV 2019: another loss, no more
        loss=dict(name="sare_ind", args=dict(kernel="gaussian"))
    )
    recipes["paper_offset"], recipes["laptop_offset"] = recipes["paper"], recipes["laptop"]

    paper = Paper(
        title="NetVLAD: CNN Architecture for Weakly Supervised Place Recognition",
        venue="CVPR 2016",
        url="https://arxiv.org/abs/1511.07247",
        code="https://github.com/Relja/netvlad",
        licence="MIT",
        weights="https://github.com/yxgeee/OpenIBL (docs/MODEL_ZOO.md; NetVLAD trained there with SARE or SFRS)",
        published={  # VGG16, whitened to 4096 dimensions
            ("pitts30k", "pitts250k", False): dict(recall_at_1=85.95, recall_at_5=93.20, recall_at_10=95.13),
            ("tokyotm", "tokyo247", False): dict(recall_at_1=73.33, recall_at_5=82.86, recall_at_10=86.03),
        },
    )
