"""The lines of the paper's tables: which variants of which methods, and what the paper found for each."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from ...harness.config import RunConfig
from ...harness.options import parse_run, recipe_for
from ...methods import METHODS, Recipe, list_methods
from ...utils.errors import UserError
from ..jobs import Variant, settings_of
from .published import TWICE, Numbers, cells_of
from .sets import Column


class Entry(NamedTuple):
    """A line of a table.

    Args:
        variant: what is trained.
        published: percent by column and name of the calculator; empty: the paper does not have this line.
    """

    variant: Variant
    published: Mapping[Column, Mapping[str, float]]

    def trained_for(self, column: Column) -> bool:
        """Tell whether the line has a cell in a column: where the paper has one, or of other methods everywhere."""
        return not self.published or any(trained == column[0] for trained, _ in self.published)


def options_of(method: str) -> dict[str, Any]:
    """Return the options of a method's model and their defaults, as JSON has them."""
    parameters = inspect.signature(METHODS[method]).parameters
    return {name: list(p.default) if isinstance(p.default, tuple) else p.default for name, p in parameters.items()}


def method_entries(columns: Sequence[Column], chosen: Sequence[str] = ()) -> list[Entry]:
    """Return a line for every method, with polar and without, that has published numbers in some columns.

    Args:
        columns: of the table.
        chosen: these methods, whether they have published numbers or not; empty: all that have.
    """
    entries = []
    for method in chosen or list_methods():
        published = METHODS[method].paper.published
        lines = []
        for polar in (True, False):
            cells = {(a, b): published[a, b, polar] for a, b in columns if (a, b, polar) in published}
            if cells:
                lines.append(Entry(_with_polar(method, polar, columns[0][0]), cells))
        entries += lines or ([Entry(Variant.parse(method), {})] if chosen else [])
    return sorted(entries, key=_published_recall)


def _published_recall(entry: Entry) -> float:
    """Return R@1 in the first column that the paper has, by which tables are ordered."""
    return next((cells.get("recall_at_1", 0.0) for cells in entry.published.values()), 0.0)


def _with_polar(method: str, polar: bool, train: str) -> Variant:
    """Return a method with or without polar transform; the option is left out where the method does so by itself."""
    recipe = METHODS[method].recipes.get(recipe_for(train), Recipe())
    default = recipe.model.get("polar", options_of(method).get("polar", polar))
    return Variant.parse(method if default == polar else f"{method}:{'polar' if polar else 'no-polar'}")


def option_entries(table: Numbers, method: str, base: RunConfig, one_trunk: bool = False) -> list[Entry]:
    """Return the lines of an ablation that make sense for a method and with a run's settings.

    Args:
        table: the paper's.
        method: in the place of GeoDTR+; options that it does not have are left out.
        base: what all lines share.
        one_trunk: all lines have the trunk that was given.

    Raises:
        UserError: no two lines are left.
    """
    known = options_of(method)
    one_trunk = one_trunk or not base.recipe_name.startswith("paper") or "backbone" not in known
    entries: dict[str, Entry] = {}
    for options, numbers in table.items():
        words = [word.replace(TWICE, f"batch-size={2 * base.recipe.optim.batch_size}") for word in options.split(":")]
        kept = [word for word in words if _is_known(word, known) and not (one_trunk and word.startswith("backbone="))]
        paper = cells_of(numbers) if method == "geodtr_plus" and kept and len(kept) == len(words) else {}
        label = ":".join([method, *kept])
        entries.setdefault(label, Entry(Variant.parse(label), paper))  # of those alike, the first stays
    if len(entries) < 2:
        varied = ", ".join(dict.fromkeys(word.split("=")[0] for options in table for word in options.split(":")))
        raise UserError(f"This table varies {varied}, which {method} does not have.", "Choose another --method.")
    return list(entries.values())


def _is_known(word: str, known: Mapping[str, Any]) -> bool:
    name = word.split("=")[0]
    return not name.startswith("model.") or name.removeprefix("model.") in known


def shortest(variant: Variant, shared: Sequence[str]) -> Variant:
    """Return a variant without the options that change nothing, so that tables share a run under one name.

    Args:
        variant: of a table.
        shared: run.py's options that hold for all.

    Raises:
        UserError: an option means nothing.
    """
    words = variant.words
    whole = _settings(variant.method, tuple(shared), words)
    for word in variant.words:
        fewer = tuple(other for other in words if other != word)
        if _settings(variant.method, tuple(shared), fewer) == whole:
            words = fewer
    return Variant.parse(":".join([variant.method, *(word.removeprefix("--") for word in words)]))


@lru_cache(maxsize=1024)  # parsing takes a tenth of a second, and variants differ in a word
def _settings(method: str, shared: tuple[str, ...], words: tuple[str, ...]) -> dict[str, Any]:
    """Return all settings, those of the model that stand for its defaults included."""
    defaults = {f"model.{name}": value for name, value in options_of(method).items()}
    return {**defaults, **settings_of(parse_run(["--method", method, *shared, *words])[0])}
