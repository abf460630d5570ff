"""Processes that decode one photo at a time: what a hostile file does to a decoder ends with its process."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import torch

from ...utils.errors import UserError
from ..photo_reader import PhotoReader, ReadResult
from ..photos import BadImageError, Photo, decode_photo
from ..thumbnails import LARGE, jpeg, thumbnail
from .limits import Limits

# A fork of this process would copy the model's threads and their locks. A process that has imported torch, and nothing
# else to do, is forked in milliseconds when a decoder must be replaced.
START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
STARTING = 120.0  # seconds; importing torch takes 2, and many more where the disk or the processors are busy

Reader: TypeAlias = Callable[[Sequence[Photo]], PhotoReader]


@dataclass(frozen=True, eq=False)
class DecodedPhoto:
    """A photo as the search takes it, and as the page shows it.

    Args:
        result: what became of reading it.
        thumbnail: a JPEG, or nothing with a fault.
    """

    result: ReadResult
    thumbnail: bytes = b""


class Decoder:
    """A process that decodes photos; it is ended and replaced where it takes too long, or dies.

    Args:
        reader: makes of a list of photos what reads them by their numbers, such as a `PhotoReader`; it must be such
            that it can be sent to a process.
        limits: of pixels, seconds and memory.
    """

    def __init__(self, reader: Reader, limits: Limits):
        self._reader, self._limits, self._ready = reader, limits, False
        self._start()

    def wait(self) -> None:
        """Wait until the process is there.

        Raises:
            UserError: it is not.
        """
        if not self._ready:
            try:
                self._ready = self._connection.poll(STARTING) and self._connection.recv()
            except (EOFError, OSError):
                pass
        if not self._ready:
            raise UserError("The process that decodes photos does not start.", "Memory may be at its limit.")

    def read(self, data: bytes) -> DecodedPhoto:
        """Decode the content of an image file.

        Raises:
            TimeoutError: it took too long.
            UserError: the process does not start.
        """
        self.wait()
        try:
            self._connection.send_bytes(data)
            if not self._connection.poll(self._limits.seconds):
                raise TimeoutError
            result, pixels, picture = self._connection.recv()
        except TimeoutError:
            self._restart()
            raise
        except (EOFError, OSError):
            self._restart()
            return DecodedPhoto(ReadResult(0, fault="made its decoder stop: it is damaged, or needs too much memory"))
        return DecodedPhoto(replace(result, pixels=None if pixels is None else torch.from_numpy(pixels)), picture)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _restart(self) -> None:
        self.close()
        self._start()

    def _start(self) -> None:
        context: Any = multiprocessing.get_context(START)
        if START == "forkserver":
            context.set_forkserver_preload([__name__])
        self._connection, theirs = context.Pipe()
        arguments = (theirs, self._reader, self._limits)
        self._process = context.Process(target=_decode_until_closed, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self._ready = False


def _decode_until_closed(connection: Connection, reader: Reader, limits: Limits) -> None:
    """Answer each image file that comes through the connection, until its other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then ends this
    torch.set_num_threads(1)
    _limit_memory(limits.decoding_bytes)
    connection.send(True)
    while True:
        try:
            data = connection.recv_bytes()
        except EOFError:
            return
        connection.send(_decoded(data, reader, limits))


def _decoded(data: bytes, reader: Reader, limits: Limits) -> tuple[ReadResult, Any, bytes]:
    """Return what became of a photo, its pixels as an array, and its thumbnail."""
    try:
        photo = decode_photo(data, limits.photo_pixels)
        result = reader([photo])[0]
        picture = jpeg(thumbnail(photo, LARGE, lambda photo: photo))
    except BadImageError as error:
        return ReadResult(0, fault=str(error)), None, b""
    except (MemoryError, RuntimeError):  # of torch, where it gets none
        return ReadResult(0, fault="needs too much memory"), None, b""
    pixels = None if result.pixels is None else result.pixels.numpy()
    return replace(result, pixels=None), pixels, picture


def _limit_memory(more: int) -> None:
    """Let this process use so many bytes more than now, where the system can be told."""
    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + more, used + more))
    except (ImportError, OSError, ValueError):  # no Linux
        return
