"""Gaps, calibrated probabilities, photos of nowhere, and several photos of one spot."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from trees import smooth_noise

from geodtr_plugin.commands.index import index_command
from geodtr_plugin.commands.locate import locate_command
from geodtr_plugin.distances import CircularCorrelation
from geodtr_plugin.search import IndexGallery, Locator, Match, VectorIndex, build_index, locate_together
from geodtr_plugin.search.calibration import Evidence, fit_calibration, fit_logistic, measure
from geodtr_plugin.search.held_out import HeldOut, calibrate, calibrate_index, evidence_of, read_held_out
from geodtr_plugin.search.index_folder import calibration_of, read_manifest
from geodtr_plugin.search.matches import DEPTH, NEIGHBOURS_WITHIN, with_gaps
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.geo import METRES_A_DEGREE

COUNT = 80  # places of the planted city, 100 m apart


@pytest.fixture(scope="module")
def plain(run, tmp_path_factory):
    """An index of a few tiles, whose embedder the planted city borrows."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("plain")
    for number in range(3):
        Image.fromarray(smooth_noise("aerial", number, 32, 32)).save(folder / f"{number}.png")
    (folder / "places.csv").write_text("file,lat,lon\n" + "".join(f"{i}.png,48.{i},11\n" for i in range(3)))
    build_index(run, folder / "places.csv", folder / "i", device="cpu", progress=False)
    return folder / "i"


def units(count: int, seed: int, size: int = 32) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def planted(plain, noise: float, seed: int = 0, headings: int = 0):
    """A search in a city of random vectors, and photos that are their places' vectors with noise.

    Photos are pictures whose colour is their number; 2 N of them, the second half of nowhere.
    """
    locator = Locator.load(plain, device="cpu")
    vectors = units(COUNT, seed)
    draw = np.random.default_rng(seed + 1)
    truth = np.concatenate([vectors, units(COUNT, seed + 2)])
    queries = truth + noise * draw.exponential(size=(2 * COUNT, 1)).astype(np.float32) * units(2 * COUNT, seed + 3)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    places = np.stack([np.zeros(COUNT), np.arange(COUNT) * 100 / METRES_A_DEGREE], axis=1)
    references = [(str(i), *at) for i, at in enumerate(places.tolist())]
    locator = Locator(locator.embedder, IndexGallery(VectorIndex(vectors), references))
    locator.embedder.embed = lambda images, role: queries[[int(image[0, 0, 0]) for image in images]]
    photos = [torch.full((3, 16, 44), number, dtype=torch.uint8) for number in range(2 * COUNT)]
    return locator, photos, places, queries


def test_gaps_are_those_of_a_loop():
    draw = np.random.default_rng(0)
    matches = [Match(str(i), 1 - i / 40, *(draw.uniform(0, 150, 2) / METRES_A_DEGREE)) for i in range(30)]
    matches[4] = Match("nowhere", matches[4].similarity, None, None)
    for number, match in enumerate(with_gaps(matches, 12)):
        def apart(other, match=match):
            if match.lat is None or other.lat is None:
                return True
            return np.hypot(match.lat - other.lat, match.lon - other.lon) * METRES_A_DEGREE > NEIGHBOURS_WITHIN

        others = [other.similarity for i, other in enumerate(matches) if i != number and apart(other)]
        assert match.gap == pytest.approx(match.similarity - max(others))
    near = [Match(str(i), 1 - i / 10, 0.0, 0.0) for i in range(4)]
    assert with_gaps(near, 1)[0].gap == pytest.approx(0.3)  # all are neighbours: at least this
    assert with_gaps(near[:1], 1)[0].gap is None and with_gaps([], 3) == ()


def test_the_curve_is_that_which_made_the_outcomes():
    draw = np.random.default_rng(0)
    features = draw.normal(size=(20_000, 2)) * (0.1, 0.05) + (0.5, 0.1)
    logits = -6 + 10 * features[:, 0] + 20 * features[:, 1]
    right = draw.random(len(logits)) < 1 / (1 + np.exp(-logits))
    bias, slopes = fit_logistic(features, right, np.ones(len(right)))
    assert bias == pytest.approx(-6, abs=0.5) and slopes == pytest.approx([10, 20], rel=0.1)
    doubled = fit_logistic(np.repeat(features[:500], 2, 0), np.repeat(right[:500], 2), np.ones(1000))
    weighed = fit_logistic(features[:500], right[:500], np.full(500, 2.0))
    assert doubled[1] == pytest.approx(weighed[1], rel=0.05)
    _, against = fit_logistic(features, ~right, np.ones(len(right)))
    assert against == pytest.approx([0, 0])  # more evidence never makes less probable


