"""The training and test sets of the paper, and the synthetic worlds that stand in for them where there are none."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from ...datasets import load_split
from ...utils.errors import DatasetNotFoundError

Column = tuple[str, str]  # training set, test set
CENTRED: tuple[Column, ...] = (("cvusa", "cvusa"), ("cvusa", "cvact"), ("cvact", "cvact"), ("cvact", "cvusa"))
SAME: tuple[Column, ...] = (("cvusa", "cvusa"), ("cvact", "cvact"), ("cvact", "cvact-test"))
CROSS: tuple[Column, ...] = (("cvusa", "cvact"), ("cvact", "cvusa"))
OFFSET: tuple[Column, ...] = (("vigor-same", "vigor-same"), ("vigor-cross", "vigor-cross"))
ALL = tuple(dict.fromkeys((*CENTRED, *SAME, *OFFSET)))
CVUSA_ALONE, TRAINED_ON_CVUSA = CENTRED[:1], CENTRED[:2]

# cameras in the middle of their tiles, in two towns; CVACT's larger test set has no like
_WORLDS = {"cvusa": "synth-suburb", "cvact": "synth-downtown"}
STAND_INS: dict[Column, Column] = {
    **{column: (_WORLDS[column[0]], _WORLDS[column[1]]) for column in CENTRED},
    ("vigor-same", "vigor-same"): ("synth-suburb-offset", "synth-suburb-offset"),
    ("vigor-cross", "vigor-cross"): ("synth-suburb-offset", "synth-downtown-offset"),
}


class Sets:
    """Which data sets a column of the paper is made on.

    Args:
        real: the paper's own; else the synthetic worlds.
        root: the folder that holds the real ones; None asks the environment variable GEODTR_DATA.
    """

    def __init__(self, real: bool, root: str | None = None):
        self.real, self.root = real, root

    def of(self, column: Column) -> Column | None:
        """Return training set and test set of a column; None where nothing stands in for them."""
        return column if self.real else STAND_INS.get(column)

    def missing(self, column: Column) -> str:
        """Return what a column lacks on disk, a sentence; empty where both of its sets are there."""
        made = self.of(column)
        if made is None:
            return "No synthetic world stands in for it."
        return "" if not self.real else _missing(made[0], "train", self.root) or _missing(made[1], "test", self.root)

    def present(self, columns: Iterable[Column]) -> list[Column]:
        """Return the columns whose sets are there."""
        return [column for column in columns if not self.missing(column)]

    def tests_of(self, trained: str) -> list[str]:
        """Return all that a training set is tested on in any table, so that tables share their runs."""
        made = [self.of(column) for column in self.present(ALL)]
        return list(dict.fromkeys(pair[1] for pair in made if pair and pair[0] == trained))


@cache
def _missing(name: str, split: str, root: str | None) -> str:
    try:
        load_split(name, split, root)
    except DatasetNotFoundError as error:
        return f"{name}, {split}: {error.message}"
    return ""
