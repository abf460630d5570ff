"""The server itself: a socket, connections that must not stay silent, and a clean end."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ...utils.errors import UserError
from .limits import Limits

FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"
    b'{"error":"Too many connections are open. Try again in a few seconds."}'
)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address; port 0 takes a free one.

    Raises:
        UserError: the address is not to be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            what, remedy = f"Port {port} is taken.", "Choose another with --port; 0 takes a free one."
        else:
            what = f"Nobody can listen at {host}, port {port} ({error.strerror or error})."
            remedy = "Look at --host and --port; ports below 1024 need special rights."
        raise UserError(what, remedy) from error
    except OverflowError as error:
        raise UserError(f"There is no port {port}.", "Ports are 0 to 65535.") from error


def address_of(listening: socket.socket) -> str:
    """Return the address of the page on this machine."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(app: ASGIApp, limits: Limits) -> uvicorn.Server:
    """Return a server for an application, to be run with a socket: `make_server(app, limits).run([socket])`."""

    class Protocol(H11Protocol):
        """Close a connection that is one too many, or has not begun a request in time: it costs an open file."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.write(FULL)
                transport.close()
            else:
                asyncio.get_running_loop().call_later(limits.silence, self._close_if_silent)

        def _close_if_silent(self) -> None:
            if self.cycle is None and not self.transport.is_closing():
                self.transport.close()

    for name in ("uvicorn.error", "python_multipart"):  # which tell of every request that they cannot read
        logging.getLogger(name).setLevel(logging.ERROR)
    config = uvicorn.Config(
        app, http=Protocol, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        date_header=False, timeout_graceful_shutdown=3, proxy_headers=False,
    )  # fmt: skip
    return uvicorn.Server(config)
