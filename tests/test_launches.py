"""What a step starts on a GPU, counted on `meta`: few operations whatever the batch, and no wait of the host."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from gpu_tests import GPU_TESTS

from geodtr_plugin.evaluation import rank_queries, ranking

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from speed_parts import launches  # noqa: E402

AUGMENTATION, SOFT_MARGIN, COUNTERFACTUAL, INFO_NCE, NETWORK = 120, 45, 35, 130, 1200  # operations at most


@pytest.mark.parametrize("polar", [False, True], ids=["tiles", "polar"])
def test_augmentation_starts_the_same_few_operations_whatever_the_batch(polar):
    counts = [launches.count(launches.our_augmentation(pairs, polar)) for pairs in launches.PAIRS]
    assert all(counted.total == counts[0].total <= AUGMENTATION for counted in counts)
    assert all(not counted.waits for counted in counts)


@pytest.mark.parametrize("pairs", launches.PAIRS)
def test_losses_start_few_operations(pairs):
    for loss, most in ((launches.soft_margin, SOFT_MARGIN), (launches.counterfactual, COUNTERFACTUAL),
                       (launches.info_nce, INFO_NCE)):  # fmt: skip
        counted = launches.count(loss(pairs))
        assert counted.total <= most and not counted.waits


def test_the_network_does_not_wait():
    counted = launches.count(launches.our_network(4))
    assert counted.total <= NETWORK and not counted.waits


def test_what_makes_a_host_wait_is_seen():
    here, there = torch.ones(3), torch.ones(3, device="meta")
    for work in (lambda: here.to("meta"), lambda: there.copy_(here), lambda: torch.tensor([1.0, 2.0], device="meta")):
        assert launches.count(work).waits
    for work in (lambda: here.to("meta", non_blocking=True), lambda: there.copy_(here, non_blocking=True)):
        counted = launches.count(work)
        assert counted.total == 1 and not counted.waits
    for work in (there.sum().item, there.nonzero, there.tolist, there.cpu, lambda: bool(there.any())):
        with pytest.raises((RuntimeError, NotImplementedError)):
            launches.count(work)


def test_views_start_nothing():
    x = torch.ones(4, 3, device="meta")
    assert launches.count(lambda: x.T[1:].expand(2, 2, 4).detach()).total == 0
    assert launches.count(lambda: torch.ones(3) + 1).total == 0, "what happens on the CPU is not counted"
    assert launches.count(lambda: x.T.reshape(-1) + 1).total == 2


def ranks(monkeypatch, buffer_bytes):
    """Count what ranking 60 queries in large tiles does, on the CPU, and in how many tiles."""
    monkeypatch.setattr(ranking, "large_tiles_pay", lambda query, reference: True)
    query, reference = torch.eye(60), torch.eye(60)
    counted = launches.count(lambda: rank_queries(query, reference, buffer_bytes=buffer_bytes), torch.device("cpu"))
    return counted, counted.names["aten::mm"]


def test_ranks_wait_once_for_a_large_tile(monkeypatch):
    (few, some), (many, more) = ranks(monkeypatch, None), ranks(monkeypatch, 9 * 100)
    assert some == 1 and more >= 36
    waits = {"aten::nonzero", "aten::_local_scalar_dense", "aten::masked_select"}
    assert sum(many.names[name] - few.names[name] for name in waits) == more - some
    assert many.total - few.total <= 11 * (more - some)


def test_tests_that_need_a_gpu_are_named_and_have_siblings():
    texts = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("test_*.py")]
    for name in [*GPU_TESTS, *GPU_TESTS.values()]:
        assert sum(f"def {name}(" in text for text in texts) == 1, name
    asking = "cuda." + "is_available"
    assert not any(asking in text for text in texts), "tests ask for a GPU by GPU_TESTS alone"
