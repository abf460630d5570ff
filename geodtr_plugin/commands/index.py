"""`geodtr index`: the references of a city, embedded and ready to be searched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace

from ..methods.packaged import require_packaged
from ..search.geotags import NameOrder
from ..search.store.address import COLLECTION
from ..utils.console import add_common_options, guarded, make_parser, parse, parse_and_import, prepare_torch, say
from ..utils.errors import UnknownNameError, UserError

if TYPE_CHECKING:
    from ..search.area import Area
    from ..search.building import Summary
    from ..search.calibration import Calibration
    from ..search.tile_sources.options import TileOptions

DESCRIPTION = """Embed aerial tiles (or photos) with a run's model, for geodtr locate.

  geodtr index build --run runs/my_run --references tiles/ -o city.index
  geodtr index build --model worlds --references tiles/ -o city.index          # no training
  geodtr index build --run runs/my_run --references places.csv -o city.index --kind ivf --dtype float16
  geodtr index build --model worlds --references city.mbtiles --tile-metres 70 -o city.index
  geodtr index build --model worlds --references north/ --store milvus:country.db
  torchrun --nproc_per_node 8 --no-python geodtr index build --model worlds --references north/ --store http://host:19530
  geodtr index build --model worlds --references tiles/ --calibrate my_photos.csv -o city.index

References are a folder, searched to its last subfolder, or a table file,lat,lon. Coordinates come from the table, else
from the images' GPS, else, if asked, from their names. What is interrupted goes on where it was with the same command.
With --tile-metres, tiles are cut from a picture of the ground: a z/x/y folder (XYZ or TMS), MBTiles, a GeoTIFF, COG or
image with a world file, or a folder of these. Their names are the latitudes and longitudes of their centres.
With --store, vectors go to Milvus: Milvus Lite in a folder, or a server. What it does not hold yet is added, what has
changed is renewed. The processes of torchrun, or of an array of SLURM, share the references. A server's user and
password, or token, are read from MILVUS_TOKEN.
Exit code 0 if anything could be indexed, else 1; what was left out is named.
"""
DELETE = """Delete references from a store. What is named together must hold together.

  geodtr index delete --store milvus:country.db --near 48.137,11.575 --within 5km
  geodtr index delete --store http://host:19530 --references north/
  geodtr index delete --store http://host:19530 --all
