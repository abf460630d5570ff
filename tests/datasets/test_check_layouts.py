"""`geodtr data check` passes every layout of every data set."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from trees import cvusa_locations, save_jpeg, smooth_noise, write_cvact, write_cvusa, write_own
from trees_university import write_university1652
from trees_vigor import write_vigor

from geodtr_plugin.commands.data import data_command

VIGOR = ("vigor-same", "vigor-cross", "vigor-cross-reverse")
UNIVERSITY = ("university1652", "university1652-drone-satellite", "university1652-satellite-drone")
FILES, TILES = [f"{i}.jpg" for i in range(8)], [f"tile{i}.jpg" for i in range(8)]
POSITIONS = [
    *((f"queries/{name}", f"{-37.8 - i / 100:.6f}", "144.9") for i, name in enumerate(FILES)),
    *((f"references/{name}", f"{-37.8 - i / 100:.6f}", "144.9001") for i, name in enumerate(TILES)),
]
write_positions = partial(write_own, rows=POSITIONS, queries=FILES, references=TILES)
write_pairs = partial(write_positions, rows=list(zip(FILES, TILES)), header="query,reference")


def passes(name: str, root: Path, *options: str) -> bool:
    return data_command(["check", name, "--root", str(root), *options]) == 0


CVUSA = [".", "dataset", "CVUSA", "cvusa/dataset", "CVPR_subset", "CVUSA/CVPR_subset", "my_cvusa_copy"]


@pytest.mark.parametrize("lies_in", CVUSA)
def test_cvusa_passes_wherever_it_lies(tmp_path, lies_in):
    write_cvusa(tmp_path / lies_in)
    assert passes("cvusa", tmp_path)


@pytest.mark.parametrize("given", ["CVUSA/bingmap", "CVUSA/splits", "CVACT"])
def test_cvusa_passes_from_inside_and_from_beside(tmp_path, given):
    write_cvusa(tmp_path / "CVUSA")
    (tmp_path / given).mkdir(exist_ok=True)
    assert passes("cvusa", tmp_path / given)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "  \n\n"])
@pytest.mark.parametrize("slash", ["/", "\\"])
def test_cvusa_passes_with_every_spelling_of_its_lists(tmp_path, line_end, slash):
    assert passes("cvusa", write_cvusa(tmp_path, line_end=line_end, slash=slash))


@pytest.mark.parametrize("file", ["split_locations/all.csv", "split_locations/split/all.csv", "all.csv"])
def test_cvusa_passes_with_locations_and_cleaned_by_rule(tmp_path, file):
    write_cvusa(tmp_path, locations=cvusa_locations(12), locations_file=file)
    assert passes("cvusa", tmp_path) and passes("cvusa-cleaned", tmp_path)


def test_cvusa_passes_with_the_authors_cleaned_lists(tmp_path):
    shutil.copytree(write_cvusa(tmp_path) / "splits", tmp_path / "splits/cleaned")
    assert passes("cvusa-cleaned", tmp_path)


CVACT = [("cvact",), ("cvact-val",), *(("cvact-test", "--data.rule", rule) for rule in ("5m", "identity"))]


@pytest.mark.parametrize("words", CVACT, ids=" ".join)
@pytest.mark.parametrize("lies_in", [".", "CVACT", "cvact/dataset", "ACT"])
def test_cvact_passes_wherever_it_lies(tmp_path, lies_in, words):
    write_cvact(tmp_path / lies_in)
    assert passes(words[0], tmp_path, *words[1:])


@pytest.mark.parametrize("folder", ["ANU_data_small", "..", "../.."])
def test_cvact_passes_wherever_its_lists_lie(tmp_path, folder):
    write_cvact(tmp_path / "data/CVACT", mat_file=f"{folder}/ACT_data.mat")
    assert passes("cvact", tmp_path / "data/CVACT")


def test_cvact_passes_with_one_archive_from_inside_and_under_another_name(tmp_path):
    write_cvact(tmp_path / "CVACT")
    assert passes("cvact", tmp_path / "CVACT/ANU_data_small")
    shutil.rmtree(tmp_path / "CVACT/ANU_data_test")
    assert passes("cvact", tmp_path / "CVACT")
    (tmp_path / "CVACT/ANU_data_small").rename(tmp_path / "renamed")
    assert passes("cvact", tmp_path / "renamed", "--data.act_mat", str(tmp_path / "CVACT/ACT_data.mat"))


def test_cvact_passes_with_re_aligned_aerials(tmp_path):
    write_cvact(tmp_path, num_test=0)
    shutil.rmtree(tmp_path / "ANU_data_test")
    small = tmp_path / "ANU_data_small"
    (small / "satview_correct").mkdir()
    for path in (small / "satview_polish").iterdir():
        Image.open(path).save(small / "satview_correct" / f"{path.stem}.png")
    shutil.rmtree(small / "satview_polish")
    assert passes("cvact", tmp_path)


@pytest.mark.parametrize("images", ["released", "grouped"])
def test_vigor_passes_in_every_layout_with_every_kind_of_labels(tmp_path, images):
    write_vigor(tmp_path / "VIGOR", images=images)
    for name in VIGOR:
        for labels in ("original", "corrected", "auto"):
            assert passes(name, tmp_path, "--data.labels", labels)


VIGOR_VARIANTS = [
    {"labels": ["splits_new"]},
    {"labels": ["."]},
    {"labels": ["splits"], "line_end": "\r\n"},
    {"tile_extension": ".jpg", "line_end": "\r\n"},
    {"tile_extension": ".jpg", "listed_extension": ".jpg", "images": "grouped"},
]


@pytest.mark.parametrize("variant", VIGOR_VARIANTS, ids=str)
def test_vigor_passes_with_lists_elsewhere_with_crlf_and_with_other_extensions(tmp_path, variant):
    write_vigor(tmp_path / "VIGOR", **variant)
    assert passes("vigor-same", tmp_path / "VIGOR") and passes("vigor-cross", tmp_path / "VIGOR")


@pytest.mark.parametrize("lies_in", [".", "University-Release", "University-1652"])
def test_university1652_passes_in_both_directions(tmp_path, lies_in):
    write_university1652(tmp_path / lies_in)
    assert all(passes(name, tmp_path) for name in UNIVERSITY)


@pytest.mark.parametrize("write", [write_positions, write_pairs])
@pytest.mark.parametrize("spelling", [{}, {"line_end": "\r\n"}, {"separator": ";", "line_end": "  \r\n\r\n"}], ids=str)
def test_own_data_pass_with_every_table(tmp_path, write, spelling):
    write(tmp_path / "city", **spelling)
    assert passes(f"folder:{tmp_path / 'city'}", tmp_path) and passes("folder:city", tmp_path)


def test_own_data_pass_with_two_tables_and_images_of_any_size(tmp_path, capsys):
    write_pairs(tmp_path / "city", table="train.csv")
    shutil.copy(tmp_path / "city/train.csv", tmp_path / "city/test.csv")
    save_jpeg(tmp_path / "city/queries/3.jpg", smooth_noise("ground", 3, 40, 50))
    assert passes("folder:city", tmp_path)
    assert "queries from 16 x 32 to 40 x 50" in capsys.readouterr().out


def test_a_rendered_world_passes(tmp_path):
    assert passes("synth-suburb", tmp_path, "--data.count", "24")
