"""`geodtr data write`: a synthetic world as files on disk, with coordinates: a city to try things in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser

from ..utils.console import guarded, make_parser, parse, say
from ..utils.errors import UserError
from ..utils.outputs import check_output_folder

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..datasets import Split

DESCRIPTION = """Write a synthetic world as image files and a table of their places.

  geodtr data write synth-suburb --out my_city --count 2000

makes my_city/queries/*.jpg (panoramas), my_city/references/*.png (aerial tiles of 72 m; in worlds named -wide of 55 to
180 m, the same in a block), my_city/places.csv (file,lat,lon) and, of worlds with cameras at the centres of their
tiles, my_city/dataset.json, which says so: what geodtr index build --references my_city, geodtr locate --truth
my_city/places.csv and --train folder:my_city read. The worlds measure in metres east and north. Here their scenes,
which are up to half a kilometre wide, stand side by side as the blocks of a square city, and the city begins at
40 N 40 W: in the open Atlantic, so that nobody takes it for a real place.
"""
ORIGIN = (40.0, -40.0)  # latitude and longitude of the city's south-western corner
STREET = 16.0  # metres between two scenes
QUALITY = 95  # of the panoramas' JPEGs: what a camera writes


def write_command(argv: Sequence[str]) -> int:
    """Run `geodtr data write`; return 0, or 1 after a sentence on what was wrong."""
    return guarded(lambda: _write(argv), argv)


def write_parser() -> ArgumentParser:
    """Return the options of the command."""
    parser = make_parser("geodtr data write", DESCRIPTION)
    add = parser.add_argument
    add("name", type=str, help="a synthetic world, such as synth-suburb or synth-downtown-offset")
    add("--out", type=str, required=True, help="folder that is made")
    add("--count", type=int, default=2000, help="number of panoramas")
    add("--split", type=Literal["train", "test"], default="test", help="train and test share no place")
    add("--seed", type=int, default=0, help="another number gives another city")
    add("--debug", action="store_true", help="show the traceback of errors")
    return parser


def _write(argv: Sequence[str]) -> int:
    options = parse(write_parser(), argv)
    folder = Path(options.out).expanduser()
    check_output_folder(folder)
    if options.count < 1 or options.seed < 0:
        raise UserError("--count must be 1 at least, and --seed 0 at least.")
    from ..datasets.synthetic import load_synthetic

    split = load_synthetic(options.name, options.split, count=options.count, seed=options.seed)
    write_city(split, folder)
    model = "--model worlds" if split.centred else "--run RUN"  # it knows centred cameras
    say(
        f"{folder} holds {len(split.queries):,} panoramas, {len(split.references):,} tiles and places.csv. "
        f"Next: geodtr index build {model} --references {folder} -o city.index"
    )
    return 0


def write_city(split: Split, folder: Path) -> None:
    """Write the images of a world in metres and places.csv into a new folder, whole or not at all.

    Raises:
        UserError: the disk has no room.
    """
    from ..utils.files import atomic_path

    with atomic_path(folder) as unfinished:
        _write_files(split, unfinished)


def _write_files(split: Split, folder: Path) -> None:
    from tqdm import tqdm

    from ..datasets.folder import STATEMENT
    from ..utils.files import write_json, write_text
    from ..utils.visible import csv_cell

    lines, blocks = ["file,lat,lon"], Blocks(split.references.coordinates)
    for role, images, suffix in (("queries", split.queries, ".jpg"), ("references", split.references, ".png")):
        (folder / role).mkdir(parents=True, exist_ok=True)
        places = to_latlon(blocks(images.coordinates))
        for row, (lat, lon) in enumerate(tqdm(places, desc=f"writing {role}", unit="image")):
            name = f"{role}/{images.ids[row]}{suffix}"
            _save(images.read(row), folder / name)
            lines.append(f"{csv_cell(name)},{lat:.8f},{lon:.8f}")
    if split.centred:
        write_json(folder / STATEMENT, {"centred": True})
    write_text(folder / "places.csv", "\n".join(lines) + "\n")


class Blocks:
    """The way from a world's own map, a row of scenes far apart, to a square city.

    Distances within a scene stay as they are. Scenes do not continue each other at the streets between them.

    Args:
        references: metres east and north of all tiles, `[N, 2]`.
    """

    def __init__(self, references: np.ndarray):
        import numpy as np

        from ..worlds import SPLIT_PITCH

        self._north = np.round(references[:, 1].min() / SPLIT_PITCH) * SPLIT_PITCH
        self._side = int(np.ceil(np.sqrt(self._scene(references).max() + 1)))

    def __call__(self, metres: np.ndarray) -> np.ndarray:
        """Turn metres in the world, `[N, 2]`, into metres in the city, `[N, 2]`."""
        import numpy as np

        from ..worlds import SCENE_PITCH, SCENE_SIZE

        scene = self._scene(metres)
        inside = metres - np.stack([scene * SCENE_PITCH, np.full(len(scene), self._north)], axis=1)
        row, column = np.divmod(scene, self._side)
        return inside + (SCENE_SIZE + STREET) * np.stack([column, row], axis=1)

    @staticmethod
    def _scene(metres: np.ndarray) -> np.ndarray:
        """Return the number of each point's scene, int64 `[N]`; a camera may stand a little outside of its scene."""
        import numpy as np

        from ..worlds import SCENE_PITCH, SCENE_SIZE

        return np.floor((metres[:, 0] + (SCENE_PITCH - SCENE_SIZE) / 2) / SCENE_PITCH).astype(np.int64)


def to_latlon(metres: np.ndarray) -> np.ndarray:
    """Turn metres east and north of ORIGIN, `[N, 2]`, into latitude and longitude in degrees, `[N, 2]`.

    Distances keep their length to 1 in 10,000 over a few kilometres, on the sphere of utils.geo.
    """
    import numpy as np

    from ..utils.geo import EARTH_RADIUS

    north = np.degrees(metres[:, 1] / EARTH_RADIUS)
    east = np.degrees(metres[:, 0] / (EARTH_RADIUS * np.cos(np.radians(ORIGIN[0]))))
    return np.stack([ORIGIN[0] + north, ORIGIN[1] + east], axis=1)


def _save(pixels: Tensor, file: Path) -> None:
    import numpy as np
    from PIL import Image

    options = {"quality": QUALITY} if file.suffix == ".jpg" else {}
    Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())).save(file, **options)