@pytest.mark.parametrize("outcome", [True, False])
def test_outcomes_without_errors_promise_no_certainty(outcome):
    features = np.random.default_rng(0).normal(size=(50, 2))
    bias, slopes = fit_logistic(features, np.full(50, outcome), np.ones(50))
    said = 1 / (1 + np.exp(-bias - features @ slopes))
    assert 0.001 < said.min() and said.max() < 0.999 and abs(said.mean() - outcome) < 0.05


def test_the_calibration_error_is_that_of_a_loop():
    draw = np.random.default_rng(0)
    said, weights = draw.random(300), draw.random(300)
    right, nowhere = draw.random(300) < said**2, draw.random(300) < 0.3
    found, error = measure(said, right, nowhere, weights), 0.0
    for low in np.arange(0, 1, 0.1):
        rows = (said >= low) & (said < low + 0.1)
        share = weights[rows] / weights[rows].sum()
        error += weights[rows].sum() / weights.sum() * abs((share * said[rows]).sum() - (share * right[rows]).sum())
    assert found.error == pytest.approx(error) and sum(weight for *_, weight in found.bins) == pytest.approx(1)
    pairs = [(a < b) + (a == b) / 2 for a in said[nowhere] for b in said[~nowhere]]
    assert found.told_apart == pytest.approx(np.mean(pairs))


def test_probabilities_hold_on_other_photos_and_nowhere_is_improbable(plain):
    locator, photos, places, _ = planted(plain, noise=0.7)
    locator.calibration = calibrate(locator, HeldOut("planted", photos[:COUNT], places))
    other, queries, places, _ = planted(plain, noise=0.7, seed=10)  # the embedder now gives these queries
    locator = Locator(other.embedder, other.gallery, calibration=locator.calibration)
    answers = locator.locate(queries, k=1)
    said = np.array([answer.probability for answer in answers])
    right = np.array([answer.matches[0].path == str(i) for i, answer in enumerate(answers)])
    assert 0.5 < right[:COUNT].mean() < 1 and not right[COUNT:].any()
    assert abs(said[:COUNT].mean() - right[:COUNT].mean()) < 0.12
    assert said[COUNT:].mean() < 0.25 and said[:COUNT][right[:COUNT]].mean() > 0.75
    found = locator.calibration.reliability
    assert found.error < 0.1 and found.told_apart > 0.9 and found.nowhere == pytest.approx(said[COUNT:].mean(), abs=0.1)


def test_evidence_leaves_out_all_that_is_near_the_place():
    metres = [0, 20, 45, 80, 300]
    matches = [Match(str(i), 0.9 - i / 10, 0.0, at / METRES_A_DEGREE) for i, at in enumerate(metres)]
    seen, gone = evidence_of(matches, np.zeros(2), 7)
    assert seen == Evidence(0.9, pytest.approx(0.3), True, False, 7)
    assert gone == Evidence(pytest.approx(0.6), pytest.approx(0.1), False, True, 7)
    assert not evidence_of(matches, np.array([0.0, 30 / METRES_A_DEGREE]), 0)[0].right
    assert len(evidence_of(matches[:2], np.zeros(2), 0)) == 1  # nothing is left


def test_what_a_calibration_does_not_speak_of():
    evidence = [Evidence(0.5 + i / 100, i / 50, i > 10, False, i) for i in range(30)]
    found = fit_calibration(evidence, "x", 8, ["panorama"])
    assert found.refusal("panorama", 8, together=False) is None
    assert "single photos" in found.refusal("panorama", 8, together=True)
    assert "--headings 8" in found.refusal("panorama", 0, together=False)
    assert "each panorama, and this is a photo" in found.refusal("photo", 8, together=False)
    assert found.probability(0.9, 0.5) > found.probability(0.9, 0.1) > found.probability(0.4, None)
    with pytest.raises(UserError, match="19 photos with a known place are too few"):
        fit_calibration(evidence[:19], "x", 0, ["panorama"])


