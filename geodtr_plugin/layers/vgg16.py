"""The convolutions of VGG16, cut, tapped, frozen and pooled as the methods that are built on it want them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from ..utils.errors import UnknownNameError
from .trunks import downloading

CHANNELS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)  # of the 13 convolutions, in order
BLOCKS = (2, 2, 3, 3, 3)  # convolutions in front of each pooling
# weights that torchvision offers: converted from the authors' release, or trained by torchvision
WEIGHTS = {"caffe": "IMAGENET1K_FEATURES", "torchvision": "IMAGENET1K_V1"}


def _names() -> Iterator[str]:
    for block, convolutions in enumerate(BLOCKS, start=1):
        for i in range(1, convolutions + 1):
            yield from (f"conv{block}_{i}", f"relu{block}_{i}")
        yield f"pool{block}"


LAYERS = tuple(_names())  # conv1_1, relu1_1, ..., relu5_3, pool5: the position of a name is torchvision's index
LATE_CONVOLUTIONS = tuple(name for name in LAYERS if name.startswith(("conv4", "conv5")))


class VGG16(nn.Sequential):
    """The convolutional part of VGG16 (Simonyan and Zisserman, ICLR 2015), its layers numbered as torchvision's.

    Args:
        output: the layer of `LAYERS` whose output is returned, where the network is cut; several names return a tuple
            of their outputs, in the order of the network. `conv5_3` is before the rectifier, `relu5_3` behind it.
        weights: `caffe`, the authors' weights, for images of 0 to 255 less their mean; `torchvision`, for images
            normalised by ImageNet's mean and standard deviation; None starts from scratch.
        ceil_mode: poolings round up, as TensorFlow's do with SAME padding, and not down.
        dropout: probability of dropout behind the convolutions `dropout_after`.
        dropout_after: names of convolutions; those behind the cut are ignored.
        frozen: name of the last layer whose weights stay as they are, with all before it; None trains everything.

    Raises:
        ValueError: there is no output.
        UnknownNameError: there is no such layer.
    """

    def __init__(
        self, output: str | Iterable[str] = "pool5", weights: str | None = None, ceil_mode: bool = False,
        dropout: float = 0.0, dropout_after: Iterable[str] = LATE_CONVOLUTIONS, frozen: str | None = None,
    ):  # fmt: skip
        outputs = (output,) if isinstance(output, str) else tuple(output)
        if not outputs:
            raise ValueError("VGG16 has no output: name at least one of its layers, for instance 'pool5'.")
        depth = 1 + max(_index(name) for name in outputs)
        super().__init__(*_layers(depth, ceil_mode, outputs))
        self.outputs, self.single = frozenset(outputs), isinstance(output, str)
        self.dropout, self.dropout_after = dropout, frozenset(LAYERS[_index(name)] for name in dropout_after)
        if weights is not None:
            self.load_imagenet(weights)
        for layer in self[: 0 if frozen is None else _index(frozen) + 1]:
            layer.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Map `[B, 3, H, W]` to `[B, C, h, w]`, or a tuple of such maps."""
        x, maps = images, []
        for name, layer in zip(LAYERS, self):
            x = layer(x)
            if name in self.dropout_after:  # commutes with the rectifier that follows
                x = F.dropout(x, self.dropout, self.training)
            if name in self.outputs:
                maps.append(x)
        return maps[0] if self.single else tuple(maps)

    def load_imagenet(self, weights: str) -> None:
        """Fill the network with weights of ImageNet, one of `WEIGHTS`, which are downloaded on first use.

        Raises:
            UnknownNameError: there are no such weights.
            UserError: they could not be loaded.
        """
        from torchvision.models import VGG16_Weights

        if weights not in WEIGHTS:
            raise UnknownNameError("weights of VGG16", weights, WEIGHTS)
        with downloading(f"VGG16 ({weights})"):
            state = VGG16_Weights[WEIGHTS[weights]].get_state_dict(progress=False, check_hash=True)
        self.load_state_dict({key: state[f"features.{key}"] for key in self.state_dict()})

    def __getitem__(self, index):
        """Return a layer, or a plain Sequential of the layers of a slice."""
        layers = list(self)[index]
        return nn.Sequential(*layers) if isinstance(index, slice) else layers

    def extra_repr(self) -> str:
        return f"outputs={sorted(self.outputs, key=_index)}, dropout={self.dropout}"


def _layers(depth: int, ceil_mode: bool, outputs: tuple[str, ...]) -> Iterator[nn.Module]:
    """Yield the first `depth` layers, with torchvision's initial weights."""
    inputs, widths = 3, iter(CHANNELS)
    for i, name in enumerate(LAYERS[:depth]):
        if name.startswith("conv"):
            layer = nn.Conv2d(inputs, inputs := next(widths), 3, padding=1)
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
            yield layer
        elif name.startswith("relu"):
            yield nn.ReLU(inplace=LAYERS[i - 1] not in outputs)  # an output must not be overwritten
        else:
            yield nn.MaxPool2d(2, 2, ceil_mode=ceil_mode)


def _index(name: str) -> int:
    if name not in LAYERS:
        raise UnknownNameError("layer of VGG16", name, LAYERS)
    return LAYERS.index(name)
