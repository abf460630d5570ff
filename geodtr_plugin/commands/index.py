"""`geodtr index build`: the references of a city, embedded and ready to be searched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace

from ..methods.packaged import require_packaged
from ..search.geotags import NameOrder
from ..utils.console import add_common_options, guarded, make_parser, parse_and_import, prepare_torch, say
from ..utils.errors import UnknownNameError, UserError

if TYPE_CHECKING:
    from pathlib import Path

    from ..search.building import Summary
    from ..search.calibration import Calibration
    from ..search.tile_sources.options import TileOptions

DESCRIPTION = """Embed aerial tiles (or photos) with a run's model, for geodtr locate.

  geodtr index build --run runs/my_run --references tiles/ -o city.index
  geodtr index build --model worlds --references tiles/ -o city.index          # no training
  geodtr index build --run runs/my_run --references places.csv -o city.index --kind ivf --dtype float16
  geodtr index build --run runs/my_run --references north/ -o north.index --cells city.index
  geodtr index build --model worlds --references city.mbtiles --tile-metres 70 -o city.index
  geodtr index build --model worlds --references tiles/ --calibrate my_photos.csv -o city.index

References are a folder, searched to its last subfolder, or a table file,lat,lon. Coordinates come from the table, else
from the images' GPS, else, if asked, from their names. What is interrupted goes on where it was with the same command.
With --tile-metres, tiles are cut from a picture of the ground: a z/x/y folder (XYZ or TMS), MBTiles, a GeoTIFF, COG or
image with a world file, or a folder of these. Their names are the latitudes and longitudes of their centres.
Cells are learned from a sample of the references; --cells takes those of another index, so that many machines can each
build a part of a large gallery. geodtr locate searches the parts as one.
Exit code 0 if anything could be indexed, else 1; what was left out is named.
"""
MOST_NAMED = 20  # of the images with one fault


def index_command(argv: Sequence[str]) -> int:
    """Run `geodtr index build`; return 0 when something was indexed, 1 after a sentence that says what was wrong."""
    if not argv or argv[0] in ("-h", "--help"):
        say("usage: geodtr index VERB ...\n\nverbs:\n  build    embed references (geodtr index build --help)")
        return 0 if argv else 2
    return guarded(lambda: _build(argv), argv)


def build_parser() -> ArgumentParser:
    """Return the options of `geodtr index build`."""
    parser = make_parser("geodtr index build", DESCRIPTION)
    add = parser.add_argument
    add("--run", type=str | None, help="run folder with the model")
    add("--model", type=str | None, help="in place of --run: a model that comes with the package, by its name (worlds)")
    add("--references", type=str, required=True, help="folder of images, or table file,lat,lon (.csv)")
    add("-o", "--out", type=str, required=True, help="the index: a folder that is made")
    add("--kind", type=Literal["auto", "flat", "ivf", "ivfpq"], default="auto",
        help="flat is exact; ivf and ivfpq are approximate; auto is flat below 50,000 references")  # fmt: skip
    add("--nlist", type=int | None, help="cells of an approximate index; 4 sqrt(N) if not given")
    add("--nprobe", type=int | None, help="cells that a search looks at; a sixteenth of them if not given")
    add("--cells", type=str | None, help="index whose cells are taken, with their kind and number; none are learned")
    add("--dtype", type=Literal["float32", "float16"], default="float32", help="of the stored vectors")
    add("--names", type=NameOrder, default="none",
        help="read coordinates from names that end with them, such as tile_48.13743_11.57549.png")  # fmt: skip
    add("--tile-metres", type=float | None, help="cut tiles of this side on the ground from --references")
    add("--overlap", type=float, default=0.5, help="share of a tile's side that the next one shows again")
    add("--zoom", type=int | None, help="of z/x/y or MBTiles; the coarsest that is as fine as the network if not given")
    add("--area", type=str | None, help="cut tiles around a place only: LAT,LON,5km")
    add("--crs", type=str | None, help="of pictures that do not say theirs, such as EPSG:25832")
    add("--tms", action="store_true", help="the rows of a z/x/y folder count from the south")
    add("--calibrate", type=str | None,
        help="photos with places, or a world such as synth-suburb, on which probabilities are fitted")  # fmt: skip
    add("--headings", type=int, default=0, help="headings tried for these photos, as in geodtr locate")
    add("--batch-size", type=int, default=64, help="images that the network takes at once")
    add("--overwrite", action="store_true", help="replace an index, or an unfinished one of other settings")
    add_common_options(parser, "import", "device", "workers", "threads", "debug")
    return parser


def _build(argv: Sequence[str]) -> int:
    if argv[0] != "build":
        raise UnknownNameError("verb of 'index'", argv[0], ["build"])
    options = parse_and_import(build_parser(), argv[1:])
    if (options.run is None) == (options.model is None):
        raise UserError("Name one model.", "Either --run FOLDER, or --model worlds, which comes with the package.")
    if options.model is not None:
        require_packaged(options.model)
    prepare_torch(options.threads)
    from ..search.building import build_index

    names = ("kind", "nlist", "nprobe", "dtype", "names", "batch_size", "device", "workers", "overwrite", "cells",
             "calibrate", "headings")  # fmt: skip
    settings = {name: options[name] for name in names} | {"tiles": _tiles(options)}
    _report(build_index(options.run or options.model, options.references, options.out, **settings), options.names)
    return 0


def _tiles(options: Namespace) -> TileOptions | None:
    """Return what is to be cut, or None."""
    from ..search.tile_sources.options import TileOptions

    asked = {name: options[name] for name in ("overlap", "zoom", "area", "crs", "tms")}
    if options.tile_metres is not None:
        return TileOptions(options.tile_metres, **asked)
    for name, value in asked.items():
        if value not in (None, False, TileOptions.overlap):
            raise UserError(f"--{name} is for tiles that are cut.", "--tile-metres 70 cuts tiles of 70 m.")
    return None


def _report(summary: Summary, names: NameOrder) -> None:
    """Print faults first, the result last."""
    from ..search.photos import printable_name

    report_images("Left out", summary.left_out)
    report_images("Without coordinates", summary.unplaced)
    for note in summary.notes:
        say(note, error=True)
    if summary.without_position:
        hint = " --names reads coordinates from files' names." if names == "none" else ""
        without = f"{summary.without_position:,} of {summary.count:,} references"
        say(f"{without} have no coordinates.{hint}", error=True)
    if summary.resumed_at:
        say(f"Continued an interrupted build after {summary.resumed_at:,} images.", error=True)
    if summary.calibration is not None:
        say(calibration_text(summary.calibration, summary.path), error=True)
    left_out = f", {len(summary.left_out):,} left out" if summary.left_out else ""
    say(f"{printable_name(summary.path)}: {summary.count:,} references indexed ({summary.kind}){left_out}.")


def calibration_text(calibration: Calibration, index: Path) -> str:
    """Return a sentence on how well an index is calibrated, and where that can be seen."""
    from ..search.index_folder import RELIABILITY
    from ..search.photos import printable_name

    found = calibration.reliability
    nowhere = "" if found.nowhere is None else f", {found.nowhere:.2f} where the place was taken out of the gallery"
    return (
        f"Calibrated on {calibration.count:,} photos of {calibration.pairs}: {100 * found.right:.1f} % of first places "
        f"are within 25 m; probability {found.probability:.2f} on average{nowhere}; expected calibration error "
        f"{found.error:.3f} (cross-validated), see {printable_name(index / RELIABILITY)}."
    )


def report_images(what: str, images: Sequence[tuple[str, str]]) -> None:
    """Print a line for each of the first images that something is wrong with, given as (name, reason)."""
    from ..search.photos import printable_name
    from ..utils.visible import visible

    groups: dict[str, list[str]] = {}
    for name, reason in images:
        groups.setdefault(reason, []).append(name)
    lines = []
    for reason, names in groups.items():
        few = names if len(names) <= MOST_NAMED else names[:1]
        likewise = f", and {len(names) - 1:,} more likewise" if few is not names else ""
        lines += [f"{what}: {printable_name(name)} {reason}{likewise}." for name in few]
    for line in lines[:MOST_NAMED]:
        say(visible(line, one_line=True), error=True)
    if len(lines) > MOST_NAMED:
        say(f"{what}: {len(lines) - MOST_NAMED:,} more.", error=True)
