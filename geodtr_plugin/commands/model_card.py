"""README.md of an exported model: what it is, what it was trained on, how good it is, how to use it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any

from ..datasets.names import in_words, names_in
from ..harness.initial_weights import trained_on
from ..harness.results import columns_of
from ..methods import METHODS
from ..utils.tables import markdown_table

FOLDER = """from geodtr_plugin.methods import create_model, transforms_of
model, transforms = create_model("./"), transforms_of("./")  # this folder, or hf-hub:user/name
embeddings = model.encode_query(transforms["query"](images))  # uint8 [B, 3, H, W] -> [B, {size}]; references alike"""
PROGRAM = """import torch
tower = torch.export.load("{role}.pt2").module()
{maps}embeddings = tower(images)  # float32 [B, 3, {height}, {width}], preprocessed as below -> [B, {size}]"""
# for programs that want more channels than colours
MAPS = """from safetensors.torch import load_file
maps = load_file("{role}_maps.safetensors")["maps"]
images = torch.cat([images, maps.expand(len(images), -1, -1, -1)], 1)
"""
CHOOSE_LICENCE = "Whoever publishes these weights chooses their licence and writes it here."
NOT_ENDED = "None: the run had not ended when this was exported."


def model_card(config: dict[str, Any], files: Sequence[str]) -> str:
    """Return the card of an exported folder as Markdown, made from `model_card.md`.

    Args:
        config: what `geodtr export` writes into config.json.
        files: names of the files that hold the model.
    """
    method, sets = config["model"]["method"], names_in(config["training"]["train"])
    paper = METHODS[method].paper
    template = resources.files(__package__).joinpath("model_card.md").read_text(encoding="utf-8")
    return Template(template).substitute(
        method=method, train=in_words(sets), size=f"{config['embedding_size']:,}", version=config["package_version"],
        paper=f"Method: [{paper.title}]({paper.url}), {paper.venue}. The authors' code: {paper.code}.",
        use=_use(config, files), preprocessing=_preprocessing(config), training=_training(config),
        results=_results(config) if config["training"].get("tests") else NOT_ENDED,
        made=f"## How it was made\n\n{config['made']['how']}\n\n" if "made" in config else "",
        own_licence=config["made"]["licence"] if "made" in config else CHOOSE_LICENCE,
        licence="none is given" if paper.licence == "none" else paper.licence,
        images="were rendered by geodtr_plugin" if all(name.startswith("synth-") for name in sets) else
        "have terms of their own",
    )  # fmt: skip


def _use(config: dict[str, Any], files: Sequence[str]) -> str:
    role, _, kind = files[0].partition(".")
    size, modules = config["embedding_size"], config["run"]["imports"]
    if kind == "pt2":
        image = config["views"][role]
        maps = MAPS.format(role=role) if f"{role}_maps.safetensors" in files else ""
        code = PROGRAM.format(role=role, maps=maps, height=image["height"], width=image["width"], size=size)
        modules = ()
    else:
        code = FOLDER.format(size=size)
    first = f"Import the module of the method first, which is not geodtr_plugin's: {', '.join(modules)}.\n\n"
    return f"{first if modules else ''}```python\n{code}\n```"


def _preprocessing(config: dict[str, Any]) -> str:
    lines = [f"- {role}: {_resizing(image)}" for role, image in config["views"].items()]
    mean, std = ([round(value, 4) for value in config["normalisation"][part]] for part in ("mean", "std"))
    return "\n".join([*lines, f"- both: RGB in [0, 1], less the mean {mean}, over the standard deviation {std}"])


def _resizing(image: dict[str, Any]) -> str:
    """Return in words what an image transform of config.json does."""
    size = f"{image['height']} x {image['width']}"
    if image["polar"]:
        tile = image.get("tile")
        reduced = f"reduced to {tile} x {tile} with antialiasing where it is larger, " if tile else ""
        return f"the square aerial image, {reduced}polar-transformed to {size} (geodtr_plugin.PolarTransform)"
    if image["panorama_width"]:
        return f"the panorama, resized to {image['height']} x {image['panorama_width']}; of it the middle {size}"
    return f"resized to {size}, bilinear with antialiasing"


def _training(config: dict[str, Any]) -> str:
    facts = config["training"]
    weights = {"best": "of the best epoch", "last": "after the last epoch"}[config["weights"]]
    data = f" ({facts['data']['pairs']:,} pairs)" if facts.get("data") else ""
    epochs = f"{facts['epochs']} epoch{'s' if facts['epochs'] > 1 else ''}"
    start = facts["init_weights"] or ("weights trained on ImageNet" if facts["imagenet"] else "scratch")
    return (
        f"Trained on {trained_on(names_in(facts['train']))}{data} for {epochs} from {start}, seed {facts['seed']}, "
        f"with the method's recipe {config['recipe']!r} (all settings are in config.json). These are the weights "
        f"{weights}."
    )


def _results(config: dict[str, Any]) -> str:
    tests, selected_on = config["training"]["tests"], config["training"]["selected_on"]
    columns = columns_of(tests.values())
    head = ["test set", "kind", *columns, "references", "R@1 of the paper"]
    rows = [
        [name, scores["kind"], *(_percent(scores, key) for key in columns.values()), f"{scores['num_references']:,}",
         _percent(scores["published"], "recall_at_1")]
        for name, scores in tests.items()
    ]  # fmt: skip
    chosen = f" The epoch was chosen by R@1 on {selected_on}." if selected_on else ""
    return f"{markdown_table(head, rows)}\n\nIn percent.{chosen}"


def _percent(scores: dict[str, float], key: str) -> str:
    return f"{scores[key]:.2f}" if key in scores else "-"
