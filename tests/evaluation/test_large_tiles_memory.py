"""What ranking in a GPU's large tiles holds in memory beside the embeddings, counted on the CPU."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

from geodtr_plugin.evaluation import rank_queries, ranking

N, SIZE, MOST = 2300, 3072, 64 * 2**20  # one tile and a bit, as long as GeoDTR+'s embeddings; bytes


class Held(TorchDispatchMode):
    """Count the bytes of the tensors that live at once, those aside that were there before."""

    def __init__(self, *before: torch.Tensor):
        super().__init__()
        self.known = {x.untyped_storage()._cdata for x in before}
        self.now = self.most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(x, torch.Tensor) and (storage := x.untyped_storage())._cdata not in self.known:
                self.known.add(storage._cdata)
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self.freed, storage._cdata, storage.nbytes())
        return out

    def freed(self, storage: int, size: int) -> None:
        self.known.discard(storage)
        self.now -= size


@pytest.mark.parametrize("noise", [0.02, 1e3], ids=["trained", "random"])
def test_ranks_in_large_tiles_hold_64_mib_at_most(noise, monkeypatch):
    monkeypatch.setattr(ranking, "large_tiles_pay", lambda query, reference: True)
    query = normalize(torch.randn(N, SIZE))
    reference = normalize(query + noise * torch.randn(N, SIZE))
    with Held(query, reference) as held:
        rank_queries(query, reference)
    assert 2**20 < held.most <= MOST