def city(folder, count: int = 20):
    """Own data: photos and tiles of as many places, in two folders and a table."""
    from PIL import Image

    lines = ["file,lat,lon"]
    for home, (height, width) in (("queries", (32, 88)), ("references", (32, 32))):
        (folder / home).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(smooth_noise(home, number, height, width)).save(folder / home / f"{number}.png")
            lines.append(f"{home}/{number}.png,{48 + number / 1000:.4f},11.0")
    (folder / "places.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return city(tmp_path_factory.mktemp("own") / "city")


def test_the_commands_calibrate_and_say_so(run, data, tmp_path, capsys):
    index = tmp_path / "i"
    build = f"build --run {run} --references {data} -o {index} --device cpu"
    assert index_command(f"{build} --calibrate {data}".split()) == 0
    said = capsys.readouterr().err
    assert "Calibrated on 20 photos of city" in said and "expected calibration error" in said
    assert (index / "reliability.png").read_bytes().startswith(b"\x89PNG")
    kept = calibration_of(read_manifest(index))
    assert kept.count == 20 and kept.taken_as == ("panorama",) and Locator.load(index, device="cpu").calibration == kept
    photo = data / "queries" / "3.png"
    assert locate_command(f"--index {index} {photo} --device cpu --top 2 --format json".split()) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    first = answer["matches"][0]
    probability = kept.probability(first["similarity"], first["gap"])
    assert answer["probability_within_25_m"] == pytest.approx(probability, abs=1e-3)
    assert locate_command(f"--index {index} {photo} --device cpu".split()) == 0
    assert "within 25 m of the first place with probability" in capsys.readouterr().out
    assert locate_command(f"--index {index} {photo} --device cpu --headings 4".split()) == 0
    assert "not calibrated: the index was calibrated with --headings 0" in capsys.readouterr().out
    words = f"--index {index} {data / 'queries'} --device cpu --together --map {tmp_path / 'm.html'}"
    assert locate_command(words.split()) == 0
    out = capsys.readouterr().out
    assert out.count("rank") == 1 and "and 19 more together (not calibrated: the index was calibrated on single" in out
    manifest = index / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"by_gap": ', '"by_gap": "much", "was": '))
    assert locate_command(f"--index {index} {photo} --device cpu".split()) == 1
    assert "manifest.calibration" in capsys.readouterr().err
    few = tmp_path / "few.csv"
    few.write_text("file,lat,lon\na.png,48,11\n")
    (tmp_path / "a.png").write_bytes(photo.read_bytes())
    assert index_command(f"{build}2 --calibrate {few}".split()) == 1
    assert "has 1 photos; calibration needs 20" in capsys.readouterr().err and not (tmp_path / "i2.partial").exists()


def test_a_build_that_was_killed_while_it_calibrated_goes_on(run, data, tmp_path, monkeypatch):
    from geodtr_plugin.search import building

    index = tmp_path / "i"
    settings = dict(device="cpu", progress=False, calibrate=data)
    with monkeypatch.context() as patch:
        patch.setattr(building, "calibrate_index", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_index(run, data, index, **settings)
    assert not index.exists()
    summary = build_index(run, data, index, **settings)
    assert summary.resumed_at == 20 and summary.calibration == calibration_of(read_manifest(index))


def test_photos_know_their_places_by_their_own_exif(plain, tmp_path):
    from PIL import Image
    from test_bad_images import exif_with

    for number in range(21):
        block = exif_with(1, (48.0, 0.0, 2.0 * number), (11.0, 0.0, 0.0)) if number else Image.Exif()
        Image.fromarray(smooth_noise("ground", number, 32, 88)).save(tmp_path / f"{number:02}.jpg", exif=block)
    held_out = read_held_out(tmp_path)
    assert np.isnan(held_out.places).all() and len(held_out.photos) == 21
    found = calibrate_index(plain, Locator.load(plain, device="cpu"), held_out)
    assert found.count == 20  # the first one has no place


def test_rendered_places_are_looked_for_among_their_own_tiles_too(plain, monkeypatch):
    from geodtr_plugin.search import held_out

    monkeypatch.setattr(held_out, "RENDERED_COUNT", 8)
    locator = Locator.load(plain, device="cpu")
    world = read_held_out("synth-suburb")
    assert len(world.photos) == len(world.tiles) == 8 and abs(world.places).max() < 0.1
    assert np.abs(world.places - world.tile_places).max() * METRES_A_DEGREE < 15  # cameras are at their tiles' centres
    seen = []
    monkeypatch.setattr(held_out, "fit_calibration", lambda evidence, *_: seen.extend(evidence))
    calibrate(locator, world)
    assert len(seen) == 16 and sum(one.right for one in seen) > 0  # an untrained model is right by chance alone


def test_together_is_the_mean_of_the_similarities(plain):
    locator, photos, _, queries = planted(plain, noise=1.5)
    answer = locate_together(locator, photos[:4], k=6)
    mean = queries[:4] @ locator.gallery.index.vectors.T
    order = np.argsort(-mean.mean(0))[:6]
    assert [int(match.path) for match in answer.matches] == order.tolist()
    assert [match.similarity for match in answer.matches] == pytest.approx(mean.mean(0)[order], abs=1e-6)
    of_mean = locator.gallery.index.vectors @ queries[:4].mean(0)
    assert np.argsort(-of_mean)[:6].tolist() == order.tolist()
    assert answer.query == "image 0" and len(answer.together) == 4 and answer.matches[0].gap is not None


def test_photos_of_one_spot_find_it_where_single_ones_do_not(plain):
    locator, photos, _, _ = planted(plain, noise=0.0)
    spot = locator.gallery.index.vectors[7]
    views = spot + 2.2 * units(5, 6)
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    locator.embedder.embed = lambda images, role: views[[int(image[0, 0, 0]) for image in images]]
    singles = [answer.matches[0].path for answer in locator.locate(photos[:5], k=1)]
    assert singles.count("7") < 4 and locate_together(locator, photos[:5], k=1).matches[0].path == "7"


def test_together_each_photo_has_a_heading_of_its_own(plain):
    """With copies at several headings, and with a distance of the model: the naive best of each photo, averaged."""
    locator, photos, _, _ = planted(plain, noise=0.0)
    copies = units(3 * 4, 9).reshape(3, 4, 32)
    locator.embedder.headings = 4
    locator.embedder.embed = lambda images, role: copies[[int(image[0, 0, 0]) for image in images]].reshape(-1, 128)
    answer = locate_together(locator, photos[:3], k=5)
    each = np.einsum("nhd,md->nhm", copies, locator.gallery.index.vectors)
    order = np.argsort(-each.max(1).mean(0))[:5]
    assert [int(match.path) for match in answer.matches] == order.tolist()
    assert [match.heading for match in answer.matches] == (each[0].argmax(0)[order] * 90.0).tolist()

    locator.embedder.headings = 0
    distance = CircularCorrelation((1, 8, 4))
    locator.embedder.model.distance = distance
    try:
        maps = units(3, 11)
        locator.embedder.embed = lambda images, role: maps[[int(image[0, 0, 0]) for image in images]]
        answer = locate_together(locator, photos[:3], k=5)
        mean = distance.similarities(torch.tensor(maps), torch.tensor(locator.gallery.index.vectors)).numpy().mean(0)
        order = np.argsort(-mean)[:5]
        assert [int(match.path) for match in answer.matches] == order.tolist()
        assert all(match.heading is not None for match in answer.matches)
    finally:
        locator.embedder.model.distance = None


def test_together_names_photos_that_cannot_be_used(plain, tmp_path):
    (tmp_path / "bad.jpg").write_text("no image")
    locator = Locator.load(plain, device="cpu")
    good = torch.tensor(smooth_noise("ground", 1, 32, 88)).permute(2, 0, 1)
    answer = locate_together(locator, [str(tmp_path / "bad.jpg"), good])
    assert answer.fault is None and answer.query == "image 1" and answer.together[0].fault is not None
    alone = locate_together(locator, [str(tmp_path / "bad.jpg")])
    assert alone.fault == "has no photo that can be used" and not alone.matches


def test_deeper_matches_are_the_same_first_ones(plain):
    locator, photos, *_ = planted(plain, noise=0.5)
    few, many = locator.locate(photos[:6], k=3), locator.locate(photos[:6], k=COUNT)
    assert [answer.matches for answer in few] == [answer.matches[:3] for answer in many] and DEPTH > COUNT
    with pytest.raises(UserError, match="1 at least"):
        locator.locate(photos[:1], k=0)
