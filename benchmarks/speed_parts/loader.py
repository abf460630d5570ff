"""From JPEG files as large as CVUSA's to batches of CHSG on one core, against the authors' way."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, default_collate
from torchvision import transforms

from geodtr_plugin import CHSG
from geodtr_plugin.augmentations import BatchTransform, ImageTransform
from geodtr_plugin.datasets import ImageFiles, PairDataset, Split
from geodtr_plugin.datasets.cache import cached
from geodtr_plugin.evaluation import Truth
from geodtr_plugin.utils.malloc import keep_freed_memory

from . import authors
from .bench import Bench
from .table import Row

STORED = {"panorama": (224, 1232), "aerial": (750, 750)}  # height, width
LOADED = ((122, 671), (256, 256))
CONTRAST = 12  # standard deviation of the pictures' grey levels: makes JPEGs of 149 KB and 68 KB; CVUSA's: 143 and 69
BATCH = 32  # pairs


def measure(bench: Bench) -> Iterator[Row]:
    """Yield pairs a second: with all augmentation on the core, as for a GPU that augments, and from the cache."""
    keep_freed_memory()  # half of the time of CHSG would else go into page faults
    count = bench.choose(miniature=3, small=32, real=128)
    with tempfile.TemporaryDirectory() as folder:
        split = write_pairs(Path(folder), count)
        works = ways(split, Path(folder) / "cache")
        seconds = bench.seconds(works, rounds=7)
    rates = {name: count / time for name, time in seconds.items()}
    peer = rates.pop("authors")
    for name, rate in rates.items():
        yield Row(f"loader: {name}", f"{count} pairs of JPEG files", rate, peer, "pairs/s")


def ways(split: Split, cache: Path) -> dict[str, Callable[[], None]]:
    """Return what loads all pairs once, in batches, by the name of the way."""
    resize = tuple(ImageTransform(*size) for size in LOADED)
    files, resized = PairDataset(split, *resize), PairDataset(cached(split, *resize, folder=cache), *resize)
    augment = BatchTransform(*resize, CHSG.variant("l+s"))

    def load(dataset: Dataset, then: Callable[..., object] = lambda *batch: None) -> Callable[[], None]:
        def work() -> None:
            for rows in torch.arange(len(split.pairs)).split(BATCH):
                then(*default_collate([dataset[row] for row in rows.tolist()]))

        return work

    return {
        "authors": load(AuthorsDataset(split)), "CHSG on the same core": load(files, augment),
        "CHSG left to a GPU": load(files), "the same from the cache": load(resized),
    }  # fmt: skip


class AuthorsDataset(Dataset):
    """Both samples of a pair from the decoded images, as the released code makes them."""

    def __init__(self, split: Split):
        self.split = split
        self.transforms = [transforms.Compose([transforms.Resize(size), authors.colours()]) for size in LOADED]

    def __getitem__(self, row: int) -> tuple[torch.Tensor, ...]:
        images = [Image.open(part.root / part.paths[row]) for part in (self.split.queries, self.split.references)]
        first, second = authors.two_samples(*images, *self.transforms)
        return (*first, *second)


def write_pairs(folder: Path, count: int) -> Split:
    """Write JPEGs of random pictures, and return them as a training split."""
    draw = np.random.default_rng(0)
    names = [f"{number:04d}.jpg" for number in range(count)]
    for role, size in STORED.items():
        (folder / role).mkdir()
        for name in names:
            Image.fromarray(picture(draw, *size)).save(folder / role / name, quality=90)
    queries, references = (ImageFiles(folder / role, names) for role in STORED)
    places = np.arange(count)
    pairs = np.stack([places, places], axis=1)
    return Split("loader", "train", queries, references, pairs, places, places, Truth.diagonal(count))


def picture(draw: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw uint8 `[height, width, 3]` whose amplitudes fall as 1 / frequency, as photographs' do."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    noise = draw.normal(size=(2, 3, *frequency.shape)) / frequency
    channels = np.fft.irfft2(noise[0] + 1j * noise[1], s=(height, width))
    channels /= channels.std(axis=(1, 2), keepdims=True)
    brightness = channels.mean(axis=0) / channels.mean(axis=0).std()  # the colours mostly follow it
    pixels = 128 + CONTRAST * (0.7 * brightness + 0.3 * channels)
    return np.ascontiguousarray(pixels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
