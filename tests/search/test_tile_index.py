"""An index of tiles that are cut: names, resume, pictures of its matches, and what the command says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from grounds import offset, shift_between, wanted_tile, write_mbtiles, write_tree
from PIL import Image

from geodtr_plugin.commands.index import report_images
from geodtr_plugin.commands.main import main
from geodtr_plugin.search import Locator, Match, TileOptions, build_index
from geodtr_plugin.search.contact_sheet import thumbnail
from geodtr_plugin.search.map_page import write_map
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.reading import read_json_lines

MUNICH = (48.137, 11.575)
TILES = TileOptions(40.0, 0.5)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def build(run, source, out, tiles=TILES, **options):
    return build_index(run, source, out, tiles=tiles, device="cpu", progress=False, **options)


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    return write_mbtiles(tmp_path_factory.mktemp("city") / "city.mbtiles", MUNICH, 60, (18,), "jpg")


def test_places_have_names_by_their_coordinates_and_pictures(run, city, tmp_path):
    summary = build(run, city, tmp_path / "i")
    lines = list(read_json_lines(tmp_path / "i/references.jsonl"))
    assert summary.count == len(lines) > 20 and summary.without_position == 0
    assert all(line["file"] == f"{line['lat']:.7f}_{line['lon']:.7f}" for line in lines)
    assert {reason for _, reason in summary.left_out} == {"is mostly without data"}
    photo = tmp_path / "photo.png"
    Image.fromarray(wanted_tile(MUNICH, 40, 64)).save(photo)
    locator = Locator.load(tmp_path / "i")
    (answer,) = locator.locate([photo], k=3)
    match = answer.matches[0]
    assert match.path == f"{match.lat:.7f}_{match.lon:.7f}"
    central = Match(*min((np.abs(offset(np.array(line[1:]), MUNICH)).max(), line[0], 0.0, *line[1:])
                         for line in locator.gallery.references)[1:])  # fmt: skip
    picture = locator.picture_of(central).pixels.permute(1, 2, 0).numpy()
    assert np.abs(shift_between(picture, (central.lat, central.lon), 40)).max() < 0.2
    assert thumbnail(match, 64, locator.picture_of).shape == (64, 64, 3)
    write_map([answer], locator, tmp_path / "map.html")
    page = (tmp_path / "map.html").read_text()
    assert page.count("data:image/jpeg") == 4 and match.path in page
    shutil.move(city, tmp_path / "moved")
    try:
        gone = Locator.load(tmp_path / "i")
        assert (thumbnail(match, 64, gone.picture_of) == 225).all()  # grey, as for a file that has gone
    finally:
        shutil.move(tmp_path / "moved", city)


def test_a_file_of_tiles_has_the_same_vectors_as_the_source(run, tmp_path):
    tree = write_tree(tmp_path / "tree", MUNICH, 60, 19)
    build(run, tree, tmp_path / "cut")
    lines = list(read_json_lines(tmp_path / "cut/references.jsonl"))
    (tmp_path / "tiles").mkdir()
    for line in lines:
        place = line["lat"], line["lon"]
        if np.abs(offset(np.array(place), MUNICH)).max() > 35:
            continue
        pixels = wanted_tile(place, 40, 256)
        Image.fromarray(pixels).save(tmp_path / "tiles" / f"{line['file']}.png")
    build(run, tmp_path / "tiles", tmp_path / "files", None, names="lat_lon")
    known = {line["file"]: row for row, line in enumerate(lines)}
    cut, files = Locator.load(tmp_path / "cut"), Locator.load(tmp_path / "files")
    rows = [known[path.removesuffix(".png")] for path, _, _ in files.gallery.references]
    assert np.sum(cut.gallery.index.vectors[rows] * files.gallery.index.vectors, axis=1).min() > 0.999
    for (_, lat, lon), row in zip(files.gallery.references, rows):
        assert (lat, lon) == pytest.approx(cut.gallery.references[row][1:], abs=1e-7)


def test_an_interrupted_build_goes_on_and_ends_with_the_same_bytes(run, city, tmp_path):
    build(run, city, tmp_path / "whole", batch_size=8)

    def stop(rows):
        if rows == 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(run, city, tmp_path / "i", batch_size=8, after_batch=stop)
    with pytest.raises(UserError, match="other files, weights or settings"):
        build(run, city, tmp_path / "i", TileOptions(41.0), batch_size=8)
    assert build(run, city, tmp_path / "i", batch_size=8, workers=2).resumed_at == 16
    assert contents(tmp_path / "i") == contents(tmp_path / "whole")
    shutil.rmtree(tmp_path / "i")
    with pytest.raises(KeyboardInterrupt):
        build(run, city, tmp_path / "i", batch_size=8, after_batch=stop)
    copy = city.read_bytes()
    city.write_bytes(copy)  # another time: it may be another picture
    with pytest.raises(UserError, match="other files, weights or settings"):
        build(run, city, tmp_path / "i", batch_size=8)


def test_a_manifest_that_was_changed_is_refused(run, city, tmp_path):
    build(run, city, tmp_path / "i")
    file = tmp_path / "i/manifest.json"
    manifest = json.loads(file.read_text())
    options = {"metres": 40.0}
    for tiles in (
        {"pixels": 96}, {"options": options, "pixels": "9"}, {"options": {"metres": -4.0}, "pixels": 9},
        {"options": {**options, "more": 1}, "pixels": 9}, [],
    ):  # fmt: skip
        file.write_text(json.dumps({**manifest, "tiles": tiles}))
        with pytest.raises(UserError):
            Locator.load(tmp_path / "i")


def command(run, references, out, *words):
    options = ["--run", run, "--references", references, "-o", out, "--device", "cpu", *words]
    return main(["index", "build", *map(str, options)])


def test_the_command(run, city, tmp_path, capsys):
    assert command(run, city, tmp_path / "i", "--tile-metres", 40) == 0
    printed = capsys.readouterr()
    assert "Tiles of 40 m, 20 m apart, are cut from city.mbtiles (zoom 18, 0.4 m a pixel):" in printed.err
    assert " is mostly without data.\n" in printed.err and "references indexed (flat)," in printed.out
    assert command(run, city, tmp_path / "j", "--tile-metres", 40, "--area", "48.137,11.575,45m") == 0
    assert len(Locator.load(tmp_path / "j")) < len(Locator.load(tmp_path / "i")) / 2
    capsys.readouterr()
    for words, sentence in (
        ((), "city.mbtiles is a picture of the ground, and no gallery. --tile-metres 70 cuts tiles"),
        (("--area", "48,11,5km"), "--area is for tiles that are cut. --tile-metres 70"),
        (("--tile-metres", "40", "--area", "10,10,5km"), "No image of"),
        (("--tile-metres", "40", "--zoom", "3"), "There are no tiles of zoom 3. There are 18."),
    ):  # fmt: skip
        assert command(run, city, tmp_path / "k", *words) == 1
        assert sentence in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i", "j"]


def test_a_polar_model_wants_centres_near_the_photos(polar_run, run, city, tmp_path):
    (_, note) = build(polar_run, city, tmp_path / "i").notes
    assert "photos may stand 14 m from the nearest" in note and "--overlap 0.85 finds more" in note
    assert len(build(run, city, tmp_path / "j").notes) == 1
    dense = TileOptions(40.0, 0.85, area="48.137,11.575,10m")
    assert len(build(polar_run, city, tmp_path / "k", dense).notes) == 1


def test_what_many_share_is_counted(capsys):
    report_images("Left out", [*((str(i), "is mostly without data") for i in range(1234)), ("a.tif", "is damaged")])
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["Left out: 0 is mostly without data, and 1,233 more likewise.", "Left out: a.tif is damaged."]


def test_a_tree_that_is_taken_for_a_folder_of_tiles_is_noticed(run, tmp_path, capsys):
    tree = write_tree(tmp_path / "tree", MUNICH, 10, 18)
    assert command(run, tree, tmp_path / "i") == 0
    assert "looks like a z/x/y tree. --tile-metres 70 cuts" in capsys.readouterr().err


def test_help_imports_neither_torch_nor_rasterio():
    code = (
        "import sys\nfrom geodtr_plugin.commands.main import main\n"
        "try:\n    main(['index', 'build', '--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'numpy', 'rasterio', 'sqlite3'} & set(sys.modules), 'too much was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--tile-metres" in done.stdout
