"""A gallery in parts: built on their own with cells that were learned once, and searched as one."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from geodtr_plugin.commands.index import index_command
from geodtr_plugin.commands.locate import locate_command
from geodtr_plugin.search import JoinedIndex, Locator, VectorIndex, build_index, learn_cells, read_cells
from geodtr_plugin.utils.errors import UserError


def unit(count, size=16, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_parts_with_the_same_cells_are_one_index():
    vectors, queries = unit(3000), unit(30, seed=1)
    cells = learn_cells(vectors[:2000], "ivf", nlist=40)
    whole = VectorIndex.build(vectors, cells=cells, nprobe=3)
    joined = JoinedIndex([VectorIndex.build(part, cells=cells, nprobe=3) for part in np.split(vectors, [700, 2100])])
    assert len(joined) == 3000
    for options in ({}, {"nprobe": 9}, {"exact": True}):
        ours, theirs = joined.search(queries, 8, **options), whole.search(queries, 8, **options)
        np.testing.assert_array_equal(ours[1], theirs[1])
        np.testing.assert_allclose(ours[0], theirs[0], atol=1e-6)
    assert (joined.search(queries, 8)[1] != joined.search(queries, 8, exact=True)[1]).any()


def test_parts_of_any_kind_are_joined():
    vectors = np.repeat(unit(1000), 2, axis=0)
    parts = [VectorIndex.build(vectors[:1300], "ivfpq", nlist=8, nprobe=8), VectorIndex.build(vectors[1300:], "flat")]
    found, rows = JoinedIndex(parts).search(vectors[:1996:4], 2)
    np.testing.assert_array_equal(rows, np.arange(0, 1996, 4)[:, None] + [0, 1])  # equals in the order of rows
    np.testing.assert_allclose(found, 1, atol=1e-5)
    small = JoinedIndex([VectorIndex.build(unit(2)), VectorIndex.build(unit(3, seed=1))])
    assert sorted(small.search(unit(1, seed=2), 99)[1][0].tolist()) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="of one size"):
        JoinedIndex([VectorIndex.build(unit(2)), VectorIndex.build(unit(2, 8))])
    with pytest.raises(UserError, match="1 at least"):
        small.search(unit(1), 0)


@pytest.fixture
def parts(run, tiles, tmp_path):
    """The ten tiles as one index, and as two whose tables lie in folders of their own."""
    lines = (tiles / "places.csv").read_text().splitlines()
    for name, some in (("north", lines[1:7]), ("south", lines[7:])):
        (tmp_path / name).mkdir()
        for line in some:
            shutil.copy(tiles / line.split(",")[0], tmp_path / name)
        (tmp_path / name / "places.csv").write_text("\n".join([lines[0], *some]) + "\n")
        build_index(run, tmp_path / name / "places.csv", tmp_path / f"{name}.index", device="cpu", progress=False)
    build_index(run, tiles / "places.csv", tmp_path / "whole.index", device="cpu", progress=False)
    return tmp_path


def test_two_indexes_answer_as_one_would(parts, tiles):
    whole = Locator.load(parts / "whole.index", device="cpu")
    joined = Locator.load([parts / "south.index", parts / "north.index"], device="cpu")
    assert len(joined) == 10 and joined.references[0][0] == str(parts / "south/6.png")
    photos = [tiles / "1.png", tiles / "8.png"]
    for k in (4, 99):
        for ours, theirs in zip(joined.locate(photos, k), whole.locate(photos, k)):
            assert [(m.lat, m.lon) for m in ours.matches] == [(m.lat, m.lon) for m in theirs.matches]
            assert [joined.path_of(m).name for m in ours.matches] == [whole.path_of(m).name for m in theirs.matches]
            assert all(joined.path_of(m).is_file() for m in ours.matches)
            np.testing.assert_allclose(
                [m.similarity for m in ours.matches], [m.similarity for m in theirs.matches], atol=1e-5
            )  # fmt: skip


def test_the_command_takes_several_indexes(parts, tiles, capsys):
    words = f"{tiles / '1.png'} {tiles / '8.png'} --format json --device cpu --map {parts / 'm.html'} --index"
    assert locate_command(f"{words} {parts / 'whole.index'}".split()) == 0
    whole = json.loads(capsys.readouterr().out)
    assert locate_command(f"{words} {parts / 'north.index'} --index {parts / 'south.index'}".split()) == 0
    printed = capsys.readouterr()
    assert "2 photos located among 10 references." in printed.err
    joined = json.loads(printed.out)
    for ours, theirs in zip(joined, whole):
        assert [m["lat"] for m in ours["matches"]] == [m["lat"] for m in theirs["matches"]]
    names = {m["path"] for answer in joined for m in answer["matches"]}
    assert any(name.startswith(str(parts / "north")) for name in names)
    assert (parts / "m.html").read_text().count("data:image/jpeg;base64,") == 12  # all pictures were found


def test_indexes_that_do_not_belong_together_are_refused(polar_run, parts, tiles, tmp_path):
    build_index(polar_run, tiles / "places.csv", tmp_path / "other.index", device="cpu", progress=False)
    with pytest.raises(UserError, match="other.index was built with another model or other weights than .*north.index"):
        Locator.load([parts / "north.index", tmp_path / "other.index"], device="cpu")
    with pytest.raises(UserError, match="named twice"):
        Locator.load([parts / "north.index", parts / "south/../north.index"], device="cpu")
    with pytest.raises(UserError, match="No index is named"):
        Locator.load([])
    with pytest.raises(UserError, match="gone.index is no index"):
        Locator.load([parts / "north.index", parts / "gone.index"], device="cpu")


def test_a_part_is_built_with_the_cells_of_another_index(run, parts, tiles, tmp_path, capsys):
    words = f"build --run {run} --device cpu --references"
    sample = tmp_path / "sample.index"
    assert index_command(f"{words} {tiles} -o {sample} --kind ivf --nlist 3 --nprobe 3".split()) == 0
    south = parts / "south.index"
    again = f"{words} {parts / 'south'} -o {south} --overwrite --cells {sample}"
    assert index_command(again.split()) == 0
    assert "south.index: 4 references indexed (ivf)" in capsys.readouterr().out
    index = Locator.load(south, device="cpu").index
    cells = read_cells(sample)  # named: faiss would free its centres with it
    centres = [one.quantizer.reconstruct_n(0, 3) for one in (cells, index.approximate)]
    np.testing.assert_array_equal(*centres)
    assert (index.approximate.ntotal, index.nprobe) == (4, 1)
    manifest = json.loads((south / "manifest.json").read_text())
    assert (manifest["kind"], manifest["nlist"]) == ("ivf", 3)
    assert index_command([*again.split(), "--kind", "ivf"]) == 1
    assert "leave out --kind and --nlist" in capsys.readouterr().err


def test_cells_of_another_model_or_of_none_are_refused_first(run, polar_run, parts, tiles, tmp_path):
    build_index(polar_run, tiles, tmp_path / "other.index", kind="ivf", nlist=2, device="cpu", progress=False)
    faults = {"other.index": "built with other weights", "north.index": "is flat and has no cells", "no": "is no index"}
    for name, sentence in faults.items():
        with pytest.raises(UserError, match=sentence):
            build_index(run, tiles, tmp_path / "new.index", cells=tmp_path / name, device="cpu", progress=False)
    assert not list(tmp_path.glob("new*"))


def test_an_interrupted_build_is_not_continued_with_other_cells(run, tiles, tmp_path):
    for name, nlist in (("a", 2), ("b", 3)):
        build_index(run, tiles, tmp_path / name, kind="ivf", nlist=nlist, device="cpu", progress=False)

    def stop(rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(run, tiles, tmp_path / "i", cells=tmp_path / "a", device="cpu", progress=False, after_batch=stop)
    with pytest.raises(UserError, match="unfinished index of other files"):
        build_index(run, tiles, tmp_path / "i", cells=tmp_path / "b", device="cpu", progress=False)
    summary = build_index(run, tiles, tmp_path / "i", cells=tmp_path / "a", device="cpu", progress=False)
    assert summary.resumed_at == 10 and Locator.load(tmp_path / "i", device="cpu").index.approximate.nlist == 2
