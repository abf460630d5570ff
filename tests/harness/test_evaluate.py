"""Numbers of a test set and of its parts, the same from memory and from files."""

from __future__ import annotations

import copy
import csv
import errno
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from geodtr_plugin import Truth, recall
from geodtr_plugin.commands.run import run_command
from geodtr_plugin.datasets import ImageArray, Subset
from geodtr_plugin.evaluation.ranking import rank_queries
from geodtr_plugin.harness import settings
from geodtr_plugin.harness.build import build_image_transforms, build_model
from geodtr_plugin.harness.data import load_splits
from geodtr_plugin.harness.details import write_ranks
from geodtr_plugin.harness.evaluate import Evaluator
from geodtr_plugin.harness.run_folder import RunFolder
from geodtr_plugin.harness.shared_file import shared_file
from geodtr_plugin.utils import npy_rows as row_files
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.npy_rows import open_rows, take_rows

CPU = torch.device("cpu")
WORDS = "--method simple --train synth-suburb --data.count 32 --workers 0 --device cpu"
WHOLE_GALLERY = Subset("some", "Some queries.", np.array([1, 4, 9]))
SMALLER = Subset("fewer", "Fewer references.", np.array([0, 2, 3, 30]), np.array([0, 2, 3, 11, 30]))


@pytest.fixture(scope="module")
def parts():
    """Model, views, training set and a test set with parts."""
    config = settings(WORDS)
    train, tests = load_splits(config)
    model = build_model(config)
    split = replace(tests["synth-suburb"], subsets=(WHOLE_GALLERY, SMALLER))
    transforms = build_image_transforms(config, model)
    return SimpleNamespace(model=model, transforms=transforms, train=train, tests={"synth-suburb": split})


def evaluator(parts, folder=None, words=""):
    config = settings(f"{WORDS} --evaluation.embeddings {'file' if folder else 'memory'} {words}")
    return Evaluator(config, parts.model, parts.transforms, parts.tests, CPU, folder and RunFolder(folder))


def bare(ties="pessimistic"):
    """An Evaluator that can rank, and nothing else."""
    ranking = Evaluator.__new__(Evaluator)
    ranking.config = SimpleNamespace(recipe=SimpleNamespace(evaluation=SimpleNamespace(ties=ties)))
    ranking.device, ranking.folder, ranking.orientation = CPU, None, SimpleNamespace(distance=None)
    return ranking


def test_a_part_of_the_queries_meets_the_whole_gallery():
    query, reference, subset = torch.randn(6, 4), torch.randn(6, 4), Subset("part", "Some.", np.array([1, 4]))
    truth = Truth.diagonal(6)
    ranks = bare().rank_subset(query, reference, truth, subset, bare().rank(query, reference, truth))
    rows = [recall(query[i : i + 1], reference, Truth.from_lists([[i]]))["median_rank"] for i in (1, 4)]
    assert (ranks.plain + 1).tolist() == rows and ranks.num_references == 6


def test_a_smaller_gallery_is_ranked_anew():
    query, reference, kept = torch.randn(6, 4), torch.randn(6, 4), np.array([0, 2, 3])
    truth, subset = Truth.diagonal(6), Subset("part", "Fewer.", kept, kept)
    ranks = bare().rank_subset(query, reference, truth, subset, bare().rank(query, reference, truth))
    expected = rank_queries(query[kept], reference[kept])
    assert ranks.plain.tolist() == expected.plain.tolist() and ranks.num_references == 3
    assert ranks.plain.tolist() != bare().rank(query, reference, truth).plain[kept].tolist()


@pytest.mark.slow
def test_examples_show_the_most_similar_references(parts):
    embeddings = evaluator(parts).embed(parts.tests["synth-suburb"])
    _, details = evaluator(parts, words="--evaluation.examples 3")(details=True)
    rows, top = details["synth-suburb"].examples
    assert rows.tolist() == [0, 15, 31] and top.shape == (3, 5)
    order = (embeddings["query"][rows] @ embeddings["reference"].T).argsort(dim=1, descending=True)
    assert top.tolist() == order[:, :5].tolist()
    _, details = evaluator(parts, words="--evaluation.examples 0")(details=True)
    assert len(details["synth-suburb"].examples[0]) == 0


