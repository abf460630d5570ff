"""The tester: two towers, PML's own ways of calling it, labels of every shape, modes and precision."""

from __future__ import annotations

import errno
import logging
import os

import numpy as np
import pytest
import torch
from pytorch_metric_learning.testers import GlobalEmbeddingSpaceTester
from pytorch_metric_learning.trainers import MetricLossOnly
from pytorch_metric_learning.utils import logging_presets
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from torch import nn
from torch.utils.data import Dataset

from geodtr_plugin.evaluation import CrossViewAccuracyCalculator, Truth, recall
from geodtr_plugin.losses import SoftMarginTripletLoss
from geodtr_plugin.testers import CrossViewTester
from geodtr_plugin.utils.errors import UserError

N = 13


class Views(Dataset):
    """Images of one role with a label each, as the loader of any data set gives them."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.labels[i]


class Towers(nn.Module):
    """The query tower ignores the first channel, the reference tower the last; only together they fit."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.seen = []

    def forward(self, images):
        raise AssertionError("a trunk with encoders is not called by itself")

    def encode_query(self, images):
        return self._encode(images[:, 1:], "query")

    def encode_reference(self, images):
        return self._encode(images[:, :-1], "reference")

    def _encode(self, channels, role):
        self.seen.append((role, self.training, torch.is_autocast_enabled("cpu")))
        return self.norm(channels.flatten(1) @ torch.eye(4))


def images_of_pairs():
    """float [N, 3, 1, 2] queries and references whose towers give the same embeddings."""
    content, noise = torch.randn(2, N, 4), torch.randn(2, N, 1, 1, 2)
    query = torch.cat([noise[0], content[0].reshape(N, 2, 1, 2)], dim=1)
    return query, torch.cat([content[0].reshape(N, 2, 1, 2), noise[1]], dim=1)


def splits(labels=None, reference_labels=None):
    query, reference = images_of_pairs()
    labels = torch.arange(N) if labels is None else labels
    reference_labels = torch.arange(N) if reference_labels is None else reference_labels
    return {"query": Views(query, labels), "reference": Views(reference, reference_labels)}


def make_tester(**kwargs):
    settings = dict(batch_size=5, dataloader_num_workers=0, data_device="cpu", progress=False)
    return CrossViewTester(**(settings | kwargs))


def test_each_split_goes_through_its_tower():
    trunk = Towers()
    result = make_tester().test(splits(), 3, trunk)
    assert result["query"]["recall_at_1_level0"] == 1 and result["query"]["epoch"] == 3
    assert [role for role, *_ in trunk.seen] == ["query"] * 3 + ["reference"] * 3
    assert "median_rank_level0" in result["query"] and list(result) == ["query"]


def test_labels_say_what_is_right():
    shuffled = torch.arange(N).roll(1)
    assert make_tester().test(splits(shuffled), 1, Towers())["query"]["recall_at_1_level0"] == 0
    large = torch.arange(N) + 2**24
    data = splits(large, large)
    result = make_tester().test(data, 1, Towers())
    assert result["query"]["recall_at_1_level0"] == 1
    tester = make_tester(accuracy_calculator=CrossViewAccuracyCalculator(("precision_at_1",), k=1, device="cpu"))
    assert tester.test(data, 1, Towers())["query"] == {"epoch": 1, "precision_at_1_level0": 1.0}


def test_the_modes_of_all_modules_are_restored():
    trunk = Towers().train()
    trunk.norm.eval()
    make_tester().test(splits(), 1, trunk)
    assert trunk.training and not trunk.norm.training
    assert not any(training for _, training, _ in trunk.seen)
    make_tester().embed(splits()["query"], "query", trunk)
    assert trunk.training and not trunk.norm.training
    broken = splits(torch.zeros(N))  # any failure on the way
    broken["query"].images = broken["query"].images[:, :1]
    with pytest.raises(RuntimeError):
        make_tester().test(broken, 1, trunk)
    assert trunk.training


