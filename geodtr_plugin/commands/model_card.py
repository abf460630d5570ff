"""README.md of an exported model: what it is, what it was trained on, how good it is, how to use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..harness.results import columns_of
from ..methods import METHODS
from ..utils.tables import markdown_table

CARD = """---
library_name: geodtr_plugin
pipeline_tag: image-feature-extraction
tags:
- cross-view-geo-localization
- image-retrieval
- {method}
---

# {method}, trained on {train}

It turns queries and references into unit vectors of length {embedding_size}; the references most similar to a query
show its place. Written by geodtr_plugin {package_version}.

{paper}

## Use

```python
{use}
```

## Preprocessing

{preprocessing}

## Training

{training}

## Results

{results}

## Licence

{licence}
"""
LOAD = """from geodtr_plugin.methods import create_model, views_of
model, views = create_model("./"), views_of("./")  # this folder, or hf-hub:user/name
embeddings = model.encode_query(views["query"](images))  # uint8 [B, 3, H, W] -> [B, {size}]; likewise for references"""
LOAD_PROGRAM = """import torch
tower = torch.export.load("{role}.pt2").module()
embeddings = tower(images)  # float32 [B, 3, {height}, {width}], preprocessed as below -> [B, {size}]"""


def model_card(config: dict[str, Any], files: Sequence[str]) -> str:
    """The card of a folder with this config.json.

    Args:
        config: what `geodtr export` writes there.
        files: names of the files that hold the model.
    """
    return CARD.format(
        method=config["model"]["method"],
        train=config["training"]["train"],
        embedding_size=f"{config['embedding_size']:,}",
        package_version=config["package_version"],
        paper=_paper(config["model"]["method"]),
        use=_use(config, files),
        preprocessing="\n".join(_preprocessing(config)),
        training=" ".join(_training(config)),
        results=_results(config["training"].get("tests"), config["weights"], config["training"].get("selected_on")),
        licence=_licence(config),
    )


def _paper(method: str) -> str:
    facts = METHODS[method].paper
    return f"Method: [{facts.title}]({facts.url}), {facts.venue}. The authors' code: {facts.code}."


def _use(config: dict[str, Any], files: Sequence[str]) -> str:
    role, _, kind = files[0].partition(".")
    if kind != "pt2":
        return LOAD.format(size=config["embedding_size"])
    view = config["views"][role]
    return LOAD_PROGRAM.format(role=role, height=view["height"], width=view["width"], size=config["embedding_size"])


def _preprocessing(config: dict[str, Any]) -> list[str]:
    lines = [f"- {role}: {_view(view)}" for role, view in config["views"].items()]
    mean, std = ([round(value, 4) for value in config["normalisation"][part]] for part in ("mean", "std"))
    return [*lines, f"- both: RGB in [0, 1], less the mean {mean}, over the standard deviation {std}"]


def _view(view: dict[str, Any]) -> str:
    size = f"{view['height']} x {view['width']}"
    if view["polar"]:
        return f"the square aerial image, polar-transformed to {size} (geodtr_plugin.PolarTransform)"
    if view["panorama_width"]:
        return f"the panorama, resized to {view['height']} x {view['panorama_width']}; of it the middle {size}"
    return f"resized to {size}, bilinear with antialiasing"


def _training(config: dict[str, Any]) -> list[str]:
    told, weights = config["training"], {"best": "of the best epoch", "last": "after the last epoch"}[config["weights"]]
    data = f" ({told['data']['pairs']:,} pairs)" if told.get("data") else ""
    epochs = f"{told['epochs']} epoch{'s' if told['epochs'] > 1 else ''}"
    start = "weights trained on ImageNet" if told["imagenet"] else "scratch"
    return [
        f"Trained on {told['train']}{data} for {epochs} from {told['init_weights'] or start},",
        f"seed {told['seed']}, with the method's recipe {config['recipe']!r} (all settings are in config.json).",
        f"These are the weights {weights}.",
    ]


def _results(tests: dict[str, Any] | None, weights: str, selected_on: str | None) -> str:
    if not tests:
        return "None: the run had not ended when this was exported."
    columns = columns_of(tests.values())
    head = ["test set", "kind", *columns, "references", "R@1 of the paper"]
    rows = [
        [name, scores["kind"], *(f"{scores[key]:.2f}" if key in scores else "-" for key in columns.values()),
         f"{scores['num_references']:,}", _published(scores["published"])]
        for name, scores in tests.items()
    ]  # fmt: skip
    chosen = f" The epoch was chosen by R@1 on {selected_on}." if weights == "best" and selected_on else ""
    return f"{markdown_table(head, rows)}\n\nIn percent.{chosen}"


def _published(scores: dict[str, float]) -> str:
    return f"{scores['recall_at_1']:.2f}" if "recall_at_1" in scores else "-"


def _licence(config: dict[str, Any]) -> str:
    facts, trained = METHODS[config["model"]["method"]].paper, config["training"]["train"]
    theirs = "none is given" if facts.licence == "none" else facts.licence
    rendered = trained.startswith("synth-")
    images = "were rendered by geodtr_plugin" if rendered else "have terms of their own"
    return (
        f"The network's code is geodtr_plugin's (MIT), not the authors' (their licence: {theirs}). The images of "
        f"{trained} {images}. Whoever publishes these weights chooses their licence and writes it here."
    )
