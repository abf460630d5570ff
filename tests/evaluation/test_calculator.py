"""Our calculator: its metrics, PML's own beside them, and the ways in which PML calls it."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

from geodtr_plugin.evaluation import CrossViewAccuracyCalculator, NonFiniteEmbeddingsError, Truth, recall

OURS = {
    "recall_at_1", "recall_at_5", "recall_at_10", "recall_at_1_percent", "hit_rate", "median_rank",
    "mean_reciprocal_rank", "recall_at_1_low", "recall_at_1_high", "precision_at_1",
}  # fmt: skip


def calculator(**kwargs):
    return CrossViewAccuracyCalculator(device="cpu", **kwargs)


def embeddings(n=60, size=8, noise=1.0):
    query = torch.nn.functional.normalize(torch.randn(n, size))
    return query, torch.nn.functional.normalize(query + noise / size**0.5 * torch.randn(n, size))


@pytest.mark.parametrize("convert", [lambda x: x, lambda x: x.numpy()])
@pytest.mark.parametrize("offset", [0, 2**24, 2**60])
def test_it_gives_what_recall_gives(convert, offset):
    query, reference = embeddings()
    order = torch.randperm(60)
    labels = torch.arange(60) + offset
    values = calculator().get_accuracy(*map(convert, (query, labels, reference[order], labels[order])))
    assert set(values) == OURS == set(calculator().get_curr_metrics())
    expected = recall(query, reference)
    expected["precision_at_1"] = expected["recall_at_1"]
    assert values == {name: expected[name] for name in OURS}


def test_labels_are_never_floats():
    query = torch.eye(2)
    labels = torch.tensor([2**24, 2**24 + 1])  # equal as float32
    swapped = calculator().get_accuracy(query, labels, query, labels.flip(0))
    assert swapped["recall_at_1"] == 0
    include = ("precision_at_1",)
    assert AccuracyCalculator(include, k=1, device=torch.device("cpu")).get_accuracy(
        query, labels, query, labels.flip(0)
    ) == {"precision_at_1": 1.0}  # the trap in PML's own
    assert calculator(include=include, k=1).get_accuracy(query, labels, query, labels.flip(0)) == {"precision_at_1": 0}
    with pytest.raises(TypeError, match="integers"):
        calculator().get_accuracy(query, labels.float(), query, labels.float())
    assert calculator().get_accuracy(query, torch.tensor([0.0, 1.0]), query, np.array([0.0, 1.0]))["recall_at_1"] == 1


def test_semi_positive_labels():
    query = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    reference = torch.tensor([[1.0, 0.1], [1.0, 0.2], [0.0, 1.0]])
    labels = torch.tensor([[8, 7, -1], [9, -1, -1]])
    for reference_labels in (torch.tensor([7, 8, 9]), torch.tensor([[7], [8], [9]])):
        values = calculator().get_accuracy(query, labels, reference, reference_labels)
        assert values["recall_at_1"] == 0.5 and values["hit_rate"] == 1
    reference_labels = torch.tensor([7, 8, 9])
    both = calculator(include=("recall_at_1", "precision_at_1"), k=1)
    values = both.get_accuracy(query, labels, reference, reference_labels)
    assert values == {"recall_at_1": 0.5, "precision_at_1": 0.5}  # PML's own see the first column


def test_a_truth_replaces_the_labels():
    query, reference = embeddings()
    labels = torch.zeros(60, dtype=torch.long)
    values = calculator().get_accuracy(query, labels, reference, labels, truth=Truth.diagonal(60))
    assert values["recall_at_1"] == recall(query, reference)["recall_at_1"] < 1


def test_include_and_exclude():
    query, reference = embeddings()
    labels = torch.arange(60)
    default = calculator()
    names = default.get_accuracy(query, labels, reference, labels, include=("hit_rate", "precision_at_1"))
    assert set(names) == {"hit_rate", "precision_at_1"}
    assert set(default.get_accuracy(query, labels, reference, labels)) == OURS
    assert set(calculator(exclude=("hit_rate",)).get_curr_metrics()) == OURS - {"hit_rate"}
    assert calculator(include=("recall_at_1", "r_precision")).get_curr_metrics() == ["r_precision", "recall_at_1"]
    everything = calculator(exclude=("NMI", "AMI"), k=1).get_accuracy(query, labels, reference, labels)
    assert OURS < set(everything) and "precision_at_1" in everything and "NMI" not in everything
    with pytest.raises(ValueError, match="Primary metrics"):
        calculator(include=("recall_at_2",))


def test_a_subclass_adds_a_metric():
    class WithSize(CrossViewAccuracyCalculator):
        def calculate_gallery(self, reference, **kwargs):
            return len(reference)

    query, reference = embeddings()
    values = WithSize(device="cpu").get_accuracy(query, torch.arange(60), reference, torch.arange(60))
    assert set(values) == OURS | {"gallery"} and values["gallery"] == 60


def test_pmls_own_metrics_are_pmls():
    query, reference = embeddings()
    labels, reference_labels = torch.arange(60) % 7, torch.arange(60) % 9
    include = ("precision_at_1", "mean_average_precision_at_r", "AMI")
    ours, theirs = calculator(include=include), AccuracyCalculator(include, device=torch.device("cpu"))
    assert ours.get_accuracy(query, labels, reference, reference_labels) == pytest.approx(
        theirs.get_accuracy(query, labels, reference, reference_labels), abs=1e-6
    )


def test_one_set_against_itself():
    x = torch.tensor([[1.0, 0], [1.0, 0.1], [0, 1.0], [0.1, 1.0]])
    labels = torch.tensor([0, 0, 1, 1])
    assert calculator().get_accuracy(x, labels)["recall_at_1"] == 1
    assert calculator().get_accuracy(x, labels, x, labels, ref_includes_query=True)["recall_at_1"] == 1
    assert calculator().get_accuracy(x, torch.arange(4))["recall_at_1"] == 0  # nothing else shows the place
    with pytest.raises(ValueError, match="first references"):
        calculator().get_accuracy(x, labels, x.flip(0), labels, ref_includes_query=True)
    with pytest.raises(ValueError, match="same length"):
        calculator().get_accuracy(x, labels[:3])


def test_classes_can_be_averaged():
    query = torch.eye(3)[[0, 0, 0, 1]]
    reference, reference_labels = torch.eye(3), torch.tensor([5, 4, 3])
    labels = torch.tensor([5, 5, 5, 3])
    include = ("recall_at_1",)
    assert calculator(include=include).get_accuracy(query, labels, reference, reference_labels) == {"recall_at_1": 0.75}
    of_classes = calculator(include=include, avg_of_avgs=True)
    assert of_classes.get_accuracy(query, labels, reference, reference_labels) == {"recall_at_1": 0.5}
    per_class = calculator(include=include, return_per_class=True)
    assert per_class.get_accuracy(query, labels, reference, reference_labels) == {"recall_at_1": [0.0, 1.0]}


def test_labels_compared_by_a_function():
    """Places on a line, right within 1.5: PML's way to say so."""
    query, reference = torch.eye(4), torch.eye(4)
    places = torch.tensor([0.0, 10.0, 20.0, 30.0])

    def near(one, other):
        return (one - other).abs() < 1.5

    near_calculator = calculator(include=("recall_at_1", "hit_rate"), label_comparison_fn=near)
    values = near_calculator.get_accuracy(query, places, reference, places + torch.tensor([1.0, 2.0, 1.0, 1.0]))
    assert values == {"recall_at_1": 0.75, "hit_rate": 0.75}


