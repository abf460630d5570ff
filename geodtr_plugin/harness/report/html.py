"""Markup that cannot be forged: every text is escaped where it is put in, unless it is markup already."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

from ...utils.visible import visible

EMPTY = ("meta", "img", "br")  # elements without content
Content = Any  # text, numbers, Html, None for nothing, or a sequence of these


class Html(str):
    """Text that is markup already."""


def markup(content: Content) -> Html:
    """Return content as markup: texts escaped and their control characters spelled out, sequences joined."""
    if content is None:
        return Html("")
    if isinstance(content, Html):
        return content
    if isinstance(content, Iterable) and not isinstance(content, str):
        return Html("".join(map(markup, content)))
    return Html(escape(visible(str(content))))


def tag(name: str, *content: Content, **attributes: Any) -> Html:
    """Return an element.

    Args:
        name: of the element.
        *content: what is in it, see `markup`.
        **attributes: `class_` is class, `data_key` is data-key; True stands alone, None and False are left out.
    """
    words = [name]
    for key, value in attributes.items():
        if value is not None and value is not False:
            key = key.rstrip("_").replace("_", "-")
            words.append(key if value is True else f'{key}="{markup(str(value))}"')
    inner = "" if name in EMPTY else f"{markup(content)}</{name}>"
    return Html(f"<{' '.join(words)}>{inner}")


def number(value: float, text: str, *key: str) -> Html:
    """Return a number as people read it, with its exact value, and where in results.json it stands."""
    return tag("data", text, value=repr(value), data_key=json.dumps(key))


def table(
    caption: Content, heads: Sequence[Content], rows: Sequence[Sequence[Content]], text_columns: int = 1
) -> Html:  # fmt: skip
    """Return a table that scrolls by itself where it is wider than the screen; its first column names the rows.

    Args:
        caption: what the table shows.
        heads: of the columns.
        rows: cells, as many as heads.
        text_columns: so many columns from the left are texts, the others numbers.
    """
    kinds = ["text" if i < text_columns else "number" for i in range(len(heads))]
    head = tag("tr", [tag("th", cell, scope="col", class_=kind) for cell, kind in zip(heads, kinds)])
    lines = [
        tag("tr", tag("th", row[0], scope="row"), [tag("td", c, class_=k) for c, k in zip(row[1:], kinds[1:])])
        for row in rows
    ]
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", lines))
    return tag("div", whole, class_="wide", tabindex=0, role="region", aria_label=plain(caption))


def facts(pairs: Iterable[tuple[Content, Content]]) -> Html:
    """Return names with what they stand for."""
    return tag("dl", [[tag("dt", name), tag("dd", what)] for name, what in pairs])


def folded(summary: Content, *content: Content) -> Html:
    """Return content that is shown when asked for."""
    return tag("details", tag("summary", summary), *content)


def bullets(items: Iterable[Content]) -> Html:
    """Return a list, or nothing where it would be empty."""
    lines = [tag("li", item) for item in items]
    return tag("ul", lines) if lines else Html("")


def plain(content: Content) -> str:
    """Return text without markup, for attributes; markup itself is left out."""
    return "" if isinstance(content, Html) or content is None else str(content)


def page(title: str, intro: Content, sections: Sequence[tuple[str, Html]]) -> str:
    """Return a whole page, complete in itself.

    Args:
        title: heading of the page.
        intro: what stands above the list of sections.
        sections: headings and what stands below them.
    """
    links = [tag("li", tag("a", heading, href=f"#part-{i}")) for i, (heading, _) in enumerate(sections)]
    parts = [
        tag("section", tag("h2", heading, id=f"part-{i}"), content, aria_labelledby=f"part-{i}")
        for i, (heading, content) in enumerate(sections)
    ]
    template = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=markup(title), intro=markup(intro), links=tag("ul", links), sections=markup(parts)
    )
