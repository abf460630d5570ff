"""`geodtr locate`: where were these photos taken?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace

from ..utils.console import add_common_options, guarded, make_parser, parse_and_import, prepare_torch, say
from ..utils.errors import UserError
from ..utils.figures import check_picture
from ..utils.outputs import check_output_file
from .index import add_area_options, add_store_options, area_of, report_images

if TYPE_CHECKING:
    from ..search.errors_in_metres import LocationErrors
    from ..search.locator import Answer, Locator

DESCRIPTION = """Find the references that show the places of photos.

  geodtr locate --index city.index photo.jpg
  geodtr locate --index city.index photos/ --top 3 --map places.html --picture places.png
  geodtr locate --index city.index photos/ --truth places.csv --format json > answers.json
  geodtr locate --index city.index photos/ --near 48.137,11.575 --within 5km
  geodtr locate --store http://host:19530 photos/
  geodtr locate --index city.index photos/ --format geojson > places.geojson    # or csv, gpx
  geodtr locate --index city.index panoramas/ --headings 64                     # north is anywhere in them
  geodtr locate --index city.index panorama.heic --heading 120                  # its middle looks there
  geodtr locate --index city.index a.jpg b.jpg c.jpg --together                 # of one spot

Results go to standard output as they come, everything else to standard error. Exit code 0 if at least one photo could
be used.
"""


def locate_command(argv: Sequence[str]) -> int:
    """Run `geodtr locate`; return 0 when a photo was located, 1 after a sentence that says what was wrong."""
    return guarded(lambda: _locate(argv), argv)


def locate_parser() -> ArgumentParser:
    """Return the options of `geodtr locate`."""
    parser = make_parser("geodtr locate", DESCRIPTION)
    add = parser.add_argument
    add("photos", type=str, nargs="+", help="photos, and folders of photos")
    add("--index", type=str | None, help="folder that geodtr index build made")
    add_store_options(parser, "in place of --index: where references lie")
    add_area_options(parser, "references")
    add("--top", type=int, default=5, help="references for each photo")
    add("--format", type=Literal["table", "json", "geojson", "csv", "gpx"], default="table", help="of the results")
    add("--picture", type=str | None, help="image file that gets the photos with their references")
    add("--map", type=str | None, help="HTML file that gets a map, which works offline")
    add("--truth", type=str | None, help="table file,lat,lon of true places: adds errors in metres and their median")
    add_search_options(parser)
    add("--heading", type=float | Literal["photo"] | None,
        help="where the photos' middle looks, in degrees clockwise from north; photo: as their files say")  # fmt: skip
    add("--elevations", type=float, nargs=2,
        help="degrees above the horizon of the upper and lower edge of the panoramas that the model was trained on; "
             "as known of its training set if not given")  # fmt: skip
    add("--together", action="store_true", help="the photos show one spot: one answer for all of them")
    add("--batch-size", type=int, default=32, help="photos that the network takes at once")
    add_common_options(parser, "import", "device", "workers", "threads", "debug")
    return parser


def add_search_options(parser: ArgumentParser) -> None:
    """Add the options on how photos are read and searched for."""
    add = parser.add_argument
    add("--run", type=str | None, help="run folder with the model, if it has moved")
    add("--exact", action="store_true", help="compare with all references, also where the index is approximate")
    add("--nprobe", type=int | None, help="cells of an approximate index to look at; as built if not given")
    add("--cropped", action="store_true",
        help="for a run with a limited field of view: photos show just that, and are no panoramas")  # fmt: skip
    add("--headings", type=int, default=0,
        help="for panoramas that begin anywhere: how many headings are tried; the best counts and is told")  # fmt: skip


def _locate(argv: Sequence[str]) -> int:
    options = parse_and_import(locate_parser(), argv)
    if options.top < 1 or options.batch_size < 1:
        raise UserError("--top and --batch-size must be 1 at least.")
    if (options.index is None) == (options.store is None):
        raise UserError("Say where to search.", "Either --index city.index, or --store milvus:city.db.")
    area = area_of(options)
    prepare_torch(options.threads)
    if options.picture is not None:
        check_picture(options.picture)
    if options.map is not None:
        check_output_file(options.map)
    from ..search.errors_in_metres import read_truth
    from ..search.exports import Writer
    from ..search.listing import list_photos
    from ..search.locator import Locator
    from ..search.store.address import Address
    from ..search.together import locate_together

    photos = list_photos(options.photos)
    errors = None if options.truth is None else read_truth(options.truth, photos.files)
    locator = Locator.load(
        options.index or Address.parse(options.store).text, collection=options.collection, run=options.run,
        device=options.device, cropped_queries=options.cropped, headings=options.headings, heading=options.heading,
        elevations=options.elevations, warn=_warn,
    )  # fmt: skip
    settings = {name: options[name] for name in ("exact", "nprobe", "batch_size", "workers")} | {"area": area}
    if options.together:
        coming = iter([locate_together(locator, photos.files, options.top, **settings)] if photos.files else [])
    else:
        coming = locator.answers(photos.files, options.top, **settings)
    answers = []
    with Writer(options.format, _print, errors) as writer:
        for answer in coming:
            writer.add(answer)
            answers.append(answer)
    each = answers[0].together if options.together and answers else answers
    bad = [(answer.query, answer.fault) for answer in each if answer.fault is not None]
    report_images("Left out", [*bad, *photos.left_out])
    report_images("Without coordinates", [(answer.query, answer.note) for answer in each if answer.note is not None])
    report_images("Unsure", [(answer.query, answer.unsure) for answer in each if answer.unsure is not None])
    for note in photos.notes:
        _warn(note)
    located = len(each) - len(bad)
    _draw(options, answers, locator, errors, sum(answer.fault is None for answer in answers))
    left_out = len(bad) + len(photos.left_out)
    suffix = f", {left_out:,} left out" if left_out else ""
    _warn(f"{located:,} photos located among {len(locator):,} references{suffix}.")
    return 0 if located else 1


def _draw(
    options: Namespace, answers: list[Answer], locator: Locator, errors: LocationErrors | None, located: int
) -> None:
    """Say what the errors are, and write the picture and the map where they are wanted."""
    if not located:
        return
    if errors is not None:
        _warn(errors.summary(answers))
    if options.picture is not None:
        from ..search.contact_sheet import draw_contact_sheet

        count = draw_contact_sheet(answers, locator, Path(options.picture), errors)
        _warn(f"{options.picture} shows {_part(count, located)} with their references.")
    if options.map is not None:
        from ..search.map_page import write_map

        count = write_map(answers, locator, Path(options.map), errors)
        _warn(f"{options.map} shows {_part(count, located)} on a map.")


def _part(count: int, located: int) -> str:
    return f"the first {count:,} of {located:,} photos" if count < located else f"{count:,} photos"


def _print(lines: str) -> None:
    if lines:
        say(lines.removesuffix("\n"))


def _warn(sentence: str) -> None:
    say(sentence, error=True)
