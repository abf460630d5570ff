"""Networks of TensorFlow in its own order, in plain operations of numpy: maps [B, H, W, C], kernels [h, w, in, out]."""

from __future__ import annotations

import numpy as np
import torch

WIDTHS = {1: (64, 64), 2: (128, 128), 3: (256,) * 3, 4: (512,) * 3, 5: (512,) * 3}  # of VGG16's convolutions, by block
MEAN_BGR = np.array([103.939, 116.779, 123.6], np.float32)


class Checkpoint(dict):
    """Variables by name, drawn at random, scaled so that signals neither vanish nor explode."""

    def __init__(self, seed: int = 1):
        super().__init__()
        self.random = np.random.default_rng(seed)

    def draw(self, name: str, *shape: int, spread: float | None = None) -> None:
        """Add a variable; kernels and linear maps keep the size of signals through a rectifier, biases are small."""
        if spread is None:
            spread = (2 / np.prod(shape[:-1])) ** 0.5 if len(shape) > 1 else 0.05
        self[name] = (spread * self.random.standard_normal(shape)).astype(np.float32)

    def draw_layer(self, scope: str, *shape: int) -> None:
        """Add the weights and biases of a convolution or a linear map."""
        self.draw(f"{scope}/weights", *shape)
        self.draw(f"{scope}/biases", shape[-1])

    def draw_vgg16(self, scope: str) -> None:
        """Add the convolutions of VGG16."""
        inputs = 3
        for block, widths in WIDTHS.items():
            for i, width in enumerate(widths, start=1):
                self.draw_layer(f"{scope}/conv{block}_{i}", 3, 3, inputs, width)
                inputs = width

    def layer(self, scope: str, x: np.ndarray, stride: int = 1) -> np.ndarray:
        """Return a rectified convolution."""
        return np.maximum(convolve(x, self[f"{scope}/weights"], stride) + self[f"{scope}/biases"], 0)

    def vgg16(self, scope: str, bgr: np.ndarray, last_pool: bool = True) -> np.ndarray:
        """Return the features of images of 0 to 255, blue, green, red."""
        x = bgr - MEAN_BGR
        for block, widths in WIDTHS.items():
            for i in range(1, len(widths) + 1):
                x = self.layer(f"{scope}/conv{block}_{i}", x)
            x = pool(x) if last_pool or block < 5 else x
        return x


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int = 1) -> np.ndarray:
    """Convolve with SAME padding: ceil(size / stride) outputs, what is missing at the end of an axis comes last."""
    side, outputs, pads = kernel.shape[0], [], []
    for size in x.shape[1:3]:
        outputs.append(-(-size // stride))
        missing = max(0, (outputs[-1] - 1) * stride + side - size)
        pads.append((missing // 2, missing - missing // 2))
    padded = np.pad(x, ((0, 0), *pads, (0, 0)))
    height, width = ((count - 1) * stride + 1 for count in outputs)
    return sum(
        padded[:, i : i + height : stride, j : j + width : stride] @ kernel[i, j]
        for i in range(side)
        for j in range(side)
    )


def pool(x: np.ndarray) -> np.ndarray:
    """Return maxima of 2 x 2; an odd side gets one more row or column, which no maximum takes."""
    x = np.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)), constant_values=-np.inf)
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


def unit(flat: np.ndarray) -> np.ndarray:
    """Return rows of unit norm."""
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def pictures(size: tuple[int, int], count: int = 2, seed: int = 2) -> np.ndarray:
    """Return random pictures of 0 to 255, red, green, blue."""
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3)).astype(np.float32)


def as_input(rgb: np.ndarray, model: torch.nn.Module) -> torch.Tensor:
    """Return pictures as our networks get them."""
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (model.mean, model.std))
    return (torch.from_numpy(rgb).permute(0, 3, 1, 2) / 255 - mean) / std