def test_embed_gives_float32_in_the_order_of_the_data_set():
    data, trunk = splits(), Towers()
    for precision in ("fp32", "bf16"):
        query = make_tester(precision=precision).embed(data["query"], "query", trunk)
        assert query.dtype == torch.float32 and query.shape == (N, 4) and not query.requires_grad
        expected = torch.nn.functional.normalize(data["query"].images[:, 1:].flatten(1))
        torch.testing.assert_close(query, expected, rtol=0, atol=1e-4 if precision == "fp32" else 2e-2)
    assert [autocast for *_, autocast in trunk.seen] == [False] * 3 + [True] * 3
    assert recall(query, make_tester().embed(data["reference"], "reference", trunk))["recall_at_1"] == 1
    raw = make_tester(normalize_embeddings=False).embed(data["query"], "query", trunk)
    assert raw.norm(dim=1).std() > 0.1


class Watched(Towers):
    """Calls a function before every batch; the second batch can be made to fail."""

    def __init__(self, before, fails=False):
        super().__init__()
        self.before, self.fails = before, fails

    def encode_query(self, images):
        self.before()
        if self.fails and len(self.seen) == 1:
            raise KeyboardInterrupt
        return super().encode_query(images)


def test_embeddings_go_to_a_file_batch_by_batch(tmp_path):
    data, path, seen = splits(), tmp_path / "new" / "query.npy", []
    expected = make_tester().embed(data["query"], "query", Towers())
    found = make_tester().embed(data["query"], "query", Watched(lambda: seen.append(path.exists())), out=path)
    assert seen == [False] * 3, "the file has its name before it is complete"
    assert torch.equal(found, expected) and found.device.type == "cpu"
    stored = np.load(path, mmap_mode="r")
    assert stored.dtype == np.float32 and torch.equal(torch.tensor(stored), expected)
    found[0] = 7
    assert (stored[0] == 7).all() and [file.name for file in path.parent.iterdir()] == ["query.npy"]


def test_a_file_stays_as_it_was_when_embedding_fails(tmp_path):
    path = tmp_path / "query.npy"
    np.save(path, np.ones(3))
    with pytest.raises(KeyboardInterrupt):
        make_tester().embed(splits()["query"], "query", Watched(lambda: None, fails=True), out=str(path))
    assert (np.load(path) == 1).all() and [file.name for file in tmp_path.iterdir()] == ["query.npy"]


@pytest.mark.parametrize("make", [torch.zeros, np.zeros])
def test_embeddings_fill_rows_that_are_there(make):
    data, rows = splits(), make((N + 4, 4))
    expected = make_tester().embed(data["query"], "query", Towers())
    found = make_tester().embed(data["query"], "query", Towers(), out=rows[2:-2])
    assert torch.equal(found, expected) and torch.equal(torch.as_tensor(rows)[2:-2].float(), expected)
    assert not rows[:2].any() and not rows[-2:].any()
    with pytest.raises(ValueError, match=r"out is \[12, 4\], but the embeddings are \[13, 4\]"):
        make_tester().embed(data["query"], "query", Towers(), out=rows[:12])


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot take room on a disk beforehand")
@pytest.mark.parametrize("number, told", [(errno.ENOSPC, True), (errno.EOPNOTSUPP, False)])
def test_a_disk_without_room_is_told(tmp_path, monkeypatch, number, told):
    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    words = (splits()["query"], "query", Towers())
    if told:
        with pytest.raises(UserError, match=r"no room for .* GB of embeddings \(No space left on device\)"):
            make_tester().embed(*words, out=tmp_path / "query.npy")
        assert not any(tmp_path.iterdir())
    else:  # such as a file system of a network
        found = make_tester().embed(*words, out=tmp_path / "query.npy")
        assert torch.equal(found, torch.from_numpy(np.load(tmp_path / "query.npy"))) and found.any()


