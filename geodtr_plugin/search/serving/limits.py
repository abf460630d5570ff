"""What the server accepts: everything that a request can use has an end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a server.

    Args:
        photo_bytes: of an uploaded file; a panorama of a phone has 5 to 25 MB.
        photo_pixels: of a photo; 360-degree cameras make 72 million.
        seconds: for receiving a photo, and again for decoding it.
        waiting: photos that are received, decoded or searched at once; others are asked to come again. Together they
            hold `waiting * photo_bytes`.
        connections: open ones, also those that say nothing.
        silence: seconds in which a connection must have begun a request.
        decoding_bytes: memory that a decoding process may use beyond what it starts with; 80 million pixels take
            0.3 GB as JPEG, 1.7 GB as WebP, and more addresses than that.
    """

    photo_bytes: int = 32_000_000
    photo_pixels: int = 80_000_000
    seconds: float = 20.0
    waiting: int = 8
    connections: int = 128
    silence: float = 10.0
    decoding_bytes: int = 3 * 2**30
