"""Which objectives of a method a run has: those with a weight that the training data can feed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..datasets import Split
from ..datasets.pair_data import pair_data_of
from ..losses import Objective
from ..methods import TwoTower
from ..methods.recipe import Loss
from ..utils.errors import UnknownNameError
from .log import log


def choose_objectives(loss: Loss, model: TwoTower, train: Split) -> tuple[dict[str, Objective], list[str]]:
    """Return the objectives of a run by name, with the recipe's weights, and the parts of the model left without one.

    A line in the log tells of each that is left out, and why.

    Raises:
        UnknownNameError: the recipe gives a weight to one that the method does not have.
    """
    known = model.build_objectives()
    for name in loss.objectives:
        if name not in known:
            raise UnknownNameError(f"objective of {model.method_name}", name, known)
    kept, idle, told = {}, [], pair_data_of(train)
    for name, objective in known.items():
        objective.weight = loss.objectives.get(name, objective.weight)
        missing = [need for need in objective.needs if need not in told]
        if objective.weight and not missing:
            kept[name] = objective
            continue
        reason = f"{train.name} does not tell {', '.join(missing)}" if missing else "its weight is 0"
        also = f"; {objective.trains} stays as it is" if objective.trains else ""
        log.info(f"without the objective {name!r}: {reason}{also}")
        idle += [objective.trains] if objective.trains else []
    return kept, idle


def data_for(objectives: Mapping[str, Objective]) -> tuple[str, ...]:
    """Return what a training pair has to tell for some objectives, each once."""
    needs: Iterable[str] = (need for objective in objectives.values() for need in objective.needs)
    return tuple(dict.fromkeys(needs))
