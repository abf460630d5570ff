"""Gradient caching: the step of a large batch, in the memory of a small one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from geodtr_plugin import CounterfactualLoss, SoftMarginTripletLoss, create_model
from geodtr_plugin.augmentations import BatchTransform, ImageTransform

from .measure import Bench
from .rows import Row
from .step import Step, images, make_trainer, plain_fp32

EQUAL = 1e-6  # relative difference of loss and gradient in fp32
MEMORY_FLOOR = 1.3  # times the memory of a plain batch of so many pairs as a piece holds
PIECE = 32  # pairs


def measure(bench: Bench) -> Iterator[Row]:
    """Equality of a step, then the peaks of memory."""
    pairs, piece = bench.choose(miniature=(6, 2), small=(24, 8), real=(64, 16))
    yield from equality(bench, pairs, piece)
    pairs, piece = bench.choose(miniature=(16, 8), small=(256, PIECE), real=(1024, PIECE))
    backbone = bench.choose(miniature="plain", small="plain", real="plain", gpu="convnext_tiny")
    common = {"module": "micro_batch", "function": "step_work", "backbone": backbone}
    many = bench.peak(**common, pairs=pairs, piece=piece)
    few = bench.peak(**common, pairs=piece, piece=None)
    size = f"{pairs:,} pairs, {piece} at a time, {backbone}"
    yield Row("micro-batch: peak memory, against a plain batch", size, many, few, "B", MEMORY_FLOOR, rule="within",
              note=f"the plain batch has {piece} pairs")  # fmt: skip


def equality(bench: Bench, pairs: int, piece: int) -> Iterator[Row]:
    """Loss and gradient, in fp32 and in float64, where rounding hides nothing."""
    size = f"{pairs} pairs, {piece} at a time"
    loss, gradient = zip(*(one_step(bench.device, pairs, how) for how in (piece, None)))
    _, exact = zip(*(one_step(bench.device, pairs, how, torch.float64) for how in (piece, None)))
    rows = {"loss in fp32": apart(*loss), "gradient in float64": apart(*exact), "gradient in fp32": apart(*gradient)}
    for name, off in rows.items():
        floor = None if name == "gradient in fp32" else EQUAL  # a convolution's own rounding is more than that
        yield Row(f"micro-batch: {name}, relative difference", size, off, unit="", floor=floor, rule="below")
    largest = float((gradient[0] - gradient[1]).abs().max() / gradient[1].norm())
    yield Row("micro-batch: gradient in fp32, worst entry / norm", size, largest, unit="", floor=EQUAL,
              rule="below")  # fmt: skip
    rounding = [apart(own, exact[1]) for own in gradient]
    yield Row("micro-batch: gradient in fp32, from float64", size, *rounding, unit="", floor=1, rule="within")


def apart(one: Tensor, other: Tensor) -> float:
    """Relative difference."""
    return float((one - other).norm() / other.norm())


class PlainTowers(nn.Module):
    """Two convolutional towers without batch normalisation, whose activations outweigh their parameters."""

    def __init__(self, channels: int = 64):
        super().__init__()
        self.query, self.reference = self._tower(channels), self._tower(channels)

    @staticmethod
    def _tower(channels: int) -> nn.Sequential:
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.GELU()]
        for _ in range(4):
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(8, channels), nn.GELU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())

    def encode_query(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D]."""
        return normalize(self.query(x))

    def forward(self, query: Tensor, reference: Tensor, counterfactual: bool = False):
        """Images [B, 3, H, W] -> an object with the embeddings of both views."""
        return SimpleNamespace(query=self.encode_query(query), reference=normalize(self.reference(reference)))


def one_step(
    device: torch.device, pairs: int, piece: int | None, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Loss and gradient of the first step: the same weights, images and layouts whatever the piece."""
    seen = []
    torch.manual_seed(0)
    trunk = PlainTowers().to(device, dtype)
    step = build(trunk, ((32, 32), (32, 32)), pairs, piece, dtype=dtype)
    step.trainer.clip_gradients = lambda: seen.append(torch.cat([p.grad.flatten() for p in trunk.parameters()]))
    with plain_fp32():
        step.run()
    return step.trainer.losses["total_loss"].detach(), seen[0]


def build(trunk: nn.Module, sizes: tuple, pairs: int, piece: int | None, **settings) -> Step:
    """A step without random draws, so that pieces and the whole see the same."""
    device = next(trunk.parameters()).device
    transform = BatchTransform(*(ImageTransform(*size) for size in sizes))
    losses = {"metric_loss": SoftMarginTripletLoss()}
    if getattr(trunk, "has_counterfactual", False):
        losses["counterfactual_loss"] = CounterfactualLoss()
    trainer = make_trainer(trunk, transform, device, pairs, micro_batch=piece, loss_funcs=losses, **settings)
    return Step(trainer, images(pairs, *sizes, device))


def step_work(device: str, backbone: str, pairs: int, piece: int | None) -> Callable[[], object]:
    """A step with its batch, for their memory; a step of two pairs has made the optimizer's state before it."""
    torch.manual_seed(0)
    sizes = ((32, 32), (32, 32)) if backbone == "plain" else ((122, 671), (256, 256))
    trunk: nn.Module = PlainTowers()
    if backbone != "plain":
        trunk = create_model("geodtr_plus", query_size=sizes[0], reference_size=sizes[1], polar=False,
                             backbone=backbone, pretrained=False)  # fmt: skip
    small = build(trunk.to(device), sizes, 2, None)
    with plain_fp32():
        small.run()

    def work() -> None:
        step = build(trunk, sizes, pairs, piece)
        step.trainer.optimizers = small.trainer.optimizers
        with plain_fp32():
            step.run()
        trunk.zero_grad(set_to_none=True)

    return work
