"""A server in a thread of the test's process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

for needed in ("starlette", "uvicorn", "python_multipart"):
    pytest.importorskip(needed, reason=f"geodtr serve needs {needed}: pip install geodtr_plugin[serve]")

from geodtr_plugin.search import Locator  # noqa: E402
from geodtr_plugin.search.serving import decoder  # noqa: E402
from geodtr_plugin.search.serving.app import make_app  # noqa: E402
from geodtr_plugin.search.serving.limits import Limits  # noqa: E402
from geodtr_plugin.search.serving.server import bind, make_server  # noqa: E402
from geodtr_plugin.search.serving.service import Service  # noqa: E402


@contextmanager
def forked() -> Iterator[None]:
    """Let decoders be forks of this process, which has imported torch already: seconds less than a new one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder, "START", "fork")
        yield


LIMITS = Limits(photo_bytes=1_000_000, photo_pixels=4_000_000, waiting=4, connections=40, silence=0.4)
HEADINGS = 4


class Served:
    """A running server, its address, and what it reported."""

    def __init__(self, locator: Locator, service: Service, limits: Limits = LIMITS, loopback: bool = True):
        self.locator, self.service, self.reported = locator, service, []
        self.socket = bind("127.0.0.1", 0)
        self.address = self.socket.getsockname()
        self.url = "http://{}:{}".format(*self.address)
        self._server = make_server(make_app(service, 3, loopback, self.reported.append), limits)
        self._thread = threading.Thread(target=self._server.run, args=([self.socket],))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._server.should_exit = True
        self._thread.join()
        self.socket.close()
