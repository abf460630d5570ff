"""What nobody should send is answered by a sentence; nothing outside is read, and what it costs has an end."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hostile import NAMES, everything, image, request, send, upload
from served import LIMITS

STATUSES = {200, 400, 403, 404, 405, 413, 415, 422}  # no 500


@pytest.fixture(scope="module")
def opened():
    """Paths that this process opens, which the server's thread is part of."""
    paths: list[str] = []
    listening = [True]

    def hook(event, args):
        if listening[0] and event in ("open", "os.listdir", "os.scandir", "subprocess.Popen", "os.system"):
            paths.append(str(args[0]))

    sys.addaudithook(hook)
    yield paths
    listening[0] = False


def memory() -> int:
    """Bytes that this process holds, the server among it."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_two_hundred_hostile_requests(served, gallery, opened):
    raws = everything(LIMITS.photo_bytes, LIMITS.photo_pixels)
    assert len(raws) >= 200
    before, statuses = memory(), Counter()
    opened.clear()
    for raw in raws:
        reply = send(served.address, raw)
        statuses[reply.status] += 1
        whole = reply.head + reply.body
        assert reply.status in STATUSES, (raw[:300], reply)
        for word in (b"Traceback", b"root:", b"geodtr_plugin/", str(gallery).encode()):
            assert word not in whole, raw[:300]
        if reply.status != 200 and b"application/json" in reply.head and not raw.startswith(b"HEAD"):
            (sentence,) = json.loads(reply.body).values()
            assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 400
    assert served.reported == [] and statuses[422] > 60 and statuses[404] > 30
    own = str(gallery), "/proc/self/statm", sys.base_prefix, sys.prefix  # tiles, the look below, modules of python
    assert [path for path in opened if not path.startswith(own)] == []
    assert memory() - before < 200e6
    assert send(served.address, upload(image())).status == 200


def test_names_are_text_on_the_page_and_no_paths(served):
    shown = 0
    for name in NAMES:
        reply = send(served.address, upload(image(seed=1), name, b"/locate?format=page"))
        answer = json.loads(reply.body)
        if reply.status == 400:  # a name that breaks the form
            continue
        for html in (answer["panel"], answer["marks"]):
            assert not any(tag in html for tag in ("<script", "onerror=alert(1)>", "<img src=x"))
        told = answer["sentence"].split(": 3 places found.")[0]
        assert told and len(told) <= 120 and told.isprintable() and "/" not in told
        shown += 1
    assert shown >= len(NAMES) - 4


def test_fifty_at_once(served):
    raw = upload(image())
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda _: send(served.address, raw), range(50)))
    statuses = Counter(reply.status for reply in replies)
    assert set(statuses) <= {200, 503} and statuses[200] >= LIMITS.waiting
    for reply in replies:
        if reply.status == 503:
            assert b"Try again in a few seconds." in reply.body and b"retry-after" in reply.head.lower()
    assert send(served.address, raw).status == 200


def test_silence_and_crowds_end(served):
    idle = [socket.create_connection(served.address) for _ in range(LIMITS.connections)]
    for number, connection in enumerate(idle):
        connection.sendall(b"GET / HT"[: number % 8])
    crowded = send(served.address, request(b"/", b"GET"))
    assert (crowded.status, crowded.body) == (0, b"") or b"Too many connections" in crowded.body
    for connection in idle:
        connection.settimeout(30)
        assert connection.recv(1) == b""
        connection.close()
    deadline = time.monotonic() + 30
    while (status := send(served.address, request(b"/", b"GET")).status) != 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert status == 200


def test_a_photo_that_does_not_arrive_is_given_up(served, monkeypatch):
    monkeypatch.setattr(served.service, "limits", type(LIMITS)(seconds=0.2))
    with socket.create_connection(served.address, 30) as connection:
        connection.sendall(upload(image())[:-100])
        assert b"408" in connection.recv(4096) or b"did not arrive within" in connection.recv(4096)


def test_a_client_that_leaves_costs_nothing(served):
    for cut in (150, 400):
        with socket.create_connection(served.address, 30) as connection:
            connection.sendall(upload(image())[:cut])
    for _ in range(200):
        if not served.service._waiting:
            break
        threading.Event().wait(0.02)
    assert served.service._waiting == 0 and served.reported == []
