"""One rendered city as files, tree, MBTiles and GeoTIFFs in two projections: the same places, in the same order."""

from __future__ import annotations

import io
import sqlite3
from functools import cache

import mercantile
import numpy as np
import pytest
import rasterio
import rasterio.warp
from PIL import Image
from rasterio.enums import Resampling
from rasterio.transform import from_origin

from geodtr_plugin.search import Locator, TileOptions, build_index, embedder
from geodtr_plugin.utils.geo import to_metres
from geodtr_plugin.utils.reading import read_json_lines
from geodtr_plugin.worlds import PanoramaCamera, make_scene

pytestmark = pytest.mark.slow
ORIGIN, ZOOM, AREA = (48.0, 11.0), 19, 30  # of the city's camera; of the tree; metres around it
LOCAL = f"+proj=tmerc +lat_0={ORIGIN[0]} +lon_0={ORIGIN[1]} +k=1 +ellps=WGS84 +units=m"
TILES = TileOptions(72.0, 0.85, area=f"{ORIGIN[0]},{ORIGIN[1]},{AREA}m")
AROUND = 2 * np.pi * 6_378_137


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """The ground around one camera of a world, and what that and its neighbours saw."""
    folder, scene = tmp_path_factory.mktemp("city"), make_scene("suburb", 1, size=260, cameras=24)
    middle = min(scene.cameras, key=lambda camera: abs(camera.row - scene.n / 2) + abs(camera.column - scene.n / 2))
    half = round(100 / scene.cell)
    picture = scene.aerial[middle.row - half : middle.row + half, middle.column - half : middle.column + half]
    near = [c for c in scene.cameras if np.hypot(c.row - middle.row, c.column - middle.column) * scene.cell < AREA]
    photos = []
    for number, camera in enumerate(near):
        photos.append(folder / f"photo {number}.png")
        Image.fromarray(PanoramaCamera(64, 176, 2).render(scene, camera)).save(photos[-1])
    pixels = np.concatenate([picture.transpose(2, 0, 1), np.full((1, 2 * half, 2 * half), 255, np.uint8)])
    return folder, pixels, from_origin(-half * scene.cell, half * scene.cell, scene.cell, scene.cell), photos


def warped(city, crs, transform, shape):
    """Return the city in another projection, uint8 `[4, H, W]`."""
    folder, pixels, own, _ = city
    target = np.zeros((4, *shape), np.uint8)
    names = {"src_crs": LOCAL, "src_transform": own, "dst_crs": crs, "dst_transform": transform}
    rasterio.warp.reproject(pixels, target, resampling=Resampling.cubic, tolerance=0, **names)
    return target


def as_raster(city, name, crs):
    folder, pixels, own, _ = city
    bounds = rasterio.transform.array_bounds(*pixels.shape[1:], own)
    size = pixels.shape[:0:-1]
    transform, width, height = rasterio.warp.calculate_default_transform(LOCAL, crs, *size, *bounds, resolution=own.a)
    profile = {"width": width, "height": height, "count": 4, "dtype": "uint8", "crs": crs, "transform": transform}
    with rasterio.open(folder / name, "w", driver="GTiff", photometric="RGB", alpha="YES", **profile) as picture:
        picture.write(warped(city, crs, transform, (height, width)))
    return folder / name


