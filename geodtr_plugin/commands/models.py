"""`geodtr models`: the methods, their papers, their sizes and their options."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser

from ..datasets.names import names_in
from ..harness.initial_weights import trained_on
from ..methods import METHODS, Recipe, create_model, list_methods
from ..methods.packaged import packaged_of
from ..utils.console import add_common_options, guarded, make_parser, parse_and_import, say
from ..utils.errors import UserError
from ..utils.tables import text_table

DESCRIPTION = """The methods of this package: paper, size, licence of the authors' code, published numbers.

  geodtr models                 # all, in short
  geodtr models geodtr_plus     # one with its recipes, options and published table
"""


def models_command(argv: Sequence[str]) -> int:
    """Run `geodtr models`; return 0, or 1 after a sentence that says what was wrong."""
    return guarded(lambda: _models(argv), argv)


def models_parser() -> ArgumentParser:
    """Return the options of `geodtr models`."""
    parser = make_parser("geodtr models", DESCRIPTION)
    parser.add_argument("name", nargs="?", type=str | None, help="a method, to read all about it")
    parser.add_argument("--json", action="store_true", help="for programs")
    add_common_options(parser, "import", "debug")
    return parser


def _models(argv: Sequence[str]) -> int:
    options = parse_and_import(models_parser(), argv)
    entries = [describe(name) for name in ([options.name] if options.name else list_methods())]
    if options.json:
        say(json.dumps(entries[0] if options.name else entries, indent=2, ensure_ascii=False))
    else:
        say(in_full(entries[0]) if options.name else "\n\n".join(map(in_short, entries)))
    return 0


def describe(name: str) -> dict[str, Any]:
    """Return all that is known about a method, without its weights, as plain values.

    Raises:
        UnknownNameError: there is no such method.
    """
    cls = METHODS[name]
    paper, recipes = cls.paper, cls.recipes
    published = [
        {"train": train, "test": test, "polar": polar, **row} for (train, test, polar), row in paper.published.items()
    ]
    recipe = recipes.get("paper") or next(iter(recipes.values()))
    return {
        "name": name, "title": paper.title, "venue": paper.venue, "url": paper.url, "code": paper.code,
        "licence": paper.licence, "weights": paper.weights, "packaged": packaged_of(name),
        "mark": paper.mark, "notes": list(paper.notes.values()),
        "models": _sizes(name, recipe, {polar for _, _, polar in paper.published}),
        "published": published,
        "options": _options(cls),
        "recipes": {recipe_name: recipe.to_dict() for recipe_name, recipe in recipes.items()},
    }  # fmt: skip


def _sizes(name: str, recipe: Recipe, polars: set[bool]) -> list[dict[str, Any]]:
    """Return the recipe's model first, then that for the other kind of aerial image if numbers of it were published."""
    models = [_size(name, recipe.model)]
    for polar in polars - {models[0]["polar"]}:
        # the recipe's size belongs to its own kind of aerial image
        settings = {key: value for key, value in recipe.model.items() if key != "reference_size"}
        try:
            models.append(_size(name, {**settings, "polar": polar}))
        except UserError:  # the method's numbers are copied from a paper that had a variant of its own
            continue
    return models


