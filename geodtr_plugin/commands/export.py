"""`geodtr export`: the model of a run as a folder to keep, to pass on, or to put on the Hugging Face Hub."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser, Namespace

from .._version import __version__
from ..utils.console import guarded, make_parser, parse
from ..utils.errors import UserError

if TYPE_CHECKING:
    from ..harness.run_folder import RunFolder
    from ..methods import TwoTower

DESCRIPTION = """Write the model of a run into a folder that loads without the run.

  geodtr export runs/my_run                              # runs/my_run/export: model.safetensors, config.json, README.md
  geodtr export runs/my_run --format torch-export        # query.pt2 and reference.pt2, which run without this package

geodtr_plugin.create_model(FOLDER) loads it; uploaded to the Hugging Face Hub, create_model("hf-hub:user/name") does.
"""
WEIGHTS = Literal["best", "last"]
FORMATS = Literal["safetensors", "torch-export"]
TOWERS = Literal["query", "reference", "both"]


def export_command(argv: Sequence[str]) -> int:
    """What follows `geodtr export`: 0, or 1 after a sentence that says what was wrong."""
    return guarded(lambda: _export(argv), argv)


def export_parser() -> ArgumentParser:
    """The options of the command."""
    parser = make_parser("geodtr export", DESCRIPTION)
    add = parser.add_argument
    add("run", type=str, help="run folder")
    add("-o", "--out", type=str | None, help="folder that is made; RUN/export if not given")
    add("--weights", type=WEIGHTS | None,
        help="best on the run's first test set, or after the last epoch; best if there are such")  # fmt: skip
    add("--format", type=FORMATS, default="safetensors", help="weights of this package, or programs of torch.export")
    add("--tower", type=TOWERS, default="both", help="which programs to write, for torch-export")
    add("--debug", action="store_true", help="show the traceback of errors")
    return parser


def _export(argv: Sequence[str]) -> int:
    options = parse(export_parser(), argv)
    if options.format == "safetensors" and options.tower != "both":
        raise UserError("--tower is for --format torch-export; model.safetensors holds both towers. Leave it out.")
    out = Path(options.out or Path(options.run) / "export").expanduser()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} is there already. Remove it, or name another folder with -o.")
    from ..harness.run_folder import RunFolder

    files = export_run(RunFolder.existing(Path(options.run).expanduser()), out, options)
    print(f"{out}: {', '.join(files)}")
    return 0


def export_run(run: RunFolder, out: Path, options: Namespace) -> list[str]:
    """Write the folder, whole or not at all; the names of its files."""
    from ..methods.weights import find_weights, load_model, read_config
    from .model_card import model_card

    known = read_config(run.path)
    if "run" not in known or "package" in known:
        raise UserError(f"{run.path} is no run but a model that was exported. Name the folder of its run.")
    weights = f"{options.weights}.safetensors" if options.weights else find_weights(run.path).name
    model = load_model(run.path, weights)
    config = exported_config(run, known["views"], model, weights.removesuffix(".safetensors"))
    out.parent.mkdir(parents=True, exist_ok=True)
    building = out.with_name(f".{out.name}-{secrets.token_hex(4)}")
    building.mkdir()
    try:
        names = _write_model(building, model, config, options)
        _write_text(building / "config.json", json.dumps(config, indent=2, ensure_ascii=False))
        _write_text(building / "README.md", model_card(config, names))
        if out.is_dir():  # empty; some systems do not rename onto a folder
            out.rmdir()
        building.rename(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return [*names, "config.json", "README.md"]


def _write_model(folder: Path, model: TwoTower, config: dict[str, Any], options: Namespace) -> list[str]:
    if options.format == "safetensors":
        from ..utils.files import write_safetensors

        write_safetensors(folder / "model.safetensors", model.state_dict(), {"format": "pt"})
        return ["model.safetensors"]
    import torch

    from ..methods.export import export_tower

    roles = ["query", "reference"] if options.tower == "both" else [options.tower]
    for role in roles:  # the file alone says how its images are prepared
        program = export_tower(model, role)
        torch.export.save(program, str(folder / f"{role}.pt2"), extra_files={"config.json": json.dumps(config)})
    return [f"{role}.pt2" for role in roles]


def exported_config(run: RunFolder, views: dict[str, Any], model: TwoTower, weights: str) -> dict[str, Any]:
    """The run's config.json without what concerns one machine alone, and what the training came to."""
    from ..harness.config import RunConfig

    asked = run.config()
    kept = RunConfig(  # no folders of this machine
        asked.method, asked.recipe, _shown(asked.train), tuple(map(_shown, asked.test)),
        recipe_name=asked.recipe_name, seed=asked.seed, limit=asked.limit,
    )  # fmt: skip
    return {
        "package": "geodtr_plugin",
        "package_version": __version__,
        "model": model.config,
        "views": views,
        "normalisation": {"mean": list(model.mean), "std": list(model.std)},
        "embedding_size": model.embedding_size,
        "recipe": asked.recipe_name,
        "weights": weights,
        "training": _training(run, weights),
        "run": kept.to_dict(),
    }


def _training(run: RunFolder, weights: str) -> dict[str, Any]:
    """What the run trained on, how long, and the results of these weights; nothing of a run that has not ended."""
    asked = run.config()
    summary: dict[str, Any] = {
        "train": _shown(asked.train), "epochs": asked.recipe.optim.epochs, "seed": asked.seed,
        "init_weights": asked.init_weights and Path(asked.init_weights).name,
        "imagenet": bool(asked.recipe.model.get("pretrained", True)),
    }  # fmt: skip
    if not run.results_file.is_file():
        return summary
    try:
        results = json.loads(run.results_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{run.results_file} cannot be read: {error}. Remove it to export without results.") from error
    data = results.get("train_data")
    return {
        **summary,
        "data": data and {key: data[key] for key in ("pairs", "fingerprint", "provenance")},
        "selected_on": _shown(results["best_selected_on"]) if weights == "best" else None,
        "tests": {_shown(name): _scores(entry, weights) for name, entry in results["tests"].items()},
    }


def _scores(entry: dict[str, Any], weights: str) -> dict[str, Any]:
    return {"kind": entry["kind"], **(entry[weights] or entry["last"]), "published": entry["published"]}


def _shown(name: str | None) -> str | None:
    """A data set's name; of one that is named by a path, no more than its last part."""
    return name and name.rsplit("/", 1)[-1].rsplit("\\", 1)[-1]


def _write_text(path: Path, text: str) -> None:
    path.write_text(text.rstrip() + "\n", encoding="utf-8")