def as_tree_and_mbtiles(city):
    """Write both, of the same files."""
    folder, pixels, own, _ = city
    west, south, east, north = rasterio.warp.transform_bounds(
        LOCAL, "EPSG:4326", *rasterio.transform.array_bounds(*pixels.shape[1:], own)
    )
    first, last, pixel = mercantile.tile(west, north, ZOOM), mercantile.tile(east, south, ZOOM), AROUND / 256 / 2**ZOOM
    corner = from_origin(first.x * 256 * pixel - AROUND / 2, AROUND / 2 - first.y * 256 * pixel, pixel, pixel)
    shape = (last.y - first.y + 1) * 256, (last.x - first.x + 1) * 256
    whole = warped(city, "EPSG:3857", corner, shape).transpose(1, 2, 0)
    with sqlite3.connect(folder / "city.mbtiles") as database:
        database.execute("CREATE TABLE metadata (name text, value text)")
        database.execute("CREATE TABLE tiles (zoom_level int, tile_column int, tile_row int, tile_data blob)")
        for tile in mercantile.tiles(west, south, east, north, ZOOM):
            y, x, stream = (tile.y - first.y) * 256, (tile.x - first.x) * 256, io.BytesIO()
            Image.fromarray(whole[y : y + 256, x : x + 256]).save(stream, "PNG")
            file = folder / "tree" / str(ZOOM) / str(tile.x) / f"{tile.y}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(stream.getvalue())
            row = ZOOM, tile.x, 2**ZOOM - 1 - tile.y, stream.getvalue()
            database.execute("INSERT INTO tiles VALUES (?, ?, ?, ?)", row)
    database.close()
    return folder / "tree", folder / "city.mbtiles"


def as_files(city, places):
    """Cut tiles out of the city's own pixels, by plain arithmetic, and write them with a table."""
    folder, pixels, own, _ = city
    image, half = Image.fromarray(pixels[:3].transpose(1, 2, 0)), 36 / own.a
    (folder / "tiles").mkdir()
    lines = ["file,lat,lon"]
    xs, ys = rasterio.warp.transform("EPSG:4326", LOCAL, *np.array(places).T[::-1])
    for number, (x, y, (lat, lon)) in enumerate(zip(xs, ys, places)):
        column, row = (x - own.c) / own.a, (own.f - y) / own.a
        box = column - half, row - half, column + half, row + half
        image.resize((192, 192), Image.Resampling.BILINEAR, box).save(folder / f"tiles/{number}.png")
        lines.append(f"{number}.png,{lat!r},{lon!r}")
    (folder / "tiles/places.csv").write_text("\n".join(lines))
    return folder / "tiles/places.csv"


def test_the_same_places_and_the_same_order(city, tmp_path, monkeypatch):
    monkeypatch.setattr(embedder, "load_model", cache(embedder.load_model))  # two seconds each time
    tree, mbtiles = as_tree_and_mbtiles(city)
    sources = [as_raster(city, "utm.tif", "EPSG:25832"), as_raster(city, "laea.tif", "EPSG:3035"), tree, mbtiles]
    for number, source in enumerate(sources):
        build_index("worlds", source, tmp_path / str(number), tiles=TILES, device="cpu", progress=False)
    places = [(line["lat"], line["lon"]) for line in read_json_lines(tmp_path / "0/references.jsonl")]
    build_index("worlds", as_files(city, places), tmp_path / "files", device="cpu", progress=False)
    found = []
    for name in ("files", *map(str, range(len(sources)))):
        locator = Locator.load(tmp_path / name, device="cpu")
        own = np.array([line[1:] for line in locator.gallery.references])
        apart = np.linalg.norm(to_metres(own, "latlon") - to_metres(np.array(places), "latlon"), axis=1)
        assert len(own) == len(places) > 15 and apart.max() < 0.01
        answers = locator.locate(list(city[3]), k=len(own))
        found.append((locator.gallery.index.vectors, np.array([[(m.lat, m.lon) for m in a.matches] for a in answers])))
    wanted_vectors, wanted = found[0]
    for vectors, order in found[1:]:
        assert np.sum(vectors * wanted_vectors, axis=1).min() > 0.98
        first = np.linalg.norm(to_metres(order[:, 0], "latlon") - to_metres(wanted[:, 0], "latlon"), axis=1)
        assert (first < 0.5).mean() >= 0.8 and first.max() < 12  # a tie falls to a neighbour, 10.8 m away
    np.testing.assert_array_equal(found[3][1], found[4][1])  # tree and MBTiles hold the same bytes
