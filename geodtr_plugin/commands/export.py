"""`geodtr export`: the model of a run as a folder to keep, to pass on, or to put on the Hugging Face Hub."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser, Namespace

from .._version import __version__
from ..methods.packaged import packaged_folder
from ..utils.console import add_common_options, guarded, make_parser, parse_and_import, say
from ..utils.digest import sha256_of
from ..utils.errors import UserError
from ..utils.outputs import check_output_folder

if TYPE_CHECKING:
    from torch import Tensor

    from ..harness.run_folder import RunFolder
    from ..methods import TwoTower
    from ..utils.roles import Role

DESCRIPTION = """Write the model of a run into a folder that loads without the run.

  geodtr export runs/my_run                              # runs/my_run/export: model.safetensors, config.json, README.md
  geodtr export runs/my_run --format torch-export        # query.pt2 and reference.pt2, which run without this package
  geodtr export worlds --format torch-export -o programs # of the model that comes with this package

geodtr_plugin.create_model(FOLDER) loads it; uploaded to the Hugging Face Hub, create_model("hf-hub:user/name") does.
"""
# settings of a run that name nothing of the machine
PUBLISHED = ("method", "recipe", "recipe_name", "shares", "seed", "limit")


def export_command(argv: Sequence[str]) -> int:
    """Run `geodtr export`; return 0, or 1 after a sentence that says what was wrong."""
    return guarded(lambda: _export(argv), argv)


def export_parser() -> ArgumentParser:
    """Return the options of `geodtr export`."""
    parser = make_parser("geodtr export", DESCRIPTION)
    add = parser.add_argument
    add("run", type=str, help="run folder; for torch-export also worlds, the model that comes with the package")
    add("-o", "--out", type=str | None, help="folder that is made; RUN/export if not given")
    add("--weights", type=Literal["best", "last"] | None,
        help="best on the run's first test set, or after the last epoch; best if there are such")  # fmt: skip
    add("--format", type=Literal["safetensors", "torch-export"], default="safetensors",
        help="weights of this package, or programs of torch.export")  # fmt: skip
    add("--tower", type=Literal["query", "reference", "both"], default="both",
        help="which programs to write, for torch-export")  # fmt: skip
    add("--dtype", type=Literal["float32", "float16"], default="float32",
        help="float16 stores matrices in half the space; a model computes in float32 all the same")  # fmt: skip
    add_common_options(parser, "import", "debug")
    return parser


def _export(argv: Sequence[str]) -> int:
    options = parse_and_import(export_parser(), argv)
    if options.format == "safetensors" and options.tower != "both":
        raise UserError("--tower is for --format torch-export; model.safetensors holds both towers.", "Leave it out.")
    if options.format == "torch-export" and options.dtype != "float32":
        raise UserError("--dtype is for --format safetensors; programs are written in float32.", "Leave it out.")
    packaged = packaged_folder(options.run)
    if packaged and options.out is None:
        raise UserError(f"{options.run} comes with the package, where nothing is written.", "Name a folder with --out.")
    out = Path(options.out or Path(options.run) / "export").expanduser()
    check_output_folder(out)
    from ..harness.run_folder import RunFolder

    files = export_run(RunFolder.existing(packaged or Path(options.run).expanduser()), out, options)
    say(f"{out}: {', '.join(files)}")
    return 0


def export_run(run: RunFolder, out: Path, options: Namespace, made: dict[str, str] | None = None) -> list[str]:
    """Write the folder, whole or not at all, and return the names of its files.

    Args:
        run: what is exported; for torch-export also a folder that was exported before.
        out: the folder.
        options: as `export_parser` gives them.
        made: `how` and `licence`, paragraphs for the card; None leaves them to whoever publishes the weights.

    Raises:
        UserError: it is no run with weights, or they cannot be written.
    """
    from ..methods.weights import find_weights, load_model, read_config
    from ..utils.files import atomic_path, write_json, write_text
    from .model_card import model_card

    stored = read_config(run.path)
    again = "package" in stored
    if "run" not in stored or (again and (options.format == "safetensors" or options.weights)):
        raise UserError(
            f"{run.path} is no run but a model that was exported.",
            "Name the folder of its run; --format torch-export takes its weights as they are.",
        )
    weights = options.weights or find_weights(run.path).stem
    model = load_model(run.path, f"{weights}.safetensors")
    config = stored if again else _exported_config(run, stored["views"], model, weights)
    config = {**config, "made": made} if made else config
    with atomic_path(out) as folder:
        folder.mkdir()
        names = _write_model(folder, model, config, options)
        if options.format == "safetensors":
            config["sha256"] = sha256_of(folder / "model.safetensors")
        write_json(folder / "config.json", config)
        write_text(folder / "README.md", model_card(config, names))
    return [*names, "config.json", "README.md"]


def _write_model(folder: Path, model: TwoTower, config: dict[str, Any], options: Namespace) -> list[str]:
    if options.format == "safetensors":
        from ..utils.files import write_safetensors

        tensors = _halved(model.state_dict()) if options.dtype == "float16" else model.state_dict()
        write_safetensors(folder / "model.safetensors", tensors, {"format": "pt"})
        return ["model.safetensors"]
    import torch

    from ..methods.export import export_tower

    roles: list[Role] = ["query", "reference"] if options.tower == "both" else [options.tower]
    for role in roles:  # the file alone says how its images are prepared
        content = io.BytesIO()  # on a full disk, torch's own writing ends the process
        torch.export.save(export_tower(model, role), content, extra_files={"config.json": json.dumps(config)})
        (folder / f"{role}.pt2").write_bytes(content.getbuffer())
    return [f"{role}.pt2" for role in roles] + _write_maps(folder, model, config["views"], roles)


def _write_maps(folder: Path, model: TwoTower, views: dict[str, Any], roles: Sequence[Role]) -> list[str]:
    """Write the channels that programs want behind the colours, where they do, and return the names of the files."""
    from ..augmentations import ImageTransform
    from ..utils.files import write_safetensors

    names = []
    for role in roles:
        maps = model.role_transform(role, ImageTransform.from_config(views[role])).of_cropped().maps
        if maps is not None:
            names.append(f"{role}_maps.safetensors")
            write_safetensors(folder / names[-1], {"maps": maps.contiguous()}, {"format": "pt"})
    return names


def _halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return matrices as float16; vectors, such as the variances of batch normalisation, may be too small for that."""
    return {name: x.half() if x.is_floating_point() and x.ndim > 1 else x for name, x in tensors.items()}