def test_every_query_has_a_line_with_its_rank_and_the_best_wrong_reference(parts, tmp_path):
    split = parts.tests["synth-suburb"]
    scores, details = evaluator(parts).measure(split, details=True)
    write_ranks(tmp_path / "ranks.csv", split, details)
    with (tmp_path / "ranks.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["query"] for line in lines] == list(split.queries.ids)
    embeddings = evaluator(parts).embed(split)
    similarities = torch.nn.functional.normalize(embeddings["query"]) @ embeddings["reference"].T
    for row, line in enumerate(lines):
        wrong, right = similarities[row].clone(), split.truth.positives[row]
        wrong[right] = -2
        assert line["wrong"] == split.references.ids[int(wrong.argmax())]
        assert float(line["wrong_similarity"]) == pytest.approx(float(wrong.max()), abs=1e-5)
        assert float(line["similarity"]) == pytest.approx(float(similarities[row, right]), abs=1e-5)
        assert (line["rank"] == "1") == (float(line["similarity"]) > float(line["wrong_similarity"]))
    hits = sum(line["rank"] == "1" for line in lines)
    assert scores["recall_at_1"] == pytest.approx(100 * hits / len(lines))


def test_a_query_without_a_right_or_a_wrong_reference_has_empty_cells(parts, tmp_path):
    split = replace(parts.tests["synth-suburb"].keep(np.array([0, 1]), np.array([1])), subsets=())
    _, details = evaluator(parts).measure(split, details=True)
    write_ranks(tmp_path / "ranks.csv", split, details)
    first, second = (tmp_path / "ranks.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert first.split(",")[1:3] == ["", ""] and first.split(",")[3] == split.references.ids[0]
    assert second.split(",")[1] == "1" and second.endswith(",,")


def test_ids_like_formulas_are_text_in_the_file_of_ranks(parts, tmp_path):
    split = replace(parts.tests["synth-suburb"].keep(np.arange(2), np.arange(2)), subsets=())
    _, details = evaluator(parts).measure(split, details=True)
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    queries = ImageArray(pixels, ids=["=HYPERLINK(1)", os.fsdecode(b"-\xff")])
    write_ranks(tmp_path / "ranks.csv", replace(split, queries=queries), details)
    first, second = (tmp_path / "ranks.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert first.startswith("'=HYPERLINK(1),") and second.startswith("'-\\udcff,")
    assert "'" not in first[1:] and "'" not in second[1:]  # numbers stay numbers


def test_files_give_the_numbers_of_memory(parts, tmp_path):
    memory, file = evaluator(parts), evaluator(parts, tmp_path)
    numbers = memory()[0]
    assert file()[0] == numbers and set(numbers["synth-suburb"]["subsets"]) == {"some", "fewer"}
    for name, details in memory(details=True)[1].items():
        other = file(details=True)[1][name]
        assert (details.wrong == other.wrong).all() and (details.examples[1] == other.examples[1]).all()
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == [
        "embeddings", "embeddings/synth-suburb-query.npy", "embeddings/synth-suburb-reference.npy"
    ]  # fmt: skip
    for role, tensor in memory.embed(parts.tests["synth-suburb"]).items():
        stored = np.load(tmp_path / f"embeddings/synth-suburb-{role}.npy")
        assert stored.dtype == np.float32 and torch.equal(torch.from_numpy(stored), tensor)


def test_files_give_the_numbers_of_the_gpus_memory(parts, tmp_path):
    model, words = copy.deepcopy(parts.model).cuda(), f"{WORDS} --evaluation.embeddings"
    here = [Evaluator(settings(f"{words} {kind}"), model, parts.transforms, parts.tests, torch.device("cuda"),
                      RunFolder(tmp_path)) for kind in ("memory", "file")]  # fmt: skip
    index = parts.tests["synth-suburb"]
    assert here[0]() == here[1]()
    for memory, file in zip(here[0].embed(index).values(), here[1].embed(index).values()):
        assert memory.is_cuda and not file.is_cuda and torch.equal(memory.cpu(), file)


def test_training_pairs_have_files_of_their_own(parts, tmp_path):
    order, others = np.random.default_rng(0).permutation(32), np.random.default_rng(1).permutation(32)
    pairs = np.stack([others[order], order], axis=1)  # reference i shows the place of query others[i]
    train = replace(
        parts.train, references=parts.train.references.take(others), pairs=pairs,
        reference_places=parts.train.reference_places[others],
    )  # fmt: skip
    file = evaluator(parts, tmp_path)
    whole = evaluator(parts).embed(train)
    for found in (evaluator(parts).embed_pairs(train), file.embed_pairs(train)):
        for role, rows, column in zip(("query", "reference"), found, train.pairs.T):
            assert torch.equal(rows, whole[role][column])
    names = [path.name for path in (tmp_path / "embeddings").iterdir()]
    assert sorted(names) == ["train-synth-suburb-query.npy", "train-synth-suburb-reference.npy"]


def test_precision_is_that_of_training_unless_given(parts):
    assert evaluator(parts).tester.precision == settings(WORDS).recipe.optim.precision == "fp32"
    assert evaluator(parts, words="--precision bf16").tester.precision == "bf16"
    mixed = evaluator(parts, words="--precision bf16 --evaluation.precision fp32")
    assert mixed.tester.precision == "fp32" and mixed.config.recipe.optim.precision == "bf16"
    halves = evaluator(parts, words="--evaluation.precision bf16")
    index = parts.tests["synth-suburb"]
    full, half = mixed.embed(index)["query"], halves.embed(index)["query"]
    assert half.dtype == torch.float32 and 1e-6 < (full - half).abs().max() < 0.05


def test_files_need_a_folder(parts):
    config = settings(f"{WORDS} --evaluation.embeddings file")
    with pytest.raises(ValueError, match="there is no run folder"):
        Evaluator(config, parts.model, parts.transforms, parts.tests, CPU)


def test_consecutive_rows_are_not_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(row_files, "BLOCK_BYTES", 3 * 4 * 5)
    embeddings = torch.randn(20, 5)
    for folder in (None, tmp_path):
        assert take_rows(embeddings, np.arange(4, 11), folder).is_set_to(embeddings[4:11])
        assert take_rows(embeddings, np.arange(20), folder).is_set_to(embeddings)
        for rows in ([3, 1, 2, 19, 19, 0, 7], [5, 4, 3], [1, 3, 2, 4], list(range(0, 20, 2))):
            taken = take_rows(embeddings, np.array(rows), folder)
            assert torch.equal(taken, embeddings[rows])
            taken.zero_()
    assert embeddings.all() and not any(tmp_path.iterdir()), "the copy's file has no name"


def test_a_file_has_its_name_when_it_is_complete(tmp_path):
    path, partial = tmp_path / "embeddings" / "set-query.npy", tmp_path / "embeddings" / "set-query.partial.npy"

    def write(value, after=lambda: None):
        with shared_file(path, (4, 3)) as name:
            open_rows(name).fill_(value)
            after()

    write(1)
    assert (np.load(path) == 1).all() and not partial.exists()
    partial.write_bytes(b"what a run left that was killed")
    seen = []
    write(2, after=lambda: seen.append(np.load(path).max()))
    assert seen == [1] and (np.load(path) == 2).all() and not partial.exists()
    with pytest.raises(KeyboardInterrupt):
        write(3, after=lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    assert (np.load(path) == 2).all() and os.listdir(path.parent) == [path.name]


def test_processes_on_different_disks_are_told(tmp_path, monkeypatch):
    # and what the first one made is somewhere else
    monkeypatch.setattr("geodtr_plugin.harness.shared_file.is_main_process", lambda: False)
    with pytest.raises(UserError, match="one file system, or keep embeddings in memory"):
        with shared_file(tmp_path / "embeddings" / "set-query.npy", (4, 3)):
            pass


def test_names_of_files_are_fit_for_any_disk_and_differ(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.embeddings("cvact-test", "query") == tmp_path / "embeddings" / "cvact-test-query.npy"
    assert folder.embeddings("cvact", "reference", "train").name == "train-cvact-reference.npy"
    long = "folder:/" + "deep/" * 60 + "city"
    odd = ["folder:/a b", "folder:/a-b", "folder:/a:b", long, long.replace("deep/", "deep-", 1)]
    names = [folder.embeddings(name, "query").name for name in odd]
    assert len(set(names)) == len(odd) and all(len(name) < 150 for name in names)
    assert not set(":/\\ *?").intersection("".join(names))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot take room on a disk beforehand")
def test_a_full_disk_is_told_before_anything_is_embedded(parts, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    file = evaluator(parts, tmp_path)
    monkeypatch.setattr(file.tester, "embed", lambda *arguments, **options: pytest.fail("it embeds"))
    with pytest.raises(UserError, match="no room for .* GB of embeddings .*Free some space"):
        file()
    assert not any((tmp_path / "embeddings").iterdir())


@pytest.mark.slow
def test_a_run_that_mines_by_similarity_takes_files_too(tmp_path, monkeypatch):
    """Whenever the run embeds or measures, memory is asked for the same."""
    calls, embed_pairs, measure = [], Evaluator.embed_pairs, Evaluator.measure

    def from_memory(self, method, *arguments, **options):
        with monkeypatch.context() as here:
            here.setattr(self, "folder", None)
            return method(self, *arguments, **options)

    def checked_pairs(self, index):
        found = embed_pairs(self, index)
        assert all(torch.equal(*both) for both in zip(found, from_memory(self, embed_pairs, index)))
        calls.append("pairs")
        return found

    def checked_numbers(self, split, details=False):
        numbers, more = measure(self, split, details)
        assert numbers == from_memory(self, measure, split, details)[0]
        calls.append("numbers")
        return numbers, more

    monkeypatch.setattr(Evaluator, "embed_pairs", checked_pairs)
    monkeypatch.setattr(Evaluator, "measure", checked_numbers)
    words = "--threads 1 --batch-size 8 --epochs 1 --sampler similar --sampling.every 1 --evaluation.embeddings file"
    assert run_command([*WORDS.split(), *words.split(), "--out", str(tmp_path / "run")]) == 0
    assert calls == ["numbers", "pairs"] and len(list((tmp_path / "run" / "embeddings").iterdir())) == 4
