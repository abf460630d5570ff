"""Answering photos: so many at a time, each decoded in a process of its own and then searched, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from anyio import CapacityLimiter, to_thread

from ..locator import Locator
from ..matches import Answer
from ..query_views import QueryReader
from ..thumbnails import LARGE, THUMBNAIL, jpeg, thumbnail
from .decoder import DecodedPhoto, Decoder
from .guard import Refusal
from .limits import Limits
from .upload import Upload

KEPT_TILES = 512  # thumbnails in memory, of 5 to 30 KB


class Service:
    """Answer photos and show tiles; as a context, end the decoding processes when the block ends.

    Args:
        locator: the index and the model.
        limits: what is accepted.
        workers: processes that decode.
        search: arguments of `Locator.answers_to`.
    """

    def __init__(self, locator: Locator, limits: Limits, workers: int = 1, **search: Any):
        self.locator, self.limits, self._search = locator, limits, search
        self._decoders = [Decoder(partial(QueryReader, views=locator.views), limits) for _ in range(workers)]
        self._idle: asyncio.Queue[Decoder] = asyncio.Queue()
        for decoder in self._decoders:
            self._idle.put_nowait(decoder)
        self._waiting = 0
        self._decoding, self._searching, self._drawing = (CapacityLimiter(threads) for threads in (workers, 1, 1))
        self._tiles: dict[tuple[int, int], bytes] = {}

    def __enter__(self) -> Service:
        try:
            for decoder in self._decoders:
                decoder.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        for decoder in self._decoders:
            decoder.close()

    @contextmanager
    def place_in_line(self) -> Iterator[None]:
        """Hold one of the places for photos that are received or answered.

        Raises:
            Refusal: all are taken.
        """
        if self._waiting >= self.limits.waiting:
            raise Refusal(503, f"{self._waiting} photos are being looked at already. Try again in a few seconds.", 2)
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def answer(self, upload: Upload, top: int) -> tuple[Answer, bytes]:
        """Return the answer to a photo, and the photo as a small JPEG.

        Raises:
            Refusal: it cannot be used, or took too long.
        """
        decoded = await self._decoded(upload)
        if decoded.result.fault is not None:
            raise Refusal(422, f"{upload.name} {decoded.result.fault}.")
        search = partial(self.locator.answers_to, [decoded.result], [upload.name], top, **self._search)
        answer = await to_thread.run_sync(lambda: next(search()), limiter=self._searching)
        return answer, decoded.thumbnail

    async def _decoded(self, upload: Upload) -> DecodedPhoto:
        decoder = await self._idle.get()
        try:
            return await to_thread.run_sync(decoder.read, upload.data, limiter=self._decoding)
        except TimeoutError:
            raise Refusal(504, f"{upload.name} was not decoded within {self.limits.seconds:g} seconds.") from None
        finally:
            self._idle.put_nowait(decoder)

    async def tile(self, number: int, side: int) -> bytes:
        """Return a reference's picture as a JPEG of THUMBNAIL or LARGE pixels along its longer side.

        Raises:
            Refusal: there is no such reference, or no such size.
        """
        if side not in (THUMBNAIL, LARGE) or number >= len(self.locator):
            raise Refusal(404, f"Tiles have numbers below {len(self.locator)}, and sides of {THUMBNAIL} or {LARGE}.")
        if (number, side) not in self._tiles:
            drawn = await to_thread.run_sync(self._drawn, number, side, limiter=self._drawing)
            if len(self._tiles) >= KEPT_TILES:
                self._tiles.pop(next(iter(self._tiles)))
            self._tiles[number, side] = drawn
        return self._tiles[number, side]

    def _drawn(self, number: int, side: int) -> bytes:
        return jpeg(thumbnail(self.locator.reference(number), side, self.locator.picture_of))
