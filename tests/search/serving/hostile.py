"""Two hundred requests that nobody should send, as bytes for a socket."""

from __future__ import annotations

import contextlib
import io
import random
import re
import socket
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

BOUNDARY = b"----a"
FORM = b"multipart/form-data; boundary=" + BOUNDARY


@dataclass(frozen=True)
class Reply:
    """What came back: 0 for a connection that was closed without a word."""

    status: int
    head: bytes
    body: bytes


def send(address: tuple[str, int], raw: bytes, timeout: float = 60) -> Reply:
    """Send bytes, and read until the other side closes."""
    parts = []
    with contextlib.suppress(ConnectionError), socket.create_connection(address, timeout) as connection:
        with contextlib.suppress(ConnectionError):  # refused before all of it was sent
            connection.sendall(raw)
        while part := connection.recv(65_536):
            parts.append(part)
    whole = b"".join(parts)
    head, _, body = whole.partition(b"\r\n\r\n")
    if length := re.search(rb"content-length: (\d+)", head, re.I):
        body = body[: int(length[1])]  # of the first answer: what was not read of a request may look like another one
    return Reply(int(head.split()[1]) if head.startswith(b"HTTP/1.1 ") else 0, head, body)


def request(target: bytes = b"/locate", method: bytes = b"POST", body: bytes = b"", **headers: bytes | None) -> bytes:
    """Return a request; a header of None is left out."""
    known = {"Host": b"127.0.0.1", "Connection": b"close", "Content-Length": str(len(body)).encode()}
    lines = {**known, **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = [method + b" " + target + b" HTTP/1.1"]
    head += [name.encode() + b": " + value for name, value in lines.items() if value is not None]
    return b"\r\n".join([*head, b"", body])


def part(data: bytes, name: bytes = b"a.jpg", field: bytes = b"photo") -> bytes:
    """Return a file as a part of a form."""
    disposition = b'Content-Disposition: form-data; name="' + field + b'"; filename="' + name + b'"'
    return b"--" + BOUNDARY + b"\r\n" + disposition + b"\r\n\r\n" + data + b"\r\n"


def upload(data: bytes, name: bytes = b"a.jpg", target: bytes = b"/locate", **headers: bytes | None) -> bytes:
    """Return a request that sends a file."""
    return request(target, body=part(data, name) + b"--" + BOUNDARY + b"--\r\n", Content_Type=FORM, **headers)


def image(kind: str = "JPEG", size: tuple[int, int] = (64, 32), seed: int = 0, **options) -> bytes:
    """Return an image file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def png(width: int, height: int, *chunks: tuple[bytes, bytes], row: bytes = b"") -> bytes:
    """Return a grey PNG with a header that says what it likes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    whole = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in whole
    )


def bombs(pixels: int) -> Iterator[bytes]:
    """Yield small files that would become large; `pixels` are just more than is allowed."""
    side = int(pixels**0.5) + 1
    yield png(100_000, 100_000)
    yield png(2**31 - 1, 2**31 - 1)
    yield png(side, side, row=bytes((side + 1) * side))
    yield png(64, 64, (b"zTXt", b"a\0\0" + zlib.compress(bytes(30_000_000))), row=bytes(65 * 64))
    yield png(64, 64, (b"iCCP", b"a\0\0" + zlib.compress(bytes(30_000_000))), row=bytes(65 * 64))
    yield png(64, 64, (b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(30_000_000))), row=bytes(65 * 64))
    yield b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02L\x01\0;"
    jpeg = image()
    at = jpeg.index(b"\xff\xc0") + 5
    yield jpeg[:at] + b"\xff\xff\xff\xff" + jpeg[at + 4 :]
    yield b"P6 100000 100000 255\n"
    yield b"P5\n999999999999999999999 1\n255\n"
    yield b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0)
    yield (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", 2)
        + struct.pack("<HHIIHHII", 256, 4, 1, 2**31, 257, 4, 1, 2**31)
        + bytes(4)
    )


