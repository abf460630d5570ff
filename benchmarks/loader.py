"""How many training pairs a second one core loads: `python benchmarks/loader.py --help`.

Pairs of 750 x 750 and 1232 x 224 pixels, JPEGs as large as CVUSA's, become 256 x 256 and 122 x 671 with CHSG (two
samples a pair, each with its own layout and colours), by four ways that take turns:

    the authors' way      one image at a time, with PIL and torchvision, as the released code does it
    ours, on this core    torchvision's decoder and uint8 resize; CHSG on whole batches, on the same core
    ours, for a GPU       the same without CHSG, which then runs on the GPU
    ours, from the cache  the same from the cache of resized images

Times are those of one thread's CPU, so that other programs disturb little; the table shows medians. For all four ways
the C library keeps freed memory, as it does in a run: half of the time of CHSG would else go into page faults.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

# before numpy and torch start
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout runs without being installed
sys.path.insert(0, str(Path(__file__).resolve().parent))  # and so does an import of this script

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from speed_parts.authors import authors_colours  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.utils.data import Dataset, default_collate  # noqa: E402
from torchvision import transforms  # noqa: E402

from geodtr_plugin import CHSG  # noqa: E402
from geodtr_plugin.augmentations import BatchTransform, ImageTransform  # noqa: E402
from geodtr_plugin.datasets import ImageFiles, PairDataset, Split  # noqa: E402
from geodtr_plugin.datasets.cache import cached  # noqa: E402
from geodtr_plugin.evaluation.truth import Truth  # noqa: E402
from geodtr_plugin.utils.malloc import keep_freed_memory  # noqa: E402

GROUND_STORED, AERIAL_STORED = (224, 1232), (750, 750)  # height, width
GROUND_VIEW, AERIAL_VIEW = (122, 671), (256, 256)
CONTRAST = 12  # standard deviation of the pictures' grey levels: makes JPEGs of 149 KB and 68 KB; CVUSA's: 143 and 69
# at least so many times the rate of the authors' way
FLOORS = {"the authors' way": 1, "ours, on this core": 3, "ours, for a GPU": 8, "ours, from the cache": 20}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; 1 where a rate is below its floor and `--strict` was given."""
    options = parse(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.manual_seed(0)
    random.seed(0)
    with tempfile.TemporaryDirectory() as folder:
        index = write_pairs(Path(folder), options.images)
        seconds = measure(ways(index, Path(folder) / "cache"), options)
    rows = {name: options.pairs / statistics.median(times) for name, times in seconds.items()}
    print(table(rows))
    first = next(iter(rows.values()))
    too_slow = [name for name, rate in rows.items() if rate < FLOORS[name] * first]
    return int(options.strict and bool(too_slow))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64, help="pairs that are written to a temporary folder")
    parser.add_argument("--pairs", type=int, default=64, help="pairs that a way loads in a round")
    parser.add_argument("--rounds", type=int, default=7, help="rounds; the medians are shown")
    parser.add_argument("--batch-size", type=int, default=32, help="pairs in a batch")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a rate is below its floor")
    return parser.parse_args(arguments)


def write_pairs(folder: Path, count: int) -> Split:
    """JPEGs of random pictures whose amplitudes fall as 1 / frequency, which is how photographs' do."""
    draw = np.random.default_rng(0)
    names = [f"{number:04d}.jpg" for number in range(count)]
    for role, size in (("ground", GROUND_STORED), ("aerial", AERIAL_STORED)):
        (folder / role).mkdir()
        for name in names:
            Image.fromarray(picture(draw, *size)).save(folder / role / name, quality=90)
    places = np.arange(count)
    return Split(
        "loader", "train", ImageFiles(folder / "ground", names), ImageFiles(folder / "aerial", names),
        np.stack([places, places], axis=1), places, places, Truth.diagonal(count),
    )  # fmt: skip


