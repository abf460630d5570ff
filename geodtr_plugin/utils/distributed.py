"""Training in several processes, each with a part of every batch.

Everything here does nothing in a single process, so that callers need no special case.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from .errors import UserError
from .npy_rows import block_height

TIMEOUT = timedelta(minutes=30)  # the first process may render a world or read a data set for so long


def launched() -> bool:
    """Tell whether torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def init_process_group(device: torch.device) -> None:
    """Join the process group of torchrun, if it started this process: NCCL between GPUs, Gloo between CPUs."""
    if launched() and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)


def destroy_process_group() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main_process() -> bool:
    """Tell whether this is the process that writes files and prints."""
    return not launched() or int(os.environ["RANK"]) == 0


def local_rank() -> int:
    """Return the number of this process on its machine, which is the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def wait_for_all() -> None:
    """Wait until all processes have come here."""
    if dist.is_initialized():
        dist.barrier()


def share_of(count: int, what: str = "--batch-size") -> int:
    """Return one process's part of a number of rows.

    Args:
        count: rows of all processes.
        what: what the number is called in messages.

    Raises:
        UserError: the parts would differ in size.
    """
    if count % world_size():
        near = max(world_size(), round(count / world_size()) * world_size())
        raise UserError(
            f"{what} {count} cannot be shared evenly by {world_size()} processes.",
            f"Choose a multiple, such as {near}.",
        )
    return count // world_size()


def gather_rows(rows: Tensor) -> Tensor:
    """Return the rows `[B, ...]` of all processes, `[world * B, ...]` in the order of their ranks, with gradient.

    Each process is taken to compute the same loss from the result, and gradients to be averaged over the processes
    afterwards, as DistributedDataParallel does: the parameters then get the gradient of that loss.
    """
    return rows if world_size() == 1 else _GatherRows.apply(rows)


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Average, in place, gradients that DistributedDataParallel does not see, such as a loss's temperature `[]`."""
    if world_size() > 1:
        for parameter in parameters:
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad.div_(world_size()))


def gather_objects(value: Any) -> list[Any]:
    """Return a small value of every process, by rank."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def gather_shards(rows: Tensor, count: int) -> Tensor:
    """Return the rows of every process's `shard` together, `[count, D]`, without gradient.

    Block by block: all at once, everything would be in memory twice.
    """
    if world_size() == 1:
        return rows
    parts = [shard(count, of=number) for number in range(world_size())]
    most = max(map(len, parts))
    height = min(most, max(1, block_height(rows) // len(parts)))
    whole = rows.new_empty(count, rows.shape[1])
    for start in range(0, most, height):
        block, own = rows.new_zeros(height, rows.shape[1]), rows[start : start + height]
        block[: len(own)] = own
        blocks = [torch.empty_like(block) for _ in parts]
        dist.all_gather(blocks, block)
        for part, some in zip(parts, blocks):
            place = whole[part.start + start : min(part.start + start + height, part.stop)]
            place.copy_(some[: len(place)])
    return whole


def shard(count: int, of: int | None = None) -> range:
    """Return which of `count` rows are a process's: consecutive ones; `of` is its number, by default this one's."""
    number, all_ = rank() if of is None else of, world_size()
    return range(count * number // all_, count * (number + 1) // all_)


@contextlib.contextmanager
def main_process_first() -> Iterator[None]:
    """Let the main process run the block while the others wait; then they run it, and find what it left."""
    if not is_main_process():
        wait_for_all()
    yield
    if is_main_process():
        wait_for_all()


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(parts, rows)
        context.count = len(rows)
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)  # one loss in every process: the sum is the number of processes times its gradient
        begin = rank() * context.count
        return gradient[begin : begin + context.count]
