"""The gradient of two processes is that of one with the same batch, whatever the loss."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from recorded_batches import record_batches
from torch.nn.parallel import DistributedDataParallel

from geodtr_plugin import CounterfactualLoss, SoftMarginTripletLoss
from geodtr_plugin.losses import InfoNCELoss
from geodtr_plugin.trainers import CrossViewTrainer
from geodtr_plugin.utils import distributed

BATCH, STEPS = 12, 2


class Pairs(torch.utils.data.Dataset):
    """Pairs of vectors that share a hidden part."""

    def __init__(self):
        generator = torch.Generator().manual_seed(5)
        self.query = torch.randn(24, 6, generator=generator)
        self.reference = self.query + 0.1 * torch.randn(24, 6, generator=generator)

    def __len__(self):
        return 24

    def __getitem__(self, index):
        return self.query[index], self.reference[index], 100 + index


class Towers(torch.nn.Module):
    """Two linear towers; the counterfactual embeddings come from a third layer."""

    def __init__(self):
        super().__init__()
        self.query, self.reference, self.other = (torch.nn.Linear(6, 8) for _ in range(3))

    def encode_query(self, x):
        return torch.nn.functional.normalize(self.query(x))

    def forward(self, query=None, reference=None, counterfactual=False):
        from types import SimpleNamespace

        q, r = self.encode_query(query), torch.nn.functional.normalize(self.reference(reference))
        cf = [torch.nn.functional.normalize(self.other(x)) if counterfactual else None for x in (query, reference)]
        return SimpleNamespace(query=q, reference=r, query_cf=cf[0], reference_cf=cf[1])


def twins(query, reference, labels):
    return query.repeat(2, 1), reference.repeat(2, 1).flip(1), torch.cat([2 * labels, 2 * labels + 1])


def train(number: int, world: int, folder: str, kind: str, micro_batch: int | None) -> None:
    """Two steps in process `number` of `world`; the first one leaves losses, gradients and embeddings in a file."""
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=world)
    torch.manual_seed(0)
    trunk = Towers()
    losses = {"soft": SoftMarginTripletLoss(), "nce": InfoNCELoss(learn_temperature=True, label_smoothing=0.1)}
    functions = {"metric_loss": losses[kind], "counterfactual_loss": CounterfactualLoss()}
    learned = [*trunk.parameters(), *functions["metric_loss"].parameters()]
    seen = []

    def note(trainer):
        gradients = torch.cat([p.grad.flatten() for p in learned])
        seen.append((float(trainer.losses["total_loss"]), gradients.clone()))

    trainer = CrossViewTrainer(
        {"trunk": DistributedDataParallel(trunk) if world > 1 else trunk},
        {"trunk_optimizer": torch.optim.SGD(learned, lr=0.1)},
        BATCH, functions, Pairs(), dataloader_num_workers=0, data_device=torch.device("cpu"), progress=False,
        iterations_per_epoch=STEPS, batch_transform=twins, micro_batch=micro_batch, end_of_iteration_hook=note,
    )  # fmt: skip
    batches = record_batches(trainer)
    trainer.train()
    assert all(len(batch.rows) == len(batch.labels) == BATCH // world for batch in batches)
    torch.save(seen, f"{folder}/{world}-{number}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("kind, micro_batch", [("nce", None), ("soft", 2)])
def test_gradients_equal_those_of_one_process(kind, micro_batch, tmp_path):
    train(0, 1, str(tmp_path), kind, micro_batch)
    mp.spawn(train, (2, str(tmp_path), kind, micro_batch), nprocs=2)
    alone = torch.load(tmp_path / "1-0.pt")
    for number in range(2):
        together = torch.load(Path(tmp_path) / f"2-{number}.pt")
        for (loss, gradient), (loss_of_two, gradient_of_two) in zip(alone, together):
            assert loss_of_two == pytest.approx(loss, rel=1e-5)
            cosine = torch.nn.functional.cosine_similarity(gradient, gradient_of_two, dim=0)
            assert cosine == pytest.approx(1, abs=1e-5)
            assert gradient_of_two.norm() / gradient.norm() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("count, world, lengths", [(10, 4, [2, 3, 2, 3]), (8, 2, [4, 4]), (2, 3, [0, 1, 1])])
def test_shards_are_consecutive_and_complete(count, world, lengths, monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: world)
    parts = [distributed.shard(count, of=number) for number in range(world)]
    assert [row for part in parts for row in part] == list(range(count))
    assert [len(part) for part in parts] == lengths
