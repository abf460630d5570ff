"""What stands before every request: who may ask, what a browser may do with the answer, and no traceback to anyone."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {  # of every answer
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not understand that method.",
    500: "Something went wrong that should not. The server's own output says what.",
}


class Refusal(HTTPException):
    """A request that is not answered. Its text is a sentence.

    Args:
        status: of HTTP.
        sentence: why, and what to do.
        again: seconds after which it may be tried again.
    """

    def __init__(self, status: int, sentence: str, again: int | None = None):
        super().__init__(status, sentence, headers=None if again is None else {"Retry-After": str(again)})


def is_loopback(host: str) -> bool:
    """Tell whether a host's name or address leads back to this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def as_sentence(request: Request, error: Exception) -> Response:
    """Return the answer to a request that is refused, of which nothing is known but the status and a sentence."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = error.detail if isinstance(error, Refusal) else SENTENCES.get(status, "The request cannot be answered.")
    return JSONResponse({"error": text}, status, headers=dict(getattr(error, "headers", None) or {}))


class Guard:
    """Check requests before they reach an application, and its answers before they leave.

    Args:
        app: the application.
        loopback: the server is bound to this machine alone. Then a request must call it by a name of this machine:
            another name that leads here is how a foreign web page would speak to it (DNS rebinding).
        report: called with an error that nobody expected.
    """

    def __init__(self, app: ASGIApp, loopback: bool, report: Callable[[Exception], Any]):
        self._app, self._loopback, self._report = app, loopback, report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        begun = False

        async def sealed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        request = Request(scope)
        try:
            self._check(Headers(scope=scope), scope["method"])
            await self._app(scope, receive, sealed)
        except Refusal as refusal:
            await as_sentence(request, refusal)(scope, receive, sealed)
        except Exception as error:
            self._report(error)
            if not begun:
                await as_sentence(request, error)(scope, receive, sealed)

    def _check(self, headers: Headers, method: str) -> None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._loopback and not is_loopback(_name_in(f"//{host}")):
            raise Refusal(403, "This server answers to 127.0.0.1 and localhost only.")
        if method == "POST" and origin is not None and origin.partition("://")[2] != host:
            raise Refusal(403, "Pages of other servers may not send photos to this one.")


def _name_in(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
