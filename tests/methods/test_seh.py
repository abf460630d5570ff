"""SEH as it is re-derived here: SAFA's network with HER's loss, called so wherever it is named."""

import json
import re

import pytest
import torch

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.commands.main import main
from geodtr_plugin.comparison.report import as_markdown
from geodtr_plugin.comparison.statistics import Row
from geodtr_plugin.losses import HERLoss
from geodtr_plugin.losses.by_name import build_loss
from geodtr_plugin.methods import METHODS
from geodtr_plugin.methods.base import count_parameters
from geodtr_plugin.utils.errors import UserError


def test_it_is_safa_but_for_the_loss():
    with torch.device("meta"):
        model, safa = (create_model(name, pretrained=False) for name in ("seh", "safa"))
    assert count_parameters(model) == 29_533_696
    assert {k: x.shape for k, x in model.state_dict().items()} == {k: x.shape for k, x in safa.state_dict().items()}
    for name, recipe in METHODS["seh"].recipes.items():
        loss = build_loss(recipe.loss.name, recipe.loss.args)
        assert isinstance(loss, HERLoss) and loss.symmetric and loss.detach and loss.alpha == 25
        assert recipe.replace(loss=dict(name="soft_margin", args={})) == METHODS["safa"].recipes[name].replace(
            loss=dict(name="soft_margin", args={})
        )


def test_it_says_that_it_is_re_derived(capsys):
    assert main(["models", "seh"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("seh (re-derived): ") and "note: seh is re-derived" in text
    assert "number of spatial embeddings" in text  # its options are SAFA's
    assert main(["models", "seh", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mark"] == "re-derived"


def test_notes_concern_data_sets():
    safa, seh = (METHODS[name].paper for name in ("safa", "seh"))
    assert safa.notes_on(["cvusa", "synth-suburb"]) == []
    assert "33.93" in safa.notes_on(["cvusa", "vigor-same"])[0]
    assert len(seh.notes_on(["synth-suburb"])) == 1


def test_tables_of_a_comparison_call_it_so():
    scores = {"recall_at_1": 1.0, "recall_at_5": 1.0, "recall_at_10": 1.0, "recall_at_1_percent": 1.0, "hit_rate": 1.0}
    entry = {
        "kind": "same area", "last": scores, "best": scores, "published": {}, "chance_recall_at_1": 0.5,
        "rules": {"ties": "pessimistic", "rank": "as it is"}, "data": {"fingerprint": "a"},
    }  # fmt: skip
    results = {"train": "home", "polar": True, "parameters": 1, "embedding_size": 1, "tests": {"home": entry},
               "recipe": {}}  # fmt: skip
    paper = METHODS["seh"].paper
    marked = results | {"mark": paper.mark, "notes": paper.notes_on(["home"])}
    rows = [Row("safa", "safa", {0: results}), Row("seh", "seh", {0: marked})]
    text = as_markdown(rows)
    assert re.search(r"\| seh \(re-derived\) +\|", text) and re.search(r"\| safa +\|", text)
    assert "- seh is re-derived: SAFA's network with HER's loss" in text


def test_safas_weights_are_none_of_it():
    with pytest.raises(UserError, match="none of seh"):
        load_author_weights(create_model("seh", backbone="tiny", query_size=(32, 88), pretrained=False), {})