def contents(pixels: int) -> Iterator[bytes]:
    """Yield contents of files that are no photos, or damaged ones."""
    yield from bombs(pixels)
    yield from (
        b"",
        b"\0",
        b"text",
        b"<html><script>alert(1)</script>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n(%pipe%id) (r) file",
        b"%PDF-1.4",
        b"PK\x03\x04" + bytes(99),
        b"\x1f\x8b" + bytes(99),
        b"\x7fELF" + bytes(99),
        b"8BPS" + bytes(99),
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        b'push graphic-context\nimage over 0,0 0,0 "|id"\n',
        b"/etc/passwd",
        b"file:///etc/passwd",
        bytes(900_000),
    )
    kinds = {
        "JPEG": {},
        "PNG": {},
        "WEBP": {},
        "TIFF": {"compression": "tiff_lzw"},
        "BMP": {},
        "GIF": {},
        "JPEG2000": {},
    }
    draw = random.Random(0)
    for kind, options in kinds.items():
        whole = image(kind, **options)
        yield whole[:12]
        yield whole[: len(whole) // 2]
        yield whole[:12] + draw.randbytes(3000)
        yield image(kind, (1, 1), **options)
        for _ in range(4):
            damaged = bytearray(whole)
            for _ in range(12):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            yield bytes(damaged)


NAMES = (
    *rb"""../../../../etc/passwd
/etc/passwd
..\..\windows\win.ini
C:\boot.ini
<script>alert(1)</script>.jpg
<img src=x onerror=alert(1)>
a%00.jpg
.
..
/
-rf
$(id).jpg
`id`.jpg
|id
'; DROP TABLE tiles; --
{{7*7}}
${7*7}
&lt;b&gt;
javascript:alert(1)
con
a.jpg; filename=b.jpg""".splitlines(),
    b"", b"a\0.jpg", b"\xff\xfe.jpg", b"a" * 5000, b"\x1b[2J.jpg", "\u202egpj.exe".encode(), "e\u0301".encode() * 99,
)  # fmt: skip
PATHS = (
    *rb"""/../../etc/passwd /%2e%2e/%2e%2e/etc/passwd /..%2f..%2fetc/passwd //etc/passwd /etc/passwd /%00
    /map.js/../../../etc/passwd /map.js%00.html /web/map.js /search/web/map.js /references.jsonl /manifest.json
    /index/manifest.json /.git/config /tiles /tiles/ /tiles/.. /tiles/../map.js /tiles/%2e%2e%2fplaces.csv /tiles/0.png
    /tiles/-1 /tiles/1e1 /tiles/0x1 /tiles/9999 /tiles/+1 /tiles/99999999999999999999999 /tiles/%D9%A1 /tiles/1%00
    /tiles/1/2 /tiles/0?side=0 /tiles/0?side=-1 /tiles/0?side=99999 /tiles/0?side=a /tiles/0?side=145 /openapi.json/..
    /docs /favicon.ico http://example.org/ * /locate /cgi-bin/%%32%65%%32%65/etc/passwd /proc/self/environ
    /%5c..%5c""".split(),
    b"/tiles/ 1", b"/tiles/" + b"9" * 6000, b"/tiles/0?side=" + b"9" * 6000, b"/?" + b"a" * 9000, b"/" + b"a/" * 3000,
)  # fmt: skip


def forms() -> Iterator[bytes]:
    """Yield requests that are no form with one photo."""
    photo, end = image(), b"--" + BOUNDARY + b"--\r\n"
    yield request(body=photo, Content_Type=b"image/jpeg")
    yield request(body=b"{}", Content_Type=b"application/json")
    yield request(body=b"photo=a", Content_Type=b"application/x-www-form-urlencoded")
    yield request()
    for kind in (
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b"multipart/form-data; boundary=\xff",
        b"multipart/",
    ):
        yield request(body=part(photo) + end, Content_Type=kind)
    bodies = [
        b"",
        end,
        b"garbage",
        part(photo),
        part(photo)[:90] + end,
        part(photo) + part(photo) + end,
        part(photo, field=b"other") + end,
        part(photo) * 99 + end,
        b"--" + BOUNDARY + b"\r\n\r\n" + photo + b"\r\n" + end,
        b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + end,
        b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="photo"\r\n\r\n/etc/passwd\r\n' + end,
        b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="photo"\r\n\r\n' + bytes(300_000) + b"\r\n" + end,
        b"".join(part(b"x", field=b"f%d" % i).replace(b'; filename="a.jpg"', b"") for i in range(99)) + end,
        b"--" + BOUNDARY + b"\r\n" + b"X: " + b"a" * 90_000 + b"\r\n\r\n" + photo + end,
    ]
    yield from (request(body=body, Content_Type=FORM) for body in bodies)
    for query in (
        b"format=xml",
        b"format=",
        b"top=0",
        b"top=-1",
        b"top=1e9",
        b"top=" + b"9" * 5000,
        b"top=a",
        b"format=../x",
    ):
        yield upload(photo, target=b"/locate?" + query)


def protocols(photo_bytes: int) -> Iterator[bytes]:
    """Yield requests by wrong methods, hosts and origins, and what is hardly HTTP."""
    photo = image()
    for method in (b"GET", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"HEAD", b"BREW"):
        yield request(method=method)
    for host in (
        b"evil.example",
        b"127.0.0.1.evil.example",
        b"evil.example:8000",
        b"127.0.0.1@evil.example",
        b"",
        b"[",
        b"0.0.0.0",
    ):
        yield upload(photo, Host=host)
    for origin in (b"http://evil.example", b"null", b"https://127.0.0.1:1", b"file://"):
        yield upload(photo, Origin=origin)
    yield upload(photo, Host=None)
    yield upload(photo, Content_Length=b"-1")
    yield upload(photo, Content_Length=b"99999999999999999999")
    yield upload(photo, Content_Length=b"5, 6")
    yield upload(photo, Transfer_Encoding=b"gzip, chunked")
    yield upload(photo, Content_Length=None, Transfer_Encoding=b"chunked")
    yield upload(photo, X_Large=b"a" * 200_000)
    yield request(b"/", b"GET", Upgrade=b"websocket", Connection=b"Upgrade, close")
    yield upload(bytes(photo_bytes + 1))
    chunks = (
        b"".join(b"%x\r\n%s\r\n" % (65_536, bytes(65_536)) for _ in range(photo_bytes // 65_536 + 3)) + b"0\r\n\r\n"
    )
    yield request(Content_Type=FORM, Content_Length=None, Transfer_Encoding=b"chunked") + chunks
    yield b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield b"\x16\x03\x01\x02\x00\x01\x00" + bytes(300)
    yield b"GET / HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n"


def everything(photo_bytes: int, pixels: int) -> list[bytes]:
    """Return them all, in the order of this file."""
    return [
        *(upload(data) for data in contents(pixels)),
        *(upload(b"no photo", name) for name in NAMES),
        *(request(path, b"GET") for path in PATHS),
        *forms(),
        *protocols(photo_bytes),
    ]
