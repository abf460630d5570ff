"""HER: ResNets with attention in every block, trained on hard exemplars and on how far tiles were turned."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torchvision.models import ResNet18_Weights, ResNet34_Weights
from torchvision.models.resnet import BasicBlock, ResNet

from ..layers import build_trunk, feature_size, square_for
from ..layers.trunks import downloading
from ..losses import Objective, TurnObjective
from . import register_method
from .base import Embeddings, Paper, TwoTower
from .recipe import Augment, Evaluation, Loss, Optim, Recipe
from .safa import CAFFE_MEAN, CAFFE_STD

BLOCKS = {  # of each stage, and ImageNet's weights
    "fcanet18": ((2, 2, 2, 2), ResNet18_Weights.IMAGENET1K_V1),
    "fcanet34": ((3, 4, 6, 3), ResNet34_Weights.IMAGENET1K_V1),
}
KERNELS = (3, 5, 7)  # sides of what attention sees of a position's surroundings
REDUCTION = 16  # of the channels within the channel attention
HIDDEN = 100  # channels of the head that tells turns
HEAD, TURN = "turn_head", "turn"


@register_method("her")
class HER(TwoTower):
    """HER (Cai et al., ICCV 2019), as in the authors' PyTorch code.

    Differences from the authors': trunks start from ImageNet's weights of ResNets, not from a model of the Vo & Hays
    images; the loss goes in both directions and does not flow through its weights (see `HERLoss`); one SGD runs through
    the training, where theirs forgets its momentum with every epoch.

    Args:
        query_size: (height, width) of ground panoramas.
        reference_size: (height, width) of aerial images; None is `query_size` with polar, else a square of like area.
        polar: aerial images arrive polar-transformed, which leaves nothing to turn: --augment.tiles none.
        backbone: trunk of each view, not shared: `fcanet18` or `fcanet34`, ResNets with attention in every block, or
            any name of `layers.build_trunk`, without, whose images are normalised as it wants them.
        pretrained: start the trunks from ImageNet weights; attention starts from scratch.
        dim: length of the embedding.
        context: channels of each convolution of the context attention.
        turn_head: learn by how far a tile was turned against its panorama, as `extras["turn"]` of the pairs.
    """

    query_tower: ContextTower
    reference_tower: ContextTower

    def __init__(
        self, query_size: tuple[int, int] = (224, 1232), reference_size: tuple[int, int] | None = None,
        polar: bool = False, backbone: str = "fcanet18", pretrained: bool = True, dim: int = 1024,
        context: int = 128, turn_head: bool = True,
    ):  # fmt: skip
        square = square_for(query_size, share=0.95, multiple=32)  # 224 x 1232 -> 512 x 512
        super().__init__(query_size, reference_size or (query_size if polar else square), polar)

        def tower(image_size: tuple[int, int]) -> ContextTower:
            own = backbone in BLOCKS
            trunk = fcanet(backbone, pretrained) if own else build_trunk(backbone, pretrained, image_size)
            return ContextTower(trunk, image_size, dim, context)

        self.query_tower, self.reference_tower = tower(self.query_size), tower(self.reference_size)
        self.embedding_size, self.authors_trunk = dim, backbone in BLOCKS
        if turn_head:
            self.turn_head = nn.Sequential(nn.ReLU(), nn.Linear(2 * dim, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2))
        if self.authors_trunk:
            self.mean, self.std = CAFFE_MEAN, CAFFE_STD

    recipes = {
        "paper": Recipe(
            augment=Augment(chsg="raw", tiles="crop+turn"),
            loss=Loss(
                "her", args=dict(alpha=25.0, margin=0.15, symmetric=True, detach=True),
                schedule=dict(theta=[[0, 1.0], [50, 5.0]]), counterfactual=0.0, objectives={TURN: 0.5},
            ),
            optim=Optim(
                "sgd", lr=5e-5, momentum=0.9, weight_decay=5e-4, epochs=100, batch_size=48, schedule="linear",
                warmup_epochs=0, max_grad_norm=None, precision="bf16",
            ),
            evaluation=Evaluation(every=5),
        ),
        # AdamW with warm-up and cosine, because a trunk from scratch needs a large learning rate; tiles are not turned,
        # as ten epochs are too few to learn pairs in any direction
        "laptop": Recipe(
            model=dict(
                query_size=(32, 88), reference_size=(64, 64), backbone="tiny", pretrained=False, dim=256,
                context=32, turn_head=False,
            ),
            augment=Augment(chsg="raw"),
            loss=Loss("her", args=dict(alpha=25.0, margin=0.15, symmetric=True, detach=True), counterfactual=0.0),
            optim=Optim(
                "adamw", lr=1e-3, weight_decay=0.03, eps=1e-6, epochs=10, batch_size=32, schedule="cosine",
                warmup_epochs=1, max_grad_norm=1.0, precision="fp32",
            ),
            evaluation=Evaluation(every=5),
        ),
    }  # fmt: skip
    recipes["paper_offset"] = recipes["paper"].replace(
        model=dict(query_size=(320, 640), reference_size=(320, 320))
    )  # fmt: skip
    recipes["laptop_offset"] = recipes["laptop"]

    paper = Paper(
        title="Ground-to-Aerial Image Geo-Localization With a Hard Exemplar Reweighting Triplet Loss",
        venue="ICCV 2019",
        url="https://openaccess.thecvf.com/content_ICCV_2019/html/Cai_Ground-to-Aerial_Image_Geo-Localization_With_a_"
        "Hard_Exemplar_Reweighting_Triplet_Loss_ICCV_2019_paper.html",
        code="https://github.com/s-d-cai/Crossview-Matching-Project01",
        licence="none",
        weights="https://github.com/s-d-cai/Crossview-Matching-Project01 (README)",
        published={("cvusa", "cvusa", False): dict(recall_at_1=51.01, recall_at_1_percent=98.49)},  # of fcanet18
    )

    def forward(
        self, query: Tensor | None = None, reference: Tensor | None = None, counterfactual: bool = False
    ) -> Embeddings:
        """Embed both views in one call; with the head, `extras["turn"]` are sine and cosine of the turns, `[B, 2]`."""
        if counterfactual or not hasattr(self, HEAD) or query is None or reference is None:
            return super().forward(query, reference, counterfactual)
        q, r = self.query_tower.vectors(query), self.reference_tower.vectors(reference)
        turns = normalize(self.turn_head(torch.cat([q, r[: len(q)]], dim=1)).float(), dim=1)
        return Embeddings(normalize(q.float(), dim=1), normalize(r.float(), dim=1), extras={TURN: turns})

    def build_objectives(self) -> dict[str, Objective]:
        """Return `turn`, with the head."""
        return {TURN: TurnObjective(HEAD)} if hasattr(self, HEAD) else {}

    def author_key(self, key: str) -> str | None:
        """Return the authors' name of one of our tensors: `reference_tower.trunk.conv1.weight` is `conv1_p.weight`.

        Raises:
            UserError: the trunk is not theirs.
        """
        if not self.authors_trunk:
            return super().author_key(key)
        part, rest = key.split(".", 1)
        if part == HEAD:
            layer, parameter = rest.split(".")
            return f"angle_fc{ {'1': 8, '3': 9}[layer]}.{parameter}"
        view = {"query_tower": "", "reference_tower": "_p"}[part]
        stage, rest = rest.removeprefix("trunk.").split(".", 1)
        return f"{SCOPES.get(stage, stage)}{view}.{_in_authors_block(rest)}"


SCOPES = {"context": "rw_emb_CVUSA", "out": "featVec_CVUSA"}  # ours: the authors'
ATTENTION = {  # within a block
    "channels.0": "conv_down", "channels.2": "conv_up", "mix": "conv_rw",
    **{f"local.{i}": f"conv_local{i + 1}" for i in range(len(KERNELS))},
}  # fmt: skip


def _in_authors_block(name: str) -> str:
    for ours, theirs in ATTENTION.items():
        name = name.replace(f"{ours}.", f"{theirs}.")
    return name.replace("attention.", "FCAM.")


class ContextTower(nn.Module):
    """Trunk, context attention, maxima of 2 x 2 and a linear map.

    Args:
        trunk: `[B, 3, H, W]` -> `[B, C, h, w]`.
        image_size: (height, width) of the images.
        dim: length of the embedding.
        context: channels of each convolution of the context attention.
    """

    def __init__(self, trunk: nn.Module, image_size: tuple[int, int], dim: int, context: int):
        super().__init__()
        self.trunk = trunk
        channels, height, width = feature_size(trunk, image_size)
        self.context = LocalAttention(channels, context)
        # an odd side gets a row on either end, as the authors' 7 x 39 cells; an even one none, as their 16 x 16
        self.pool = nn.MaxPool2d(2, padding=(height % 2, width % 2))
        self.out = nn.Linear(channels * ((height + 1) // 2) * ((width + 1) // 2), dim)
        nn.init.normal_(self.out.weight, std=(2 / self.out.weight.numel()) ** 0.5)
        nn.init.zeros_(self.out.bias)

    def vectors(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to `[B, D]`, not normalised."""
        features = self.trunk(images)
        return self.out(self.pool(features * self.context(features)).flatten(1))

    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to `[B, D]` of unit norm."""
        return normalize(self.vectors(images).float(), dim=1)


class LocalAttention(nn.Module):
    """A weight between 0 and 1 for each position, from convolutions over surroundings of several sizes.

    Args:
        inputs: channels of the maps.
        width: channels of each convolution.
    """

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.local = nn.ModuleList(nn.Conv2d(inputs, width, side, padding=side // 2) for side in KERNELS)
        self.mix = nn.Conv2d(len(KERNELS) * width, 1, 1)
        for layer in (*self.local, self.mix):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, inputs, h, w]` to `[B, 1, h, w]`."""
        return self.mix(torch.cat([torch.relu(layer(x)) for layer in self.local], dim=1)).sigmoid()


