import time

import pytest
import torch
from torch import nn

from geodtr_plugin import create_model
from geodtr_plugin.comparison.complexity import Cost, complexity, inference_time
from geodtr_plugin.methods.base import count_parameters

VIGOR = dict(query_size=(320, 640), reference_size=(320, 320), polar=False)
# giga multiply-accumulates, those of attention included
KNOWN = [
    ("geodtr_plus", dict(), 12.608),
    ("geodtr_plus", dict(polar=False), 11.740),
    ("geodtr_plus", dict(feedforward=2048), 13.962),
    ("geodtr_plus", VIGOR, 26.241),
    ("geodtr_plus", dict(backbone="resnet34"), 50.769),
    ("geodtr", dict(), 48.217),
    ("geodtr", dict(polar=False), 42.796),
    ("geodtr", dict(heads=8, layers=8), 48.294),
]


def empty_model(method: str, **options):
    with torch.device("meta"):
        return create_model(method, pretrained=False, **options)


@pytest.mark.slow
@pytest.mark.parametrize("method, options, gmacs", KNOWN)
def test_work_of_known_models(method, options, gmacs):
    assert complexity(empty_model(method, **options)).whole.macs / 1e9 == pytest.approx(gmacs, abs=5.1e-4)


@pytest.mark.slow
def test_trunks_are_counted_apart():
    """The figures of GeoDTR+'s Table VII, 24.7 M and 11.25 G, are those of two trunks at 122 x 671."""
    polar, square = complexity(empty_model("geodtr_plus")), complexity(empty_model("geodtr_plus", polar=False))
    assert polar.query_trunk == polar.reference_trunk == Cost(12_348_000, 5_610_617_856)
    assert polar.trunks == Cost(24_696_000, 2 * 5_610_617_856)
    assert square.query_trunk == polar.query_trunk
    assert square.reference_trunk.macs / 1e9 == pytest.approx(4.830, abs=5.1e-4)
    assert polar.whole.parameters == 30_192_336


class SharedTower(nn.Module):
    """A convolution, attention with products of its own and torch's, a linear map."""

    def __init__(self, calls_trunk: bool = True):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 5)
        self.calls_trunk = calls_trunk

    def forward(self, images):
        tokens = (self.trunk(images) if self.calls_trunk else self.trunk[0](images)).flatten(2).transpose(1, 2)
        tokens = (tokens @ tokens.transpose(1, 2)).softmax(-1) @ tokens
        tokens = nn.functional.scaled_dot_product_attention(*[tokens[:, None]] * 3)[:, 0]
        return self.head(tokens.mean(1))


class Shared(nn.Module):
    query_size, reference_size = (4, 5), (3, 6)

    def __init__(self, **options):
        super().__init__()
        self.tower = SharedTower(**options)
        self.calls = []

    query_tower = reference_tower = property(lambda self: self.tower)

    def input_shape(self, role):
        return (3, *getattr(self, f"{role}_size"))

    def forward(self, query=None, reference=None):
        self.calls.append([None if x is None else tuple(x.shape) for x in (query, reference)] + [self.training])
        return [None if x is None else self.tower(x) for x in (query, reference)]


def test_a_count_by_hand_with_shared_weights():
    cost = complexity(Shared())
    positions = (20, 18)
    convolution = [p * 8 * 3 * 9 for p in positions]
    attention = [2 * p * p * 8 for p in positions]  # once written out, once torch's
    parameters = 8 * 3 * 9 + 8 + 16
    assert cost.whole == Cost(parameters + 45, sum(convolution) + 2 * sum(attention) + 2 * 8 * 5)
    assert cost.trunks == Cost(parameters, sum(convolution))
    assert cost.query_trunk == Cost(parameters, convolution[0])
    assert cost.reference_trunk == Cost(parameters, convolution[1])


def test_counting_changes_nothing_and_needs_no_weights():
    model = create_model("geodtr", query_size=(32, 88), backbone="tiny", feedforward=64, pretrained=False)
    model.query_tower.trunk.eval()
    modes = [module.training for module in model.modules()]
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    cost = complexity(model)
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    assert cost == complexity(empty_model("geodtr", query_size=(32, 88), backbone="tiny", feedforward=64))
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_trunk_whose_parts_are_called_costs_as_much():
    """TransGeo's second stage takes some patches only through the blocks of its trunk."""
    assert complexity(Shared(calls_trunk=False)) == complexity(Shared())


def test_a_trunk_that_is_not_called_is_no_trunk_of_no_cost():
    model = Shared()
    model.query_tower.trunk = nn.Linear(3, 3)  # which nobody calls
    model.query_tower.forward = lambda images: images.mean(dim=(2, 3))
    with pytest.raises(ValueError, match="calls neither its `trunk` nor any part of it"):
        complexity(model)


def test_parameters_count_once():
    layer = nn.Linear(3, 4)
    assert count_parameters(layer, nn.Sequential(layer, nn.BatchNorm1d(4))) == 16 + 8


def test_time_is_the_median_of_passes_of_a_whole_batch():
    class Sleeper(Shared):
        def forward(self, query, reference):
            super().forward(query, reference)
            time.sleep(0.05 if len(self.calls) == 5 else 0.01)  # one pass out of line

    model = Sleeper()
    assert 0.01 <= inference_time(model, "cpu", batch=7, repeats=5) < 0.04
    assert model.calls == [[(7, 3, 4, 5), (7, 3, 3, 6), False]] * 8
    assert model.training


def test_time_in_bf16_runs_under_autocast():
    model = create_model("geodtr", query_size=(32, 88), backbone="tiny", feedforward=64, pretrained=False)
    seen = []
    model.query_tower.trunk.register_forward_hook(lambda module, images, features: seen.append(features.dtype))
    inference_time(model, "cpu", repeats=1, precision="bf16")
    inference_time(model, "cpu", repeats=1)
    assert seen == [torch.bfloat16] * 4 + [torch.float32] * 4
