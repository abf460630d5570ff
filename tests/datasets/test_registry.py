from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import geodtr_plugin.datasets as datasets
from geodtr_plugin.datasets import registry
from geodtr_plugin.utils.errors import UnknownNameError


def test_listing_the_names_imports_neither_torch_nor_pil():
    program = (
        "import sys; from geodtr_plugin.datasets import list_datasets; names = list_datasets(); "
        "print(*sorted({'torch', 'PIL', 'numpy', 'scipy'} & set(sys.modules)), *names)"
    )
    words = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert words == datasets.list_datasets()
    assert {"cvusa", "cvact", "synth-suburb", "synth-downtown-offset"} <= set(words)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="no data set 'cvusaa'. Did you mean 'cvusa'.*folder:PATH"):
        datasets.load_split("cvusaa", "train")


def test_own_folders_have_facts_and_a_loader():
    facts = registry.facts_of("folder:/data/my_city")
    assert (facts.title, facts.pairs, facts.centred) == ("folder:/data/my_city", None, False)
    assert registry.loader_of("folder:x").__name__ == "load_folder"
    assert registry.facts_of("cvact-test").pairs == (35_532, 92_802)


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match="train, test"):
        datasets.load_split("cvusa", "val", root=tmp_path)


@pytest.mark.parametrize("name", datasets.list_datasets())
def test_every_name_has_a_loader(name):
    module, function = datasets.DATASETS[name].loader.split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_every_public_name_is_there():
    assert all(getattr(datasets, name) is not None for name in datasets.__all__)
    assert set(datasets.__all__) <= set(dir(datasets))
    with pytest.raises(AttributeError, match="nothing"):
        datasets.nothing