def test_batches_are_normalised_one_by_one_unless_pca_wants_all(tmp_path, monkeypatch):
    data, tester, sizes = splits()["query"], make_tester(), []
    monkeypatch.setattr(tester, "maybe_normalize", lambda rows: sizes.append(len(rows)) or rows * 2)
    found = tester.embed(data, "query", Towers())
    raw = make_tester(normalize_embeddings=False).embed(data, "query", Towers())
    assert sizes == [5, 5, 3] and torch.equal(found, 2 * raw)
    of_two = make_tester(pca=2).embed(data, "query", Towers())
    assert of_two.shape == (N, 2) and of_two.norm(dim=1).allclose(torch.ones(N))
    with pytest.raises(ValueError, match="pca needs all embeddings in memory"):
        make_tester(pca=2).embed(data, "query", Towers(), out=tmp_path / "query.npy")


def test_a_batch_transform_a_role():
    data = splits()
    for part in data.values():
        part.images = (part.images * 20 + 128).clamp(0, 255).to(torch.uint8)
    with pytest.raises(TypeError, match="uint8"):
        make_tester().test(data, 1, Towers())
    calls = []

    def scale(role):
        return lambda images: calls.append((role, len(images))) or (images.float() - 128) / 20

    transforms = {"query": scale("query"), "reference": scale("reference")}
    result = make_tester(batch_transform=transforms).test(data, 1, Towers())
    assert result["query"]["recall_at_1_level0"] == 1
    assert calls == [(role, size) for role in transforms for size in (5, 5, 3)]
    with pytest.raises(ValueError, match="batch_transform has the keys query, reference"):
        make_tester(batch_transform={"gallery": scale("gallery")})


def test_semi_positive_labels_reach_the_calculator_whole():
    labels = torch.stack([torch.arange(N).roll(1), torch.arange(N), torch.full((N,), -1)], dim=1)
    result = make_tester().test(splits(labels), 1, Towers())["query"]
    assert result["recall_at_1_level0"] == 0  # the semi-positive shows the very same content
    assert result["hit_rate_level0"] > 0
    reference = Views(splits()["reference"].images, [[i] for i in range(N)])
    data = {"query": splits(labels)["query"], "reference": reference}
    assert "hit_rate_level0" in make_tester().test(data, 1, Towers())["query"]


@pytest.mark.parametrize("named", [False, True])
def test_a_truth_replaces_the_labels(named):
    labels = torch.zeros(N, dtype=torch.long)
    truth = Truth.from_lists([[(i + 1) % N] for i in range(N)])
    tester = make_tester(truth={"query": truth} if named else truth)
    assert tester.test(splits(labels, labels), 1, Towers())["query"]["recall_at_1_level0"] == 0
    tester = make_tester(truth=Truth.diagonal(N))
    assert tester.test(splits(labels, labels), 1, Towers())["query"]["recall_at_1_level0"] == 1
    with pytest.raises(ValueError, match="CrossViewAccuracyCalculator"):
        make_tester(truth=truth, accuracy_calculator=AccuracyCalculator(device=torch.device("cpu")))


