"""What each method costs: parameters, multiply-accumulates and time, as in Table VII of the GeoDTR+ paper."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..methods import METHODS, Recipe, create_model
from ..utils.console import say

if TYPE_CHECKING:
    import torch

    from ..methods import TwoTower

# Zhang et al., TPAMI 2024, Table VII: parameters in millions, "FLOPs" in billions (they are MACs), milliseconds
PUBLISHED = {
    "l2ltr": (195.9, 46.77, 405), "transgeo": (44.0, 11.35, 99), "geodtr": (48.5, 39.89, 235),
    "geodtr_plus": (24.7, 11.25, 103),
}  # fmt: skip
HEADS = ["method", "parameters", "trunks only", "GMACs", "trunks only", "ms", "published: parameters", "GMACs", "ms"]
ON_CPU, ON_GPU = (1, 3), (32, 20)  # pairs at once and measured passes


class CostTable(NamedTuple):
    """Headings, a line a method, and what a reader must know."""

    heads: list[str]
    lines: list[list[str]]
    notes: list[str]


def cost_table(methods: Sequence[str], device_name: str = "auto", batch: int | None = None) -> CostTable:
    """Measure what methods cost at the sizes of their recipes for the real data sets; nothing is trained or downloaded.

    Args:
        methods: their names.
        device_name: where time is measured: auto, cpu, cuda; none: not at all.
        batch: pairs at once; None is the paper's 32 on a GPU, and 1 on a CPU.

    Raises:
        UserError: there is no such method or device.
    """
    from ..utils.devices import choose_device

    device = None if device_name == "none" else choose_device(device_name)
    usual, repeats = ON_CPU if device is None or device.type == "cpu" else ON_GPU
    lines = [cost_line(name, device, batch or usual, repeats) for name in methods]
    return CostTable(HEADS, lines, _notes(device, batch or usual))


def cost_line(method: str, device: torch.device | None, batch: int, repeats: int) -> list[str]:
    """Return one method's line of the table."""
    import torch

    with torch.device("meta"):
        model = paper_model(method)
    counted = _counts(method, model)
    time = "-" if device is None else f"{1000 * _seconds(method, device, batch, repeats):.0f}"
    parameters, macs, ms = PUBLISHED.get(method, (None,) * 3)
    paper = ["-"] * 3 if ms is None else [f"{parameters:.1f} M", f"{macs:.2f}", str(ms)]
    return [method, *counted, time, *paper]


def _counts(method: str, model: TwoTower) -> list[str]:
    """Return parameters and MACs of the whole and of the trunks; only parameters where no trunk is called."""
    from ..methods.base import count_parameters
    from .complexity import complexity

    try:
        whole, trunks, *_ = complexity(model)
    except ValueError as error:  # one method should not cost the table of all
        say(f"{method}: {error}", error=True)
        return [f"{count_parameters(model):,}", "-", "-", "-"]
    return [f"{whole.parameters:,}", f"{trunks.parameters:,}", f"{whole.macs / 1e9:.2f}", f"{trunks.macs / 1e9:.2f}"]


def paper_model(method: str) -> TwoTower:
    """Make a method's model at the sizes of its recipe for the real data sets, without ImageNet weights."""
    recipes = METHODS[method].recipes
    recipe = recipes.get("paper", Recipe())
    while recipe.next_stage:
        recipe = recipes[recipe.next_stage]
    return create_model(method, **{**recipe.model, "pretrained": False})


def _seconds(method: str, device: torch.device, batch: int, repeats: int) -> float:
    import torch

    from .complexity import inference_time

    try:
        with torch.device(device):
            return inference_time(paper_model(method), device, batch, repeats=repeats)
    finally:
        gc.collect()  # the next method needs the memory


def _notes(device: torch.device | None, batch: int) -> list[str]:
    pairs = "pair" if batch == 1 else "pairs"
    timed = f"ms: median time in which a batch of {batch} {pairs} is embedded, in fp32 on {device}. " if device else ""
    return [
        "Sizes are those of each method's recipe for the real data sets (of its last stage, where it has several). "
        "Parameters and multiply-accumulates (MACs) are those of one query and one reference together.",
        f"{timed}Published times are those of batches of 32 pairs on the authors' GPU.",
        "Published figures of geodtr_plus are those of its trunks alone; those of the others are of whole models. The "
        "paper calls multiply-accumulates FLOPs. Ours include those of attention, which most profilers do not see.",
    ]
