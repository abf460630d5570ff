"""Objectives see the batch as the network got it, in one forward call, in one process or several."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from geodtr_plugin import CounterfactualLoss, SoftMarginTripletLoss
from geodtr_plugin.augmentations import BatchTransform, ImageTransform
from geodtr_plugin.losses import Objective, OffsetObjective, OverlapObjective
from geodtr_plugin.miners import CHSG
from geodtr_plugin.trainers import CrossViewTrainer
from geodtr_plugin.trainers.asam import ASAM
from geodtr_plugin.utils import distributed
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.pair_data import OFFSET, SEMI_POSITIVE, SEMI_POSITIVE_OFFSET

Embeddings = namedtuple("Embeddings", "query reference query_cf reference_cf extras", defaults=(None, None, None))
BATCH, SIDE = 4, 8


class Pairs(torch.utils.data.Dataset):
    """Images of noise whose offset and semi-positive follow from the row."""

    def __init__(self, size=12):
        generator = torch.Generator().manual_seed(5)
        self.query, self.reference, self.other = (
            torch.randint(0, 256, (size, 3, SIDE, SIDE), generator=generator).to(torch.uint8) for _ in range(3)
        )
        self.offsets = torch.rand(size, 2, 2, generator=generator) / 2 - 0.25

    def __len__(self):
        return len(self.query)

    def __getitem__(self, i):
        near, far = self.offsets[i]
        data = {OFFSET: near, SEMI_POSITIVE: self.other[i], SEMI_POSITIVE_OFFSET: far}
        return self.query[i], self.reference[i], 100 + i, data


class Towers(torch.nn.Module):
    """Two linear towers, and a head that sees the pairs; notes what it was called with."""

    def __init__(self):
        super().__init__()
        self.query, self.reference = (torch.nn.Linear(3 * SIDE * SIDE, 8) for _ in range(2))
        self.head = torch.nn.Linear(16, 2)
        self.calls = []

    def encode_query(self, x):
        return torch.nn.functional.normalize(self.query(x.flatten(1)))

    def forward(self, query=None, reference=None, counterfactual=False):
        self.calls.append((len(query), len(reference)))
        q, r = self.encode_query(query), torch.nn.functional.normalize(self.reference(reference.flatten(1)))
        cf = (q.flip(1), r.flip(1)) if counterfactual else (None, None)
        return Embeddings(q, r, *cf, {OFFSET: self.head(torch.cat([q, r[: len(q)]], dim=1))})


class Spy(Objective):
    """An objective that keeps what it saw, and pulls semi-positives to their queries."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, batch, embeddings):
        self.seen.append((batch, embeddings))
        return (1 - (embeddings.query * embeddings.semi_positive).sum(1)).mean()


def build(variant="raw", trunk=None, optimizer=None, dataset=None, **kwargs):
    torch.manual_seed(0)
    trunk = Towers() if trunk is None else trunk
    parameters = list(trunk.parameters())
    losses = kwargs.pop("losses", {"overlap": OverlapObjective(), "offset": OffsetObjective("head")})
    view = ImageTransform(SIDE, SIDE)
    settings = dict(
        dataloader_num_workers=0, data_device=torch.device("cpu"), progress=False, iterations_per_epoch=2,
        batch_transform=BatchTransform(view, view, CHSG.variant(variant)),
    )  # fmt: skip
    return CrossViewTrainer(
        {"trunk": trunk},
        {"trunk_optimizer": torch.optim.SGD(parameters, lr=0.1) if optimizer is None else optimizer(parameters)},
        BATCH, {"metric_loss": SoftMarginTripletLoss(), **losses}, Pairs() if dataset is None else dataset,
        **{**settings, **kwargs},
    )  # fmt: skip


