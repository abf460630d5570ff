"""A method of one's own, in a file outside the package, with every command that builds or loads a model."""

from __future__ import annotations

import json
import sys

import pytest

from geodtr_plugin import create_model, load_model
from geodtr_plugin.commands.main import main
from geodtr_plugin.methods import METHODS
from geodtr_plugin.utils.errors import UnknownNameError

METHOD = '''
from torch import nn

from geodtr_plugin import register_method
from geodtr_plugin.methods import Optim, Paper, Recipe, TwoTower


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.project = nn.Identity(), nn.Linear(3, 16)

    def forward(self, images):
        return nn.functional.normalize(self.project(images.mean(dim=(2, 3))), dim=1)


@register_method("plain_colour")
class PlainColour(TwoTower):
    """The mean colour."""

    paper = Paper(title="Colours", venue="here", url="", code="", licence="MIT")
    recipes = {"laptop": Recipe(optim=Optim(epochs=1, batch_size=4))}

    def __init__(self, query_size=(32, 88), reference_size=(32, 32), polar=False):
        super().__init__(query_size, reference_size, polar)
        self.query_tower, self.reference_tower, self.embedding_size = Tower(), Tower(), 16
'''
MODULE = "plain_colour_of_a_test"


def forget():
    """Leave the method's table as a new process finds it."""
    METHODS._parts.pop("plain_colour", None)
    sys.modules.pop(MODULE, None)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the method's file, a run of it, and a city."""
    folder = tmp_path_factory.mktemp("own")
    (folder / f"{MODULE}.py").write_text(METHOD, encoding="utf-8")
    data = "--train synth-suburb --data.count 8 --workers 0 --threads 1 --device cpu".split()
    words = ["run", "--import", str(folder / f"{MODULE}.py"), "--method", "plain_colour", *data]
    assert main([*words, "--out", str(folder / "run")]) == 0
    assert main(["data", "write", "synth-suburb", "--out", str(folder / "city"), "--count", "8"]) == 0
    return folder


@pytest.fixture
def fresh(home):
    forget()
    yield str(home / f"{MODULE}.py")
    forget()


def test_a_run_folder_imports_nothing_by_itself_and_says_what_to_import(home, fresh):
    assert json.loads((home / "run/config.json").read_text())["run"]["imports"] == [fresh]
    with pytest.raises(UnknownNameError) as caught:
        load_model(home / "run")
    assert f"--import {fresh}" in caught.value.remedy and MODULE not in sys.modules


def test_an_unknown_method_of_a_run_without_imports_is_told_of_the_option(home, fresh, tmp_path):
    (tmp_path / "config.json").write_text('{"model": {"method": "plain_colour"}}')
    with pytest.raises(UnknownNameError) as caught:
        load_model(tmp_path)
    assert "--import" in caught.value.remedy


def test_models_lists_it(fresh, capsys):
    assert main(["models", "plain_colour"]) == 1
    assert main(["models", "plain_colour", "--import", fresh]) == 0
    assert "128 parameters" in capsys.readouterr().out


def test_it_is_exported_and_the_folder_tells_what_to_import(home, fresh, tmp_path, capsys):
    words = ["export", str(home / "run"), "-o", str(tmp_path / "model")]
    assert main(words) == 1
    assert f"--import {fresh}" in capsys.readouterr().err
    assert main([*words, "--import", fresh]) == 0
    assert f"{MODULE}.py" in (tmp_path / "model/README.md").read_text()
    texts = [(tmp_path / "model" / name).read_text() for name in ("README.md", "config.json")]
    assert not any(str(home) in text for text in texts), "the machine's folders are nobody's business"
    forget()
    with pytest.raises(UnknownNameError, match=f"--import {MODULE}.py"):
        create_model(tmp_path / "model")


def test_an_index_is_built_and_searched_with_it(home, fresh, tmp_path, capsys):
    build = ["index", "build", "--run", str(home / "run"), "--references", str(home / "city")]
    build += ["-o", str(tmp_path / "city.index"), "--device", "cpu"]
    locate = ["locate", "--index", str(tmp_path / "city.index"), str(home / "city/queries"), "--device", "cpu"]
    for words in (build, locate):
        forget()
        assert main(words) == 1
        assert f"--import {fresh}" in capsys.readouterr().err
        assert main([*words, "--import", fresh]) == 0
