"""Parts of pytorch-metric-learning by their class names."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from pytorch_metric_learning import distances, reducers, regularizers

from .errors import UnknownNameError

PARTS = {  # arguments of PML's losses and miners that are objects, and the module that holds their classes
    "distance": distances, "reducer": reducers, "embedding_regularizer": regularizers,
    "weight_regularizer": regularizers,
}  # fmt: skip


def pml_class(module: ModuleType, name: str, kind: str, known: Iterable[str] = ()) -> type:
    """Return a class of one of PML's modules by its name.

    Args:
        module: such as `pytorch_metric_learning.losses`.
        name: such as "NTXentLoss".
        kind: what it is called in messages.
        known: further names that a message lists.

    Raises:
        UnknownNameError: there is no such class.
    """
    classes = {n: c for n, c in vars(module).items() if inspect.isclass(c) and not n.startswith("Base")}
    if name not in classes:
        raise UnknownNameError(kind, name, [*known, *classes])
    return classes[name]


def with_pml_parts(args: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments in which parts of PML that are given by class name have become objects.

    Raises:
        UnknownNameError: there is no such class.
    """
    return {
        name: pml_class(PARTS[name], value, name)() if name in PARTS and isinstance(value, str) else value
        for name, value in args.items()
    }