def test_rows_of_several_labels_are_whole_labels():
    labels = torch.tensor([[0, 1], [1, 0], [0, 0]])
    assert calculator().get_accuracy(torch.eye(3), labels, torch.eye(3), labels)["recall_at_1"] == 1
    assert calculator().get_accuracy(torch.eye(3), labels, torch.eye(3), labels.flip(1))["recall_at_1"] == 1 / 3


def test_rules_reach_the_ranks():
    same = torch.ones(300, 4)
    labels = torch.arange(300)
    assert calculator().get_accuracy(same, labels, same, labels)["recall_at_1"] == 0
    assert calculator(ties="optimistic").get_accuracy(same, labels, same, labels)["recall_at_1"] == 1
    eye = torch.eye(300)
    stairs = 4 * eye + 3 * eye.roll(1, 1) + 2 * eye.roll(2, 1) + eye.roll(3, 1)  # three beat the one three rows below
    arguments = eye, labels, stairs, (labels + 3) % 300
    for rule, found in (("floor", 0), ("floor_plus_one", 1)):
        values = calculator(percent_rounding=rule, ks=(3, 4)).get_accuracy(*arguments)
        assert (values["recall_at_3"], values["recall_at_4"], values["recall_at_1_percent"]) == (0, 1, found)
    for wrong in ({"ties": "fair"}, {"percent_rounding": "up"}, {"ks": (0,)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            calculator(**wrong)


@pytest.mark.parametrize("role", [0, 2])
def test_nan_is_an_error(role):
    arguments = [torch.eye(3), torch.arange(3), torch.eye(3), torch.arange(3)]
    arguments[role][1, 1] = math.nan
    with pytest.raises(NonFiniteEmbeddingsError, match="1 of 3"):
        calculator().get_accuracy(*arguments)


def test_pml_may_call_it_with_a_knn_result_only():
    values = calculator(exclude=("NMI", "AMI"))._get_accuracy(
        calculator(exclude=("NMI", "AMI")).curr_function_dict,
        query_labels=torch.tensor([1, 2]),
        label_counts=(torch.tensor([1, 2]), torch.tensor([1, 1])),
        knn_labels=torch.tensor([[1, 2], [1, 2]]),
        not_lone_query_mask=torch.ones(2, dtype=torch.bool),
        ref_includes_query=False,
        label_comparison_fn=torch.eq,
    )
    assert values["precision_at_1"] == 0.5 and values["mean_reciprocal_rank"] == 0.75
    assert "recall_at_1" not in values


def test_it_can_be_pickled():
    query, reference = embeddings()
    copied = pickle.loads(pickle.dumps(calculator()))
    labels = torch.arange(60)
    assert copied.get_accuracy(query, labels, reference, labels) == calculator().get_accuracy(
        query, labels, reference, labels
    )