@pytest.mark.parametrize("variant, rows", [("raw", 4), ("l", 8)])
def test_an_objective_sees_the_batch_of_the_one_forward_call(variant, rows):
    spy, trunk = Spy(), Towers()
    trainer = build(variant, trunk, losses={"spy": spy}, iterations_per_epoch=1)
    trainer.train()
    assert trunk.calls == [(rows, 2 * rows)]
    ((batch, embeddings),) = spy.seen
    assert len(batch.query) == len(batch.labels) == len(batch.rows) == len(embeddings.reference) == rows
    assert embeddings.semi_positive.shape == embeddings.reference.shape and len(embeddings.extras[OFFSET]) == rows
    for row, near in zip(batch.rows, batch.data[OFFSET]):
        assert torch.equal(near, trainer.dataset.offsets[row, 0])
    if variant == "raw":
        assert batch.layouts is None
        expected = trainer.batch_transform.reference(trainer.dataset.other[batch.rows])
        assert torch.equal(batch.semi_positive, expected)
    else:
        assert batch.rows[:4] == batch.rows[4:] and batch.layouts.shape == (8,)
        expected = trainer.batch_transform.reference(trainer.dataset.other[batch.rows])
        torch.testing.assert_close(
            batch.semi_positive, trainer.batch_transform.augment.layout.turn_aerial(expected, batch.layouts)
        )


def test_objectives_stand_among_the_losses_with_their_weights():
    seen = []
    trainer = build(loss_weights={"overlap": 0.5}, end_of_iteration_hook=lambda t: seen.append(dict(t.losses)))
    trainer.train()
    for losses in seen:
        assert losses["total_loss"].item() == pytest.approx(sum(losses[name].item() for name in losses) / 2, rel=1e-5)
    assert set(trainer.epoch_losses) == {"metric_loss", "overlap", "offset", "total_loss"}
    off = build(loss_weights={"overlap": 0, "offset": 0})
    off.train()
    assert off.epoch_losses["overlap"] == off.epoch_losses["offset"] == 0


def test_semi_positives_are_no_references_of_other_losses():
    trunk, sizes = Towers(), []

    class Watched(SoftMarginTripletLoss):
        def forward(self, embeddings, labels, indices_tuple=None, ref_emb=None, ref_labels=None):
            sizes.append((len(embeddings), len(ref_emb), len(labels)))
            return super().forward(embeddings, labels, indices_tuple, ref_emb, ref_labels)

    losses = {"overlap": OverlapObjective(), "metric_loss": Watched(), "counterfactual_loss": CounterfactualLoss()}
    build(trunk=trunk, losses=losses).train()
    assert sizes == [(4, 4, 4)] * 2 and trunk.calls == [(4, 8)] * 2


def test_the_second_pass_of_asam_computes_them_anew():
    spy = Spy()
    build("l", losses={"spy": spy}, optimizer=lambda p: ASAM(torch.optim.SGD(p, lr=0.1), 0.5)).train()
    assert len(spy.seen) == 4
    for (first, one), (second, other) in zip(spy.seen[::2], spy.seen[1::2]):
        assert first is second and not torch.equal(one.query, other.query)


def test_gradient_caching_is_refused():
    with pytest.raises(UserError, match="overlap, offset see the batch.*--micro-batch"):
        build(micro_batch=2)
    build(losses={}, micro_batch=2).train()


def test_a_batch_transform_that_tells_no_layouts_is_refused():
    with pytest.raises(TypeError, match="a method `samples`"):
        build(batch_transform=lambda *batch: batch).train()


def test_further_data_are_passed_over_where_nobody_asks():
    trunk = Towers()
    build(trunk=trunk, losses={}).train()
    assert trunk.calls == [(4, 4)] * 2


def train(number: int, world: int, folder: str) -> None:
    """Two steps in process `number` of `world`; losses and gradients of each go to a file."""
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=world)
    torch.manual_seed(0)
    trunk, seen = Towers(), []

    def note(trainer):
        gradients = torch.cat([p.grad.flatten() for p in trunk.parameters()])
        seen.append(({name: float(loss) for name, loss in trainer.losses.items()}, gradients.clone()))

    wrapped = DistributedDataParallel(trunk) if world > 1 else trunk
    build(trunk=wrapped, end_of_iteration_hook=note).train()
    torch.save(seen, f"{folder}/{world}-{number}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    train(0, 1, str(tmp_path))
    mp.start_processes(train, (2, str(tmp_path)), nprocs=2, start_method="fork")  # imports nothing anew
    alone = torch.load(tmp_path / "1-0.pt")
    assert all(losses["overlap"] > 0 and losses["offset"] > 0 for losses, _ in alone)
    for number in range(2):
        for (losses, gradient), (of_two, gradient_of_two) in zip(alone, torch.load(Path(tmp_path) / f"2-{number}.pt")):
            assert of_two == pytest.approx(losses, rel=1e-5)
            torch.testing.assert_close(gradient_of_two, gradient, rtol=1e-4, atol=1e-6)
