"""CHSG with layouts and colours on whole batches, against the authors' torchvision transforms image by image."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as tv

from geodtr_plugin import CHSG, LayoutSimulation, SemanticAugmentation
from geodtr_plugin.augmentations import BatchTransform, ImageTransform
from geodtr_plugin.augmentations.semantic import Draws
from geodtr_plugin.utils.malloc import keep_freed_memory

from .authors import authors_colours
from .measure import Bench
from .pictures import random_images
from .rows import Row

CPU_FLOOR, GPU_FLOOR = 3, 50  # times as fast as the authors' way on one thread of a CPU
LEVELS = 1.1  # of 255: torchvision rounds to whole levels after each operation, ours does not
FACTORS = (0.7, 0.93, 1.3)
SIGMAS = (0.1, 0.8, 5.0)


def measure(bench: Bench) -> Iterator[Row]:
    """Time, share of a step, and equality of every operation."""
    from .step import a_step, model_sizes

    keep_freed_memory()
    pairs = bench.choose(miniature=2, small=8, real=32)
    ground, aerial = ((8, 24), (16, 16)) if bench.size == "miniature" else ((122, 671), (256, 256))
    size = f"{pairs} pairs, {ground[0]}x{ground[1]} + {aerial[0]}x{aerial[1]}"
    images = [random_images(pairs, *shape) for shape in (ground, aerial)]
    ours, peer = our_way(images, bench.device), authors_way(images, bench.device)
    times = bench.seconds({"ours": ours, "peer": peer})
    floor = GPU_FLOOR if bench.on_gpu else CPU_FLOOR
    yield Row("augmentation: CHSG of a batch, two samples a pair", size, **times, floor=floor)
    step = a_step(bench)
    both = bench.seconds({"augmentation": step.augment, "step": step.run}, rounds=3)
    share = both["augmentation"] / both["step"]
    yield Row("augmentation: share of the training step", model_sizes(bench).name, share, unit="")
    for name, levels in deviations(bench.device).items():
        yield Row(f"augmentation: {name}, levels from torchvision's", "one image", levels, unit="", floor=LEVELS,
                  rule="below")  # fmt: skip


def our_way(images: list[Tensor], device: torch.device) -> Callable[[], object]:
    """From uint8 on the device to normalised input."""
    ground, aerial = (part.to(device) for part in images)
    views = ImageTransform(*ground.shape[2:]), ImageTransform(*aerial.shape[2:])
    augment = BatchTransform(*views, CHSG.variant("l+s")).to(device)
    labels = torch.arange(len(ground))
    return lambda: augment(ground, aerial, labels)


def authors_way(images: list[Tensor], device: torch.device) -> Callable[[], object]:
    """From images of PIL to normalised input on the device, one at a time."""
    ground, aerial = ([tv.to_pil_image(image) for image in part] for part in images)
    colours = authors_colours()

    def sample(one: Image.Image, other: Image.Image, layout: int) -> tuple[Tensor, Tensor]:
        panorama, tile = colours(one), colours(other)
        if layout >= 4:
            panorama, tile = panorama.flip(2), tile.flip(2)
        turns = layout % 4
        return panorama.roll(round(turns * panorama.shape[2] / 4), 2), tile.rot90(-turns, (1, 2))

    def batch() -> list[Tensor]:
        samples = []
        for one, other in zip(ground, aerial):
            first = random.randrange(8)
            second = (first + random.randrange(1, 8)) % 8
            samples += [sample(one, other, layout) for layout in (first, second)]
        return [torch.stack(part).to(device) for part in zip(*samples)]

    return batch


def deviations(device: torch.device) -> dict[str, float]:
    """How many of 255 levels each operation is off torchvision's on images of PIL, for the same parameters."""
    image = edges()
    picture = tv.to_pil_image(image[0])
    colours = SemanticAugmentation()

    def off(expected: Image.Image, **changes) -> float:
        ours = colours.apply_draws((image / 255).to(device), plain_draws(**changes)).cpu()
        return float((ours[0] * 255 - tv.pil_to_tensor(expected)).abs().max())

    adjusted = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation)
    found = {}
    for column, (name, adjust) in enumerate(zip(("brightness", "contrast", "saturation"), adjusted)):
        factors = [[f if i == column else 1.0 for i in range(3)] for f in FACTORS]
        found[name] = max(off(adjust(picture, own[column]), factors=torch.tensor([own])) for own in factors)
    found["grayscale"] = off(tv.to_grayscale(picture, 3), gray=torch.tensor([True]))
    found["posterize"] = off(tv.posterize(picture, 4), posterize=torch.tensor([True]))
    blurred = ((tv.gaussian_blur(picture, [1, 5], [sigma, sigma]), sigma) for sigma in SIGMAS)
    found["blur"] = max(off(expected, sigma=torch.tensor([sigma])) for expected, sigma in blurred)
    return found | {"layout": layouts_off(device)}


def layouts_off(device: torch.device) -> float:
    """All eight layouts of panorama and tile against flips and turns of PIL's images."""
    panorama, tile = edges(48, 90), edges(64, 64)
    pictures = [tv.to_pil_image(part[0]) for part in (panorama, tile)]
    worst = 0.0
    for layout in range(8):
        ours = LayoutSimulation()(panorama.to(device), tile.to(device), [layout])[:2]
        first, second = (tv.hflip(picture) if layout >= 4 else picture for picture in pictures)
        turned = tv.pil_to_tensor(second.rotate(-90 * (layout % 4)))
        rolled = tv.pil_to_tensor(first).roll(round(layout % 4 * panorama.shape[3] / 4), 2)
        pairs = zip((part[0].cpu().float() for part in ours), (rolled, turned))
        worst = max(worst, *(float((own - expected).abs().max()) for own, expected in pairs))
    return worst


def edges(height: int = 45, width: int = 67) -> Tensor:
    """uint8 [1, 3, height, width]: all levels, with a hard edge for clipping and blur to act on."""
    pixels = (torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 255).byte()
    pixels[..., 10:30, 20:50] = torch.tensor([250, 20, 128], dtype=torch.uint8).view(1, 3, 1, 1)
    return pixels


def plain_draws(**changes: Tensor) -> Draws:
    """Draws of one image that change nothing but what is given; a blur of 0.1 pixels weighs neighbours by 1e-22."""
    no = torch.tensor([False])
    nothing = dict(order=torch.zeros(1, dtype=torch.long), factors=torch.ones(1, 3), gray=no, posterize=no)
    return Draws(**(nothing | {"sigma": torch.tensor([0.1])} | changes))
