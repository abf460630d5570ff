"""Corruptions of ground images: 16 kinds at five severities, as the field measures robustness.

The constants are those of Hendrycks and Dietterich, ICLR 2019 ("Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations"); the 16 kinds, and one drawn at random for each image, are the protocol of Zhang and
Zhu, ECCV 2024, for cross-view geo-localization. Written anew from these facts. Unlike the original, every image has
random numbers of its own, frost and drops are drawn anew (the former was photos), and glass blur moves all pixels at
once. On images of ROWS rows the others change as much as those of the package `imagecorruptions-imaug`, within 5 %.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from ..utils.errors import UnknownNameError
from ..utils.seed import rng_of
from .weather_layers import disk, filtered, frozen, grey, plasma, smeared

ROWS = 224  # height at which images are corrupted: that of CVUSA, and of the pictures that the constants were made for
SEVERITIES = (1, 2, 3, 4, 5)
SEED = 0  # of all corruptions: the same for all methods and runs

Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]  # float32 [H, W, 3] in 0..1, severity - 1


def gaussian_noise(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Add normal noise, as of a sensor in low light."""
    return x + _normal(x.shape, rng) * (0.08, 0.12, 0.18, 0.26, 0.38)[severity]


def shot_noise(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Count few photons."""
    photons = (60, 25, 12, 5, 3)[severity]
    return rng.poisson(x * photons) / np.float32(photons)


def impulse_noise(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Set a share of the values to 0 or 1."""
    amount, draw = (0.03, 0.06, 0.09, 0.17, 0.27)[severity], rng.random(x.shape, np.float32)
    return np.where(draw < amount, np.float32(draw < amount / 2), x)


def speckle_noise(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Add normal noise in proportion to the brightness."""
    return x + x * _normal(x.shape, rng) * (0.15, 0.2, 0.35, 0.45, 0.6)[severity]


def defocus_blur(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Blur with a disk, as a lens out of focus."""
    return filtered(x, disk(*((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[severity]))


def glass_blur(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Blur, move pixels by a few places, and blur again."""
    sigma, reach, rounds = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[severity]
    x = _soft(x, sigma)
    rows, columns = np.indices(x.shape[:2], np.int32)
    for _ in range(2 * rounds):  # where pixels swap places one by one, each is moved twice in a round
        down, right = rng.integers(-reach, reach, (2, *x.shape[:2]), dtype=np.int32, endpoint=True)
        x = x[np.clip(rows + down, 0, len(x) - 1), np.clip(columns + right, 0, x.shape[1] - 1)]
    return _soft(x, sigma)


def motion_blur(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Smear the image along a direction within 45 degrees of the horizontal."""
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[severity]
    return smeared(x, radius, sigma, rng.uniform(-45, 45))


def zoom_blur(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Average the image with itself at growing scales, as in a fast ride."""
    most, step = ((0.10, 0.01), (0.15, 0.01), (0.20, 0.02), (0.25, 0.02), (0.30, 0.03))[severity]
    picture, (height, width) = _pixels(x), x.shape[:2]
    total = x.copy()
    factors = 1 + step * np.arange(round(most / step) + 1)
    for factor in factors:
        left, top = width * (1 - 1 / factor) / 2, height * (1 - 1 / factor) / 2
        near = picture.resize((width, height), Image.Resampling.BILINEAR, (left, top, width - left, height - top))
        total += np.asarray(near, np.float32) / 255
    return total / (len(factors) + 1)


def snow(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Whiten the image, and let streaks of flakes fall in front of it."""
    mean, sd, scale, least, radius, sigma, share = (
        (0.1, 0.3, 3.0, 0.5, 10, 4, 0.8), (0.2, 0.3, 2.0, 0.5, 12, 4, 0.7), (0.55, 0.3, 4.0, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65), (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[severity]  # fmt: skip
    height, width = x.shape[:2]
    small = mean + sd * _normal((int(height / scale) + 2, int(width / scale) + 2), rng)
    flakes = zoom(small, scale, order=1)[:height, :width]
    flakes = np.clip(np.where(flakes < least, 0, flakes), 0, 1)
    flakes = smeared(flakes[..., None], radius, sigma, rng.uniform(-135, -45))
    white = np.maximum(x, 1.5 * grey(x) + 0.5)
    return share * x + (1 - share) * white + flakes + flakes[::-1, ::-1]


def frost(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Look through a frozen pane."""
    own, ice = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[severity]
    return own * x + ice * frozen(x.shape[:2], rng)


def fog(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Add clouds of fog, at any distance alike."""
    amount, decay = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[severity]
    brightest = x.max()
    return (x + amount * plasma(x.shape[:2], decay, rng)[..., None]) * (brightest / (brightest + amount))


def brightness(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Raise the value of every colour, keeping hue and saturation."""
    value = x.max(axis=2, keepdims=True)
    brighter = np.minimum(value + (0.1, 0.2, 0.3, 0.4, 0.5)[severity], 1)
    return np.where(value > 0, x * (brighter / np.maximum(value, 1e-6)), brighter)


def spatter(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Splash drops of water, and from severity 4 on mud, on the lens."""
    mean, sd, sigma, least, strength = (
        (0.65, 0.3, 4, 0.69, 0.6), (0.65, 0.3, 3, 0.68, 0.6), (0.65, 0.3, 2, 0.68, 0.5), (0.65, 0.3, 1, 0.65, 1.5),
        (0.67, 0.4, 1, 0.65, 1.5),
    )[severity]  # fmt: skip
    liquid = gaussian_filter(mean + sd * _normal(x.shape[:2], rng), sigma, mode="nearest")
    if severity < 3:  # drops are brightest towards the light, at their lower right edge
        drops = np.sqrt(np.maximum(liquid - least, 0))
        slope = np.diff(liquid, axis=1, append=least) + np.diff(liquid, axis=0, append=least)
        water = gaussian_filter(drops * np.clip(1 - 20 * slope, 0, 2), 1)
        return x + strength * (water / max(float(water.max()), 1e-6))[..., None] * np.float32((175, 238, 238)) / 255
    mud = gaussian_filter((liquid > least).astype(np.float32), strength)
    mud = np.where(mud < 0.8, 0, mud)[..., None]
    return x * (1 - mud) + mud * np.float32((63, 42, 20)) / 255


def contrast(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Move every channel towards its mean."""
    mean = x.mean(axis=(0, 1))
    return mean + (x - mean) * (0.4, 0.3, 0.2, 0.1, 0.05)[severity]


def pixelate(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Store the image at a lower resolution, and show its pixels as squares."""
    height, width = x.shape[:2]
    share = (0.6, 0.5, 0.4, 0.3, 0.25)[severity]
    small = _pixels(x).resize((max(1, int(width * share)), max(1, int(height * share))), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.NEAREST), np.float32) / 255


def jpeg_compression(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Store the image as a small JPEG."""
    file = BytesIO()
    _pixels(x).save(file, "JPEG", quality=(25, 18, 15, 10, 7)[severity])
    return np.asarray(Image.open(file, formats=["JPEG"]), np.float32) / 255


CORRUPTIONS: dict[str, dict[str, Corruption]] = {  # by group
    "noise": {"gaussian_noise": gaussian_noise, "shot_noise": shot_noise, "impulse_noise": impulse_noise,
              "speckle_noise": speckle_noise},
    "blur": {"defocus_blur": defocus_blur, "glass_blur": glass_blur, "motion_blur": motion_blur,
             "zoom_blur": zoom_blur},
    "weather": {"snow": snow, "frost": frost, "fog": fog, "brightness": brightness, "spatter": spatter},
    "digital": {"contrast": contrast, "pixelate": pixelate, "jpeg_compression": jpeg_compression},
}  # fmt: skip
KINDS: dict[str, Corruption] = {name: kind for group in CORRUPTIONS.values() for name, kind in group.items()}


def corrupt(image: np.ndarray, kind: str, severity: int, name: str = "", seed: int = SEED) -> np.ndarray:
    """Return a corrupted image of the same size, uint8 `[H, W, 3]` both.

    It is corrupted at a height of ROWS, so that a severity means the same whatever the size of what is stored.

    Args:
        image: of a scene.
        kind: one of KINDS.
        severity: 1 to 5.
        name: of the image; another one has other random numbers, in whatever order and process images are read.
        seed: another number gives other random numbers.

    Raises:
        UnknownNameError: there is no such kind.
        ValueError: there is no such severity.
    """
    if kind not in KINDS:
        raise UnknownNameError("corruption", kind, KINDS)
    if severity not in SEVERITIES:
        raise ValueError(f"severity must be one of {SEVERITIES}, not {severity!r}")
    size = image.shape[1], image.shape[0]
    scaled = Image.fromarray(image).resize((max(1, round(size[0] * ROWS / size[1])), ROWS), Image.Resampling.BILINEAR)
    x = np.asarray(scaled, np.float32) / 255
    return np.array(_pixels(KINDS[kind](x, severity - 1, rng_of(name, seed))).resize(size, Image.Resampling.BILINEAR))


def draw_corruption(name: str, seed: int = SEED) -> tuple[str, int]:
    """Return the kind and the severity that an image has in "C-ALL", where each image has one of its own."""
    kinds = list(KINDS)
    number = int(rng_of(name, seed, 1).integers(len(kinds) * len(SEVERITIES)))
    return kinds[number // len(SEVERITIES)], SEVERITIES[number % len(SEVERITIES)]


def _normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)


def _soft(x: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian_filter(x, (sigma, sigma, 0), mode="nearest")


def _pixels(x: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(255 * x), 0, 255).astype(np.uint8))
