"""The trainer for pairs of images: two-tower trunks, batch transforms on the device, mixed precision."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..losses import NetworkBatch, Objective
from ..utils.distributed import average_gradients, gather_rows
from ..utils.errors import UserError
from ..utils.precision import at_least_float32, autocast, check_precision
from .batches import Batch, BatchEmbeddings, WholeBatch, write_bank
from .checkpoint import unwrapped
from .epoch_loop import EpochLoop
from .freeze import rest
from .micro_batches import MicroBatches
from .objectives import mean_of_processes, network_batch
from .own_step import OwnStep, expect_parts, take_own_step

if TYPE_CHECKING:
    from ..samplers import EmbeddingBank
    from .ema import WeightAverage


class CrossViewTrainer(EpochLoop):
    """Train as PML's `TwoStreamMetricLoss`, for two kinds of image of one place: a panorama and an aerial tile.

    A batch goes: loader -> device -> `batch_transform` -> trunk -> embedder -> miner -> losses. Items of the data set
    are `(query, reference, place)`. A trunk with `encode_query` (a two-tower model) embeds both images in one call
    `trunk(query, reference, counterfactual=...)`; any other is PML's: one network for both.

    An optimizer with a true `needs_closure` (`trainers.asam.ASAM`) gets `step(closure)`: the closure computes loss and
    gradient of the same batch, augmented as before, once more.

    The losses see `loss(query, labels, indices_tuple, ref_emb=reference, ref_labels=labels)`, embeddings in at least
    float32. `mining_funcs` may be empty or hold None: then the loss takes all pairs or triplets of the batch.
    `loss_funcs` may hold a `"counterfactual_loss"`, which is called as `cf(embeddings, ref_emb=counterfactual)` for
    each role and averaged over the two. Losses that `loss_weights` does not name weigh 1. Those that are
    `losses.Objective`s, by any other name, are called with the batch as the network got it and its embeddings.

    Args:
        *args: see `BaseTrainer`; every keyword of PML works.
        batch_transform: `(query, reference, labels) -> (query, reference, labels)` on the device and without gradient,
            for instance `augmentations.BatchTransform`. It may change the number of rows. A module is moved to the
            device.
        precision: "fp32" or "bf16" (autocast of the trunk alone); by default fp32.
        max_grad_norm: clip the norm of the gradient of all trunk parameters together to this.
        max_grad_value: clip every entry of the gradient to this, before the norm is taken.
        micro_batch: pairs that the network holds activations of at once (gradient caching, see `MicroBatches`): the
            step of a batch of any size in the memory of so many pairs, for one more forward pass.
        average: a `WeightAverage` of the trunk, which takes in the weights after each step.
        frozen: names of parts of the trunk that stay in evaluation mode, see `trainers.freeze`.
        bank: an `EmbeddingBank` that keeps the embeddings of every pair as training saw them last, for samplers that
            look for pairs that are hard to tell apart. Twins are not kept.
        own_step: the method's own step, in which optimizers take turns; there is one for each of its `parts`.
        **kwargs: see `EpochLoop` and `BaseTrainer`.

    Raises:
        ValueError: an argument is out of its range.
        UserError: `micro_batch` comes with an optimizer of two passes, or with objectives.
    """

    loss_weights: dict[str, float]
    mining_funcs: dict[str, Any]

    def __init__(
        self,
        *args: Any,
        batch_transform: Callable[..., tuple[Tensor, Tensor, Tensor]] | None = None,
        precision: str | None = None,
        max_grad_norm: float | None = None,
        max_grad_value: float | None = None,
        micro_batch: int | None = None,
        bank: EmbeddingBank | None = None,
        average: WeightAverage | None = None,
        frozen: tuple[str, ...] = (),
        own_step: OwnStep | None = None,
        **kwargs: Any,
    ):
        self.precision = check_precision("fp32" if precision is None else precision)
        if micro_batch is not None and micro_batch < 1:
            raise ValueError(f"micro_batch counts pairs and must be at least 1, not {micro_batch}.")
        self.batch_transform, self.bank, self.average, self.frozen = batch_transform, bank, average, frozen
        self.own_step: Any = own_step  # one OwnStep, or None
        self.max_grad_norm, self.max_grad_value, self.micro_batch = max_grad_norm, max_grad_value, micro_batch
        super().__init__(*args, **kwargs)
        if micro_batch and self.objectives:
            raise UserError(
                f"The objectives {', '.join(self.objectives)} see the batch as the network got it and what its heads "
                "say, which gradient caching does not keep.",
                "Leave out --micro-batch, or the objectives, with a weight of 0 in --loss.objectives.",
            )
        if isinstance(batch_transform, torch.nn.Module):
            batch_transform.to(self.data_device)
        if micro_batch and any(getattr(o, "needs_closure", False) for o in self.optimizers.values()):
            raise UserError(
                "An optimizer of two passes, such as ASAM's, cannot be combined with --micro-batch.",
                "Leave one of them out.",
            )
        self.mining_funcs = {name: miner for name, miner in self.mining_funcs.items() if miner is not None}

    def custom_setup(self) -> None:
        """Name the losses of the method's own step, and give every loss without a weight the weight 1."""
        self.loss_names += self.own_step.losses if self.own_step else ()
        if self.loss_weights is None:
            self.loss_weights = {}
        for name in self.loss_names:  # in the dict that was given: a schedule of weights may hold on to it
            self.loss_weights.setdefault(name, 1)

    def set_to_train(self) -> None:
        """Put everything in training mode but the frozen parts."""
        super().set_to_train()
        rest(unwrapped(self.models["trunk"]), self.frozen)

    def modify_schema(self) -> None:
        """Allow a counterfactual loss, and warn of neither that nor an embedder where there is none."""
        super().modify_schema()
        self.schema["models"].important = []
        self.schema["loss_funcs"].keys = [*self.schema["loss_funcs"].keys, "counterfactual_loss", *self.objectives]
        self.schema["loss_funcs"].important = ["metric_loss"]
        if self.own_step is not None:
            expect_parts(self.own_step, self)

    @property
    def objectives(self) -> dict[str, Objective]:
        """The losses that see the whole batch."""
        return {name: loss for name, loss in self.loss_funcs.items() if isinstance(loss, Objective)}

    def forward_and_backward(self) -> Batch:
        """Do one step, and return its batch as it was loaded."""
        batch = self.load_batch()
        self.update_loss_weights()
        embeddings = self.step_on(batch) if self.own_step is None else take_own_step(self, batch)
        if self.bank is not None:
            write_bank(self.bank, batch, embeddings)
        if self.average is not None:
            self.average.update(unwrapped(self.models["trunk"]))
        return batch

    def step_on(self, batch: Batch) -> BatchEmbeddings:
        """Do one step on a batch, and return this process's embeddings."""
        if self.micro_batch is None or len(batch.labels) <= self.micro_batch:
            step: WholeBatch | MicroBatches = self.whole_batch(batch)
        else:
            trunk = unwrapped(self.models["trunk"])
            step = MicroBatches(batch[:3], self.micro_batch, self.prepare, self.embed, trunk, self.batch_transform)
        embeddings = self.loss_and_gradient(step)
        self.step_optimizers(lambda: self.second_pass(step))
        return embeddings

    def loss_and_gradient(self, step: WholeBatch | MicroBatches) -> BatchEmbeddings:
        """Fill `self.losses` and the gradients for a batch, clip these, and return this process's embeddings."""
        self.zero_losses()
        self.zero_grad()
        embeddings = self.embed_and_compute(step)
        self.loss_tracker.update(self.loss_weights)
        self.backward()
        step.backward(self._synchronised)
        self.clip_gradients()
        return embeddings

    def calculate_loss(self, curr_batch: tuple[tuple[Tensor, Tensor], Tensor]) -> None:
        """Fill `self.losses` for one batch of `get_batch`: images `[B, 3, H, W]` and labels `[B]`; called by PML."""
        (query, reference), labels = curr_batch
        query, reference, labels = self.to_device(query, reference, labels)
        self.embed_and_compute(self.whole_batch(Batch(query, reference, labels, [None] * len(labels))))

    def whole_batch(self, batch: Batch) -> WholeBatch:
        """Send a batch through the batch transform, with what objectives see where there are such."""
        if self.objectives:
            return WholeBatch(network_batch(batch, self.batch_transform), self.embed)
        return WholeBatch(NetworkBatch(*self.prepare(*batch[:3]), batch.rows, None, {}), self.embed)

    def embed_and_compute(self, step: WholeBatch | MicroBatches) -> BatchEmbeddings:
        """Fill `self.losses` for a batch, and return this process's embeddings."""
        embeddings, labels = step.embed()
        self.compute_losses(embeddings, labels)
        for name, objective in self.objectives.items():
            if self.loss_weights[name] > 0 and isinstance(step, WholeBatch):
                self.losses[name] = mean_of_processes(objective(step.prepared, embeddings))
        return embeddings

    def compute_losses(self, embeddings: BatchEmbeddings, labels: Tensor) -> None:
        """Fill `self.losses` from this process's embeddings [B, D] and labels [B]."""
        everyone, labels = embeddings.gathered(), gather_rows(labels)
        pair = (everyone.query, everyone.reference)
        indices_tuple = self.maybe_mine_embeddings(pair, labels)
        self.losses["metric_loss"] = self.maybe_get_metric_loss(pair, labels, indices_tuple)
        if self.wants_counterfactual():
            self.losses["counterfactual_loss"] = self.get_counterfactual_loss(everyone)

    def second_pass(self, step: WholeBatch | MicroBatches) -> Tensor:
        """Return the loss [] at the parameters as they are now, and compute its gradient; `losses` stay."""
        first = dict(self.losses)
        with torch.enable_grad():
            self.loss_and_gradient(step)
        loss = self.losses["total_loss"].detach()
        self.losses.update(first)
        return loss

    def step_optimizers(self, second_pass: Callable[[], Tensor] | None = None) -> None:
        """Step as PML does; optimizers of two passes get the closure, which returns a loss []."""
        for name, optimizer in self.optimizers.items():
            if name.removesuffix("_optimizer") not in self.freeze_these:
                optimizer.step(*([second_pass] if getattr(optimizer, "needs_closure", False) else []))

    def prepare(self, query: Tensor, reference: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Send a batch on the device, images [B, 3, H, W] and labels [B], through the batch transform."""
        if self.batch_transform is None:
            return query, reference, labels
        with torch.no_grad():
            return self.batch_transform(query, reference, labels)

    def embed(self, query: Tensor, reference: Tensor) -> BatchEmbeddings:
        """Embed both roles: images [B, 3, H, W] on the device, whose sizes may differ between the roles."""
        trunk = self.models["trunk"]
        if not hasattr(unwrapped(trunk), "encode_query"):
            return BatchEmbeddings(self.compute_embeddings(query), self.compute_embeddings(reference))
        query, reference = self._in_dtype(query), self._in_dtype(reference)
        with autocast(self.precision, self.data_device):
            outputs = trunk(query, reference, counterfactual=self.wants_counterfactual())
        roles = (getattr(outputs, name, None) for name in ("query", "reference", "query_cf", "reference_cf"))
        extras = getattr(outputs, "extras", None) or {}
        heads = {name: at_least_float32(values) for name, values in extras.items()}
        found = BatchEmbeddings(*(None if role is None else self._final(role) for role in roles))
        return found._replace(extras=heads)

    def get_trunk_output(self, data: Tensor) -> Tensor:
        """Return the trunk's output [B, D] for images [B, 3, H, W] in the trunk's precision, as float32 or wider."""
        data = self._in_dtype(data.to(self.data_device))
        with autocast(self.precision, self.data_device):
            output = self.models["trunk"](data)
        return at_least_float32(output)

    def maybe_mine_embeddings(self, embeddings: tuple[Tensor, Tensor], labels: Tensor) -> Any:
        """Return the miner's indices into (query, reference), [B, D] each; None leaves the choice to the loss."""
        if "tuple_miner" not in self.mining_funcs:
            return None
        return super().maybe_mine_embeddings(embeddings, labels)

    def maybe_get_metric_loss(
        self, embeddings: tuple[Tensor, Tensor], labels: Tensor, indices_tuple: Any
    ) -> Tensor | float:
        """Return the metric loss between queries and references [B, D], or 0 where its weight is 0."""
        if not self.loss_weights.get("metric_loss", 0) > 0:
            return 0
        query, reference = embeddings
        # PML takes labels that are the same tensor for one set compared with itself, and drops the true pairs
        return self.loss_funcs["metric_loss"](
            query, labels, indices_tuple, ref_emb=reference, ref_labels=labels.clone()
        )

    def wants_counterfactual(self) -> bool:
        """Tell whether there is a counterfactual loss that counts."""
        return "counterfactual_loss" in self.loss_funcs and self.loss_weights["counterfactual_loss"] > 0

    def get_counterfactual_loss(self, embeddings: BatchEmbeddings) -> Tensor:
        """Return the mean over both roles of the loss between embeddings [B, D] and their counterfactuals.

        Raises:
            ValueError: the trunk gives no counterfactual embeddings.
        """
        if embeddings.query_cf is None or embeddings.reference_cf is None:
            raise ValueError(
                "There is a counterfactual_loss, but the trunk gives no counterfactual embeddings; "
                "leave the loss out, or use a two-tower trunk that fills query_cf and reference_cf."
            )
        loss = self.loss_funcs["counterfactual_loss"]
        of_query = loss(embeddings.query, ref_emb=embeddings.query_cf)
        return (of_query + loss(embeddings.reference, ref_emb=embeddings.reference_cf)) / 2

    def clip_gradients(self) -> None:
        """Clip as PML does, then by value and norm; the norm before clipping stays on the device as `grad_norm`."""
        super().clip_gradients()
        average_gradients(p for loss in self.loss_funcs.values() for p in loss.parameters())
        self.grad_norm = self.clip(list(self.models["trunk"].parameters()))

    def clip(self, parameters: list[Tensor]) -> Tensor:
        """Clip the gradients of some parameters by value and norm, and return the norm [] before that."""
        if self.max_grad_value is not None:
            torch.nn.utils.clip_grad_value_(parameters, self.max_grad_value)
        limit = math.inf if self.max_grad_norm is None else self.max_grad_norm  # infinity changes no gradient
        return torch.nn.utils.clip_grad_norm_(parameters, limit)

    def _in_dtype(self, data: Tensor) -> Tensor:
        # outside autocast, within which PML does not apply its dtype
        return data if self.dtype is None else data.to(self.dtype)

    def _final(self, output: Tensor) -> Tensor:
        return self.get_final_embeddings(at_least_float32(output))

    def _synchronised(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which processes exchange gradients once a step, with the last piece."""
        trunk = self.models["trunk"]
        return contextlib.nullcontext() if last or not hasattr(trunk, "no_sync") else trunk.no_sync()
