"""The loop: order, hooks, readings, and how it stops."""

from __future__ import annotations

import multiprocessing
import time

import pytest
import torch
from pytorch_metric_learning.losses import BaseMetricLossFunction
from recorded_batches import record_batches
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import BatchSampler, DistributedSampler, RandomSampler

from geodtr_plugin.trainers import NonFiniteLossError, step_meter
from geodtr_plugin.trainers.step_meter import StepMeter
from geodtr_plugin.utils.errors import UserError


def place_order(trainer, start, end):
    batches = record_batches(trainer)
    trainer.train(start, end)
    return [batch.labels.tolist() for batch in batches]


class PullTogether(BaseMetricLossFunction):
    """A dense loss without any index operation, so that every wait for the device is the loop's own."""

    def compute_loss(self, embeddings, labels, indices_tuple, ref_emb, ref_labels):
        loss = (embeddings - ref_emb).pow(2).sum(1)
        return {"loss": {"losses": loss, "indices": labels, "reduction_type": "already_reduced"}}

    def forward(self, embeddings, labels=None, indices_tuple=None, ref_emb=None, ref_labels=None):
        return (embeddings - ref_emb).pow(2).sum(1).mean()


class CountReadings(TorchDispatchMode):
    """Counts the operations that bring a value to the host, which a GPU would have to be waited for."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        waits = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        self.count += func in waits
        return func(*args, **(kwargs or {}))


def test_order_is_a_function_of_seed_and_epoch(make_trainer):
    whole = place_order(make_trainer(seed=1), 1, 3)
    assert place_order(make_trainer(seed=1), 3, 3) == whole[8:]
    assert place_order(make_trainer(seed=2), 1, 1) != whole[:4]
    for epoch in range(3):
        places = sum(whole[4 * epoch : 4 * epoch + 4], [])
        assert sorted(places) == list(range(100, 124))
    assert whole[:4] != whole[4:8]


def test_order_does_not_depend_on_workers_nor_touch_the_training_draws(make_trainer, pairs):
    states, orders = [], []
    for workers in (0, 2):
        trainer = make_trainer(dataset=pairs(noisy=True), dataloader_num_workers=workers)
        orders.append(place_order(trainer, 1, 2))
        states.append((torch.get_rng_state(), trainer.models["trunk"].state_dict()))
    assert orders[0] == orders[1]
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)


@pytest.mark.parametrize("iterations", [3, 7])
def test_iterations_per_epoch_shorter_and_longer_than_the_data(make_trainer, iterations):
    whole = place_order(make_trainer(iterations_per_epoch=iterations), 1, 2)
    assert len(whole) == 2 * iterations
    assert place_order(make_trainer(iterations_per_epoch=iterations), 2, 2) == whole[iterations:]
    assert all(len(set(batch)) == 6 for batch in whole)


def test_last_partial_batch_is_dropped(make_trainer, pairs):
    assert [len(batch) for batch in place_order(make_trainer(dataset=pairs(23)), 1, 1)] == [6, 6, 6]


def test_sampler_without_epochs_runs_on_as_in_pml(make_trainer):
    trainer = make_trainer(sampler=list(range(24)), iterations_per_epoch=3)
    places = place_order(trainer, 1, 2)
    assert [batch[0] for batch in places] == [100, 106, 112, 118, 100, 106]


def test_partial_batch_of_a_sampler_is_dropped(make_trainer):
    assert [len(batch) for batch in place_order(make_trainer(sampler=list(range(23))), 1, 1)] == [6, 6, 6]


def test_sampler_with_epochs_is_started_anew_for_each(make_trainer):
    sampler = DistributedSampler(range(24), num_replicas=1, rank=0, seed=4)
    places = place_order(make_trainer(sampler=sampler, iterations_per_epoch=3), 1, 2)
    for epoch in (1, 2):
        sampler.set_epoch(epoch)
        expected = [100 + index for index in sampler][:18]
        assert sum(places[3 * epoch - 3 : 3 * epoch], []) == expected


def test_batch_sampler_is_taken_as_it_is(make_trainer):
    class Epochs(BatchSampler):
        epochs = []

        def set_epoch(self, epoch):
            self.epochs.append(epoch)

    sampler = Epochs(RandomSampler(range(24)), 5, drop_last=False)
    places = place_order(make_trainer(sampler=sampler), 1, 2)
    assert [len(batch) for batch in places] == [5, 5, 5, 5, 4] * 2
    assert Epochs.epochs == [1, 2]


def test_loader_settings(make_trainer):
    trainer = make_trainer(dataloader_num_workers=1, pin_memory=False)
    trainer.initialize_dataloader()
    try:
        loader = trainer.dataloader
        assert loader.persistent_workers and not loader.pin_memory and len(loader) == 4
    finally:
        trainer.stop_workers()


def test_batch_of_one_is_refused(make_trainer):
    with pytest.raises(UserError, match="no negatives.*2 or more"):
        make_trainer(batch_size=1).train()


def test_too_few_pairs_are_refused(make_trainer, pairs):
    with pytest.raises(UserError, match="5 training pairs do not fill one batch of 6"):
        make_trainer(dataset=pairs(5)).train()


def test_batch_sampler_without_batches_is_refused(make_trainer):
    with pytest.raises(UserError, match="gives no batch"):
        make_trainer(sampler=BatchSampler([], 2, drop_last=True)).train()


def test_hooks_and_schedulers_run_as_in_pml(make_trainer):
    calls = []
    trainer = make_trainer(end_of_iteration_hook=lambda t: calls.append((t.epoch, t.iteration)))
    optimizer = trainer.optimizers["trunk_optimizer"]
    by_iteration = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    trainer.lr_schedulers["trunk_scheduler_by_iteration"] = by_iteration
    trainer.end_of_epoch_hook = lambda t: calls.append(("end", t.epoch, t.losses["total_loss"])) or t.epoch < 2
    trainer.train(1, 5)
    one = lambda epoch: [(epoch, step) for step in range(4)] + [("end", epoch, 0)]  # noqa: E731
    assert calls == one(1) + one(2)
    assert by_iteration.last_epoch == 8
    assert trainer.lr_schedulers["trunk_scheduler_by_epoch"].last_epoch == 2


def test_only_false_stops(make_trainer):
    trainer = make_trainer()
    trainer.end_of_epoch_hook = lambda t: 0
    trainer.train(1, 3)
    assert trainer.epoch == 3


def test_plateau_scheduler_is_stepped_by_its_hook(make_trainer):
    trainer = make_trainer()
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(trainer.optimizers["trunk_optimizer"], patience=0, mode="max")
    trainer.lr_schedulers = {"trunk_scheduler_by_plateau": plateau}
    trainer.end_of_epoch_hook = lambda t: t.step_lr_plateau_schedulers(0.5)
    trainer.train(1, 2)
    assert plateau.get_last_lr() == [pytest.approx(0.001)]


def test_epoch_means_and_log(make_trainer):
    steps, logs = [], []
    trainer = make_trainer(log_every=3, on_log=logs.append)
    trainer.end_of_iteration_hook = lambda t: steps.append(t.losses["total_loss"].item())
    trainer.train()
    assert trainer.epoch_losses["total_loss"] == pytest.approx(sum(steps) / 4, rel=1e-6)
    assert [(log["epoch"], log["step"]) for log in logs] == [(1, 2), (1, 3)]
    assert logs[0]["total_loss"] == pytest.approx(sum(steps[:3]) / 3, rel=1e-6)
    assert logs[1]["total_loss"] == pytest.approx(steps[3], rel=1e-6)
    stats = trainer.epoch_stats
    assert stats["pairs_per_second"] > 0 and 0 < stats["data_wait_share"] < 1 and stats["grad_norm"] > 0


def test_waiting_on_a_gpu_is_what_the_gpu_waited(monkeypatch):
    """The host stands still for longer, while the GPU still works on what was queued."""

    class Mark:
        def __init__(self, milliseconds):
            self.at = milliseconds

        def elapsed_time(self, later):
            return later.at - self.at

    marks = iter(map(Mark, [100, 130, 700, 700]))
    monkeypatch.setattr(step_meter, "_mark", lambda device: next(marks))
    meter = StepMeter(["loss"], "cpu", 2)
    meter.device = torch.device("cuda")
    for _ in range(2):
        with meter.waiting():
            time.sleep(0.05)
        meter.add([1.0], torch.arange(3))
    assert meter.waited == 0  # asking the GPU would make the host wait
    meter.read()
    assert meter.waited == pytest.approx(0.03)
    meter.read()
    assert meter.waited == pytest.approx(0.03)  # each wait counts once


def test_no_value_is_read_between_two_logs(make_trainer):
    trunk = torch.nn.Linear(6, 8)
    readings = []
    trainer = make_trainer(
        trunk=trunk,
        optimizers={"trunk_optimizer": torch.optim.SGD(trunk.parameters(), lr=0.1)},
        lr_schedulers=None,
        loss_funcs={"metric_loss": PullTogether()},
        max_grad_norm=1.0,
        log_every=3,
        sampler=list(range(24)),  # the batches need no draws
    )
    mode = CountReadings()
    trainer.end_of_iteration_hook = lambda t: readings.append(mode.count)
    with mode:
        trainer.train()
    assert readings[:3] == [readings[0]] * 3  # the reading after step 2 is the first
    assert readings[3] > readings[2]


def test_progress_bar_shows_loss_rate_and_speed(make_trainer, capsys):
    make_trainer(progress=True, log_every=2).train(1, 1)
    shown = capsys.readouterr().err
    assert all(part in shown for part in ("epoch 1/1", "loss=", "lr=0.01", "pairs/s=", "4/4"))
    make_trainer(progress=False).train(1, 1)
    assert capsys.readouterr().err == ""


class Explodes(PullTogether):
    """Becomes NaN at a given call."""

    def __init__(self, at, in_gradient=False):
        super().__init__()
        self.at, self.in_gradient, self.calls = at, in_gradient, 0

    def forward(self, *args, **kwargs):
        loss = super().forward(*args, **kwargs)
        self.calls += 1
        if self.calls != self.at:
            return loss
        return loss + (loss - loss).sqrt() if self.in_gradient else loss * float("nan")


@pytest.mark.parametrize(
    "at, in_gradient, quantity", [(6, False, "metric_loss"), (8, False, "metric_loss"), (6, True, "grad_norm")]
)
def test_non_finite_step_is_named(make_trainer, at, in_gradient, quantity):
    epochs = []
    trainer = make_trainer(loss_funcs={"metric_loss": Explodes(at, in_gradient)}, log_every=3)
    batches = record_batches(trainer)

    def save(trainer):
        epochs.append(trainer.epoch)
        trainer.last_checkpoint = "runs/7/last.pt"

    trainer.end_of_epoch_hook = save
    with pytest.raises(NonFiniteLossError) as caught:
        trainer.train(1, 3)
    error = caught.value
    assert (error.quantity, error.epoch, error.step) == (quantity, 2, at - 5)
    places = batches[at - 1].labels.tolist()
    assert error.places == places and epochs == [1]
    for part in (quantity, "nan", "epoch 2", f"step {at - 5}", str(places[0]), "runs/7/last.pt"):
        assert part in str(error)


def test_non_finite_last_step_is_seen_before_the_epoch_ends(make_trainer):
    trainer = make_trainer(loss_funcs={"metric_loss": Explodes(4)})
    trainer.end_of_epoch_hook = lambda t: pytest.fail("a broken epoch must not reach the hook that saves it")
    with pytest.raises(NonFiniteLossError, match="no state was saved"):
        trainer.train()


def test_ctrl_c_leaves_no_workers(make_trainer):
    def interrupt(trainer):
        assert len(multiprocessing.active_children()) >= 2
        raise KeyboardInterrupt

    before = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt):
        make_trainer(dataloader_num_workers=2, end_of_iteration_hook=interrupt).train()
    assert set(multiprocessing.active_children()) <= before


def test_workers_use_one_thread(make_trainer, pairs):
    threadpoolctl = pytest.importorskip("threadpoolctl")

    class Threads(pairs):
        def __getitem__(self, index):
            pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
            return (*super().__getitem__(index)[:2], max(torch.get_num_threads(), *pools))

    torch.set_num_threads(2)
    with threadpoolctl.threadpool_limits(2):
        trainer = make_trainer(dataset=Threads(), dataloader_num_workers=1)
        assert set(sum(place_order(trainer, 1, 1), [])) == {1}


def test_meter_keeps_float_and_tensor_values():
    meter = StepMeter(["a", "b"], "cpu", window=2)
    meter.add([1, torch.tensor(2.0, requires_grad=True)], torch.arange(3))
    assert not meter.full
    meter.add([3.0, torch.tensor(float("inf"))], torch.arange(3, 6))
    assert meter.full
    means, bad = meter.read()
    assert means["a"] == 2.0 and (bad.step, bad.quantity, bad.places) == (1, "b", [3, 4, 5])
    assert not meter.full and meter.pairs == 6
