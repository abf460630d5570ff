"""`geodtr models`: the methods, their papers, their sizes and their options."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser

from ..methods import METHODS, Recipe, create_model, list_methods
from ..utils.console import guarded, make_parser, parse
from ..utils.errors import UserError
from ..utils.tables import text_table

DESCRIPTION = """The methods of this package: paper, size, licence of the authors' code, published numbers.

  geodtr models                 # all, in short
  geodtr models geodtr_plus     # one with its recipes, options and published table
"""


def models_command(argv: Sequence[str]) -> int:
    """What follows `geodtr models`: 0, or 1 after a sentence that says what was wrong."""
    return guarded(lambda: _models(argv), argv)


def models_parser() -> ArgumentParser:
    """The options of the command."""
    parser = make_parser("geodtr models", DESCRIPTION)
    parser.add_argument("name", nargs="?", type=str | None, help="a method, to read all about it")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--debug", action="store_true", help="show the traceback of errors")
    return parser


def _models(argv: Sequence[str]) -> int:
    options = parse(models_parser(), argv)
    entries = [describe(name) for name in ([options.name] if options.name else list_methods())]
    if options.json:
        print(json.dumps(entries[0] if options.name else entries, indent=2, ensure_ascii=False))
    else:
        print(in_full(entries[0]) if options.name else "\n\n".join(map(in_short, entries)))
    return 0


def describe(name: str) -> dict[str, Any]:
    """All that is known about a method, without its weights: plain values."""
    cls = METHODS[name]
    facts, recipes = cls.paper, cls.recipes
    paper = recipes.get("paper") or next(iter(recipes.values()))
    published = [
        {"train": train, "test": test, "polar": polar, **row} for (train, test, polar), row in facts.published.items()
    ]
    return {
        "name": name, "title": facts.title, "venue": facts.venue, "url": facts.url, "code": facts.code,
        "licence": facts.licence, "weights": facts.weights,
        "models": _sizes(name, paper, {row["polar"] for row in published}),
        "published": published,
        "options": _options(cls),
        "recipes": {recipe_name: recipe.to_dict() for recipe_name, recipe in recipes.items()},
    }  # fmt: skip


def _sizes(name: str, recipe: Recipe, polars: set[bool]) -> list[dict[str, Any]]:
    """The recipe's model first, then that for the other kind of aerial image where numbers of it were published."""
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
    """A model that is built without numbers in its tensors."""
    import torch

    from ..methods.base import count_parameters

    with torch.device("meta"):
        model = create_model(name, **{**settings, "pretrained": False})
    sizes = {"query_size": list(model.query_size), "reference_size": list(model.reference_size)}
    return {
        "polar": model.polar, **sizes, "embedding_size": model.embedding_size, "parameters": count_parameters(model)
    }  # fmt: skip


def _options(cls: type) -> list[dict[str, Any]]:
    """The arguments of a method's class, with their defaults and what its docstring says about them."""
    said = _arguments(inspect.getdoc(cls) or "")
    return [
        {"name": name, "default": parameter.default, "help": said.get(name, "")}
        for name, parameter in inspect.signature(cls).parameters.items()
    ]


def _arguments(docstring: str) -> dict[str, str]:
    """Name -> text of the section Args; several names may share a text."""
    from docstring_parser import parse as parse_docstring

    return {
        name.strip(): " ".join((argument.description or "").split())
        for argument in parse_docstring(docstring).params
        for name in argument.arg_name.split(",")
    }


def in_short(entry: dict[str, Any]) -> str:
    """A paragraph about a method."""
    lines = [*_paper(entry), *(f"  {_model(model)}" for model in entry["models"])]
    rows = [f"{_pair(row)} {row['recall_at_1']:.2f}" for row in entry["published"] if "recall_at_1" in row]
    head = "  published R@1: "
    published = f",\n{' ' * len(head)}".join(_wrapped(rows, 120 - len(head)))
    return "\n".join([*lines, *([head + published] if rows else [])])


def in_full(entry: dict[str, Any]) -> str:
    """Everything about a method."""
    options = [[option["name"], _word(option["default"]), option["help"]] for option in entry["options"]]
    width = [max(map(len, column)) for column in zip(*options)]
    told = "\n".join(f"  {name.ljust(width[0])}  {default.ljust(width[1])}  {text}" for name, default, text in options)
    parts = [
        "\n".join([*_paper(entry), f"  paper: {entry['url']}", f"  code: {entry['code']}"]),
        "Models\n" + "\n".join(f"  {_model(model)}" for model in entry["models"]),
        "Options (--model.NAME), what they are by default\n" + told,
        *_recipes(entry["recipes"]),
    ]
    if entry["published"]:
        parts.append(f"Published, in percent\n{_table(entry['published'])}")
    return "\n\n".join(parts)


def _paper(entry: dict[str, Any]) -> list[str]:
    weights = entry["weights"] or "none known"
    return [
        f"{entry['name']}: {entry['title']} ({entry['venue']})",
        f"  licence of the authors' code: {entry['licence']}; their weights: {weights}",
    ]


def _model(model: dict[str, Any]) -> str:
    query, reference = ("x".join(map(str, model[f"{role}_size"])) for role in ("query", "reference"))
    polar = " polar" if model["polar"] else ""
    parameters = f"{model['parameters']:,} parameters"
    return f"{parameters}, embedding of {model['embedding_size']:,}, query {query}, reference {reference}{polar}"


def _pair(row: dict[str, Any]) -> str:
    sets = row["train"] if row["train"] == row["test"] else f"{row['train']} to {row['test']}"
    return f"{sets} (polar)" if row["polar"] else sets


def _wrapped(words: list[str], width: int = 100) -> list[str]:
    """Phrases in lines of at most so many characters, commas between them."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(word) + 2 <= width:
            lines[-1] += f", {word}"
        else:
            lines.append(word)
    return lines


def _recipes(recipes: dict[str, dict[str, Any]]) -> list[str]:
    """The first recipe in full, the others by what they change."""
    (first, base), *others = ((name, _flat(recipe)) for name, recipe in recipes.items())
    said = [f"Recipe {first}\n" + _settings(base)]
    for name, settings in others:
        changed = {key: value for key, value in settings.items() if base.get(key, ...) != value}
        changed |= {key: "(the method's default)" for key in base if key not in settings}
        said.append(f"Recipe {name}, where it differs from {first}\n" + (_settings(changed) or "  nowhere"))
    return said


def _flat(recipe: dict[str, Any]) -> dict[str, Any]:
    parts = {name: part if isinstance(part, dict) else {"": part} for name, part in recipe.items()}
    return {f"{name}.{key}".rstrip("."): value for name, part in parts.items() for key, value in part.items()}


def _settings(settings: dict[str, Any]) -> str:
    return "\n".join(f"  {line}" for line in _wrapped([f"{key} {_word(value)}" for key, value in settings.items()]))


def _word(value: Any) -> str:
    """A value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value, default=str).replace(", ", ",")


def _table(published: list[dict[str, Any]]) -> str:
    from ..harness.results import columns_of

    columns = columns_of(published)
    scores = [[f"{row[key]:.2f}" if key in row else "-" for key in columns.values()] for row in published]
    lines = [[_pair(row), *numbers] for row, numbers in zip(published, scores)]
    return text_table(["trained on, tested on", *columns], lines)
