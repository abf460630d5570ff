"""What a model costs: parameters, multiply-accumulates and time for one query and one reference."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from ..methods.base import count_parameters
from ..testers.embedding import modes_restored
from ..utils.roles import ROLES


class Cost(NamedTuple):
    """Size and work of a network, or of a part of it.

    Args:
        parameters: numbers in its parameters; buffers such as running means are not counted.
        macs: multiply-accumulates of convolutions and matrix products, those of attention included, which most
            profilers do not see; activations and sums are not counted.
    """

    parameters: int
    macs: int


class Complexity(NamedTuple):
    """Cost of a model with two towers, of its two trunks together, and of each."""

    whole: Cost
    trunks: Cost
    query_trunk: Cost
    reference_trunk: Cost


def complexity(model: nn.Module) -> Complexity:
    """Count what it costs to embed one query and one reference; no number of the network is computed.

    Weights that both towers share are counted once, as parameters; the work is that of both towers. Papers differ in
    what they count: GeoDTR+'s 24.7 M parameters and 11.25 G are those of its trunks alone.

    Args:
        model: a `TwoTower`; each tower keeps its backbone as `trunk`.

    Raises:
        ValueError: a tower calls neither its trunk nor any part of it, so that nobody can say what it costs.
    """
    trunks = [getattr(model, f"{role}_tower").trunk for role in ROLES]
    (query, query_trunk), (reference, reference_trunk) = (_macs(model, *each) for each in zip(ROLES, trunks))
    return Complexity(
        Cost(count_parameters(model), query + reference),
        Cost(count_parameters(*trunks), query_trunk + reference_trunk),
        Cost(count_parameters(trunks[0]), query_trunk),
        Cost(count_parameters(trunks[1]), reference_trunk),
    )


@torch.no_grad()
def inference_time(
    model: nn.Module, device: torch.device | str, batch: int = 1, *, repeats: int = 20, precision: str = "fp32"
) -> float:
    """Measure the seconds in which a model embeds a batch of queries and the references that go with them.

    Args:
        model: a `TwoTower`; it is moved to `device` and stays there.
        device: where to measure; whatever else runs there makes the time longer.
        batch: pairs at once. The times of GeoDTR+'s Table VII are those of a batch, of 32 pairs by default.
        repeats: measured passes, whose median counts; three more come before them.
        precision: `fp32`, or `bf16` for autocast.
    """
    device = torch.device(device)
    model.to(device)
    images = {role: torch.rand(batch, *model.input_shape(role), device=device) for role in ROLES}
    with modes_restored(model), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        model.eval()
        for _ in range(3):
            model(**images)
        return statistics.median(_seconds(model, images, device) for _ in range(repeats))


def _seconds(model: nn.Module, images: Mapping[Any, Tensor], device: torch.device) -> float:
    wait = getattr(torch, device.type).synchronize  # kernels still run when the call that asked for them returns
    wait()
    start = time.perf_counter()
    model(**images)
    wait()
    return time.perf_counter() - start


@torch.no_grad()
def _macs(model: nn.Module, role: str, trunk: nn.Module) -> tuple[int, int]:
    """Return the multiply-accumulates of one tower and of its trunk on one image.

    The trunk's are those of its calls, or, where a tower calls its parts one by one, those of the parts.
    """
    parts = (trunk, *trunk.children())
    spent = dict.fromkeys(parts, 0)
    called = set()
    with modes_restored(model), _no_fast_path(), FakeTensorMode(), _Counter(display=False) as counter, \
            contextlib.ExitStack() as hooks:  # fmt: skip

        def before(part: nn.Module, *_) -> None:
            spent[part] -= counter.macs()

        def after(part: nn.Module, *_) -> None:
            spent[part] += counter.macs()
            called.add(part)

        for part in parts:
            hooks.callback(part.register_forward_pre_hook(before).remove)
            hooks.callback(part.register_forward_hook(after).remove)
        model.eval()
        image = torch.empty(1, *model.input_shape(role))
        torch.func.functional_call(model, _shapes(model), kwargs={role: image})
        total = counter.macs()
    if not called:
        raise ValueError(f"The {role} tower of {type(model).__name__} calls neither its `trunk` nor any part of it.")
    return total, spent[trunk] if trunk in called else sum(spent.values())


class _Counter(FlopCounterMode):
    """torch's counter, which knows the attention of every device but the CPU."""

    def __init__(self, **options):
        on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        super().__init__(custom_mapping={on_cpu: _attention_flops}, **options)

    def macs(self) -> int:
        """Return the multiply-accumulates until now; torch counts each as two operations."""
        return self.get_total_flops() // 2


def _attention_flops(query, key, value, *_, out_shape=None, **__) -> int:
    """Shapes [B, heads, tokens, width] -> operations of query x key and of weights x value."""
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _shapes(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers of the fake mode that is on; as if on the CPU: autocast knows no device "meta"."""
    tensors = (*model.named_parameters(), *model.named_buffers())
    return {name: torch.empty(tensor.shape, dtype=tensor.dtype) for name, tensor in tensors}


@contextlib.contextmanager
def _no_fast_path() -> Iterator[None]:
    """Leave out the fused encoder layer of torch's Transformer, in which the counter sees nothing."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
