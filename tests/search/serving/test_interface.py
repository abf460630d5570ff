"""What programs get: answers as the command gives them, as the written schema says, and tiles by their numbers."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
import urllib.request

import numpy as np
import pytest
from hostile import image, request, send, upload
from PIL import Image
from served import HEADINGS, LIMITS, Served

from geodtr_plugin.commands.main import main
from geodtr_plugin.search import IndexGallery, Locator
from geodtr_plugin.search.serving.app import FORMATS, MOST_PLACES, description
from geodtr_plugin.search.serving.guard import HEADERS, is_loopback
from geodtr_plugin.search.serving.server import bind
from geodtr_plugin.search.serving.upload import shown_name
from geodtr_plugin.search.thumbnails import LARGE, THUMBNAIL
from geodtr_plugin.utils.errors import UserError


def ask(served, data: bytes, target: bytes = b"/locate"):
    reply = send(served.address, upload(data, b"p.png", target))
    return reply.status, json.loads(reply.body)


def valid(value, name: str) -> None:
    """Check a value against a schema of the description."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = {"$ref": f"#/components/schemas/{name}", "components": description()["components"]}
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(value)


def described(value: dict, name: str) -> None:
    """Check that each key of an answer is one that the description explains."""
    assert set(value) <= set(description()["components"]["schemas"][name]["properties"])


@pytest.mark.parametrize("top", [1, 3, 10])
def test_answers_are_those_of_the_command(served, tmp_path, top):
    photo = tmp_path / "p.png"
    photo.write_bytes(image("PNG", seed=4))
    (expected,) = served.locator.locate([photo], k=top)
    status, told = ask(served, photo.read_bytes(), b"/locate?top=%d" % top)
    assert status == 200 and told["query"] == "p.png" and len(told["matches"]) == top
    for match, value in zip(expected.matches, told["matches"]):
        assert (value["path"], value["lat"], value["lon"]) == (match.path, match.lat, match.lon)
        assert value["similarity"] == pytest.approx(match.similarity, abs=1e-5)
        assert value["heading"] == match.heading and match.heading % (360 / HEADINGS) == 0


def test_answers_are_as_described(served):
    _, told = ask(served, image())
    valid(told, "Answer")
    described(told, "Answer")
    for match in told["matches"]:
        described(match, "Match")
    _, features = ask(served, image(), b"/locate?format=geojson")
    valid(features, "FeatureCollection")
    for feature in features["features"]:
        described(feature, "Feature")
        keys = description()["components"]["schemas"]["Feature"]["properties"]["properties"]["properties"]
        assert set(feature["properties"]) <= set(keys)
    points = [feature["geometry"]["coordinates"] for feature in features["features"]]
    assert points == [[match["lon"], match["lat"]] for match in told["matches"]]
    status, problem = ask(served, b"no image")
    valid(problem, "Problem")
    assert (status, problem) == (422, {"error": "p.png is not an image of a known format."})
    jsonschema = pytest.importorskip("jsonschema")
    with pytest.raises(jsonschema.ValidationError):
        valid({**told, "matches": [{**told["matches"][0], "lat": 91}]}, "Answer")


def test_the_description_names_what_there_is(served):
    told = json.loads(send(served.address, request(b"/openapi.json", b"GET")).body)
    assert told == description()
    operation = told["paths"]["/locate"]["post"]
    format, top = (parameter["schema"] for parameter in operation["parameters"])
    assert tuple(format["enum"]) == FORMATS and top["maximum"] == MOST_PLACES
    assert told["paths"]["/tiles/{number}"]["get"]["parameters"][1]["schema"]["enum"] == [THUMBNAIL, LARGE]
    assert {"400", "403", "408", "413", "415", "422", "500", "503", "504"} == set(operation["responses"]) - {"200"}


def test_tiles_come_by_their_numbers(served):
    paths = [path for path, *_ in served.locator.gallery.references]
    stored = np.stack([np.asarray(Image.open(served.locator.gallery.root / path)).astype(float) for path in paths])
    for number in range(len(paths)):
        reply = send(served.address, request(b"/tiles/%d" % number, b"GET"))
        tile = np.asarray(Image.open(io.BytesIO(reply.body))).astype(float)  # a JPEG of noise is not what it was
        assert np.abs(stored - tile).mean((1, 2, 3)).argmin() == number
    _, told = ask(served, image())
    for match in told["matches"]:
        assert paths[int(match["tile"].split("/")[2].split("?")[0])] == match["path"]


