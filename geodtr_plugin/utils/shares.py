"""A process's part of a piece of work that many do without talking to each other."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import UserError

# where launchers say which process this is, of how many: torchrun and whatever sets its variables; a SLURM array, whose
# tasks need not be numbered from 0 or one by one
_TORCHRUN = ("RANK", "WORLD_SIZE")
_ARRAY = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP")


@dataclass(frozen=True)
class Share:
    """One of equal parts.

    Args:
        number: of the process, from 0.
        count: of all processes.

    Raises:
        UserError: there is no such part.
    """

    number: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            raise UserError(f"There is no process {self.number} of {self.count}.", "Look at the launcher's variables.")

    @classmethod
    def of_this_process(cls, variables: Mapping[str, str] = os.environ) -> Share:
        """Return the part that torchrun, or an array of SLURM, gives this process; all without either.

        Raises:
            UserError: the variables are no numbers, or do not fit.
        """
        try:
            if _TORCHRUN[1] in variables:
                return cls(*(int(variables[name]) for name in _TORCHRUN))
            if _ARRAY[1] in variables:
                task, count = (int(variables[name]) for name in _ARRAY[:2])
                first, step = (int(variables.get(name, default)) for name, default in zip(_ARRAY[2:], "01"))
                return cls((task - first) // step, count)
        except (KeyError, ValueError) as error:
            known = ", ".join(f"{name}={variables[name]}" for name in (*_TORCHRUN, *_ARRAY) if name in variables)
            raise UserError(f"The launcher does not say which process this is ({known}).") from error
        return cls()

    def of(self, count: int) -> range:
        """Return which of `count` things are this process's: consecutive ones."""
        return range(count * self.number // self.count, count * (self.number + 1) // self.count)

    @property
    def words(self) -> str:
        """Say which part it is, to follow a name; nothing if it is all."""
        return "" if self.count == 1 else f", part {self.number + 1} of {self.count}"
