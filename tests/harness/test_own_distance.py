"""A model with a distance of its own, queries smaller than references: in training, mining, ranks, pictures, search."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from geodtr_plugin import load_model
from geodtr_plugin.commands.index import index_command
from geodtr_plugin.commands.locate import locate_command
from geodtr_plugin.commands.run import run_command
from geodtr_plugin.distances import CircularCorrelation
from geodtr_plugin.harness import run, settings
from geodtr_plugin.harness.checks import check_sampler
from geodtr_plugin.harness.results import published
from geodtr_plugin.methods.recipe import FieldOfView
from geodtr_plugin.samplers import HardBatchSampler, SimilarBatchSampler
from geodtr_plugin.search.locator import Locator
from geodtr_plugin.utils.errors import UserError

WORLD = "--train synth-suburb --test synth-suburb --data.count 16 --workers 0 --threads 1 --device cpu"
SMALL = f"--method dsm --recipe laptop {WORLD} --model.query_size [16,32] --batch-size 8"
HALF = f"{SMALL} --fov 180 --epochs 2 --sampling.every 1 --evaluation.embeddings file"


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """A run on half panoramas, whose hard pairs come from the bank."""
    folder = tmp_path_factory.mktemp("halves") / "run"
    return folder, run(settings(f"{HALF} --sampler hard --loss info_nce --miner all --out {folder}"))


@pytest.mark.slow
def test_ranks_go_through_the_distance(halves):
    folder, results = halves
    model = load_model(folder)
    assert model.query_size == (16, 16) and isinstance(model.distance, CircularCorrelation)
    query, reference = (torch.from_numpy(np.load(next((folder / "embeddings").glob(f"*{role}*")))) for role in
                        ("query", "reference"))  # fmt: skip
    assert query.shape == (16, model.embedding_size_of("query")) and reference.shape == (16, model.embedding_size)
    similarities = model.distance.similarities(query.double(), reference.double())
    expected = (similarities >= similarities.diag()[:, None] - 1e-12).sum(1)
    with next(folder.glob("ranks*.csv")).open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [int(line["rank"]) for line in lines] == expected.tolist()
    found = [float(line["wrong_similarity"]) for line in lines]
    np.testing.assert_allclose(found, similarities.fill_diagonal_(-2).amax(1), atol=2e-6)
    recall = results["tests"]["synth-suburb"]["last"]["recall_at_1"]
    assert recall == pytest.approx(100 * (expected == 1).float().mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", ["--sampler similar --miner batch_hard --loss triplet", "--chsg s --loss sare_joint"]
)
def test_every_choice_trains(words, tmp_path):
    results = run(settings(f"{HALF} {words} --out {tmp_path / 'run'}"))
    assert results["tests"]["synth-suburb"]["last"]["num_queries"] == 16


@pytest.mark.slow
def test_aligned_panoramas_take_twins(tmp_path):
    run(settings(f"{SMALL} --epochs 1 --chsg l+s --out {tmp_path / 'run'}"))
    assert load_model(tmp_path / "run").distance is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "words, sentence",
    [
        ("--fov 180 --chsg l+s", "twins that differ by a turn, and dsm compares all headings"),
        ("--fov 180 --loss circle", "The loss circle cannot be built"),
    ],
)
def test_impossible_crossings_are_refused(words, sentence, tmp_path, capsys):
    assert run_command([*SMALL.split(), "--epochs", "1", "--out", str(tmp_path / "run"), *words.split()]) == 1
    assert sentence in capsys.readouterr().err


def test_a_sampler_that_knows_no_distance_is_refused():
    class Own:
        def update(self, query, reference):
            """Compare by itself."""

    model = SimpleNamespace(distance=CircularCorrelation((1, 4, 2)), method_name="dsm")
    with pytest.raises(UserError, match="distance of its own, of which Own knows nothing"):
        check_sampler(model, Own())
    with pytest.raises(UserError, match="Own"):
        check_sampler(model, SimpleNamespace(samplers=[HardBatchSampler(np.arange(4), 2), Own()]))
    check_sampler(SimpleNamespace(distance=None, method_name="safa"), Own())
    check_sampler(model, None)


@pytest.mark.parametrize("sampler", [HardBatchSampler, SimilarBatchSampler])
def test_samplers_find_what_looks_alike_by_the_distance(sampler):
    distance = CircularCorrelation((1, 8, 3), 5)
    query, reference = torch.randn(12, 15), torch.randn(12, 24)
    own = sampler(np.arange(12), 4)
    own.update(query, reference, distance=distance)
    similarities = distance.similarities(query, reference).fill_diagonal_(-2)
    assert own.table[:, 0].tolist() == similarities.argmax(1).tolist()


def test_published_numbers_are_of_the_same_view():
    names = [FieldOfView(), FieldOfView(fov=180), FieldOfView(fov=70.0), FieldOfView(fov=180, heading="fixed")]
    rows = [published("dsm", ("cvusa",), view.test_name("cvusa"), True) for view in names]
    assert [row.get("recall_at_1") for row in rows] == [91.93, 48.5, 8.8, None]
    assert published("safa", ("cvusa",), FieldOfView(fov=90).test_name("cvusa"), True) == {}


@pytest.mark.slow
def test_locate_searches_all_references(halves, tmp_path, capsys):
    from geodtr_plugin.commands.data_write import write_command

    folder, _ = halves
    city, index = tmp_path / "city", tmp_path / "index"
    assert write_command(f"synth-suburb --out {city} --count 16".split()) == 0
    build = f"build --run {folder} --references {city} --device cpu -o".split()
    assert index_command([*build, str(index)]) == 0
    assert json.loads((index / "manifest.json").read_text())["kind"] == "flat"
    assert locate_command(f"--index {index} {city / 'queries'} --device cpu --format json --top 3".split()) == 0
    (first, *_) = json.loads(capsys.readouterr().out[: -1].partition("16 references indexed (flat).\n")[2])
    locator = Locator.load(index, device="cpu")
    vectors = np.array(locator.gallery.index.vectors)
    photo = locator.embedder.on_load(_read(first["query"]), "query")
    query = locator.embedder.embed([photo], "query")
    expected = locator.embedder.model.distance.similarities(torch.from_numpy(query), torch.from_numpy(vectors))[0]
    found = [match["similarity"] for match in first["matches"]]
    np.testing.assert_allclose(found, expected.sort(descending=True)[0][:3], atol=2e-6)
    assert index_command([*build, str(tmp_path / "cells"), "--kind", "ivf"]) == 1
    assert "compares images at all headings" in capsys.readouterr().err
    assert not (tmp_path / "cells").exists()


def _read(path):
    from torchvision.io import decode_image

    return decode_image(path)