def test_every_answer_is_sealed(served):
    pages = request(b"/", b"GET"), request(b"/nowhere", b"GET")
    for raw in (*pages, upload(b"no image"), upload(image(), Host=b"evil")):
        head = send(served.address, raw).head.decode().lower()
        assert all(f"{name.lower()}: {value.lower()}" in head for name, value in HEADERS.items())
        assert "access-control-allow-origin" not in head and "uvicorn" not in head
    assert "unsafe" not in HEADERS["Content-Security-Policy"] and "http" not in HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.1:8000", "[::1]:8000", "127.9.9.9"])
def test_names_of_this_machine_are_answered(served, host):
    assert send(served.address, request(b"/", b"GET", Host=host.encode())).status == 200
    same = upload(image(), Host=host.encode(), Origin=b"http://" + host.encode())
    assert send(served.address, same).status == 200


def test_a_server_for_others_answers_to_any_name(served):
    with Served(served.locator, served.service, loopback=False) as other:
        assert send(other.address, request(b"/", b"GET", Host=b"maps.example")).status == 200
        assert send(other.address, upload(image(), Host=b"maps.example", Origin=b"http://evil.example")).status == 403
    assert is_loopback("localhost") and is_loopback("::1")
    assert not any(is_loopback(host) for host in ("0.0.0.0", "", "localhost.evil", "127.0.0.1.evil"))


def test_an_error_of_ours_is_a_sentence_too(served, monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("secret")

    monkeypatch.setattr(served.locator, "answers_to", broken)
    status, told = ask(served, image())
    assert status == 500 and "secret" not in str(told) and told["error"].startswith("Something went wrong")
    assert [str(error) for error in served.reported] == ["secret"]
    served.reported.clear()
    monkeypatch.undo()
    assert ask(served, image())[0] == 200


@pytest.mark.parametrize(
    "name, shown",
    [("a.jpg", "a.jpg"), ("../b", "b"), ("c\\d\\", "d"), ("", "photo"), ("\x1b[1m", "\\x1b[1m"),
     ("a" * 999, "a" * 117 + "...")],
)  # fmt: skip
def test_a_name_is_a_short_line(name, shown):
    assert shown_name(name) == shown


def test_the_command_serves_and_ends(gallery, monkeypatch, capsys):
    import uvicorn

    from geodtr_plugin.search.serving import decoder

    monkeypatch.setattr(decoder, "START", "fork")
    servers = []
    begin = uvicorn.Server.__init__
    monkeypatch.setattr(uvicorn.Server, "__init__", lambda self, *a: (begin(self, *a), servers.append(self))[0])
    codes = []
    words = f"serve --index {gallery / 'i'} --port 0 --device cpu --top 2 --megabytes 0.5 --threads 1".split()
    thread = threading.Thread(target=lambda: codes.append(main(words)))
    thread.start()
    text, deadline = "", time.monotonic() + 60
    while "finds photos" not in text and time.monotonic() < deadline:
        time.sleep(0.05)
        text += capsys.readouterr().out
    url = text.split()[0]
    assert url.startswith("http://127.0.0.1:") and "among 10 references" in text
    with urllib.request.urlopen(url, timeout=30) as page:
        assert 'data-most-bytes="500000"' in page.read().decode()
    servers[0].should_exit = True
    thread.join()
    assert codes == [0]


@pytest.mark.parametrize(
    "words, said",
    [
        ("--port 99999", "There is no port 99999"),
        ("--host 192.0.2.1", "Nobody can listen at 192.0.2.1"),
        ("--decoders 0", "must be above 0"),
        ("--top 51", "50 are the most"),
        ("--port 0", "nowhere is no index"),
    ],
)
def test_mistakes_are_answered_with_one_sentence(words, said, capsys):
    assert main(f"serve --index nowhere {words}".split()) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and said in error and len(error.strip().splitlines()) == 1


def test_what_is_not_installed_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "starlette", None)
    assert main("serve --index nowhere".split()) == 1
    assert 'Error: starlette is not installed. pip install "geodtr_plugin[serve]"' in capsys.readouterr().err


def test_a_port_that_is_taken_and_an_index_without_places(served, gallery):
    with pytest.raises(UserError, match="is taken"):
        bind("127.0.0.1", served.address[1])
    nowhere = Locator(served.locator.embedder, IndexGallery(served.locator.gallery.index, [("a", None, None)] * 10))
    with pytest.raises(UserError, match="no map"):
        Served(nowhere, type("S", (), {"locator": nowhere, "limits": LIMITS})())
