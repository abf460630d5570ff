from __future__ import annotations

import subprocess
import sys

import pytest

import geodtr_plugin.datasets as datasets
from geodtr_plugin.datasets.registry import options_of
from geodtr_plugin.utils.errors import UnknownNameError, UserError


def test_listing_the_names_imports_neither_torch_nor_pil():
    program = (
        "import sys; from geodtr_plugin.datasets import list_datasets; names = list_datasets(); "
        "print(*sorted({'torch', 'PIL', 'numpy', 'scipy'} & set(sys.modules)), *names)"
    )
    words = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert set(words) <= set(datasets.list_datasets())  # which holds what other tests have registered too
    assert {"cvusa", "cvact", "synth-suburb", "synth-downtown-offset"} <= set(words)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="no data set 'cvusaa'. Did you mean 'cvusa'.*folder:PATH"):
        datasets.load_split("cvusaa", "train")


def test_own_folders_have_facts_and_a_loader():
    facts = datasets.facts_of("folder:/data/my_city")
    assert (facts.title, facts.pairs, facts.centred) == ("folder:/data/my_city", None, False)
    assert options_of("folder:x") == {"radius", "test_share", "centred", "panorama_rows"}
    assert datasets.facts_of("cvact-test").pairs == (35_532, 92_802)


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match="train, test"):
        datasets.load_split("cvusa", "val", root=tmp_path)


@pytest.mark.parametrize("name", datasets.list_datasets())
def test_every_name_of_the_table_is_registered_by_its_module(name):
    facts = datasets.facts_of(name)
    assert facts.title and facts.paper and bool(facts.page) != name.startswith("synth-")
    assert facts.released_pairs("train") == (facts.pairs and facts.pairs[0])
    assert options_of(name) <= {
        "allow_partial", "act_mat", "crop", "rule", "labels", "part", "nms", "queries", "count", "panorama_size",
        "aerial_size", "view_size", "look", "seed", "realism", "cache_dir",
    }  # fmt: skip


def test_areas_tell_what_training_knows():
    known = [("cvusa", "cvusa-cleaned"), ("vigor-cross", "vigor-cross-reverse"), ("folder:a", "folder:a")]
    unknown = [("cvusa", "cvact"), ("vigor-cross", "vigor-cross"), ("folder:a", "folder:b")]
    assert [datasets.same_area(*pair) for pair in known + unknown] == [True] * 3 + [False] * 3


def test_a_name_of_ours_cannot_be_taken():
    with pytest.raises(UserError, match="Choose another name"):
        datasets.register_dataset("cvusa", datasets.DatasetFacts("Mine"))(lambda name, split, root=None: None)


def test_every_public_name_is_there():
    assert all(getattr(datasets, name) is not None for name in datasets.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        datasets.nothing
