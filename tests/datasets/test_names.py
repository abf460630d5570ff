"""Names of data sets with wildcards, and names as older and newer files hold them."""

from __future__ import annotations

import pytest

from geodtr_plugin.datasets import DATASETS, list_datasets
from geodtr_plugin.datasets.names import expand_names, in_words, names_in
from geodtr_plugin.utils.errors import UnknownNameError


def test_a_star_stays_between_hyphens():
    styles = {name.split("-")[1] for name in list_datasets() if name.startswith("synth-")}
    for suffix in ("", "-offset", "-ground"):
        assert set(expand_names([f"synth-*{suffix}"])) == {f"synth-{style}{suffix}" for style in styles}
    assert expand_names(["vigor-*"]) == ("vigor-same", "vigor-cross")
    assert expand_names(["vigor-*-*"]) == ("vigor-cross-reverse",)
    assert expand_names(["synth-[a-d]*", "synth-?uburb"]) == ("synth-downtown", "synth-country", "synth-suburb")


def test_a_registered_set_is_found_by_a_pattern(monkeypatch):
    monkeypatch.setitem(DATASETS._parts, "synth-suburb-own", DATASETS["synth-suburb"])
    assert expand_names(["synth-*-own"]) == ("synth-suburb-own",)
    assert "synth-suburb-own" not in expand_names(["synth-*"])


def test_order_and_single_names_are_kept_and_nothing_comes_twice():
    assert expand_names(["synth-country", "cvusa", "synth-country"]) == ("synth-country", "cvusa")
    assert expand_names(["synth-country", "synth-*"])[0] == "synth-country"
    assert len(expand_names(["synth-country", "synth-*"])) == len(expand_names(["synth-*"]))
    assert expand_names(["folder:a*b", "no such set"]) == ("folder:a*b", "no such set")  # whoever loads it says so


def test_a_pattern_without_a_match_is_answered():
    with pytest.raises(UnknownNameError, match=r"There is no data set 'sint-\*'. Did you mean 'synth-"):
        expand_names(["cvusa", "sint-*"])


def test_names_in_files_of_all_versions():
    with pytest.raises(TypeError, match="not names"):
        names_in([5])
    assert names_in(None) == () and names_in("cvusa") == ("cvusa",) and names_in(["a", "b"]) == ("a", "b")
    words = [in_words(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])]
    assert words == ["", "a", "a and b", "a, b and c"]
