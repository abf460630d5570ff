"""CrossViewTrainer: the same steps as PML's trainer where options coincide, and what it adds."""

from __future__ import annotations

import copy

import pytest
import torch
from pytorch_metric_learning.losses import NTXentLoss, TripletMarginLoss, VICRegLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from pytorch_metric_learning.reducers import MeanReducer
from pytorch_metric_learning.trainers import TwoStreamMetricLoss


class RowsApart(torch.nn.Module):
    """A counterfactual loss that records what it was called with."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, embeddings, ref_emb=None):
        self.calls.append((embeddings, ref_emb))
        return (embeddings * ref_emb).sum(1).mean()


def run_steps(trainer, log):
    trainer.end_of_iteration_hook = lambda t: log.append(
        (t.losses["total_loss"].item(), [p.detach().clone() for p in t.models["trunk"].parameters()])
    )
    trainer.train(1, 2)


@pytest.mark.parametrize("miner", [TripletMarginMiner(margin=3.0, type_of_triplets="all"), None])
def test_equal_to_stock_trainer_step_by_step(make_trainer, pairs, miner):
    trunk = torch.nn.Linear(6, 8)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(3)).tolist()
    logs = {}
    for name in ("ours", "stock"):
        kwargs = {} if miner is None else {"mining_funcs": {"tuple_miner": miner}}
        trainer = make_trainer(
            trunk=copy.deepcopy(trunk),
            sampler=order,
            loss_funcs={"metric_loss": TripletMarginLoss(margin=2.0)},
            **kwargs,
        )
        if name == "stock":
            trainer = TwoStreamMetricLoss(
                models={"trunk": trainer.models["trunk"]},
                optimizers=trainer.optimizers,
                lr_schedulers=trainer.lr_schedulers,
                batch_size=6,
                loss_funcs=trainer.loss_funcs,
                dataset=pairs(),
                sampler=order,
                data_device=torch.device("cpu"),
                dataloader_num_workers=0,
                **kwargs,
            )
        run_steps(trainer, logs.setdefault(name, []))
    assert len(logs["ours"]) == len(logs["stock"]) == 8
    for (loss, weights), (stock_loss, stock_weights) in zip(logs["ours"], logs["stock"]):
        assert loss == pytest.approx(stock_loss, rel=1e-6) and loss > 0
        torch.testing.assert_close(weights, stock_weights, rtol=1e-5, atol=1e-7)


def test_learns_with_one_call_a_step(make_trainer, towers):
    trunk = towers()
    trainer = make_trainer(trunk=trunk, loss_funcs={"metric_loss": NTXentLoss()}, epochs=15)
    trainer.train(1, 1)
    assert trunk.calls == [False] * 4
    first = trainer.epoch_losses["total_loss"]
    trainer.train(2, 15)
    assert trainer.epoch_losses["total_loss"] < 0.7 * first


def test_counterfactual_loss_is_mean_of_views(make_trainer, towers):
    trunk, loss = towers(), RowsApart()
    losses = {"metric_loss": NTXentLoss(), "counterfactual_loss": loss}
    trainer = make_trainer(trunk=trunk, loss_funcs=losses, loss_weights={"counterfactual_loss": 0.5})
    trainer.iterations_per_epoch = 1
    seen = []
    trainer.end_of_iteration_hook = lambda t: seen.append({k: float(v.detach()) for k, v in t.losses.items()})
    trainer.train()
    (query, query_cf), (reference, reference_cf) = loss.calls
    assert torch.equal(query.flip(1), query_cf) and torch.equal(reference.flip(1), reference_cf)
    expected = ((query * query_cf).sum(1).mean() + (reference * reference_cf).sum(1).mean()) / 2
    assert seen[0]["counterfactual_loss"] == pytest.approx(0.5 * expected.item(), rel=1e-5)
    assert seen[0]["total_loss"] == pytest.approx(seen[0]["metric_loss"] + seen[0]["counterfactual_loss"], rel=1e-5)
    assert trainer.loss_weights["metric_loss"] == 1 and trunk.calls == [True]


def test_counterfactual_of_weight_zero_is_not_asked_for(make_trainer, towers):
    trunk = towers()
    losses = {"metric_loss": NTXentLoss(), "counterfactual_loss": RowsApart()}
    make_trainer(trunk=trunk, loss_funcs=losses, loss_weights={"counterfactual_loss": 0}).train()
    assert not any(trunk.calls) and losses["counterfactual_loss"].calls == []


def test_counterfactual_loss_needs_a_trunk_that_has_them(make_trainer):
    losses = {"metric_loss": NTXentLoss(), "counterfactual_loss": RowsApart()}
    with pytest.raises(ValueError, match="no counterfactual embeddings"):
        make_trainer(trunk=torch.nn.Linear(6, 8), loss_funcs=losses).train()


def test_batch_transform_may_double_the_rows_and_sees_no_gradient(make_trainer, towers):
    seen = []

    def double(query, reference, labels):
        seen.append((torch.is_grad_enabled(), len(labels)))
        return query.repeat(2, 1), reference.repeat(2, 1), torch.cat([2 * labels, 2 * labels + 1])

    class Spy(NTXentLoss):
        def forward(self, embeddings, labels=None, *args, **kwargs):
            seen.append(labels)
            return super().forward(embeddings, labels, *args, **kwargs)

    trainer = make_trainer(batch_transform=double, loss_funcs={"metric_loss": Spy()}, iterations_per_epoch=1)
    trainer.train()
    assert seen[0] == (False, 6)
    assert len(seen[1]) == 12 and torch.equal(seen[1][:6] ^ 1, seen[1][6:])


def test_batch_transform_is_moved_to_the_device(make_trainer):
    transform = torch.nn.BatchNorm1d(3)
    trainer = make_trainer(batch_transform=transform, data_device=torch.device("meta"))
    assert trainer.batch_transform is transform and transform.running_mean.device.type == "meta"


def test_bf16_runs_the_trunk_alone_in_low_precision(make_trainer, towers):
    dtypes = []

    class Watched(towers):
        def forward(self, *args, **kwargs):
            outputs = super().forward(*args, **kwargs)
            dtypes.append(self.reference(args[1]).dtype)
            return outputs

    class Spy(NTXentLoss):
        def forward(self, embeddings, labels=None, indices_tuple=None, ref_emb=None, ref_labels=None):
            dtypes.extend([embeddings.dtype, ref_emb.dtype])
            assert not torch.is_autocast_enabled("cpu")
            return super().forward(embeddings, labels, indices_tuple, ref_emb, ref_labels)

    losses = {"metric_loss": Spy()}
    make_trainer(trunk=Watched(), loss_funcs=losses, precision="bf16", iterations_per_epoch=1).train()
    assert dtypes == [torch.bfloat16, torch.float32, torch.float32]


def test_plain_trunk_in_bf16_gives_fp32_embeddings(make_trainer):
    trainer = make_trainer(trunk=torch.nn.Linear(6, 8), precision="bf16")
    out = trainer.compute_embeddings(torch.ones(2, 6))
    assert out.dtype == torch.float32 and torch.equal(out, out.bfloat16().float())


def test_wider_types_are_kept(make_trainer):
    trainer = make_trainer(trunk=torch.nn.Linear(6, 8).double(), dtype=torch.float64)
    assert trainer.compute_embeddings(torch.ones(2, 6)).dtype == torch.float64


def test_embedder_is_applied_to_both_views(make_trainer, towers):
    trunk, embedder = towers(), torch.nn.Linear(8, 3)
    trainer = make_trainer(models={"trunk": trunk, "embedder": embedder})
    outputs = trainer.embed(torch.ones(2, 6), torch.zeros(2, 6))
    assert outputs.query.shape == outputs.reference.shape == (2, 3) and outputs.query_cf is None


def test_max_grad_norm_clips_all_trunk_parameters_together(make_trainer):
    norms = []

    def norm(trainer):
        grads = [p.grad.flatten() for p in trainer.models["trunk"].parameters() if p.grad is not None]
        norms.append((torch.cat(grads).norm().item(), trainer.grad_norm.item()))

    make_trainer(max_grad_norm=1e-3, end_of_iteration_hook=norm).train()
    make_trainer(end_of_iteration_hook=norm).train()
    assert all(clipped == pytest.approx(1e-3, rel=1e-2) and before > 1e-2 for clipped, before in norms[:4])
    assert all(clipped == pytest.approx(before) for clipped, before in norms[4:])


def test_gradient_clippers_of_pml_still_run(make_trainer):
    calls = []
    make_trainer(gradient_clippers={"trunk_grad_clipper": lambda: calls.append(1)}).train()
    assert len(calls) == 4


def test_miner_of_none_means_no_miner(make_trainer):
    trainer = make_trainer(mining_funcs={"tuple_miner": None})
    assert trainer.mining_funcs == {} and trainer.maybe_mine_embeddings((None, None), None) is None
    trainer.train()


def test_loss_between_views_does_not_fall_for_equal_label_tensors(make_trainer):
    query = torch.nn.functional.normalize(torch.randn(4, 8))
    reference = torch.nn.functional.normalize(torch.randn(4, 8))
    loss = TripletMarginLoss(margin=5.0, reducer=MeanReducer())
    trainer = make_trainer(loss_funcs={"metric_loss": loss})
    value = trainer.maybe_get_metric_loss((query, reference), torch.arange(4), None)
    distances = torch.cdist(query, reference)
    terms = distances.diag()[:, None] - distances + 5.0
    assert value.item() == pytest.approx(terms[~torch.eye(4, dtype=torch.bool)].mean().item(), rel=1e-5)


def test_row_aligned_losses_of_pml_serve_as_counterfactual_loss(make_trainer):
    losses = {"metric_loss": NTXentLoss(), "counterfactual_loss": VICRegLoss()}
    trainer = make_trainer(loss_funcs=losses)
    trainer.train()
    assert trainer.epoch_losses["counterfactual_loss"] > 0


@pytest.mark.parametrize(
    "kwargs, sentence",
    [({"precision": "fp16"}, "precision must be"), ({"log_every": 0}, "log_every")],
)
def test_settings_are_checked(make_trainer, kwargs, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_trainer(**kwargs)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"models": {}},
        {"mining_funcs": {"dog": None}},
        {"loss_funcs": {"dog": NTXentLoss()}},
        {"freeze_these": ["frog"]},
        {"lr_schedulers": {"trunk_scheduler": None}},
    ],
)
def test_keys_are_checked_as_in_pml(make_trainer, kwargs):
    with pytest.raises(AssertionError):
        make_trainer(**kwargs)


def test_what_is_optional_is_not_warned_of(make_trainer, caplog):
    make_trainer()
    assert caplog.text == ""


def test_frozen_trunk_stays(make_trainer, towers):
    trunk, embedder = towers(), torch.nn.Linear(8, 3)
    before = copy.deepcopy(dict(trunk.named_parameters()))
    trainer = make_trainer(
        models={"trunk": trunk, "embedder": embedder},
        optimizers={"embedder_optimizer": torch.optim.SGD(embedder.parameters(), lr=0.1)},
        lr_schedulers=None,
        freeze_these=["trunk"],
    )
    start = embedder.weight.clone()
    trainer.train()
    assert all(torch.equal(before[name], p) for name, p in trunk.named_parameters())
    assert not torch.equal(start, embedder.weight)
