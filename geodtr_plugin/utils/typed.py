"""Are values out of a file of the types that code expects? A dataclass or a TypedDict is the format of the file."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")
_ORDINARY = {int: (int,), float: (int, float), str: (str,), bool: (bool,), type(None): (type(None),)}


def typed(kind: Callable[..., T], values: Mapping[str, Any], name: str = "it") -> T:
    """Return a dataclass of values out of JSON or YAML; lists pass for tuples, whole numbers for others.

    Args:
        kind: the dataclass.
        values: of its fields.
        name: what messages call them.

    Raises:
        ValueError: a field is missing, unknown, or of another type.
    """
    check(values, kind, name)
    return kind(**values)


def check(value: Any, kind: Any, name: str) -> None:
    """Check a value out of JSON or YAML.

    Args:
        value: the value.
        kind: its type, as annotations have it: plain types, unions, Literal, dict, list, tuple, and as objects
            dataclasses and TypedDicts, whose further keys pass.
        name: what messages call the value.

    Raises:
        ValueError: it is of another type; the message names the place.
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or (isinstance(kind, type) and is_dataclass(kind) and isinstance(value, kind)):
        return
    if origin in (Union, types.UnionType):
        _check_union(value, args, name)
    elif origin is Literal:
        _demand(any(value == word and type(value) is type(word) for word in args), value, name, _words(args))
    elif is_dataclass(kind) or typing.is_typeddict(kind):
        _check_object(value, kind, name)
    elif (origin or kind) in (list, tuple):
        _demand(isinstance(value, list | tuple), value, name, "a list")
        several = args[:1] * len(value) if (origin is list or args[1:] == (...,)) else args
        _demand(not args or len(several) == len(value), value, name, f"a list of {len(several)}")
        for i, (item, kind_of_item) in enumerate(zip(value, several)):
            check(item, kind_of_item, f"{name}[{i}]")
    elif (origin or kind) in (dict, Mapping):
        _demand(isinstance(value, Mapping), value, name, "an object")
        for key, item in value.items():
            _demand(isinstance(key, str), key, f"a key of {name}", "a text")
            check(item, args[1] if args else Any, f"{name}.{key}")
    else:
        right = isinstance(value, _ORDINARY[kind]) and (kind is bool or not isinstance(value, bool))
        _demand(right, value, name, "null" if kind is type(None) else kind.__name__)


def _check_union(value: Any, kinds: tuple[Any, ...], name: str) -> None:
    reasons = []
    for kind in kinds:
        try:
            return check(value, kind, name)
        except ValueError as error:
            reasons.append((kind is not type(None), str(error)))
    raise ValueError(max(reasons)[1])


def _check_object(value: Any, kind: Any, name: str) -> None:
    _demand(isinstance(value, Mapping), value, name, "an object")
    hints = _hints(kind)
    if is_dataclass(kind):
        own = [field for field in fields(kind) if field.init]
        required = {field.name for field in own if field.default is field.default_factory is MISSING}
        unknown = [key for key in value if key not in {field.name for field in own}]
        if unknown:
            raise ValueError(f"{name} has the unknown entry {_short(unknown[0])}")
    else:
        required = kind.__required_keys__
    for key in sorted(required - set(value)):
        raise ValueError(f"{name} lacks {key}")
    for key, item in value.items():
        if key in hints:
            check(item, hints[key], f"{name}.{key}")


_hints = cache(typing.get_type_hints)


def _demand(right: bool, value: Any, name: str, wanted: str) -> None:
    if not right:
        raise ValueError(f"{name} is {_short(value)}, not {wanted}")


def _words(words: tuple[Any, ...]) -> str:
    return " or ".join(map(repr, words))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