def picture(draw: np.random.Generator, height: int, width: int) -> np.ndarray:
    """uint8 [height, width, 3]; the colours mostly follow the brightness."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    noise = draw.normal(size=(2, 3, *frequency.shape)) / frequency
    channels = np.fft.irfft2(noise[0] + 1j * noise[1], s=(height, width))
    channels /= channels.std(axis=(1, 2), keepdims=True)
    brightness = channels.mean(axis=0) / channels.mean(axis=0).std()
    pixels = 128 + CONTRAST * (0.7 * brightness + 0.3 * channels)
    return np.ascontiguousarray(pixels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


class AuthorsDataset(Dataset):
    """The released code's way, written anew from its description: both samples of a pair from the decoded images."""

    def __init__(self, index: Split):
        self.index = index
        self.ground, self.aerial = self._transform(GROUND_VIEW), self._transform(AERIAL_VIEW)

    @staticmethod
    def _transform(size: tuple[int, int]) -> transforms.Compose:
        return transforms.Compose([transforms.Resize(size), authors_colours()])

    def __len__(self) -> int:
        return len(self.index.pairs)

    def __getitem__(self, i: int) -> tuple[Tensor, ...]:
        stored = [Image.open(images.root / images.paths[i]) for images in (self.index.queries, self.index.references)]
        first = random.randrange(8)
        samples = [self._sample(*stored, layout) for layout in (first, (first + random.randrange(1, 8)) % 8)]
        return (*samples[0], *samples[1], i)

    def _sample(self, ground: Image.Image, aerial: Image.Image, layout: int) -> tuple[Tensor, Tensor]:
        ground, aerial = self.ground(ground), self.aerial(aerial)
        if layout >= 4:
            ground, aerial = ground.flip(2), aerial.flip(2)
        turns = layout % 4
        return ground.roll(round(turns * ground.shape[2] / 4), 2), aerial.rot90(-turns, (1, 2))


def ways(index: Split, folder: Path) -> dict[str, Callable[[list[int]], object]]:
    """What makes a batch of the pairs with the given numbers, by the name of the way."""
    views = ImageTransform(*GROUND_VIEW), ImageTransform(*AERIAL_VIEW)
    authors, files = AuthorsDataset(index), PairDataset(index, *views)
    resized = PairDataset(cached(index, *views, folder=folder), *views)
    augment = BatchTransform(*views, CHSG.variant("l+s"))

    def load(dataset: Dataset) -> Callable[[list[int]], list[Tensor]]:
        return lambda numbers: default_collate([dataset[number] for number in numbers])

    loaded = load(files)
    makers = (load(authors), lambda numbers: augment(*loaded(numbers)), loaded, load(resized))
    return dict(zip(FLOORS, makers))


def measure(makers: dict[str, Callable], options: argparse.Namespace) -> dict[str, list[float]]:
    """CPU seconds of every round after a first one, which warms up; the ways take turns."""
    seconds = {name: [] for name in makers}
    for turn in range(-1, options.rounds):
        for name, make in makers.items():
            start = time.process_time()
            for numbers in batches(options):
                make(numbers)
            if turn >= 0:
                seconds[name].append(time.process_time() - start)
    return seconds


def batches(options: argparse.Namespace) -> Iterator[list[int]]:
    """Numbers of images; they begin anew where they end."""
    for start in range(0, options.pairs, options.batch_size):
        yield [number % options.images for number in range(start, min(start + options.batch_size, options.pairs))]


def table(rates: dict[str, float]) -> str:
    """One row a way."""
    first = next(iter(rates.values()))
    lines = [f"{'one core':24s}{'pairs/s':>10s}{'ms/pair':>10s}{'times':>8s}{'floor':>8s}"]
    lines.append("-" * len(lines[0]))
    for name, rate in rates.items():
        lines.append(f"{name:24s}{rate:10.1f}{1000 / rate:10.3f}{rate / first:8.1f}{FLOORS[name]:8d}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