def _size(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the sizes of a model, which is built without numbers in its tensors."""
    import torch

    from ..methods.base import count_parameters

    with torch.device("meta"):
        model = create_model(name, **{**settings, "pretrained": False})
    return {
        "polar": model.polar, "query_size": list(model.query_size), "reference_size": list(model.reference_size),
        "embedding_size": model.embedding_size, "parameters": count_parameters(model),
    }  # fmt: skip


def _options(cls: type) -> list[dict[str, Any]]:
    """Return the arguments of a method's class, with their defaults and what its docstring says about them."""
    from docstring_parser import parse as parse_docstring

    texts = {
        name.strip(): " ".join((argument.description or "").split())
        for owner in reversed(cls.__mro__)  # a method that is another one with other recipes has its arguments
        for argument in parse_docstring(inspect.cleandoc(owner.__doc__ or "")).params
        for name in argument.arg_name.split(",")  # several names may share a text
    }
    return [
        {"name": name, "default": parameter.default, "help": texts.get(name, "")}
        for name, parameter in inspect.signature(cls).parameters.items()
    ]


def in_short(entry: dict[str, Any]) -> str:
    """Return a paragraph about a method, given as by `describe`."""
    lines = [*_heading(entry), *_models_lines(entry)]
    rows = [f"{_data_sets(row)} {row['recall_at_1']:.2f}" for row in entry["published"] if "recall_at_1" in row]
    return "\n".join([*lines, *([_wrapped(rows, "  published R@1: ", 120)] if rows else [])])


def in_full(entry: dict[str, Any]) -> str:
    """Return the description of a method, from `describe`, as text."""
    options = [[option["name"], _word(option["default"]), option["help"]] for option in entry["options"]]
    widths = [max(map(len, column)) for column in zip(*options)]
    lines = [f"  {name.ljust(widths[0])}  {default.ljust(widths[1])}  {text}" for name, default, text in options]
    parts = [
        [*_heading(entry), f"  paper: {entry['url']}", f"  code: {entry['code']}"],
        ["Models", *_models_lines(entry)],
        ["Options (--model.NAME), what they are by default", *lines],
        *_recipes(entry["recipes"]),
    ]
    if entry["published"]:
        parts.append(["Published, in percent", _table(entry["published"])])
    return "\n\n".join("\n".join(part) for part in parts)


def _heading(entry: dict[str, Any]) -> list[str]:
    weights = entry["weights"] or "none known"
    mark = f" ({entry['mark']})" if entry["mark"] else ""
    packaged = [f"{name} (trained on {trained_on(names_in(train))})" for name, train in entry["packaged"].items()]
    return [
        f"{entry['name']}{mark}: {entry['title']} ({entry['venue']})",
        f"  licence of the authors' code: {entry['licence']}; their weights: {weights}",
        *([f"  weights in the package: {', '.join(packaged)}"] if packaged else []),
        *(textwrap.fill(note, 120, initial_indent="  note: ", subsequent_indent="  ") for note in entry["notes"]),
    ]


def _models_lines(entry: dict[str, Any]) -> list[str]:
    lines = []
    for model in entry["models"]:
        query, reference = ("x".join(map(str, model[f"{role}_size"])) for role in ("query", "reference"))
        lines.append(
            f"  {model['parameters']:,} parameters, embedding of {model['embedding_size']:,}, query {query}, "
            f"reference {reference}{' polar' if model['polar'] else ''}"
        )
    return lines


def _data_sets(row: dict[str, Any]) -> str:
    names = row["train"] if row["train"] == row["test"] else f"{row['train']} to {row['test']}"
    return f"{names} (polar)" if row["polar"] else names


def _wrapped(phrases: Sequence[str], head: str = "  ", width: int = 102) -> str:
    """Return phrases with commas between them as lines that break between phrases only, indented below `head`."""
    text = textwrap.fill(
        ", ".join(phrase.replace(" ", "\0") for phrase in phrases), width, initial_indent=head,
        subsequent_indent=" " * len(head), break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return text.replace("\0", " ")


def _recipes(recipes: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Return the lines of the first recipe in full, and of the others by what they change."""
    (first, base), *others = ((name, _flat(recipe)) for name, recipe in recipes.items())
    parts = [[f"Recipe {first}", _settings(base)]]
    for name, settings in others:
        changed = {key: value for key, value in settings.items() if base.get(key, ...) != value}
        changed |= {key: "(the method's default)" for key in base if key not in settings}
        parts.append([f"Recipe {name}, where it differs from {first}", _settings(changed) if changed else "  nowhere"])
    return parts


def _flat(recipe: dict[str, Any]) -> dict[str, Any]:
    parts = {name: part if isinstance(part, dict) else {"": part} for name, part in recipe.items()}
    return {f"{name}.{key}".rstrip("."): value for name, part in parts.items() for key, value in part.items()}


def _settings(settings: dict[str, Any]) -> str:
    return _wrapped([f"{key} {_word(value)}" for key, value in settings.items()])


def _word(value: Any) -> str:
    """Return a value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value, default=str).replace(", ", ",")


def _table(published: list[dict[str, Any]]) -> str:
    from ..harness.results import columns_of

    columns = columns_of(published)
    lines = [
        [_data_sets(row), *(f"{row[key]:.2f}" if key in row else "-" for key in columns.values())] for row in published
    ]
    return text_table(["trained on, tested on", *columns], lines)
