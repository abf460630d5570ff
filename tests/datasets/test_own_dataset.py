"""A data set of one's own: one file outside the package, trained on, tested on and checked by its name."""

from __future__ import annotations

import json

import pytest
from trees import save_jpeg, smooth_noise

from geodtr_plugin.commands.data import data_command
from geodtr_plugin.commands.run import run_command
from geodtr_plugin.datasets import DATASETS, same_area

OWN = '''
from pathlib import Path

import numpy as np

from geodtr_plugin import Truth
from geodtr_plugin.datasets import DatasetFacts, ImageFiles, Split, register_dataset


@register_dataset("my_set", DatasetFacts("My set", pairs=(8, 4), scale="laptop", areas=("here", "there")))
def load_my_set(name, split, root=None, skip=0):
    numbers = np.arange(8) if split == "train" else np.arange(8 + skip, 12)
    rows = np.arange(len(numbers))
    queries, references = (
        ImageFiles(Path(root), [f"{role}/{i}.jpg" for i in numbers]) for role in ("ground", "aerial")
    )
    return Split(
        name, split, queries, references, np.stack([rows, rows], 1), numbers, numbers, Truth.diagonal(len(rows))
    )
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The file and the folder of the images."""
    root = tmp_path_factory.mktemp("own")
    for i in range(12):
        save_jpeg(root / f"ground/{i}.jpg", smooth_noise("ground", i, 32, 88))
        save_jpeg(root / f"aerial/{i}.jpg", smooth_noise("aerial", i, 48, 48))
    (root / "own_data_set_of_a_test.py").write_text(OWN, encoding="utf-8")
    return str(root / "own_data_set_of_a_test.py"), str(root)


@pytest.mark.slow
def test_a_run_trains_and_tests_on_it(place, tmp_path, capsys):
    module, root = place
    words = f"--import {module} --train my_set --test my_set --data-root {root} --data.skip 1 --epochs 1".split()
    small = "--method simple --batch-size 4 --workers 0 --threads 1 --device cpu --no-polar".split()
    assert run_command([*words, *small, "--out", str(tmp_path / "run")]) == 0
    assert "train <My set train: 8 pairs>" in capsys.readouterr().out
    results = json.loads((tmp_path / "run/results.json").read_text(encoding="utf-8"))
    entry = results["tests"]["my_set"]
    assert entry["last"]["num_queries"] == 3 and entry["kind"] == "cross area" and "recall_at_1" in entry["last"]
    assert not same_area("my_set", "my_set") and DATASETS["my_set"].facts.title == "My set"


def test_its_options_and_its_name_are_known_to_the_commands(place, capsys):
    module, root = place
    words = ["check", "my_set", "--import", module, "--data-root", root]
    assert data_command(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "Nothing is wrong with My set: it can be used." and any("8 pairs" in line for line in lines)
    assert data_command([*words, "--data.skipp", "2"]) == 1
    assert "Did you mean 'skip'" in capsys.readouterr().err
