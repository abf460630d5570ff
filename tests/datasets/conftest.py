from __future__ import annotations

from dataclasses import replace

import pytest

from geodtr_plugin.datasets import DATASETS, register_dataset


@pytest.fixture
def pretend_released():
    """Give a function that changes the released numbers of a test set for the length of a test."""
    real = {}

    def change(name: str, queries: int, references: int) -> None:
        load, facts = real.setdefault(name, DATASETS[name])
        register_dataset(name, replace(facts, pairs=(0, queries), gallery=references))(load)

    yield change
    for name, (load, facts) in real.items():
        register_dataset(name, facts)(load)
