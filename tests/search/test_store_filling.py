"""Filling a store: by one process or several, at once or after a kill, each reference once; and what can go wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from grounds import write_mbtiles
from PIL import Image
from stores import contents

from geodtr_plugin.commands.index import index_command
from geodtr_plugin.commands.locate import locate_command
from geodtr_plugin.search import Area, Locator, TileOptions, build_index, fill_store
from geodtr_plugin.search.embedder import Embedder
from geodtr_plugin.search.store.address import Address
from geodtr_plugin.search.store.collection import Collection
from geodtr_plugin.search.store.connection import Connection
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.shares import Share


@pytest.fixture
def store(tmp_path):
    return f"milvus:{tmp_path / 'city.db'}"


def fill(run, tiles, store, **options):
    return fill_store(run, tiles / "places.csv", store, device="cpu", progress=False, **options)


def same(ours, theirs):
    """Tell whether two stores hold the same, the last bits of vectors aside: batches of other sizes differ in them."""
    assert ours.keys() == theirs.keys()
    for key, row in ours.items():
        np.testing.assert_allclose(row.pop("vector"), theirs[key].pop("vector"), atol=1e-6)
        assert row == theirs[key]
    return True


def test_a_store_finds_what_an_index_finds(run, tiles, tmp_path, store):
    assert fill(run, tiles, store).total == 10
    build_index(run, tiles / "places.csv", tmp_path / "i", device="cpu", progress=False)
    ours, theirs = Locator.load(store, device="cpu"), Locator.load(tmp_path / "i", device="cpu")
    photos = [tiles / "1.png", tiles / "8.png"]
    for area, count in ((None, 10), (Area(48.004, 10.992, 250.0), 3)):
        for answer, wanted in zip(ours.locate(photos, 10, area=area), theirs.locate(photos, 10, area=area)):
            assert len(answer.matches) == count
            assert [(m.lat, m.lon) for m in answer.matches] == [(m.lat, m.lon) for m in wanted.matches]
            assert [ours.path_of(m) for m in answer.matches] == [theirs.path_of(m) for m in wanted.matches]
            similarities = [[m.similarity for m in each.matches] for each in (answer, wanted)]
            np.testing.assert_allclose(*similarities, atol=1e-5)
    for locator in (ours, theirs):
        with pytest.raises(UserError, match="No reference lies within 9 m of 0, 0."):
            locator.locate(photos, area=Area(0.0, 0.0, 9.0))
    ours.gallery.collection.connection.close()


def test_shares_make_one_whole_and_nothing_is_done_twice(run, tiles, store, tmp_path):
    (tiles / "5.png").write_text("bad")
    whole = f"milvus:{tmp_path / 'whole.db'}"
    assert fill(run, tiles, whole, batch_size=3).left_out[0][0] == "5.png"
    written = []
    for number in (2, 0, 1):
        part = fill(run, tiles, store, share=Share(number, 3), batch_size=2, after_batch=written.append)
        assert part.where.endswith(f", part {number + 1} of 3") and part.resumed_at == 0
    assert same(contents(store), contents(whole)) and len(contents(store)) == 9
    again = fill(run, tiles, store, after_batch=lambda count: written.append(("again", count)))
    assert (again.count, again.resumed_at, again.total) == (9, 9, 9) and written[-1] == ("again", 0)  # the bad one


def test_a_failed_build_goes_on_and_what_has_changed_is_renewed(run, tiles, store, tmp_path):
    def stop(count):
        if count == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(run, tiles, store, batch_size=2, after_batch=stop)
    assert len(contents(store)) == 4 and fill(run, tiles, store).resumed_at == 4
    before = contents(store)
    Image.new("RGB", (32, 32), (9, 99, 9)).save(tiles / "3.png")  # another picture
    table = (tiles / "places.csv").read_text()
    (tiles / "places.csv").write_text(table.replace("6.png,48.0060", "6.png,48.0065"))  # another place
    shutil.copytree(tiles, tmp_path / "north")
    assert fill(run, tiles, store).resumed_at == 8
    after = contents(store)
    changed = {after[key]["file"] for key in after if after[key] != before[key]}
    assert changed == {"3.png", "6.png"} and after.keys() == before.keys()
    assert fill(run, tmp_path / "north", store).total == 20  # another region beside it
    fresh = f"milvus:{tmp_path / 'fresh.db'}"
    fill(run, tiles, fresh)
    assert same({key: row for key, row in contents(store).items() if key in before}, contents(fresh))


WORKERS = """
import os, signal, sys
import pymilvus, torch  # what two processes would import twice; gRPC survives forks before its first channel
from geodtr_plugin.search import fill_store
from geodtr_plugin.search.embedder import Embedder, RunRecord

