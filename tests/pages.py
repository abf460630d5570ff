"""HTML pages as tests look at them: their elements, whether these are well formed, and the numbers in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """A page taken apart; AssertionError where an element is not closed, or closed twice."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.source = text
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.numbers: list[tuple[tuple[str, ...], float, str]] = []  # where it stands, value, what people read
        self.words: list[str] = []
        self._open: list[str] = []
        self._number: tuple[tuple[str, ...], float] | None = None
        self.feed(text)
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} stands twice"
        if tag not in VOID:
            self._open.append(tag)
        if tag == "data":
            own = dict(attrs)
            self._number = tuple(json.loads(own["data-key"] or "")), float(own["value"] or "nan")

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-1:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "title"):
            self.words.append(data)
        if self._number:
            self.numbers.append((*self._number, data))
            self._number = None

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def attributes(self, name: str) -> Iterator[str]:
        yield from (own[name] or "" for _, own in self.elements if name in own)


def check_page(page: Page) -> None:
    """Assert what holds of every page: nothing is fetched, nothing runs, and all can be read by a screen reader."""
    tags = [tag for tag, _ in page.elements]
    assert page.source.startswith("<!DOCTYPE html>") and tags.count("h1") == tags.count("main") == 1
    assert not {"script", "link", "iframe", "object", "embed", "form"} & set(tags)
    assert not [name for _, own in page.elements for name in own if name.startswith("on")]
    assert all(source.startswith("data:image/") for source in page.attributes("src"))
    assert not re.search(r"url\(|@import", page.source)
    identities = list(page.attributes("id"))
    assert len(set(identities)) == len(identities)
    for target in page.attributes("href"):
        assert not re.match(r"[a-z]+:|//", target), target
        assert not target.startswith("#") or target[1:] in identities
    for tag, own in page.elements:
        assert tag != "img" or own["alt"]
        assert tag != "svg" or own.get("aria-hidden") or (own["role"] == "img" and own["aria-label"])
        assert tag != "th" or own["scope"] in ("row", "col")
    headings = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert all(below - above <= 1 for above, below in zip(headings, headings[1:])), headings


def leaves(value: Any, key: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield all numbers in nested dictionaries with their keys."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*key, name))
    elif type(value) in (int, float):
        yield key, value
