"""Convolutional trunks by name, which map `[B, 3, H, W]` to `[B, channels, h, w]`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..utils.errors import UnknownNameError, UserError

TIMM_PREFIX = "timm/"  # forces timm's model where a name is also one of ours


def build_trunk(name: str, pretrained: bool = True) -> nn.Module:
    """Build a trunk by name.

    Args:
        name: `convnext_tiny` (cut to 384 channels at stride 16), `resnet34` (without max-pooling: 512 channels at
            stride 16), `tiny` (96 channels at stride 8, for tests and laptops), or any feature trunk of timm by timm's
            name (its stride-16 map, or the coarsest it has), with or without `timm/` in front.
        pretrained: ImageNet weights, downloaded on first use; `tiny` has none and always starts from scratch.

    Raises:
        UnknownNameError: there is no such trunk.
        UserError: the weights could not be loaded.
    """
    own: dict[str, Callable[[bool], nn.Module]] = {
        "convnext_tiny": _convnext_tiny, "resnet34": _resnet34, "tiny": _tiny
    }  # fmt: skip
    with downloading(name):
        if name in own:
            return own[name](pretrained)
        return TimmTrunk(name.removeprefix(TIMM_PREFIX), pretrained)


@contextmanager
def downloading(weights: str) -> Iterator[None]:
    """Turn a failed download of pretrained weights into a message with the remedy.

    Raises:
        UserError: they could not be loaded.
    """
    try:
        yield
    except (OSError, ConnectionError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"The pretrained weights of {weights!r} could not be loaded ({reason}).",
            "Without a network, put the file into torch's or Hugging Face's cache from a machine that has one, or "
            "train from scratch with --model.pretrained false.",
        ) from error


def map_sizes(trunk: nn.Module, image_size: tuple[int, int]) -> list[tuple[int, ...]]:
    """Return channels, height and width of each map of a trunk for images of (height, width), without arithmetic.

    Raises:
        ValueError: the images are too small for it.
    """
    weights = {name: tensor.to("meta") for name, tensor in (*trunk.named_parameters(), *trunk.named_buffers())}
    images = torch.empty(1, 3, *image_size, device="meta")
    training = trunk.training
    try:
        maps = torch.func.functional_call(trunk.eval(), weights, images)
        sizes = [tuple(features.shape[1:]) for features in ([maps] if isinstance(maps, Tensor) else maps)]
        if any(0 in size for size in sizes):  # not every version of torch finds that wrong
            raise RuntimeError(f"the trunk makes maps of {sizes}")
    except RuntimeError as error:
        raise ValueError(f"Images of {image_size[0]}x{image_size[1]} pixels are too small for the trunk.") from error
    finally:
        trunk.train(training)
    return sizes


def feature_size(trunk: nn.Module, image_size: tuple[int, int]) -> tuple[int, ...]:
    """Return `map_sizes` of a trunk with one map."""
    return map_sizes(trunk, image_size)[0]


def _convnext_tiny(pretrained: bool) -> nn.Module:
    """Build ConvNeXt-T without its last downsampling and stage: 384 channels at stride 16 (the authors' cut)."""
    from torchvision.models import ConvNeXt_Tiny_Weights, convnext_tiny

    return convnext_tiny(weights=ConvNeXt_Tiny_Weights.IMAGENET1K_V1 if pretrained else None).features[:6]


def _resnet34(pretrained: bool) -> nn.Module:
    """Build ResNet-34 without max-pooling: 512 channels at stride 16."""
    from torchvision.models import ResNet34_Weights, resnet34

    net = resnet34(weights=ResNet34_Weights.IMAGENET1K_V1 if pretrained else None)
    return nn.Sequential(net.conv1, net.bn1, net.relu, net.layer1, net.layer2, net.layer3, net.layer4)


def _tiny(pretrained: bool) -> nn.Module:
    """Build a residual network of 0.2 M parameters, 96 channels at stride 8, that learns on a CPU."""
    stem = nn.Sequential(nn.Conv2d(3, 24, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
    return nn.Sequential(stem, ResidualBlock(24, 24, 1), ResidualBlock(24, 48, 2), ResidualBlock(48, 96, 2))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, inputs, H, W]` to `[B, outputs, H / stride, W / stride]`."""
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.shortcut(x) + self.bn2(self.conv2(y)))


class TimmTrunk(nn.Module):
    """A trunk of timm, cut where its map has stride 16 (or at its coarsest map, if that is finer)."""

    def __init__(self, name: str, pretrained: bool):
        super().__init__()
        import timm

        if not timm.is_model(name):
            raise UnknownNameError("backbone", name, ["convnext_tiny", "resnet34", "tiny", *timm.list_models()])
        strides = timm.create_model(name, features_only=True).feature_info.reduction()
        cut = max(i for i, stride in enumerate(strides) if stride <= 16)
        self.net = timm.create_model(name, pretrained=pretrained, features_only=True, out_indices=(cut,))

    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to `[B, C, h, w]`."""
        return self.net(images)[0]
