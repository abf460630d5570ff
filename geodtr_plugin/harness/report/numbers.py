"""The numbers of a run as tables: each is that of results.json, with its rules beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..results import COLUMNS, METRES, columns_of, heading_lines
from .html import Content, Html, bullets, facts, folded, number, table, tag
from .material import Material

Column = tuple[str, tuple[str, ...], Mapping[str, float]]  # heading, where it stands in results.json, numbers by name
TITLES = {name: title for title, name in COLUMNS.items()} | {"hit_rate": "hit rate"}
EXACT = ("num_queries", "num_references", "k_at_1_percent", "epoch")  # whole numbers


def numbers_part(material: Material) -> Html:
    """Return the main table, sentences on headings, the rules, and all numbers when asked for."""
    results = material.results
    every = [_every_number(name, entry) for name, entry in results["tests"].items()]
    return tag(
        "div", _main_table(results), _explained(results), bullets(heading_lines(results)),
        [tag("h3", "Rules"), _rules(results)], tag("h3", "Every number"), every,
    )  # fmt: skip


def _main_table(results: Mapping[str, Any]) -> Html:
    tests = results["tests"]
    columns = columns_of(entry["last"] for entry in tests.values())
    metres = {title: name for title, name in METRES.items() if any(name in e["last"] for e in tests.values())}
    heads = ["test set", "area", *columns, "95 % of R@1", *metres, "chance", "published", "best (epoch)"]
    rows: list[list[Content]] = []
    for name, entry in tests.items():
        key, last, best, paper = ("tests", name), entry["last"], entry["best"], entry["published"]
        rows.append([
            name, entry["kind"], *_scores(last, columns, (*key, "last")),
            *(_cell(last, metric, (*key, "last"), 1) for metric in metres.values()),
            number(entry["chance_recall_at_1"], f"{entry['chance_recall_at_1']:.2f}", *key, "chance_recall_at_1"),
            _cell(paper, "recall_at_1", (*key, "published")),
            [_cell(best, "recall_at_1", (*key, "best")), f" ({best['epoch']})"] if best else "-",
        ])  # fmt: skip
        for part, scores in last.get("subsets", {}).items():
            where = (*key, "last", "subsets", part)
            count = [_cell(scores, "num_queries", where), " queries"]
            rows.append([f"— {part}", count, *_scores(scores, columns, where), *[""] * (len(metres) + 3)])
    return table("After the last epoch, in percent", heads, rows, text_columns=2)


def _scores(scores: Mapping[str, float], columns: Mapping[str, str], where: tuple[str, ...]) -> list[Content]:
    ends = [_cell(scores, f"recall_at_1_{end}", where, 1) for end in ("low", "high")]
    return [*(_cell(scores, name, where) for name in columns.values()), [ends[0], " to ", ends[1]]]


def _cell(scores: Mapping[str, float], name: str, where: tuple[str, ...], digits: int = 2) -> Content:
    return number(scores[name], shown(name, scores[name], digits), *where, name) if name in scores else "-"


def shown(name: str, value: float, digits: int = 2) -> str:
    """Return a score as people read it: whole numbers as such, small ones with enough digits."""
    if name in EXACT or value == int(value) and abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4f}" if name == "mean_reciprocal_rank" else f"{value:,.{digits}f}"


def _explained(results: Mapping[str, Any]) -> Html:
    chosen = results.get("best_selected_on")
    best = f"The best epoch was chosen on {chosen}." if chosen else ""
    return tag(
        "p", "The interval is Wilson's, of the choice of queries; that of seeds and training is not in it. "
        "The last three columns are R@1: of a random ranking; of the method's paper, at the epoch that was best on the "
        f"test set, a dash where it has no such row; of our best epoch. {best}",
    )  # fmt: skip


def _rules(results: Mapping[str, Any]) -> Html:
    """Return the rules, said once for all the test sets that share them."""
    shared: dict[str, tuple[Mapping[str, Any], list[str]]] = {}
    for name, entry in results["tests"].items():
        shared.setdefault(repr(entry["rules"]), (entry["rules"], []))[1].append(name)
    return tag("div", [
        [tag("h4", ", ".join(names)) if len(shared) > 1 else None,
         facts((words_for(key), value) for key, value in rules.items())]
        for rules, names in shared.values()
    ])  # fmt: skip


def _every_number(name: str, entry: Mapping[str, Any]) -> Html:
    """Return all numbers of a test set, whatever their names, a column for each place where they stand."""
    columns = [column for column in _columns(("tests", name), entry) if column[2]]
    names = list(dict.fromkeys(metric for _, _, scores in columns for metric in scores))
    rows = [[words_for(metric), *(_cell(scores, metric, key, 4) for _, key, scores in columns)] for metric in names]
    heads = ["", *(head for head, _, _ in columns)]
    return folded(name, table(f"{name}: every number of results.json", heads, rows))


def _columns(key: tuple[str, ...], values: Mapping[str, Any], head: str = "") -> Iterator[Column]:
    """Yield the numbers that stand directly in a dictionary, then those of the dictionaries in it."""
    own = {name: value for name, value in values.items() if type(value) in (int, float)}
    yield head or "of the set", key, own
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _columns((*key, name), value, f"{head}, {name}".strip(", ").replace(", subsets", ""))


def words_for(name: str) -> str:
    """Return what people call a number."""
    return TITLES.get(name, name.replace("_", " "))
