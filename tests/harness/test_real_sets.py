"""The main job on every kind of real data set, in miniature: options, subsets, caches and damaged images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trees
import trees_university
import trees_vigor

from geodtr_plugin.commands.main import main
from geodtr_plugin.commands.run import run_command

TINY = (
    "--epochs 1 --batch-size 2 --workers 0 --device cpu --precision fp32 --backbone tiny --model.pretrained false "
    "--model.query_size [32,64] --model.feedforward 64 --model.reference_size [32,32] --no-polar"
).split()


def results_of(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def run(tmp_path: Path, root: Path, words: str) -> dict:
    place = ["--data-root", str(root), "--out", str(tmp_path / "run")]
    assert run_command([*TINY, *words.split(), *place]) == 0
    return results_of(tmp_path / "run")


@pytest.mark.slow
def test_vigor_same_area_and_cross_area(tmp_path, capsys):
    trees_vigor.write_vigor(tmp_path / "data" / "VIGOR")
    results = run(tmp_path, tmp_path / "data", "--method geodtr_plus --train vigor-same --test vigor-same vigor-cross")
    assert results["tests"]["vigor-same"]["kind"] == "same area"
    assert results["tests"]["vigor-cross"]["kind"] == "cross area"
    last = results["tests"]["vigor-cross"]["last"]
    assert last["hit_rate"] >= last["recall_at_1"] and last["num_references"] > 0
    assert "DisjointTilesBatchSampler" in capsys.readouterr().out


@pytest.mark.slow
def test_a_model_of_one_half_of_vigor_meets_unknown_cities(tmp_path):
    trees_vigor.write_vigor(tmp_path / "data" / "VIGOR")
    results = run(tmp_path, tmp_path / "data", "--train vigor-cross --test vigor-cross vigor-cross-reverse")
    assert results["tests"]["vigor-cross"]["kind"] == "cross area"
    assert results["tests"]["vigor-cross-reverse"]["kind"] == "same area"


@pytest.mark.slow
def test_university_1652_in_both_directions(tmp_path):
    trees_university.write_university1652(tmp_path / "data" / "University-Release")
    words = "--train university1652 --test university1652 university1652-satellite-drone"
    results = run(tmp_path, tmp_path / "data", words)
    assert {entry["kind"] for entry in results["tests"].values()} == {"same area"}


@pytest.mark.slow
def test_own_folders(tmp_path):
    own = tmp_path / "my_city"
    for i in range(12):
        trees.save_jpeg(own / "queries" / f"{i}.jpg", trees.smooth_noise("ground", i, 24, 48))
        trees.save_jpeg(own / "references" / f"{i}.jpg", trees.smooth_noise("aerial", i, 40, 40))
    rows = [f"{i}.jpg,{48 + i / 1000},{9 + i / 1000}" for i in range(12)]
    (own / "places.csv").write_text("\n".join(["file,lat,lon", *rows]) + "\n")
    results = run(tmp_path, tmp_path, f"--train folder:{own} --test folder:{own}")
    assert results["tests"][f"folder:{own}"]["last"]["num_references"] > 0


@pytest.mark.slow
def test_own_data_with_centred_cameras_take_a_polar_model_and_show_north(tmp_path, capsys):
    own = tmp_path / "my_city"
    assert main(f"data write synth-suburb --count 32 --out {own}".split()) == 0
    assert json.loads((own / "dataset.json").read_text()) == {"centred": True}
    polar = f"--method geodtr_plus --train folder:{own} --polar --model.reference_size [32,64] --model.pretrained false"
    small = [word for word in TINY if word != "--no-polar"]
    assert run_command([*small, *polar.split(), "--limit", "6", "--out", str(tmp_path / "stated")]) == 0
    assert main(f"data check folder:{own}".split()) == 0
    assert "ok    north: at the centre" in capsys.readouterr().out
    (own / "dataset.json").unlink()
    assert main(f"data check folder:{own}".split()) == 0
    assert "north" not in capsys.readouterr().out
    assert main(f"data check folder:{own} --data.centred true".split()) == 0
    assert "ok    north: at the centre" in capsys.readouterr().out
    assert run_command([*small, *polar.split(), "--out", str(tmp_path / "unsaid")]) == 1
    assert "If they do stand there, say so: --data.centred true" in capsys.readouterr().err
    asked = "--data.centred true --limit 6 --out"
    assert run_command([*small, *polar.split(), *asked.split(), str(tmp_path / "asked")]) == 0


def test_numbers_on_queries_that_were_not_trained_on(tmp_path, capsys):
    """Place 2 of the training list is also in the test list, and places 5 and 6 of the test list are one."""
    locations = trees.cvusa_locations(12)
    locations[8 - 1], locations[6 - 1] = locations[2 - 1], locations[5 - 1]
    trees.write_cvusa(tmp_path / "data" / "CVUSA", [1, 2, 3, 4], [5, 6, 7, 8, 9], locations=locations)
    results = run(tmp_path, tmp_path / "data", "--train cvusa --test cvusa")
    last = results["tests"]["cvusa"]["last"]
    assert last["num_queries"] == 5
    assert last["subsets"]["not_in_training"]["num_queries"] == 4
    assert last["subsets"]["not_in_training"]["num_references"] == 5
    assert last["subsets"]["cleaned"]["num_queries"] == last["subsets"]["cleaned"]["num_references"] == 4
    out = capsys.readouterr().out
    assert "not_in_training" in out and "cleaned" in out


@pytest.mark.slow
@pytest.mark.parametrize("rule, right", [("5m", 2), ("identity", 1)])
def test_the_rule_of_the_large_cvact_test(tmp_path, rule, right):
    utm = np.stack([np.arange(17) * 100.0 + 690_000, np.full(17, 6_090_000.0)], axis=1)
    utm[-2] = utm[-3] + 2.0  # two test places 2.8 m apart
    trees.write_cvact(tmp_path / "data" / "CVACT", num_train=6, num_val=4, num_test=4, utm=utm)
    results = run(tmp_path, tmp_path / "data", f"--train cvact --test cvact-test --cvact-rule {rule}")
    entry = results["tests"]["cvact-test"]
    assert entry["last"]["num_queries"] == 8
    assert entry["chance_recall_at_1"] == pytest.approx(100 * (6 + 2 * right) / 8 / 8)


@pytest.mark.slow
def test_places_within_25_metres_are_no_negatives_on_cvact(tmp_path, capsys):
    trees.write_cvact(tmp_path / "data" / "CVACT")
    run(tmp_path, tmp_path / "data", "--train cvact --test cvact")
    assert "within 25 m" in capsys.readouterr().out


def test_a_partial_gallery_is_an_error_unless_it_is_wanted(tmp_path, capsys):
    root = tmp_path / "data"
    trees.write_cvusa(root / "CVUSA", [1, 2, 3, 4], [5, 6, 7, 8])
    (root / "CVUSA/streetview/panos/0000006.jpg").unlink()
    place = ["--data-root", str(root), "--out", str(tmp_path / "refused")]
    assert run_command([*TINY, "--train", "cvusa", *place]) == 1
    assert "streetview/panos/0000006.jpg" in capsys.readouterr().err
    notes = run(tmp_path, root, "--train cvusa --allow-partial")["tests"]["cvusa"]["data"]["notes"]
    assert any("3 of 4" in note for note in notes)


def test_damaged_images_can_be_left_out_and_are_named(tmp_path):
    root = tmp_path / "data"
    trees.write_cvusa(root / "CVUSA", [1, 2, 3, 4], [5, 6, 7, 8])
    for path in ("streetview/panos/0000006.jpg", "bingmap/19/0000003.jpg"):
        file = root / "CVUSA" / path
        file.write_bytes(file.read_bytes()[:-150])
    results = run(tmp_path, root, "--train cvusa --skip-corrupt")
    assert results["tests"]["cvusa"]["last"]["num_queries"] == 3
    assert "0000006" in str(results["tests"]["cvusa"]["data"]["notes"])
    assert results["train_data"]["pairs"] == 3 and "0000003" in str(results["train_data"]["notes"])


@pytest.mark.slow
def test_cached_images_give_the_same_numbers(tmp_path, capsys):
    root = tmp_path / "data"
    trees.write_cvusa(root / "CVUSA", [1, 2, 3, 4], [5, 6, 7, 8])
    plain = run(tmp_path / "a", root, "--train cvusa")
    cached = run(tmp_path / "b", root, "--train cvusa --cache")
    assert cached["tests"] == plain["tests"]
    assert "cache" in capsys.readouterr().out


def test_a_check_names_the_data_set_s_faults(tmp_path, capsys):
    root = tmp_path / "data"
    trees.write_cvusa(root / "CVUSA", [1, 2, 3, 4], [5, 6, 7, 8])
    (root / "CVUSA/bingmap/19/0000002.jpg").unlink()
    assert main(["data", "check", "cvusa", "--root", str(root)]) == 1
    assert "bingmap/19/0000002.jpg" in capsys.readouterr().out
