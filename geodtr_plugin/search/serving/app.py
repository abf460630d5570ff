"""The addresses of the server: the page, what it is made of, `/locate`, tiles by their numbers, and the description."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from string import Template
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ..._version import __version__
from ..answers import as_geojson, as_json, coordinates, direction, probability
from ..map_parts import Ground, asset, data_address, panel
from ..matches import Answer, Match
from ..thumbnails import LARGE, THUMBNAIL
from .guard import Guard, Refusal, as_sentence
from .service import Service
from .upload import receive

FORMATS = ("json", "geojson", "page")
MOST_PLACES = 50  # for one photo
ASSETS = {"map.css": "text/css", "map.js": "text/javascript", "serve.css": "text/css", "serve.js": "text/javascript"}


def make_app(service: Service, top: int, loopback: bool, report: Callable[[Exception], Any]) -> ASGIApp:
    """Return the application.

    Args:
        service: answers photos.
        top: places for each, where a request does not say how many.
        loopback: the server is bound to this machine alone.
        report: called with an error that nobody expected.

    Raises:
        UserError: no reference has coordinates.
    """
    ground = Ground(service.locator)
    routes = [
        _fixed("/", _page(service, ground), "text/html"),
        *(_fixed(f"/{name}", asset(name), kind) for name, kind in ASSETS.items()),
        _fixed("/openapi.json", json.dumps(description(), indent=2), "application/json"),
        Route("/tiles/{number}", _tiles(service)),
        Route("/locate", _locate(service, ground, top), methods=["POST"]),
    ]
    handlers: Any = {HTTPException: as_sentence, Exception: as_sentence}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), loopback, report)


def description() -> dict[str, Any]:
    """Return the interface for programs as an OpenAPI document, whose schemas are JSON Schema."""
    text = resources.files(__package__).joinpath("openapi.json").read_text(encoding="utf-8")
    return {**json.loads(text), "info": {"title": "geodtr serve", "version": __version__}}


def _page(service: Service, ground: Ground) -> str:
    return Template(asset("serve.html")).substitute(
        map=ground.drawing(), compare=asset("compare.html"), count=f"{ground.count:,}",
        most_bytes=service.limits.photo_bytes,
    )  # fmt: skip


def _fixed(path: str, content: str, kind: str) -> Route:
    """Return the route to a text that was read when the server began: no request opens a file by name."""
    data = content.encode()

    async def answer(request: Request) -> Response:
        return Response(data, media_type=kind)

    return Route(path, answer)


def _tiles(service: Service) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        number = _number(request.path_params["number"], "a tile", 0, 10**12)
        side = _number(request.query_params.get("side", str(THUMBNAIL)), "side", 1, LARGE)
        return Response(await service.tile(number, side), media_type="image/jpeg")

    return answer


def _locate(service: Service, ground: Ground, top: int) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        format = request.query_params.get("format", "json")
        if format not in FORMATS:
            raise Refusal(400, f"There is no such format. Known: {', '.join(FORMATS)}.")
        count = _number(request.query_params.get("top", str(top)), "top", 1, MOST_PLACES)
        with service.place_in_line():
            found, picture = await service.answer(await receive(request, service.limits), count)
        if format == "page":
            return JSONResponse(_shown(found, picture, ground))
        kind = "application/geo+json" if format == "geojson" else "application/json"
        return Response(json.dumps(told(found, format), allow_nan=False), media_type=kind)

    return answer


def told(answer: Answer, format: str) -> dict[str, Any]:
    """Return an answer as `geodtr locate` writes it, each match with the address of its tile."""
    value = as_geojson([answer]) if format == "geojson" else as_json([answer])[0]
    items = [item["properties"] for item in value["features"]] if format == "geojson" else value["matches"]
    for properties, match in zip(items, answer.matches):
        properties["tile"] = _tile_address(match, LARGE)
    return value


def _shown(answer: Answer, picture: bytes, ground: Ground) -> dict[str, str]:
    """Return what the page shows of an answer, as HTML and SVG whose names are escaped."""
    return {
        "panel": panel(0, answer, data_address(picture), _tile_address),
        "marks": ground.marks(0, answer),
        "sentence": _sentence(answer),
    }


def _sentence(answer: Answer) -> str:
    """Return what a reader hears of an answer."""
    first = answer.matches[0]
    looks = f", looking to {direction(first)}" if first.heading is not None else ""
    sure = f"; {probability(answer)}" if probability(answer) else ""
    return (
        f"{answer.query}: {len(answer.matches)} places found. The most similar is at {coordinates(first)}{looks}, "
        f"similarity {first.similarity:.2f}{sure}."
    )


def _tile_address(match: Match, side: int) -> str:
    return f"/tiles/{match.number}?side={side}"


def _number(text: str, what: str, least: int, most: int) -> int:
    """Return a number from a request.

    Raises:
        Refusal: it is none, or out of range.
    """
    if not (text.isascii() and text.isdecimal() and len(text) < 15 and least <= int(text) <= most):
        raise Refusal(404 if what == "a tile" else 400, f"The number of {what} must be {least} to {most}.")
    return int(text)
