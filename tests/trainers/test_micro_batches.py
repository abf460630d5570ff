"""Gradient caching gives the step of the whole batch."""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning.losses import NTXentLoss

from geodtr_plugin import CounterfactualLoss, SoftMarginTripletLoss


class Noise(torch.nn.Module):
    """A batch transform that makes twins with noise of a generator of its own, and with global noise."""

    def __init__(self, own: bool):
        super().__init__()
        self.generator = torch.Generator().manual_seed(3) if own else None

    def forward(self, query, reference, labels):
        rows = query.repeat(2, 1), reference.repeat(2, 1), torch.cat([2 * labels, 2 * labels + 1])
        noise = 0 if self.generator is None else torch.rand(rows[0].shape, generator=self.generator)
        return rows[0] + noise + torch.rand_like(rows[0]), *rows[1:]


def doubled(query, reference, labels):
    return query.repeat(2, 1), reference.repeat(2, 1), torch.cat([2 * labels, 2 * labels + 1])


def without_batch_norm(towers):
    trunk = towers()
    trunk.query = torch.nn.Linear(6, 8)
    return trunk


def one_step(make_trainer, towers, micro_batch, trunk=None, **settings):
    """Losses, gradients and order of the labels of the first step."""
    seen = {}
    trunk = without_batch_norm(towers) if trunk is None else trunk
    with torch.random.fork_rng():
        trainer = make_trainer(
            trunk=trunk, micro_batch=micro_batch, batch_size=12, iterations_per_epoch=1,
            loss_funcs={"metric_loss": SoftMarginTripletLoss(), "counterfactual_loss": CounterfactualLoss()},
            end_of_iteration_hook=lambda t: seen.update({k: float(v) for k, v in t.losses.items()}), **settings,
        )  # fmt: skip
        trainer.clip_gradients = lambda: seen.update(grad={n: p.grad.clone() for n, p in trunk.named_parameters()})
        torch.manual_seed(9)
        trainer.train()
    return seen


@pytest.mark.parametrize("micro_batch", [1, 4, 5, 12])
@pytest.mark.parametrize("transform", [None, doubled], ids=["plain", "twins"])
def test_loss_and_gradient_equal_the_plain_step(make_trainer, towers, micro_batch, transform):
    torch.manual_seed(0)
    plain = one_step(make_trainer, towers, None, batch_transform=transform)
    torch.manual_seed(0)
    pieces = one_step(make_trainer, towers, micro_batch, batch_transform=transform)
    assert pieces["total_loss"] == pytest.approx(plain["total_loss"], rel=1e-6)
    for name, gradient in plain["grad"].items():
        torch.testing.assert_close(pieces["grad"][name], gradient, rtol=1e-5, atol=1e-6)
        assert gradient.abs().max() > 1e-3


@pytest.mark.parametrize("own", [False, True], ids=["global generator", "own generator"])
def test_both_passes_see_the_same_draws(make_trainer, towers, own):
    """With dropout and noise, the second pass must repeat the first: else the gradient is not that of the loss."""
    trunk = towers()
    trunk.query = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Dropout(0.5))
    seen = []
    trunk.register_forward_hook(lambda module, args, output: seen.append(output.query.detach().clone()))
    one_step(make_trainer, towers, 4, trunk=trunk, batch_transform=Noise(own))
    assert len(seen) == 6
    for first, second in zip(seen[:3], seen[3:]):
        assert torch.equal(first, second)
    assert not torch.equal(seen[0], seen[1])


def test_running_statistics_move_once(make_trainer, towers):
    trunk, reference = towers(), towers()
    reference.load_state_dict(trunk.state_dict())
    one_step(make_trainer, towers, 6, trunk=trunk)
    assert int(trunk.query[1].num_batches_tracked) == 2, "once for each of two pieces"
    assert trunk.query[1].track_running_stats


def test_a_loss_of_pml_works_too(make_trainer, towers):
    settings = dict(loss_funcs={"metric_loss": NTXentLoss()}, batch_size=12)
    trained = [make_trainer(trunk=without_batch_norm(towers), micro_batch=size, **settings) for size in (None, 4)]
    trained[1].models["trunk"].load_state_dict(trained[0].models["trunk"].state_dict())
    for trainer in trained:
        trainer.train(1, 2)
    for one, other in zip(*(t.models["trunk"].parameters() for t in trained)):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_impossible_sizes_are_refused(make_trainer):
    with pytest.raises(ValueError, match="at least 1"):
        make_trainer(micro_batch=0)