class FeatureAttention(LocalAttention):
    """Attention over channels, by their mean and maximum, then over positions, by mean and maximum of the channels.

    Args:
        channels: of the maps.
    """

    def __init__(self, channels: int):
        super().__init__(inputs=2, width=1)
        narrow = channels // REDUCTION
        self.channels = nn.Sequential(
            nn.Conv2d(channels, narrow, 1, bias=False), nn.ReLU(), nn.Conv2d(narrow, channels, 1, bias=False)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return maps `[B, C, h, w]` weighed by both."""
        pooled = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        x = x * sum(map(self.channels, pooled)).sigmoid()
        return x * super().forward(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1))


class AttentiveBlock(BasicBlock):
    """ResNet's basic block with attention before its shortcut is added."""

    def __init__(self, inplanes: int, planes: int, *args, **kwargs):
        super().__init__(inplanes, planes, *args, **kwargs)
        self.attention = FeatureAttention(planes)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, C, h, w]` to `[B, C', h', w']`."""
        own = torch.relu(self.bn1(self.conv1(x)))
        own = self.attention(self.bn2(self.conv2(own)))
        return torch.relu(own + (x if self.downsample is None else self.downsample(x)))


def fcanet(name: str, pretrained: bool) -> nn.Sequential:
    """Build a ResNet of attentive blocks, one of `BLOCKS`: `[B, 3, H, W]` -> 512 channels at stride 32.

    Raises:
        UserError: the pretrained weights could not be loaded.
    """
    blocks, weights = BLOCKS[name]
    net = ResNet(AttentiveBlock, list(blocks))
    if pretrained:
        with downloading(name.replace("fcanet", "resnet")):
            net.load_state_dict(weights.get_state_dict(progress=False, check_hash=True), strict=False)
    stages = {part: getattr(net, part) for part in ("conv1", "bn1", "relu", "maxpool")}
    stages |= {part: getattr(net, part) for part in ("layer1", "layer2", "layer3", "layer4")}
    return nn.Sequential(OrderedDict(stages))