torch.set_num_threads(1)
Embedder.load(RunRecord.read(sys.argv[1]), "cpu")


def start(number, processes, dies):
    process = os.fork()
    if process:
        return process

    def watch(written):
        if dies and written == 4:
            os.kill(os.getpid(), signal.SIGKILL)

    os.environ.update(RANK=str(number), WORLD_SIZE=str(processes))
    fill_store(*sys.argv[1:4], device="cpu", progress=False, batch_size=2, after_batch=watch, collection="two")
    os._exit(0)


def ended(*processes):
    print([os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes])


ended(start(0, 1, True))
sys.argv[3] = sys.argv[4]
ended(start(0, 2, False), start(1, 2, True))
ended(start(1, 2, False))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks and kills as POSIX has it")
def test_processes_that_are_killed_alone_and_beside_another(run, tiles, store, tmp_path, served):
    killed = f"milvus:{tmp_path / 'killed.db'}"
    words = [sys.executable, "-c", WORKERS, run, tiles / "places.csv", killed, served]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.stdout == "[-9]\n[0, -9]\n[0]\n", done.stderr
    fill(run, tiles, store)
    assert fill(run, tiles, killed, collection="two").resumed_at == 4
    assert same(contents(killed, "two"), contents(store))
    assert same(contents(served, "two"), contents(store))
    with Connection(Address.parse(served)) as connection:
        assert len(Collection(connection, "two")) == 10  # rows, not only numbers


def test_tiles_of_a_source_are_cut_again_for_pictures(run, tmp_path, store):
    city = write_mbtiles(tmp_path / "city.mbtiles", (48.137, 11.575), 40, (18,), "jpg")
    summaries = [
        fill_store(run, city, store, tiles=TileOptions(metres, 0.5), device="cpu", progress=False)
        for metres in (40.0, 50.0)  # of which some have the same centres
    ]
    assert summaries[1].total == sum(summary.count for summary in summaries)
    assert {row["cell"] for row in contents(store).values()} == {"12/2179/1421"}
    photo = tmp_path / "photo.png"
    Image.new("RGB", (64, 64), (40, 90, 40)).save(photo)
    locator = Locator.load(store, device="cpu")
    match = locator.locate([photo])[0].matches[0]
    assert match.path == f"{city}/{match.lat:.7f}_{match.lon:.7f}"
    assert locator.picture_of(match).pixels.shape[1] > 50
    locator.gallery.collection.connection.close()


