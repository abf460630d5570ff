"""PML's own logging preset works with the trainer: it records, tests, saves, and loads again."""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.miners import TripletMarginMiner
from pytorch_metric_learning.testers import GlobalTwoStreamEmbeddingSpaceTester
from pytorch_metric_learning.utils import logging_presets
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN

from geodtr_plugin import CrossViewAccuracyCalculator


@pytest.fixture
def preset(tmp_path):
    pytest.importorskip("record_keeper")
    keeper, _, _ = logging_presets.get_record_keeper(str(tmp_path / "csv"), str(tmp_path / "tensorboard"))
    return logging_presets.get_hook_container(keeper, primary_metric="precision_at_1", log_freq=1)


def test_records_saves_and_reloads(make_trainer, pairs, preset, tmp_path):
    calculator = AccuracyCalculator(include=("precision_at_1",), k=1, knn_func=CustomKNN(LpDistance()))
    tester = GlobalTwoStreamEmbeddingSpaceTester(
        end_of_testing_hook=preset.end_of_testing_hook,
        accuracy_calculator=calculator,
        dataloader_num_workers=0,
        data_device=torch.device("cpu"),
    )
    hook = preset.end_of_epoch_hook(tester, {"val": pairs()}, str(tmp_path / "models"))
    trainer = make_trainer(
        trunk=torch.nn.Linear(6, 8),
        mining_funcs={"tuple_miner": TripletMarginMiner(margin=1.0)},
        end_of_iteration_hook=preset.end_of_iteration_hook,
        end_of_epoch_hook=hook,
    )
    trainer.train(1, 2)
    assert len(preset.get_loss_history()["total_loss"]) == 8
    assert len(preset.get_accuracy_history(tester, "val")["epoch"]) == 2

    fresh = make_trainer(trunk=torch.nn.Linear(6, 8), seed=1)
    epoch = preset.load_latest_saved_models(fresh, str(tmp_path / "models"), device=torch.device("cpu"))
    assert epoch == 3
    torch.testing.assert_close(fresh.models["trunk"].state_dict(), trainer.models["trunk"].state_dict())
    fresh.train(epoch, 3)
    assert fresh.epoch == 3 and fresh.lr_schedulers["trunk_scheduler_by_epoch"].last_epoch == 3


def test_our_calculator_gives_the_metric_that_people_choose_with_it(make_trainer, pairs, preset, tmp_path):
    tester = GlobalTwoStreamEmbeddingSpaceTester(
        end_of_testing_hook=preset.end_of_testing_hook,
        accuracy_calculator=CrossViewAccuracyCalculator(),
        dataloader_num_workers=0,
        data_device=torch.device("cpu"),
    )
    hook = preset.end_of_epoch_hook(tester, {"val": pairs()}, str(tmp_path / "models"))
    make_trainer(trunk=torch.nn.Linear(6, 8), end_of_epoch_hook=hook).train(1, 1)
    scores = tester.all_accuracies["val"]
    level = "level0"
    assert scores[f"precision_at_1_{level}"] == scores[f"recall_at_1_{level}"] > 0
    preset.primary_metric = "mean_average_precision_at_r"  # PML's default, which needs a k-nn search
    with pytest.raises(ValueError, match="primary_metric. must be one of: .*'precision_at_1'.*'recall_at_1'"):
        preset.end_of_epoch_hook(tester, {"val": pairs()}, str(tmp_path / "models"))
