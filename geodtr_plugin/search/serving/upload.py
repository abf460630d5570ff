"""One photo out of a request, in memory, within limits; its name is text and never a path."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

import anyio
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from ...utils.visible import visible
from .guard import Refusal
from .limits import Limits

FIELD = "photo"
MOST_FIELDS = 8  # besides the photo; what they say is not looked at
LONGEST_NAME = 120  # characters of a name that are shown
ENVELOPE = 65_536  # bytes that a form needs around the photo, at most


@dataclass(frozen=True)
class Upload:
    """A file that somebody sent.

    Args:
        name: what they call it, as text in one line.
        data: its content.
    """

    name: str
    data: bytes


async def receive(request: Request, limits: Limits) -> Upload:
    """Return the photo of a request, a form with a file in the field `photo`.

    Raises:
        Refusal: there is none, or more than one, it is too large, or comes too slowly.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Refusal(415, f"Send a form (multipart/form-data) with a file in the field {FIELD!r}.")
    stream = _bounded(request, limits)
    parser = MultiPartParser(request.headers, stream, max_files=1, max_fields=MOST_FIELDS, max_part_size=ENVELOPE)
    parser.spool_max_size = 2 * limits.photo_bytes  # what is kept in memory is never written to a disk
    try:
        with anyio.fail_after(limits.seconds):
            form = await parser.parse()
    except TimeoutError:
        raise Refusal(408, f"The photo did not arrive within {limits.seconds:g} seconds.") from None
    except ClientDisconnect:
        raise Refusal(400, "The connection was closed before the photo had arrived.") from None
    except MultiPartException as error:
        raise Refusal(400, f"The form cannot be read: {visible(error.message, one_line=True).rstrip('.')}.") from None
    try:
        file = form.get(FIELD)
        if not isinstance(file, UploadFile):
            raise Refusal(400, f"The form has no file in the field {FIELD!r}.")
        data = await file.read()
    finally:
        await form.close()
    if len(data) > limits.photo_bytes:
        raise _too_large(limits)
    return Upload(shown_name(file.filename or ""), data)


def shown_name(name: str) -> str:
    """Return the last part of the name that a client gives a file, as text of one short line."""
    last = visible(name.replace("\\", "/").rstrip("/").rpartition("/")[2], one_line=True).strip()
    return (last if len(last) <= LONGEST_NAME else f"{last[: LONGEST_NAME - 3]}...") or "photo"


async def _bounded(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """Yield the body of a request up to the largest that can hold a photo."""
    most = limits.photo_bytes + ENVELOPE
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and (len(length) > 15 or int(length) > most):
        raise _too_large(limits)
    seen = 0
    async for chunk in request.stream():
        seen += len(chunk)
        if seen > most:
            raise _too_large(limits)
        yield chunk


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"The photo has more than {limits.photo_bytes / 1e6:g} MB. Reduce it.")
