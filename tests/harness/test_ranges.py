"""Every number of a recipe and of a run: outside of its range it is refused before anything is read."""

from __future__ import annotations

import dataclasses
import math
import typing

import pytest

from geodtr_plugin.harness import settings
from geodtr_plugin.harness.config import RunConfig
from geodtr_plugin.methods.recipe import PARTS, Evaluation, Optim, Sampling
from geodtr_plugin.utils.errors import UserError

WORDS = "--method simple --train synth-suburb --test synth-suburb"
NUMBERS = (int, float, int | None, float | None)
OFF_AT_ZERO = ("max_grad_norm", "max_grad_value")


def numbers_of(cls) -> list[tuple[str, bool]]:
    """Names of a dataclass's numbers, and whether they may be fractions."""
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls) if hints[field.name] in NUMBERS]
    return [(name, hints[name] in (float, float | None)) for name in names]


OPTIONS = [(f"--{part}.{name}", fraction) for part, cls in PARTS.items() for name, fraction in numbers_of(cls)]
OPTIONS += [(f"--{name}", fraction) for name, fraction in numbers_of(RunConfig)]


def test_there_are_numbers():
    assert len(OPTIONS) > 20 and ("--optim.lr", True) in OPTIONS and ("--seed", False) in OPTIONS


@pytest.mark.parametrize("option, fraction", OPTIONS)
def test_what_cannot_be_is_a_sentence(option, fraction):
    for value in (-1, -(10**30), *((math.nan, -math.inf) if fraction else ())):
        with pytest.raises(UserError) as caught:
            settings(f"{WORDS} {option}={str(value).replace('nan', '.nan').replace('-inf', '-.inf')}")
        name = option.rpartition(".")[2].lstrip("-")
        assert name in str(caught.value).replace("-", "_").replace("A batch of", "batch_size")


def test_zero_is_off_or_never():
    for name in OFF_AT_ZERO:
        assert getattr(Optim(**{name: 0.0}), name) is None
    assert Evaluation(every=0).every == 0 and Sampling(every=0).every == 0


def test_without_epochs_there_must_be_weights():
    words = f"{WORDS} --epochs 0"
    with pytest.raises(UserError, match="--allow-untrained"):
        settings(words)
    assert settings(f"{words} --allow-untrained").recipe.optim.epochs == 0


@pytest.mark.parametrize("value", ["-1", "0.5", "1e21", ".nan"])
def test_numbers_of_a_model_are_checked_with_the_others(value):
    with pytest.raises(UserError, match="^--model.dim is "):
        settings(f"{WORDS} --model.dim {value}")
