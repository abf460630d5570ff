"""Queries of a run that did best, as most do, and worst, with what they were confused with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .html import Content, Html, tag
from .material import Material, RankTable, rows_of
from .pictures import thumbnail

if TYPE_CHECKING:
    from ...datasets import Split

MOST = 36  # queries of a page and kind: each brings some 20 KB of pictures
EACH = 3  # of a kind and test set, where there are not too many sets
QUERY_SIDE, REFERENCE_SIDE = 360, 144  # pixels


def choose_queries(ranks: RankTable, each: int = EACH) -> dict[str, np.ndarray]:
    """Return rows of queries by what they stand for: the best, those about the median, the worst.

    They are ordered by rank, and among equals by how much more similar the right reference is than the best wrong one.
    """
    order = np.lexsort((-np.nan_to_num(ranks.margin, nan=-np.inf), ranks.rank))
    each = min(each, max(len(order) // 3, 1))
    middle = max((len(order) - each) // 2, 0)
    chosen = {"Best": order[:each], "Typical": order[middle : middle + each], "Worst": order[-each:][::-1]}
    return chosen if len(order) >= 3 else {"All": order}


def queries_part(material: Material) -> Html:
    """Return the chosen queries of every test set, with their right and their most similar wrong references."""
    names = list(material.results["tests"])
    each = max(1, min(EACH, MOST // max(len(names), 1) // 3))
    return tag("div", [_of_test(material, name, each) for name in names])


def _of_test(material: Material, name: str, each: int) -> Html:
    ranks, split = material.ranks(name), material.tests.get(name)
    rows = {} if split is None else {role: rows_of(getattr(split, role).ids) for role in ("queries", "references")}
    groups = [
        [tag("h3", f"{kind} on {name}"),
         tag("ul", [_query(ranks, row, split, rows) for row in chosen.tolist()], class_="queries")]
        for kind, chosen in choose_queries(ranks, each).items() if len(chosen)
    ]  # fmt: skip
    return tag("div", groups)


def _query(ranks: RankTable, row: int, split: Split | None, rows: dict[str, dict[str, int]]) -> Html:
    query, wrong, rank = ranks.queries[row], ranks.wrong[row], ranks.rank[row]
    at = rows.get("queries", {}).get(query)
    asked, right = None, None
    if split is not None and at is not None:
        asked = thumbnail(split.queries, at, QUERY_SIDE, f"query {query}")
        positives = split.truth.positives[at]
        right = int(positives[0]) if len(positives) else None
    where = f"rank {rank:,.0f}" if np.isfinite(rank) else "no right reference in the gallery"
    answers = [
        _answer("right", split.references.ids[right] if split is not None and right is not None else None,
                ranks.numbers["similarity"][row], split, right),
        _answer("most similar wrong one", wrong or None, ranks.numbers["wrong_similarity"][row], split,
                rows.get("references", {}).get(wrong)),
    ]  # fmt: skip
    photo = tag("figure", asked, tag("figcaption", tag("b", where), f", query {query}"), class_="photo")
    return tag("li", photo, tag("div", answers, class_="answers"), class_="hit" if rank == 1 else "miss")


def _answer(what: str, name: str | None, similarity: float, split: Split | None, row: int | None) -> Html | None:
    if not np.isfinite(similarity):
        return None
    picture: Content = None
    if split is not None and row is not None:
        picture = thumbnail(split.references, row, REFERENCE_SIDE, f"{what}: reference {name}")
    caption = tag("figcaption", tag("b", what), tag("br"), f"similarity {similarity:.3f}", name and f", {name}")
    return tag("figure", picture, caption)
