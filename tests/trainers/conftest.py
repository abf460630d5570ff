"""Small parts that the trainer's tests put together: pairs, trunks, and a trainer of them."""

from __future__ import annotations

from collections import namedtuple

import pytest
import torch
from pytorch_metric_learning.losses import TripletMarginLoss

from geodtr_plugin.trainers import CrossViewTrainer
from geodtr_plugin.trainers.optim import build_schedule

Embeddings = namedtuple("Embeddings", "query reference query_cf reference_cf")


class Pairs(torch.utils.data.Dataset):
    """Pairs of vectors that share a hidden part; ``noisy`` ones get fresh noise from the global generator."""

    def __init__(self, size=24, noisy=False):
        generator = torch.Generator().manual_seed(5)
        self.query = torch.randn(size, 6, generator=generator)
        self.reference = self.query + 0.1 * torch.randn(size, 6, generator=generator)
        self.noisy = noisy

    def __len__(self):
        return len(self.query)

    def __getitem__(self, index):
        query = self.query[index] + (torch.rand(6) if self.noisy else 0)
        return query, self.reference[index], 100 + index


class Towers(torch.nn.Module):
    """A two-tower trunk with dropout and batch norm; counts its calls."""

    def __init__(self):
        super().__init__()
        self.query = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.2))
        self.reference = torch.nn.Linear(6, 8)
        self.calls = []

    def encode_query(self, x):
        return torch.nn.functional.normalize(self.query(x))

    def forward(self, query=None, reference=None, counterfactual=False):
        self.calls.append(counterfactual)
        q, r = self.encode_query(query), torch.nn.functional.normalize(self.reference(reference))
        return Embeddings(q, r, *((q.flip(1), r.flip(1)) if counterfactual else (None, None)))


@pytest.fixture
def pairs():
    return Pairs


@pytest.fixture
def towers():
    return Towers


@pytest.fixture
def make_trainer():
    """Build a trainer with AdamW and a schedule; keywords override."""

    def build(trunk=None, seed=0, epochs=4, trainer=CrossViewTrainer, **kwargs):
        torch.manual_seed(seed)
        trunk = Towers() if trunk is None else trunk
        optimizer = torch.optim.AdamW(trunk.parameters(), lr=0.01)
        settings = {
            "models": {"trunk": trunk},
            "optimizers": {"trunk_optimizer": optimizer},
            "batch_size": 6,
            "loss_funcs": {"metric_loss": TripletMarginLoss()},
            "dataset": Pairs(),
            "lr_schedulers": build_schedule(
                "cosine", optimizer, epochs=epochs, steps_per_epoch=1, by="epoch", warmup_epochs=1
            ),
            "dataloader_num_workers": 0,
            "data_device": torch.device("cpu"),
            "progress": False,
            "seed": seed,
        }
        return trainer(**{**settings, **kwargs})

    return build


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
