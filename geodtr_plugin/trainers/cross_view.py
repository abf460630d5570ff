"""The trainer for pairs of views: two-tower trunks, batch transforms on the device, mixed precision."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from pytorch_metric_learning.utils import common_functions as c_f

from ..utils.distributed import average_gradients, gather_objects, gather_rows, world_size
from .checkpoint import unwrapped
from .epoch_loop import EpochLoop
from .micro_batches import MicroBatches

if TYPE_CHECKING:
    from ..samplers import EmbeddingBank

PRECISIONS = {None: None, "fp32": None, "bf16": torch.bfloat16}  # what the trunk is autocast to
VIEWS = ("query", "reference")
OUTPUTS = (*VIEWS, *(f"{view}_cf" for view in VIEWS))


class CrossViewTrainer(EpochLoop):
    """PML's ``TwoStreamMetricLoss`` for two kinds of image of one place, such as a panorama and an aerial tile.

    A batch goes: loader -> device -> ``batch_transform`` -> trunk -> embedder -> miner -> losses. Items of the data
    set are ``(query, reference, place)``. A trunk with ``encode_query`` (a two-tower model) embeds both views in one
    call ``trunk(query, reference, counterfactual=...)``; any other is PML's: one network for both.

    An optimizer with a true ``needs_closure`` (``utils.asam.ASAM``) gets ``step(closure)``: the closure computes loss
    and gradient of the same batch, augmentation included, once more.

    The losses see ``loss(query, labels, indices_tuple, ref_emb=reference, ref_labels=labels)``, embeddings in at
    least fp32. ``mining_funcs`` may be empty or hold None: then the loss takes all pairs or triplets of the batch.
    ``loss_funcs`` may hold a ``"counterfactual_loss"``, which is called as ``cf(embeddings, ref_emb=counterfactual)``
    for each view and averaged over the two. Losses that ``loss_weights`` does not name weigh 1.

    Args:
        *args: see ``BaseTrainer``; every keyword of PML works.
        batch_transform: ``(query, reference, labels) -> (query, reference, labels)`` on the device and without
            gradient, for instance ``augmentations.BatchTransform``. It may change the number of rows. A module is
            moved to the device.
        precision: ``"fp32"`` or ``"bf16"`` (autocast of the trunk alone); by default fp32.
        max_grad_norm: clip the norm of the gradient of all trunk parameters together to this.
        max_grad_value: clip every entry of the gradient to this, before the norm is taken.
        micro_batch: pairs that the network holds activations of at once (gradient caching, see :class:`MicroBatches`):
            the step of a batch of any size in the memory of so many pairs, for one more forward pass.
        bank: an ``EmbeddingBank`` that keeps the embeddings of every pair as training saw them last, for samplers that
            look for pairs that are hard to tell apart. Twins are not kept.
        **kwargs: see :class:`EpochLoop` and ``BaseTrainer``.
    """

    def __init__(
        self,
        *args: Any,
        batch_transform: Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]] | None = None,
        precision: str | None = None,
        max_grad_norm: float | None = None,
        max_grad_value: float | None = None,
        micro_batch: int | None = None,
        bank: EmbeddingBank | None = None,
        **kwargs: Any,
    ):
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be 'fp32' or 'bf16', not {precision!r}.")
        self.batch_transform = batch_transform
        self.precision = precision
        self.max_grad_norm = max_grad_norm
        self.max_grad_value = max_grad_value
        if micro_batch is not None and micro_batch < 1:
            raise ValueError(f"micro_batch counts pairs and must be at least 1, not {micro_batch}.")
        self.micro_batch = micro_batch
        self.bank = bank
        self.labels_distinct = False  # of the current batch
        super().__init__(*args, **kwargs)
        if isinstance(batch_transform, torch.nn.Module):  # left elsewhere, it would take every batch with it
            batch_transform.to(self.data_device)
        if micro_batch and any(getattr(o, "needs_closure", False) for o in self.optimizers.values()):
            raise ValueError("An optimizer of two passes cannot be combined with micro_batch; leave one of them out.")
        self.mining_funcs = {name: miner for name, miner in self.mining_funcs.items() if miner is not None}

    def custom_setup(self) -> None:
        """Give every loss without a weight the weight 1."""
        if self.loss_weights is None:
            self.loss_weights = {}
        for name in self.loss_names:  # in the dict that was given: a schedule of weights may hold on to it
            self.loss_weights.setdefault(name, 1)

    def modify_schema(self) -> None:
        """Allow a counterfactual loss, and warn of neither that nor an embedder where there is none."""
        super().modify_schema()
        self.schema["models"].important = []
        self.schema["loss_funcs"].keys = [*self.schema["loss_funcs"].keys, "counterfactual_loss"]
        self.schema["loss_funcs"].important = ["metric_loss"]

    def calculate_loss(self, curr_batch: tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        """Fill ``self.losses`` for one batch ``((query, reference), labels)`` of the loader."""
        (query, reference), labels = curr_batch
        self.labels_distinct = self._surely_distinct(labels)
        small = self.micro_batch is None or len(labels) <= self.micro_batch
        self.loaded = [x.to(self.data_device, non_blocking=True) for x in (query, reference, labels)]
        self.prepared = self.prepare(*self.loaded) if small else None
        embeddings = self.compute_losses()
        if self.bank is not None:
            own = slice(len(self.batch_rows))  # twins come after all first samples
            pair = (gather_rows(view[own].detach()) for view in (embeddings.query, embeddings.reference))
            self.bank.write(self.batch_rows if world_size() == 1 else sum(gather_objects(self.batch_rows), []), *pair)

    def compute_losses(self) -> Any:
        """Fill ``self.losses`` for the batch; returns this process's embeddings, as :meth:`embed` does."""
        embeddings, labels = self.embed_batch()
        everyone = SimpleNamespace(**{name: _gathered(getattr(embeddings, name)) for name in OUTPUTS})
        labels = gather_rows(labels)
        pair = (everyone.query, everyone.reference)
        indices_tuple = self.maybe_mine_embeddings(pair, labels)
        self.losses["metric_loss"] = self.maybe_get_metric_loss(pair, labels, indices_tuple)
        if self.wants_counterfactual():
            self.losses["counterfactual_loss"] = self.get_counterfactual_loss(everyone)
        return embeddings

    def embed_batch(self) -> tuple[Any, torch.Tensor]:
        """Embeddings and labels of the batch: in one pass, or piece by piece without activations."""
        if self.prepared is not None:
            query, reference, labels = self.prepared
            return self.embed(query, reference), labels
        trunk = unwrapped(self.models["trunk"])
        self.pieces = MicroBatches(
            self.loaded, self.micro_batch, self.prepare, self.embed, trunk, self.batch_transform
        )
        return self.pieces.embed()

    def backward(self) -> None:
        """PML's, and the second pass over the pieces of a batch."""
        super().backward()
        if self.prepared is None:
            self.pieces.backward(self._synchronised)

    def _synchronised(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        """Processes exchange gradients once a step, with the last piece."""
        trunk = self.models["trunk"]
        return contextlib.nullcontext() if last or not hasattr(trunk, "no_sync") else trunk.no_sync()

    def step_optimizers(self) -> None:
        """PML's, but optimizers of two passes get the closure for the second; the losses shown are the first's."""
        for name, optimizer in self.optimizers.items():
            if name.removesuffix("_optimizer") not in self.freeze_these:
                optimizer.step(*([self.second_pass] if getattr(optimizer, "needs_closure", False) else []))

    def second_pass(self) -> torch.Tensor:
        """Loss and gradient of the prepared batch at the parameters as they are now."""
        shown = dict(self.losses)
        self.zero_losses()
        self.zero_grad()
        with torch.enable_grad():
            self.compute_losses()
            self.loss_tracker.update(self.loss_weights)
            self.backward()
        self.clip_gradients()
        loss = self.losses["total_loss"].detach()
        self.losses.update(shown)
        return loss

    def prepare(
        self, query: torch.Tensor, reference: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Bring a batch to the device, and through the batch transform."""
        query, reference, labels = (x.to(self.data_device, non_blocking=True) for x in (query, reference, labels))
        if self.batch_transform is None:
            return query, reference, labels
        with torch.no_grad():
            return self.batch_transform(query, reference, labels)

    def embed(self, query: torch.Tensor, reference: torch.Tensor) -> Any:
        """Embed both views.

        Args:
            query, reference: images ``[B, 3, H, W]`` on the device; the views may differ in size.

        Returns:
            An object with ``query``, ``reference``, ``query_cf`` and ``reference_cf``: ``[B, D]`` each, fp32 or
            wider; the last two are None unless there is a counterfactual loss.
        """
        trunk = self.models["trunk"]
        if not hasattr(unwrapped(trunk), "encode_query"):
            embeddings = {view: self.compute_embeddings(x) for view, x in zip(VIEWS, (query, reference))}
            return SimpleNamespace(**embeddings, query_cf=None, reference_cf=None)
        query, reference = self._as_trunk_input(query), self._as_trunk_input(reference)
        with self.autocast():
            outputs = trunk(query, reference, counterfactual=self.wants_counterfactual())
        return SimpleNamespace(**{name: self._final(getattr(outputs, name, None)) for name in OUTPUTS})

    def get_trunk_output(self, data: torch.Tensor) -> torch.Tensor:
        """PML's, in the precision of the trunk; the output is fp32 or wider."""
        data = self._as_trunk_input(data)
        with self.autocast():
            output = self.models["trunk"](data)
        return _at_least_fp32(output)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which the trunk runs."""
        dtype = PRECISIONS[self.precision]
        if dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.data_device).type, dtype=dtype)

    def maybe_mine_embeddings(self, embeddings: tuple[torch.Tensor, torch.Tensor], labels: torch.Tensor) -> Any:
        """Indices into (query, reference) from the miner, or None, which leaves the choice to the loss."""
        if "tuple_miner" not in self.mining_funcs:
            return None
        return super().maybe_mine_embeddings(embeddings, labels)

    def maybe_get_metric_loss(
        self, embeddings: tuple[torch.Tensor, torch.Tensor], labels: torch.Tensor, indices_tuple: Any
    ) -> torch.Tensor | float:
        """The metric loss between the views, or 0 where its weight is 0."""
        if not self.loss_weights.get("metric_loss", 0) > 0:
            return 0
        query, reference = embeddings
        loss, known = self.loss_funcs["metric_loss"], contextlib.nullcontext
        if self.labels_distinct:
            known = getattr(loss, "paired_by_row", known)
        # PML takes labels that are the same tensor for one set compared with itself, and drops the true pairs
        with known():
            return loss(query, labels, indices_tuple, ref_emb=reference, ref_labels=labels.clone())

    def _surely_distinct(self, labels: torch.Tensor) -> bool:
        """Whether the host knows that no two rows of the loss will have one label; asking the device makes it wait."""
        kept = self.batch_transform is None or getattr(self.batch_transform, "keeps_labels_distinct", False)
        if world_size() > 1 or labels.device.type != "cpu" or not kept:
            return False
        return len(labels.unique()) == len(labels)

    def wants_counterfactual(self) -> bool:
        """Whether there is a counterfactual loss that counts."""
        return "counterfactual_loss" in self.loss_funcs and self.loss_weights["counterfactual_loss"] > 0

    def get_counterfactual_loss(self, embeddings: Any) -> torch.Tensor:
        """The mean over both views of the loss between embeddings and their counterfactuals."""
        if embeddings.query_cf is None or embeddings.reference_cf is None:
            raise ValueError(
                "There is a counterfactual_loss, but the trunk gives no counterfactual embeddings; "
                "leave the loss out, or use a two-tower trunk that fills query_cf and reference_cf."
            )
        loss = self.loss_funcs["counterfactual_loss"]
        of_query = loss(embeddings.query, ref_emb=embeddings.query_cf)
        return (of_query + loss(embeddings.reference, ref_emb=embeddings.reference_cf)) / 2

    def clip_gradients(self) -> None:
        """PML's clippers, then ours; the norm before clipping is left on the device as ``grad_norm``."""
        super().clip_gradients()
        parameters = list(self.models["trunk"].parameters())
        average_gradients(p for loss in self.loss_funcs.values() for p in loss.parameters())
        if self.max_grad_value is not None:
            torch.nn.utils.clip_grad_value_(parameters, self.max_grad_value)
        limit = math.inf if self.max_grad_norm is None else self.max_grad_norm  # infinity changes no gradient
        self.grad_norm = torch.nn.utils.clip_grad_norm_(parameters, limit)

    def _as_trunk_input(self, data: torch.Tensor) -> torch.Tensor:
        # outside autocast, within which PML does not apply its dtype
        return c_f.to_device(data, device=self.data_device, dtype=self.dtype)

    def _final(self, output: torch.Tensor | None) -> torch.Tensor | None:
        return None if output is None else self.get_final_embeddings(_at_least_fp32(output))


def _gathered(rows: torch.Tensor | None) -> torch.Tensor | None:
    return None if rows is None else gather_rows(rows)


def _at_least_fp32(x: torch.Tensor) -> torch.Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
