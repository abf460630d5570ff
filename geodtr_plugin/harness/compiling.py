"""torch.compile for training, where it works."""

from __future__ import annotations

import torch

from ..trainers import CrossViewTrainer
from ..trainers.checkpoint import unwrapped
from ..utils.seed import rng_state, set_rng_state
from .log import log


def compile_network(trainer: CrossViewTrainer, pairs: int) -> bool:
    """Compile the trainer's network for batches of so many pairs; False, and a sentence in the log, where that fails.

    Compilers fail at their first use, each in its own way: so a forward and a backward pass are tried here, before
    training, and leave no trace but the compiled code. Weights keep their names, and methods that are called by
    themselves, such as `encode_query` in evaluation, are not compiled.
    """
    network = unwrapped(trainer.models["trunk"])
    log.info("compiling the network, which takes a minute or more")
    network.compile()
    draws, statistics = rng_state(), [buffer.clone() for buffer in network.buffers()]
    try:
        _try(trainer, network, pairs)
    except Exception as error:  # whatever a compiler raises
        network._compiled_call_impl = None  # torch has no name for it
        reason = " ".join(str(error).split())[:200].rstrip(". ")  # what some raise runs over pages
        log.warning(
            f"The network cannot be compiled here ({type(error).__name__}: {reason}) and is trained as it is, to the "
            "same result. torch.compile needs a C++ compiler such as g++ on CPUs, and Triton on GPUs."
        )
        return False
    finally:
        network.zero_grad(set_to_none=True)
        set_rng_state(draws)
        with torch.no_grad():
            for buffer, own in zip(network.buffers(), statistics):
                buffer.copy_(own)
    return True


def _try(trainer: CrossViewTrainer, network: torch.nn.Module, pairs: int) -> None:
    """Both passes with the first pair of the data as a batch, in this process alone."""
    query, reference, *_ = trainer.dataset[0]
    batch = [torch.as_tensor(image).expand(pairs, *image.shape).contiguous() for image in (query, reference)]
    trunk, trainer.models["trunk"] = trainer.models["trunk"], network
    try:
        network.train()
        query, reference, _ = trainer.prepare(*trainer.to_device(*batch, torch.arange(pairs)))
        outputs = trainer.embed(query, reference)
        parts = [part for part in (*outputs.of_pairs(), *(outputs.extras or {}).values()) if part is not None]
        sum(part.sum() for part in parts).backward()
    finally:
        trainer.models["trunk"] = trunk
