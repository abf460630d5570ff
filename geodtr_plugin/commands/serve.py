"""`geodtr serve`: a local page that tells where a photo was taken."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from jsonargparse import ArgumentParser

from ..utils.console import add_common_options, guarded, make_parser, parse_and_import, prepare_torch, say
from ..utils.errors import UserError
from .locate import add_search_options

DESCRIPTION = """Show a page that finds the places of photos, and answer programs.

  geodtr serve --index city.index                              # then open http://127.0.0.1:8000
  curl -F photo=@photo.jpg "http://127.0.0.1:8000/locate?format=geojson"

The page asks nothing of any other server. Photos are not kept. /openapi.json describes the interface. Ctrl-C ends it.
"""


def serve_command(argv: Sequence[str]) -> int:
    """Run `geodtr serve` until it is ended; return 1 after a sentence that says what was wrong."""
    return guarded(lambda: _serve(argv), argv)


def serve_parser() -> ArgumentParser:
    """Return the options of `geodtr serve`."""
    parser = make_parser("geodtr serve", DESCRIPTION)
    add = parser.add_argument
    add("--index", type=str, required=True, help="folder that geodtr index build made")
    add("--host", type=str, default="127.0.0.1",
        help="address to listen at; 0.0.0.0 lets everyone who reaches this machine send photos")  # fmt: skip
    add("--port", type=int, default=8000, help="0 takes a free one")
    add("--top", type=int, default=5, help="references for each photo")
    add_search_options(parser)
    add("--decoders", type=int, default=1, help="processes that decode photos, one at a time each")
    add("--seconds", type=float, default=20.0, help="for receiving a photo, and again for decoding it")
    add("--megabytes", type=float, default=32.0, help="of a photo at most")
    add("--megapixels", type=float, default=80.0, help="of a photo at most")
    add_common_options(parser, "import", "device", "threads", "debug")
    return parser


def _serve(argv: Sequence[str]) -> int:
    options = parse_and_import(serve_parser(), argv)
    if min(options.top, options.decoders, options.seconds, options.megabytes, options.megapixels) <= 0:
        raise UserError("--top, --decoders, --seconds, --megabytes and --megapixels must be above 0.")
    try:
        import python_multipart  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error.name} is not installed.", 'pip install "geodtr_plugin[serve]"') from error
    prepare_torch(options.threads)
    from ..search.locator import Locator
    from ..search.serving.app import MOST_PLACES, make_app
    from ..search.serving.guard import is_loopback
    from ..search.serving.limits import Limits
    from ..search.serving.server import address_of, bind, make_server
    from ..search.serving.service import Service

    if options.top > MOST_PLACES:
        raise UserError(f"--top is {options.top}.", f"{MOST_PLACES} are the most.")
    limits = Limits(
        photo_bytes=round(1e6 * options.megabytes), photo_pixels=round(1e6 * options.megapixels),
        seconds=options.seconds,
    )  # fmt: skip
    with bind(options.host, options.port) as listening:
        locator = Locator.load(
            options.index, run=options.run, device=options.device, cropped_queries=options.cropped,
            headings=options.headings, warn=_warn,
        )  # fmt: skip
        with Service(locator, limits, options.decoders, exact=options.exact, nprobe=options.nprobe) as service:
            loopback = is_loopback(listening.getsockname()[0])

            def report(error: Exception) -> None:
                _warn("".join(traceback.format_exception(error)) if options.debug else f"Unexpected: {error!r}")

            app = make_app(service, options.top, loopback, report)
            if not loopback:
                _warn("Everyone who reaches this machine can send photos: there is no password.")
            say(f"{address_of(listening)} finds photos among {len(locator):,} references. Ctrl-C ends it.")
            make_server(app, limits).run([listening])
    return 0


def _warn(sentence: str) -> None:
    say(sentence, error=True)
