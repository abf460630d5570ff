"""Parts of a network by the names of their parameters: which stay as they are, and which learn more slowly."""

from __future__ import annotations

from fnmatch import fnmatchcase

from torch import nn

from ..utils.errors import UserError

TRUNK = "trunk"  # what every tower calls its backbone
_SHOWN = 6  # names that a message lists


def is_part(name: str, part: str) -> bool:
    """Tell whether a dotted name lies in a part of a network.

    Args:
        name: as `query_tower.trunk.0.weight`.
        part: one or several steps of a name, as `trunk` or `query_tower.trunk`; `*`, `?` and `[0-3]` are understood.
    """
    return fnmatchcase(f".{name}.", f"*.{part}.*")


def parameters_of(model: nn.Module, part: str) -> list[nn.Parameter]:
    """Return the parameters of a part of a network, each once.

    Raises:
        UserError: the network has no such part.
    """
    named = list(model.named_parameters(remove_duplicate=False))  # towers may share theirs
    found = {id(parameter): parameter for name, parameter in named if is_part(name, part)}
    if not found:
        steps = dict.fromkeys(step for name, _ in named for step in name.split(".")[:-1] if not step.isdigit())
        known = ", ".join([*list(steps)[:_SHOWN], "..."])
        raise UserError(f"No parameter of the network is a part of {part!r}.", f"Parts are {known}.")
    return list(found.values())


def freeze(model: nn.Module, parts: str) -> tuple[str, ...]:
    """Take parameters out of training, and return the names of the parts, for `rest`.

    Args:
        model: the network.
        parts: see `is_part`, with commas between several.

    Raises:
        UserError: the network has no such part, or nothing would be left to train.
    """
    names = tuple(part.strip() for part in parts.split(",") if part.strip())
    for part in names:
        for parameter in parameters_of(model, part):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError(f"With {parts!r} frozen, nothing of the network is left to train.", "Freeze less of it.")
    return names


def rest(model: nn.Module, parts: tuple[str, ...]) -> None:
    """Put the modules of frozen parts in evaluation mode, so that batch norms and dropout leave them as they are."""
    for name, module in model.named_modules(remove_duplicate=False):
        if name and any(is_part(name, part) for part in parts):
            module.eval()
