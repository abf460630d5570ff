"""Runs that an earlier version made are read as they were meant."""

from __future__ import annotations

import yaml

from geodtr_plugin.harness import settings
from geodtr_plugin.harness.config import RunConfig
from geodtr_plugin.methods import METHODS

OPTIM = {
    "name": "adamw", "lr": 0.001, "weight_decay": 0.03, "eps": 1e-06, "momentum": 0.9, "sharpness": 0.0, "epochs": 10,
    "batch_size": 32, "micro_batch": None, "schedule": "cosine", "schedule_step": "epoch", "warmup_epochs": 1,
    "zero_first_epoch": False, "max_grad_norm": 1.0, "max_grad_value": None, "precision": "fp32", "compile": False,
}  # fmt: skip
LOSS = {
    "name": "soft_margin", "miner": "all", "alpha": 10.0, "hard_ratio": 1.0, "temperature": 0.07,
    "learn_temperature": True, "label_smoothing": 0.1, "margin": 0.1, "kernel": "gaussian", "counterfactual": 1.0,
    "beta": 5.0,
}  # fmt: skip
RECIPE = {
    "model": {
        "query_size": [32, 88], "backbone": "tiny", "pretrained": False, "feedforward": 192, "dropout": 0.0,
        "mask": "hardtanh",
    },
    "augment": {"chsg": "l+s", "layout": "strong", "semantic": "strong"},
    "view": {"fov": 360.0, "heading": "random"},
    "sampling": {
        "name": "auto", "every": 4, "pool": 40000, "top": 100, "neighbours": None, "neighbour_range": None
    },
    "loss": LOSS,
    "optim": OPTIM,
    "evaluation": {
        "every": 5, "batch_size": 64, "ties": "pessimistic", "embeddings": "memory", "precision": None
    },
    "data": {},
    "then": None,
}  # fmt: skip
RUN = {
    "method": "geodtr_plus", "recipe": RECIPE, "train": "synth-suburb", "test": ["synth-suburb"],
    "recipe_name": "laptop", "later": [], "data": {"count": 200}, "data_root": None, "limit": None,
    "skip_corrupt": False, "cache": False, "device": "auto", "seed": 0, "workers": None, "threads": 1,
    "init_weights": None, "out": "runs/cut",
}  # fmt: skip


def test_the_settings_of_a_run_are_read_under_their_new_names():
    config = RunConfig.from_dict(RUN)
    assert config.recipe == METHODS["geodtr_plus"].recipes["laptop"]
    assert config.later_stages == () and config.imports == ()
    assert (config.train, config.shares) == (("synth-suburb",), None)
    assert RunConfig.from_dict({**RUN, "train": None}).train == ()
    assert RunConfig.from_dict(config.to_dict()) == config


def test_the_stages_of_a_run_are_read_under_their_new_names():
    hard = {**RECIPE["sampling"], "name": "hard", "top": 7}
    nce = {**LOSS, "name": "info_nce", "temperature": 0.2}
    later = {**RECIPE, "sampling": hard, "loss": nce}
    config = RunConfig.from_dict({**RUN, "recipe": {**RECIPE, "then": "second"}, "later": [["second", later]]})
    ((name, second),) = config.later_stages
    assert (name, config.recipe.next_stage) == ("second", "second")
    assert second.sampling.args == {"pool": 40000, "top": 7}
    assert second.loss.args == {"temperature": 0.2, "learn_temperature": True, "label_smoothing": 0.1}


def test_the_settings_file_of_a_run_is_read_back(tmp_path):
    content = {**{k: v for k, v in RECIPE.items() if k not in ("data", "then")}, "method": "geodtr_plus",
               "train": "synth-suburb", "test": ["synth-suburb"], "data": {"count": 200}, "recipe": "auto"}  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    config = settings(f"--config {tmp_path / 'recipe.yaml'}")
    assert config.recipe == METHODS["geodtr_plus"].recipes["laptop"] and config.data == {"count": 200}
