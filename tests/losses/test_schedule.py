"""Arguments of losses that change as epochs go by."""

import logging

import pytest
from torch import nn

from geodtr_plugin.losses import LossSchedule, SoftMarginTripletLoss
from geodtr_plugin.losses.schedule import check_schedule, plain_schedule
from geodtr_plugin.utils.errors import UserError

CURRICULUM = {"hard_ratio": [[0, 1.0], [20, 0.1], [40, 0.05], [60, 0.01]]}


@pytest.mark.parametrize(
    ("epoch", "value"), [(0, 1.0), (19, 1.0), (20, 0.1), (39, 0.1), (40, 0.05), (59, 0.05), (60, 0.01), (10_000, 0.01)]
)
def test_a_value_holds_until_the_next(epoch, value):
    loss = SoftMarginTripletLoss(hard_ratio=0.7)
    LossSchedule(loss, CURRICULUM).begin(epoch)
    assert loss.hard_ratio == value


def test_before_its_first_epoch_the_argument_is_the_recipes():
    loss = SoftMarginTripletLoss(alpha=3.0)
    schedule = LossSchedule(loss, {"alpha": [[2, 5]], "hard_ratio": [[1, 0.5]]})
    found = []
    for epoch in (0, 1, 2, 0):  # back, too
        schedule.begin(epoch)
        found.append((loss.alpha, loss.hard_ratio))
    assert found == [(3.0, 1.0), (3.0, 0.5), (5, 0.5), (3.0, 1.0)]


def test_changes_are_logged_once(caplog):
    schedule = LossSchedule(SoftMarginTripletLoss(), {"hard_ratio": [[0, 1.0], [2, 0.25]]})
    with caplog.at_level(logging.INFO, "geodtr_plugin"):
        for epoch in range(4):
            schedule.begin(epoch)
    assert caplog.messages == ["epoch 1: hard_ratio of the loss is 1", "epoch 3: hard_ratio of the loss is 0.25"]


def test_any_loss_with_such_a_number_goes():
    loss = nn.Module()
    loss.weight = 1
    LossSchedule(loss, {"weight": [[1, 2.5]]}).begin(1)
    assert loss.weight == 2.5
    check_schedule("TripletMarginLoss", {}, {"margin": [[0, 0.1], [3, 0.2]]})


@pytest.mark.parametrize(
    "schedule",
    [
        {"hard_ratio": []}, {"hard_ratio": [[0, 1.0], [0, 0.5]]}, {"hard_ratio": [[3, 1.0], [2, 0.5]]},
        {"hard_ratio": [[-1, 1.0]]}, {"hard_ratio": 0.5}, {"hard_ratio": [0.5]}, {"hard_ratio": [[0.5, 1.0]]},
        {"hard_ratio": [[0, "all"]]}, {"hard_ratio": [[0, 1, 2]]}, [[0, 1.0]], None,
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(schedule):
    with pytest.raises(UserError, match=r"--loss.schedule.*Write it as"):
        plain_schedule(schedule, "--loss.schedule")


@pytest.mark.parametrize(
    ("name", "schedule", "sentence"),
    [
        ("soft_margin", {"hard_ratio": [[0, 1.0], [5, 1.5]]}, "hard_ratio must be above 0 and at most 1, not 1.5"),
        ("soft_margin", {"speed": [[0, 1.0]]}, "speed"),
        ("info_nce", {"temperature": [[0, 0.1]]}, "no number 'temperature'.*label_smoothing"),  # a parameter, learned
        ("CircleLoss", {"m": [[0, 0.5]]}, "reads m once"),  # it keeps numbers that it computed from m
        ("sare_ind", {"kernel": [[0, 1.0]]}, "kernel"),
    ],
)
def test_the_losses_own_bounds_hold_for_every_value(name, schedule, sentence):
    with pytest.raises(UserError, match=sentence):
        check_schedule(name, {}, schedule)