"""
VERBS = {"build": "embed references", "delete": "delete references from a store"}
MOST_NAMED = 20  # of the images with one fault


def index_command(argv: Sequence[str]) -> int:
    """Run `geodtr index build` or `delete`; return 0 when it was done, 1 after a sentence that says what was wrong."""
    if not argv or argv[0] in ("-h", "--help"):
        verbs = "\n".join(f"  {verb:9}{what} (geodtr index {verb} --help)" for verb, what in VERBS.items())
        say(f"usage: geodtr index VERB ...\n\nverbs:\n{verbs}")
        return 0 if argv else 2
    return guarded(lambda: _run_verb(argv), argv)


def build_parser() -> ArgumentParser:
    """Return the options of `geodtr index build`."""
    parser = make_parser("geodtr index build", DESCRIPTION)
    add = parser.add_argument
    add("--run", type=str | None, help="run folder with the model")
    add("--model", type=str | None, help="in place of --run: a model that comes with the package, by its name (worlds)")
    add("--references", type=str, required=True, help="folder of images, or table file,lat,lon (.csv)")
    add("-o", "--out", type=str | None, help="the index: a folder that is made")
    add_store_options(parser, "in place of -o: where vectors go")
    add("--kind", type=str, default="auto",
        help="flat is exact; ivf and ivfpq are approximate; auto is flat below 50,000 references. In a store, auto is "
        "what Milvus chooses, and all its names of index types are understood (HNSW, IVF_SQ8, DISKANN)")  # fmt: skip
    add("--nlist", type=int | None, help="cells of an approximate index; 4 sqrt(N) if not given")
    add("--nprobe", type=int | None, help="cells that a search looks at; a sixteenth of them if not given")
    add("--dtype", type=Literal["float32", "float16"], default="float32", help="of the vectors in an index")
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


def delete_parser() -> ArgumentParser:
    """Return the options of `geodtr index delete`."""
    parser = make_parser("geodtr index delete", DELETE)
    add_store_options(parser, "where they lie")
    add_area_options(parser, "references")
    parser.add_argument("--references", type=str | None, help="those of this folder, or source of tiles")
    parser.add_argument("--all", action="store_true", help="the whole collection")
    add_common_options(parser, "debug")
    return parser


def add_store_options(parser: ArgumentParser, role: str) -> None:
    """Add the options that name a collection in a store."""
    parser.add_argument("--store", type=str | None,
        help=f"{role}: milvus:city.db (Milvus Lite, in a folder) or http://host:19530 (a Milvus server)")  # fmt: skip
    parser.add_argument("--collection", type=str, default=COLLECTION, help="of the store")


def add_area_options(parser: ArgumentParser, what: str) -> None:
    """Add the options that name an area."""
    parser.add_argument("--near", type=str | None, help=f"LAT,LON: {what} around this place only")
    parser.add_argument("--within", type=str | None, help="how far from it: 5km, 300m")


def area_of(options: Namespace) -> Area | None:
    """Return the area that options name, or None.

    Raises:
        UserError: they name half an area, or none on Earth.
    """
    from ..search.area import Area

    if (options.near is None) != (options.within is None):
        raise UserError("An area needs both.", "--near 48.137,11.575 --within 5km")
    return None if options.near is None else Area.parse(f"{options.near},{options.within}", "--near with --within")


def _run_verb(argv: Sequence[str]) -> int:
    if argv[0] not in VERBS:
        raise UnknownNameError("verb of 'index'", argv[0], VERBS)
    return (_build if argv[0] == "build" else _delete)(argv)


def _delete(argv: Sequence[str]) -> int:
    options = parse(delete_parser(), argv[1:])
    area = area_of(options)
    if options.store is None:
        raise UserError("Name the store.", "--store milvus:city.db. An index on disk is a folder that can be removed.")
    if options.all == (area is not None or options.references is not None):
        raise UserError("Say what is to be deleted.", "--near with --within, --references, or --all alone.")
    from ..search.photos import printable_name
    from ..search.store.address import Address
    from ..search.store.collection import Collection
    from ..search.store.connection import Connection

    with Connection(Address.parse(options.store)) as connection:
        collection = Collection(connection, options.collection)
        folder = options.references and Path(options.references).expanduser().absolute()
        source = printable_name(folder) if folder else None
        count = len(collection) if options.all else collection.delete(area, source)
        left = 0 if options.all else len(collection)
        if options.all:
            collection.drop()
        say(f"{collection.where}: {count:,} references deleted, {left:,} left.")
    return 0


def _build(argv: Sequence[str]) -> int:
    options = parse_and_import(build_parser(), argv[1:])
    if (options.out is None) == (options.store is None):
        raise UserError("Say where the vectors go.", "Either -o city.index, or --store milvus:city.db.")
    if (options.run is None) == (options.model is None):
        raise UserError("Name one model.", "Either --run FOLDER, or --model worlds, which comes with the package.")
    if options.model is not None:
        require_packaged(options.model)
    prepare_torch(options.threads)
    common = ("kind", "nlist", "nprobe", "names", "batch_size", "device", "workers")
    settings = {name: options[name] for name in common} | {"tiles": _tiles(options)}
    model = options.run or options.model
    if options.store is None:
        from ..search.building import build_index

        of_index = {name: options[name] for name in ("dtype", "overwrite", "calibrate", "headings")}
        summary = build_index(model, options.references, options.out, **settings, **of_index)
    else:
        from ..search.store.filling import fill_store

        if options.overwrite or options.dtype != "float32" or options.calibrate is not None:
            raise UserError(
                "--overwrite, --dtype and --calibrate are for an index on disk.",
                "geodtr index delete removes references from a store, and what has changed is renewed anyway.",
            )
        summary = fill_store(model, options.references, options.store, collection=options.collection, **settings)
    _report(summary, options.names)
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
    report_images("Left out", summary.left_out)
    report_images("Without coordinates", summary.unplaced)
    for note in summary.notes:
        say(note, error=True)
    if summary.without_position:
        hint = " --names reads coordinates from files' names." if names == "none" else ""
        without = f"{summary.without_position:,} of {summary.count:,} references"
        say(f"{without} have no coordinates.{hint}", error=True)
    if summary.resumed_at and summary.total is None:
        say(f"Continued an interrupted build after {summary.resumed_at:,} images.", error=True)
    elif summary.resumed_at:
        say(f"{summary.resumed_at:,} of them were there already.", error=True)
    if summary.calibration is not None:
        say(calibration_text(summary.calibration, Path(summary.where)), error=True)
    left_out = f", {len(summary.left_out):,} left out" if summary.left_out else ""
    total = "" if summary.total is None else f" It holds {summary.total:,} now."
    say(f"{summary.where}: {summary.count:,} references indexed ({summary.kind}){left_out}.{total}")


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