def _exported_config(run: RunFolder, views: dict[str, Any], model: TwoTower, weights: str) -> dict[str, Any]:
    """Return the run's config.json without what concerns one machine alone, and with what the training came to."""
    from ..harness.config import RunConfig

    settings = run.config()
    published = RunConfig(
        train=tuple(map(_last_part, settings.train)), test=tuple(map(_last_part, settings.test)),
        imports=tuple(map(_last_part, settings.imports)), **{name: getattr(settings, name) for name in PUBLISHED},
    )  # fmt: skip
    return {
        "package": "geodtr_plugin",
        "package_version": __version__,
        "model": model.config,
        "views": views,
        "normalisation": {"mean": list(model.mean), "std": list(model.std)},
        "embedding_size": model.embedding_size,
        "recipe": settings.recipe_name,
        "weights": weights,
        "training": _training(run, weights),
        "run": published.to_dict(),
    }


def _training(run: RunFolder, weights: str) -> dict[str, Any]:
    """Return what the run trained on, how long, and the results of these weights, if it has ended."""
    settings = run.config()
    training: dict[str, Any] = {
        "train": list(map(_last_part, settings.train)), "epochs": settings.recipe.optim.epochs,
        "seed": settings.seed, "init_weights": settings.init_weights and Path(settings.init_weights).name,
        "imagenet": bool(settings.recipe.model.get("pretrained", True)),
    }  # fmt: skip
    if not run.results_file.is_file():
        return training
    from ..harness.records import read_results

    results = read_results(run.results_file, "Remove it to export without results.")
    data = results.get("train_data")
    return {
        **training,
        "data": data and {key: data.get(key) for key in ("pairs", "fingerprint", "provenance")},
        "selected_on": _last_part(results.get("best_selected_on") or "") or None if weights == "best" else None,
        "tests": {_last_part(name): _scores(entry, weights) for name, entry in results["tests"].items()},
    }


def _scores(entry: dict[str, Any], weights: str) -> dict[str, Any]:
    return {"kind": entry["kind"], **(entry[weights] or entry["last"]), "published": entry["published"]}


def _last_part(name: str) -> str:
    """Return the name of a data set or module; of one that is named by a path the last part, to publish no path."""
    return name.rsplit("/", 1)[-1].rsplit("\\", 1)[-1]
