"""Gradient caching: the loss of a large batch within the memory of a small one (Gao et al., RepL4NLP 2021)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..utils.seed import rng_state, set_rng_state
from .batches import BatchEmbeddings, Synchronise

Images = tuple[Tensor, Tensor, Tensor]  # query, reference, labels


class MicroBatches:
    """A batch that is embedded piece by piece, twice.

    The first pass keeps no activations: it gives the embeddings, of which the loss of the whole batch and its gradient
    are taken. The second embeds each piece again, with the same random draws, and hands that gradient on to the
    parameters. Both equal one pass over the whole batch, unless the network normalises over a batch.

    Args:
        batch: query [B, ...], reference [B, ...], labels [B], as loaded.
        size: pairs of a piece.
        prepare: a piece as loaded -> network input, augmented; draws from torch's global generators, or from generators
            that are attributes of `transform`'s modules.
        embed: query, reference -> embeddings.
        trunk: the network; its running statistics move in the second pass only.
        transform: what `prepare` draws with.
    """

    def __init__(
        self, batch: Images, size: int, prepare: Callable[..., Images],
        embed: Callable[[Tensor, Tensor], BatchEmbeddings], trunk: nn.Module, transform: Any = None,
    ):  # fmt: skip
        self.pieces = list(zip(*(part.split(size) for part in batch)))
        self.prepare, self.embed_piece, self.trunk = prepare, embed, trunk
        modules = transform.modules() if isinstance(transform, nn.Module) else ()
        own = (getattr(module, "generator", None) for module in modules)
        self.generators = list({id(g): g for g in own if g is not None}.values())
        self.states: list[Any] = []

    def embed(self) -> tuple[BatchEmbeddings, Tensor]:
        """Do the first pass; return the batch's embeddings [B, D], leaves of the loss's graph, and its labels [B]."""
        outputs, labels = [], []
        with torch.no_grad(), _frozen_statistics(self.trunk):
            for piece in self.pieces:
                self.states.append(self._random_state())
                query, reference, label = self.prepare(*piece)
                outputs.append(self.embed_piece(query, reference).of_pairs())
                labels.append(label)
        self.samples = len(labels[0]) // len(self.pieces[0][2])  # 2 where twins were made
        self.whole = BatchEmbeddings(*map(self._leaf, zip(*outputs)))
        return self.whole, _joined(labels, self.samples)

    def backward(self, synchronise: Synchronise) -> None:
        """Do the second pass: from the gradient of the embeddings to that of the parameters.

        Args:
            synchronise: gives the context of a piece; it is told whether this is the last one.
        """
        after = self._random_state()
        shares = [self._share(leaf) for leaf in self.whole]
        for number, (piece, state) in enumerate(zip(self.pieces, self.states)):
            self._set_random_state(state)
            with torch.no_grad():
                query, reference, _ = self.prepare(*piece)
            with synchronise(number + 1 == len(self.pieces)):
                outputs = self.embed_piece(query, reference)
                wanted = [(output, share[number]) for output, share in zip(outputs, shares) if share is not None]
                torch.autograd.backward(*zip(*wanted))
        self._set_random_state(after)

    def _leaf(self, parts: tuple[Tensor | None, ...]) -> Tensor | None:
        return None if parts[0] is None else _joined(parts, self.samples).requires_grad_()

    def _share(self, leaf: Tensor | None) -> list[Tensor] | None:
        """Return the gradient of a leaf, cut as the pieces are; None where the loss does not depend on it."""
        if leaf is None or leaf.grad is None:
            return None
        by_sample = leaf.grad.view(self.samples, -1, *leaf.shape[1:])
        return [part.flatten(0, 1) for part in by_sample.split([len(piece[2]) for piece in self.pieces], dim=1)]

    def _random_state(self) -> Any:
        return rng_state(), [generator.get_state() for generator in self.generators]

    def _set_random_state(self, state: Any) -> None:
        set_rng_state(state[0])
        for generator, own in zip(self.generators, state[1]):
            generator.set_state(own)


def _joined(parts: tuple[Tensor, ...] | list[Tensor], samples: int) -> Tensor:
    """Join pieces of [samples * b, ...] rows, all first samples before all twins, to the same for the whole batch."""
    return torch.cat([part.unflatten(0, (samples, -1)) for part in parts], dim=1).flatten(0, 1)


@contextlib.contextmanager
def _frozen_statistics(trunk: nn.Module) -> Iterator[None]:
    """Within the block, let batch normalisation in training leave its running statistics alone."""
    kind = nn.modules.batchnorm._BatchNorm
    moving = [m for m in trunk.modules() if isinstance(m, kind) and m.training and m.track_running_stats]
    for module in moving:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in moving:
            module.track_running_stats = True
