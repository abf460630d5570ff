"""The learning rates of the recipe, epoch by epoch."""

from __future__ import annotations

import pytest
import torch

from geodtr_plugin.trainers.optim import build_schedule


def rates(epochs, trained, base=1e-4, name="cosine", warmup_epochs=5, **kwargs):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    length = dict(epochs=epochs, steps_per_epoch=7, by="epoch", warmup_epochs=warmup_epochs)
    scheduler = build_schedule(name, optimizer, **length, **kwargs)["trunk_scheduler_by_epoch"]
    found = []
    for _ in range(trained):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_authors_schedule():
    found = rates(200, 200, zero_first_epoch=True)
    assert found[:7] == pytest.approx([0, 2e-5, 4e-5, 6e-5, 8e-5, 1e-4, 9.99935e-5], rel=1e-6)
    assert found[99] == pytest.approx(5.28e-5, rel=1e-3)
    assert found[199] == pytest.approx(6.5e-9, rel=5e-3)


def test_default_learns_in_the_first_epoch_and_descends_alike():
    found, authors = rates(200, 200), rates(200, 200, zero_first_epoch=True)
    assert found[:5] == pytest.approx([2e-5, 4e-5, 6e-5, 8e-5, 1e-4])
    assert found[5:] == authors[5:]


@pytest.mark.parametrize("epochs, warmup, expected", [(3, 5, [0.2, 0.4, 0.6]), (2, 0, [1.0, 0.5]), (1, 1, [1.0])])
def test_short_runs(epochs, warmup, expected):
    assert rates(epochs, epochs, base=1.0, warmup_epochs=warmup) == pytest.approx(expected)


def test_ends_at_zero_and_stays_there():
    assert rates(10, 14, warmup_epochs=2)[-4:] == pytest.approx([0, 0, 0, 0], abs=1e-12)


@pytest.mark.parametrize("epochs, warmup", [(0, 5), (10, -1)])
def test_impossible_lengths_are_refused(epochs, warmup):
    with pytest.raises(ValueError, match="epochs >= 1"):
        rates(epochs, 1, warmup_epochs=warmup)


def test_a_constant_rate_after_the_warm_up():
    assert rates(5, 5, base=1.0, name="constant", warmup_epochs=2) == pytest.approx([0.5, 1, 1, 1, 1])
    assert rates(5, 7, base=1.0, name="constant", warmup_epochs=0) == [1.0] * 7


def test_a_rate_that_halves():
    found = rates(12, 12, base=1.0, name="halving", warmup_epochs=0)
    assert found == [1.0] * 5 + [0.5] * 5 + [0.25] * 2
    assert rates(4, 8, base=1.0, name="halving", warmup_epochs=2)[:2] == [0.5, 1.0]


def test_a_rate_that_falls_by_one_factor():
    found = rates(4, 5, base=1.0, name="exponential", warmup_epochs=0, decay=1 / 16)
    assert found == pytest.approx([1, 1 / 2, 1 / 4, 1 / 8, 1 / 16])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-5)  # VIGOR's, after 150,000 steps
    length = dict(epochs=30, steps_per_epoch=5000, by="step", warmup_epochs=0)
    scheduler = build_schedule("exponential", optimizer, **length, decay=0.1)["trunk_scheduler_by_iteration"]
    assert 1e-5 * scheduler.lr_lambdas[0](112_710) == pytest.approx(1e-5 * 0.1 ** (112_710 / 150_000))
