"""How long the runs take that are missing: from a step of each network, measured on this machine."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ...datasets import facts_of
from ...harness.config import RunConfig
from ...methods import create_model
from ...utils.roles import ROLES, Role
from .runs import Need, Workshop

if TYPE_CHECKING:
    import torch

PIXELS = 500_000  # of the queries of a measured step on a CPU, where batches of real sizes take minutes and memory
TIMES = 2  # a step is measured, of which the fastest counts: others may be using the machine


class Step(NamedTuple):
    """Seconds a pair of the network's training and embedding."""

    train: float
    embed: float


def seconds_of(shop: Workshop, need: Need) -> float:
    """Return an estimate of the seconds that the missing runs of a need take.

    A step is forward and backward pass; loading images, augmentation and the optimizer come on top.
    """
    from ...miners import CHSG
    from ...utils.devices import choose_device

    config = shop.config(need.trained, need.variant)
    device, seconds = choose_device(config.device), 0.0
    for recipe in (config.recipe, *(recipe for _, recipe in config.later_stages)):
        rows = CHSG.variant(recipe.augment.chsg).multiplier
        step = _step(config.method, json.dumps(recipe.model, sort_keys=True), str(device),
                     recipe.optim.batch_size * rows, bool(recipe.loss.counterfactual),
                     recipe.optim.precision == "bf16")  # fmt: skip
        passes = rows * (2 if recipe.optim.sharpness else 1)
        trained = pairs_of(config, need.trained, "train") * recipe.optim.epochs * passes
        looks = 1 + (recipe.optim.epochs // recipe.evaluation.every if recipe.evaluation.every else 0)
        tested = sum(pairs_of(config, test, "test") for test in config.test) * looks
        seconds += trained * step.train + tested * step.embed
    return seconds * shop.missing(need)


def pairs_of(config: RunConfig, name: str, split: str) -> int:
    """Return how many pairs a run takes of a split, as released or as many as the options say."""
    from ...datasets.synthetic import COUNTS

    count = config.data.get("count") or facts_of(name).released_pairs(split) or COUNTS[split]
    limits = [limit for limit in (config.limit, config.train_limit if split == "train" else None) if limit]
    return min([count, *limits])


@cache
def _step(method: str, options: str, device: str, batch: int, counterfactual: bool, bf16: bool) -> Step:
    """Measure the fastest of some steps of a network on noise, after one that builds kernels and buffers."""
    import torch

    model = create_model(method, **{**json.loads(options), "pretrained": False}).to(device).train()
    _, height, width = model.input_shape("query")
    if device == "cpu":
        batch = min(batch, max(2, PIXELS // (height * width)))
    images = {role: torch.rand(batch, *model.input_shape(role), device=device) for role in ROLES}

    def embed() -> None:
        with torch.no_grad():
            model(**images)

    try:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
            _train(model, images, counterfactual)
            train = min(_timed(lambda: _train(model, images, counterfactual), device) for _ in range(TIMES))
            return Step(train / batch, min(_timed(embed, device) for _ in range(TIMES)) / batch)
    finally:
        gc.collect()  # the next network needs the memory


def _train(model: torch.nn.Module, images: Mapping[Role, torch.Tensor], counterfactual: bool) -> None:
    found = model(images["query"], images["reference"], counterfactual=counterfactual)
    sum(part.float().sum() for part in found[:4] if part is not None).backward()


def _timed(work: Any, device: str) -> float:
    import torch

    wait = getattr(torch, torch.device(device).type).synchronize
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def total_seconds(shop: Workshop, needs: Sequence[Need]) -> float:
    """Return an estimate of the seconds of all missing runs."""
    return sum(seconds_of(shop, need) for need in needs if shop.missing(need))
