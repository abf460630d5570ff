"""Which part of a piece of work a process does, by the variables of its launcher."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.shares import Share


@given(st.integers(0, 1000), st.integers(1, 40))
def test_shares_are_all_and_overlap_nowhere(count, processes):
    parts = [Share(number, processes).of(count) for number in range(processes)]
    assert [row for part in parts for row in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_launchers_say_which_process_this_is():
    def of(**variables):
        return Share.of_this_process({name: str(value) for name, value in variables.items()})

    assert of() == Share() and of(RANK=3, WORLD_SIZE=8) == Share(3, 8)
    array = {"SLURM_ARRAY_TASK_COUNT": 3, "SLURM_ARRAY_TASK_MIN": 10, "SLURM_ARRAY_TASK_STEP": 5}
    assert [of(SLURM_ARRAY_TASK_ID=task, **array).number for task in (10, 15, 20)] == [0, 1, 2]
    assert of(RANK=1, WORLD_SIZE=2, SLURM_ARRAY_TASK_ID=0, SLURM_ARRAY_TASK_COUNT=9) == Share(1, 2)
    assert of(SLURM_NTASKS=4, SLURM_PROCID=2) == Share()  # a batch script has them too, and runs once
    assert Share(1, 8).words == ", part 2 of 8" and Share().words == ""
    for wrong in ({"WORLD_SIZE": 2}, {"RANK": "x", "WORLD_SIZE": 2}, {"RANK": 2, "WORLD_SIZE": 2}):
        with pytest.raises(UserError):
            of(**wrong)