def test_several_reference_splits_and_pmls_label_levels():
    data = splits()
    half = {"near": Views(data["reference"].images[:6], torch.arange(6))}
    half["far"] = Views(data["reference"].images[6:], torch.arange(6, N))
    half["mine"] = data["query"]
    wanted = [("mine", ["near", "far"])]
    assert make_tester().test(half, 1, Towers(), splits_to_eval=wanted)["mine"]["recall_at_1_level0"] == 1
    assert wanted == [("mine", ["near", "far"])]
    levels = torch.stack([torch.arange(N), torch.arange(N) // 4], dim=1)
    result = make_tester(label_hierarchy_level="all").test(splits(levels, levels), 1, Towers())["query"]
    assert result["recall_at_1_level0"] == result["recall_at_1_level1"] == result["AVERAGE_recall_at_1"] == 1


def test_a_single_reference_split_is_not_copied():
    split = (torch.randn(3, 2), torch.zeros(3, 1))
    rows, labels = make_tester().maybe_combine_splits({"near": split}, ["near"])
    assert rows is split[0] and labels is split[1]
    assert len(make_tester().maybe_combine_splits({"near": split, "far": split}, ["near", "far"])[0]) == 6


def test_a_plain_trunk_is_tested_as_pml_tests_it():
    images, labels = torch.randn(40, 6), torch.arange(40) // 4
    data = {"val": Views(images, labels)}
    trunk, embedder = nn.Linear(6, 5), nn.Linear(5, 3)
    settings = dict(batch_size=16, dataloader_num_workers=0, data_device=torch.device("cpu"))
    include = ("precision_at_1", "r_precision")
    theirs = GlobalEmbeddingSpaceTester(
        accuracy_calculator=AccuracyCalculator(include, device=torch.device("cpu")), **settings
    )
    ours = CrossViewTester(accuracy_calculator=CrossViewAccuracyCalculator(include, device="cpu"), **settings)
    expected = theirs.test(data, 1, trunk, embedder)
    assert {k: dict(v) for k, v in ours.test(data, 1, trunk, embedder).items()} == {
        k: pytest.approx(dict(v)) for k, v in expected.items()
    }
    of_trunk = make_tester(use_trunk_output=True).embed(data["val"], "reference", trunk, embedder)
    torch.testing.assert_close(of_trunk, torch.nn.functional.normalize(trunk(images)))
    array, label_array = make_tester().get_all_embeddings(data["val"], trunk, embedder, return_as_numpy=True)
    assert array.shape == (40, 3) and label_array[:, 0].tolist() == labels.tolist()


def test_two_towers_cannot_embed_one_split_in_two_roles():
    data = {"val": splits()["query"]}
    with pytest.raises(ValueError, match="val would be queries and references at once"):
        make_tester().test(data, 1, Towers())


def test_the_wrapper_of_data_parallel_training_is_looked_through():
    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    assert make_tester().test(splits(), 1, Wrapper(Towers()))["query"]["recall_at_1_level0"] == 1


def test_wrong_settings():
    with pytest.raises(ValueError, match="precision must be one of fp32, bf16"):
        make_tester(precision="fp16")
    with pytest.raises(ValueError, match="role must be one of"):
        make_tester().embed(splits()["query"], "gallery", Towers())
    with pytest.raises(ValueError, match="no query images"):
        make_tester().embed(Views([], []), "query", Towers())


def test_pmls_hook_container_validates_with_it(tmp_path):
    images, labels = torch.randn(24, 6), torch.arange(24) // 3
    keeper, _, _ = logging_presets.get_record_keeper(str(tmp_path / "logs"))
    logging.getLogger("record_keeper").setLevel(logging.WARNING)
    hooks = logging_presets.get_hook_container(
        keeper, primary_metric="recall_at_1", validation_split_name="query", log_freq=1
    )
    tester = make_tester(end_of_testing_hook=hooks.end_of_testing_hook)
    data = {"query": Views(images[:10], labels[:10]), "reference": Views(images[10:], labels[10:])}
    trunk = nn.Linear(6, 4)
    MetricLossOnly(
        {"trunk": trunk},
        {"trunk_optimizer": torch.optim.SGD(trunk.parameters(), 0.01)},
        6,
        {"metric_loss": SoftMarginTripletLoss()},
        Views(images, labels),
        data_device=torch.device("cpu"),
        dataloader_num_workers=0,
        end_of_iteration_hook=hooks.end_of_iteration_hook,
        end_of_epoch_hook=hooks.end_of_epoch_hook(tester, data, str(tmp_path / "models")),
    ).train(num_epochs=2)
    history = hooks.get_accuracy_history(tester, "query", return_all_metrics=True)
    assert history["epoch"] == [1, 2]
    expected = recall(
        tester.embed(data["query"], "query", trunk),
        tester.embed(data["reference"], "reference", trunk),
        Truth.from_labels(labels[:10], labels[10:]),
    )
    assert history["recall_at_1_level0"][-1] == expected["recall_at_1"]
    assert history["recall_at_1_percent_level0"][-1] == expected["recall_at_1_percent"]
    assert any((tmp_path / "models").glob("trunk_best*.pth"))
    tables = keeper.query("SELECT name FROM sqlite_master WHERE type = 'table'", return_dict=True)["name"]
    columns = {table: keeper.query(f"SELECT * FROM {table}", return_dict=True) for table in tables}
    assert any(values.get("alpha", [None])[0] == 10.0 for values in columns.values())