def test_the_commands(run, tiles, store, capsys):
    words = f"build --run {run} --references {tiles / 'places.csv'} --device cpu --store {store}"
    assert index_command(words.split()) == 0
    said = capsys.readouterr().out
    assert f"Collection geodtr of {store}: 10 references indexed (AUTOINDEX). It holds 10 now." in said
    search = f"--store {store} {tiles / '4.png'} --device cpu --format json --near 48.004,10.992 --within 0.25km"
    page = tiles.parent / "map.html"
    assert locate_command([*search.split(), "--map", str(page)]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert {Path(match["path"]).name for match in answer["matches"]} == {"3.png", "4.png", "5.png"}
    assert page.read_text().count("data:image/jpeg;base64,") == 4
    for words, sentence in (
        ("delete --near 48.004,10.992 --within 250m", "3 references deleted, 7 left."),
        (f"delete --references {tiles}", "7 references deleted, 0 left."),
        ("delete --all", "0 references deleted, 0 left."),
    ):  # fmt: skip
        assert index_command([*words.split(), "--store", store]) == 0
        assert sentence in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "words", "sentence"),
    [
        (index_command, "build --run x --references y --store milvus:a.db -o z", "Say where the vectors go."),
        (index_command, "build --run x --references y --store milvus:a.db --dtype float16", "--dtype and --calibrate"),
        (index_command, "build --run x --references y --store http://127.0.0.1:9", "No Milvus answers at http://127."),
        (index_command, "delete --near 48,11", "An area needs both. --near 48.137,11.575 --within 5km"),
        (index_command, "delete --all", "Name the store."),
        (index_command, "delete --store milvus:a.db", "Say what is to be deleted."),
        (index_command, "delete --store milvus:a.db --all --near 1,1 --within 1m", "Say what is to be deleted."),
        (locate_command, "a.jpg", "Say where to search."),
        (locate_command, "a.jpg --store city.db", "--store is 'city.db'. Write milvus:city.db"),
        (locate_command, "a.jpg --store http://127.0.0.1:9", "Is that the right host and port"),
        (locate_command, "a.jpg --store http://no-such-host.invalid:19530", "No Milvus answers at http://no-such"),
        (locate_command, "a.jpg --index i --near 48,11 --within 5", "--near with --within is '48,11,5'."),
    ],
)
def test_mistakes_are_one_sentence(command, words, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(words.split()) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and sentence in error and len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["pymilvus", "milvus_lite"])
def test_a_missing_package_is_named(package, run, tiles, store, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f'needs the package {package}. pip install "geodtr_plugin.milvus."'):
        fill(run, tiles, store)


def test_a_collection_of_another_model_is_refused(run, polar_run, tiles, store):
    fill(run, tiles, store)
    before = contents(store)
    with pytest.raises(UserError, match="of another model or other weights .run .*plain.. Choose another --collection"):
        fill(polar_run, tiles, store)
    assert contents(store) == before and fill(polar_run, tiles, store, collection="polar").total == 10


def test_a_full_disk_is_one_sentence_and_the_build_goes_on(run, tiles, store):
    resource = pytest.importorskip("resource", reason="limits the size of files as POSIX systems do")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, hard))
    try:
        with pytest.raises(UserError, match="cannot be written: its disk is full .*File too large.*goes on where it"):
            fill(run, tiles, store, batch_size=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert 0 < fill(run, tiles, store).resumed_at < 10
    assert len(contents(store)) == 10


def test_what_a_store_loses_is_noticed(run, tiles, store, monkeypatch):
    write = Collection.write
    monkeypatch.setattr(Collection, "write", lambda self, rows, vectors: write(self, rows[1:], vectors[1:]))
    with pytest.raises(UserError, match="lost 1 of 10 references that were written. Repeat the command."):
        fill(run, tiles, store)
    monkeypatch.undo()
    assert fill(run, tiles, store).resumed_at == 9


def test_a_second_process_is_told_how_to_share(run, tiles, tmp_path, store):
    fcntl = pytest.importorskip("fcntl", reason="locks as POSIX systems do")
    (tmp_path / "city.db").mkdir()
    with (tmp_path / "city.db" / "LOCK").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process holds the lock.*milvus-lite server --data-dir.*127.0.0.1"):
            fill(run, tiles, store)


def test_a_model_with_a_distance_of_its_own_needs_an_index(run, tiles, store, monkeypatch):
    load = Embedder.load

    def with_a_distance(*words):
        embedder = load(*words)
        embedder.model.distance = object()
        return embedder

    monkeypatch.setattr(Embedder, "load", with_a_distance)
    with pytest.raises(UserError, match="compares images at all headings, which a store cannot do. Build an index on"):
        fill(run, tiles, store)
