"""From the words of a command line to a `RunConfig`: one table of aliases, and the options of `run.py`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from ..datasets import facts_of, list_datasets
from ..datasets.registry import is_centred
from ..methods import METHODS, PARTS, Recipe, list_methods
from ..methods.recipe import MOVED_TO_ARGS
from ..utils.console import add_common_options, make_parser, parse
from ..utils.errors import UnknownNameError, UserError
from ..utils.registry import import_modules
from ..utils.typed import typed
from .config import RunConfig
from .initial_weights import split_choice
from .settings_file import read_settings, value_of

DESCRIPTION = """Train a method on one data set and test it on others.

  python benchmarks/run.py --method geodtr_plus --train cvusa --test cvact
  python benchmarks/run.py --method geodtr_plus --train synth-suburb --test synth-suburb synth-downtown
"""
NO_DEFAULTS = """Defaults of a recipe's options (--model, --augment ... --evaluation) depend on method and training set:
  python benchmarks/run.py --method METHOD --train DATA_SET --help
"""
ALIASES = {  # option -> the setting that it stands for
    "epochs": "optim.epochs", "batch_size": "optim.batch_size", "micro_batch": "optim.micro_batch", "lr": "optim.lr",
    "precision": "optim.precision", "compile": "optim.compile", "chsg": "augment.chsg", "layout": "augment.layout",
    "semantic": "augment.semantic", "fov": "view.fov", "miner": "loss.miner", "sampler": "sampling.name",
    "backbone": "model.backbone", "polar": "model.polar",
}  # fmt: skip
# settings that may be written without the `args` between: --loss.alpha is --loss.args.alpha
SHORT = {f"--{part}.{name}": f"--{part}.args.{name}" for part, names in MOVED_TO_ARGS.items() for name in names}
SAME_IN_CONFIG = (  # options that RunConfig takes as they are
    "method", "train", "data_root", "limit", "train_limit", "skip_corrupt", "cache", "device", "seed", "workers",
    "threads", "init_weights", "out",
)  # fmt: skip


FIRST = ("method", "recipe", "train", "data_root", "data", "init_weights")  # on which other defaults depend


def parse_run(argv: Sequence[str]) -> tuple[RunConfig, str]:
    """Return the run that a command line describes, and its full settings as YAML that `--config` reads back.

    Raises:
        UserError: the words cannot be understood, or do not go together.
    """
    words = [_spelled_out(word, argv[i + 1 : i + 2]) for i, word in enumerate(argv)]
    known, words = _first_look(words)
    import_modules(known.imports)
    if "-h" in words or "--help" in words:
        _parser(_base_recipe(known) if _is_specific(known) else None).print_help()
        raise SystemExit(0)
    base = _base_recipe(known)
    parser = _parser(base)
    options = parse(parser, words)
    config = _to_config(options, base, _recipe_name(known), known.imports)
    # a settings file names every value of one stage
    later = () if known.config else _later_stages(words, known, config.recipe)
    return replace(config, later_stages=later), parser.dump(options, skip_none=False)


def recipe_for(train: str | None, root: str | None = None, data: Mapping[str, Any] | None = None) -> str:
    """Return the name of the recipe that fits a training set: by its scale, and by where its cameras stand.

    Args:
        train: the data set.
        root: the folder that holds it.
        data: options of its loader.
    """
    if train is None:
        return "paper"
    scale = facts_of(train).scale
    return scale if is_centred(train, root, **(data or {})) else f"{scale}_offset"


def _spelled_out(word: str, following: Sequence[str]) -> str:
    """Return an option with the whole name of the setting that it stands for."""
    option, equals, value = word.partition("=")
    argument = value or "".join(following)
    if option == "--loss" and not argument.startswith("{"):  # by itself, --loss takes a whole group of settings
        return f"--loss.name{equals}{value}"
    return f"{SHORT.get(option, option)}{equals}{value}"


def _first_look(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Read the few options on which the defaults of all others depend; a settings file becomes its content."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--method", default="geodtr_plus")
    parser.add_argument("--recipe", default="auto")
    parser.add_argument("--train")
    parser.add_argument("--data-root")
    parser.add_argument("--init-weights")
    parser.add_argument("--config")
    parser.add_argument("--import", dest="imports", action="append", default=[])
    for option in ("--data", "--data.centred", "--loss", "--loss.name", "--loss.miner", "--miner", "--sampling",
                   "--sampling.name", "--sampler"):  # fmt: skip
        parser.add_argument(option, default=argparse.SUPPRESS)
    try:
        known, _ = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise UserError(f"{str(error).rstrip('.')}.", "--help lists the options.") from error
    words = list(words)
    if known.config is not None:
        content = read_settings(known.config)
        place = next(i for i, word in enumerate(words) if word.split("=")[0] == "--config")
        end = place + (1 if "=" in words[place] else 2)
        words[place:end] = [f"--config={yaml.safe_dump(content)}"]
        parser.set_defaults(**{name: content[name] for name in FIRST if name in content})
        parser.set_defaults(imports=content.get("import") or [])
        known, _ = parser.parse_known_args([word for word in words if not word.startswith("--config=")])
        known.config = True
    return known, words


def _is_specific(known: argparse.Namespace) -> bool:
    """Tell whether more is known about the run than nothing, so that --help can show its defaults."""
    named = known.train or known.init_weights or known.config
    return bool(named) or (known.method, known.recipe) != ("geodtr_plus", "auto")


def _recipe_name(known: argparse.Namespace) -> str:
    if known.recipe != "auto":
        return known.recipe
    centred = value_of(_named(known, "data.centred"))
    return recipe_for(known.train, known.data_root, {} if centred is None else {"centred": centred})


def _base_recipe(known: argparse.Namespace, name: str | None = None) -> Recipe:
    """Return the recipe of that name, or that of the run whose weights are to be used, unless one is asked for.

    The arguments of its loss, miner and sampler go where the command line names others.
    """
    source = known.init_weights if known.recipe == "auto" and name is None else None
    if source and os.path.isdir(folder := split_choice(source)[0]):
        recipe = _recipe_of_run(folder, known.method)
    else:
        name = name or _recipe_name(known)
        recipes = METHODS[known.method].recipes
        if name not in recipes:
            raise UnknownNameError(f"recipe of {known.method}", name, recipes)
        recipe = recipes[name]
    for setting, args in (("loss.name", "args"), ("loss.miner", "miner_args"), ("sampling.name", "args")):
        part, name = setting.split(".")
        named = _named(known, setting)
        if named is not None and named != getattr(getattr(recipe, part), name):
            recipe = recipe.replace(**{part: {name: named, args: {}}})
    return recipe


def _named(known: argparse.Namespace, setting: str) -> Any:
    """Return the value of a setting on the command line: by name, by alias, or in a group `--loss {"name": ...}`."""
    part, name = setting.split(".")
    aliases = [option for option, meant in ALIASES.items() if meant == setting]
    for option in (setting, *aliases):
        if option in vars(known):
            return vars(known)[option]
    group = value_of(vars(known).get(part))
    return group.get(name) if isinstance(group, dict) else None


def _recipe_of_run(folder: Path, method: str) -> Recipe:
    from .run_folder import RunFolder

    run = RunFolder.existing(folder).config()
    if run.method != method:
        raise UserError(f"{folder} is a run of {run.method}, not of {method}.", f"Add --method {run.method}.")
    return run.recipe


def _later_stages(words: Sequence[str], known: argparse.Namespace, recipe: Recipe) -> tuple[tuple[str, Recipe], ...]:
    """Return the stages after a recipe; what the command line says holds for all of them."""
    stages = []
    while recipe.next_stage and recipe.optim.epochs:
        name = recipe.next_stage
        base = _base_recipe(known, name)
        recipe = _to_recipe(parse(_parser(base), words), base)
        stages.append((name, recipe))
    return tuple(stages)


def _parser(base: Recipe | None) -> ArgumentParser:
    """Return the parser of run.py, whose defaults are a recipe's; None shows none, for a general --help."""
    description = DESCRIPTION if base else f"{DESCRIPTION}\n{NO_DEFAULTS}"
    parser = make_parser("run.py", description, defaults=base is not None)
    base = base or Recipe()
    parser.add_argument("--config", action="config", help="settings file, such as the recipe.yaml of a run folder")
    _add_data_options(parser)
    _add_aliases(parser)
    _add_machine_options(parser)
    model = {name: list(value) if isinstance(value, tuple) else value for name, value in base.model.items()}
    parser.add_argument("--model", type=dict[str, Any], default=model,
                        help="options of the method, as --model.descriptors 6")  # fmt: skip
    for name, part in PARTS.items():
        parser.add_argument(f"--{name}", type=part, default=getattr(base, name))
    return parser


def _add_data_options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add_common_options(parser, "import")
    add("--method", default="geodtr_plus", help=f"one of: {', '.join(list_methods())}")
    add("--recipe", default="auto",
        help="one of the method's recipes (geodtr models METHOD lists them); auto chooses by --train")  # fmt: skip
    add("--train", type=str | None, help=f"data set to train on, one of: {', '.join(list_datasets())}")
    add("--test", type=str, nargs="+", help="data sets to test on; the one trained on if not given")
    add("--data", type=dict[str, Any], default={}, help="options of the data sets' loaders, as --data.count 800")
    add("--data-root", type=str | None, help="folder that holds the data sets (else the variable GEODTR_DATA)")
    add("--allow-partial", action="store_true", help="go on without pairs whose files are missing; the results say so")
    add("--skip-corrupt", action="store_true", help="leave out images that cannot be decoded; the results name them")
    add("--cvact-rule", type=Literal["5m", "identity"] | None, help="what counts as right on cvact-test")
    add("--cache", action="store_true", help="keep resized images on disk, for later epochs and runs")
    add("--limit", type=int | None, help="keep the first N pairs of each data set")
    add("--train-limit", type=int | None, help="keep the first N pairs of the training set; tests stay whole")


def _add_aliases(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--epochs", type=int | None, help="as --optim.epochs; 0 evaluates only")
    add("--batch-size", "--batch_size", type=int | None, help="as --optim.batch_size: raw pairs, which CHSG doubles")
    add("--micro-batch", "--micro_batch", type=int | None, help="as --optim.micro_batch: a large batch in small memory")
    add("--lr", type=float | None, help="as --optim.lr")
    add("--polar", action=ActionYesNo(yes_prefix="", no_prefix="no-"), default=None, help="as --model.polar")
    add("--chsg", type=str | None, help="as --augment.chsg")
    add("--layout", type=str | None, help="as --augment.layout")
    add("--semantic", type=str | None, help="as --augment.semantic")
    add("--miner", type=str | None, help="as --loss.miner; --loss NAME is --loss.name NAME")
    add("--sampler", type=str | None, help="as --sampling.name")
    add("--fov", type=float | None, help="as --view.fov: degrees that queries show")
    add("--backbone", type=str | None,
        help="as --model.backbone: convnext_tiny, resnet34, a name of timm, or tiny, which is for images of about "
        "32x88: of large ones it leaves many positions (stride 8), and masks grow by their square")  # fmt: skip
    add("--precision", type=Literal["fp32", "bf16"] | None, help="as --optim.precision")
    compiles = ActionYesNo(yes_prefix="", no_prefix="no-")
    add("--compile", action=compiles, default=None, help="as --optim.compile: faster steps on GPUs after some minutes")


def _add_machine_options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--init-weights", "--init_weights", type=str | None,
        help="start from a weights file (ours or the authors'), a run's last weights, or RUN:best")  # fmt: skip
    add("--allow-untrained", action="store_true", help="with --epochs 0: evaluate initial weights, as a baseline")
    add("--resume", type=str | None, help="continue the run in this folder with its own settings")
    add("--out", type=str | None, help="folder of the run; one below runs/ if not given")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add("--seed", type=int, default=0, help="of weights, order and augmentation")
    add("--workers", type=int | None, help="processes that load images; chosen by the machine if not given")
    add_common_options(parser, "threads", "debug")


def _to_config(options: Namespace, base: Recipe, recipe_name: str, imports: Sequence[str]) -> RunConfig:
    recipe = _to_recipe(options, base)
    if options.train is None and not options.test:
        raise UserError("Nothing to do.", "Name a data set with --train, or one or more with --test.")
    if options.train is None and recipe.optim.epochs:
        raise UserError("--train is missing.", "To evaluate without training, give --epochs 0 and --init-weights.")
    if not (recipe.optim.epochs or options.init_weights or options.allow_untrained):
        raise UserError(
            "--epochs 0 comes without weights to evaluate.",
            "Name them with --init-weights, or measure untrained ones with --allow-untrained.",
        )
    data = dict(options.data)
    if options.allow_partial:
        data["allow_partial"] = True
    if options.cvact_rule:
        data["rule"] = options.cvact_rule
    tests = tuple(options.test or [options.train])
    same = {name: options[name] for name in SAME_IN_CONFIG}
    imports = tuple(str(Path(name).absolute()) if name.endswith(".py") else name for name in imports)
    return RunConfig(recipe=recipe, recipe_name=recipe_name, test=tests, data=data, imports=imports, **same)


def _to_recipe(options: Namespace, base: Recipe) -> Recipe:
    """Return the recipe's parts as given, then the aliases."""
    for name in ("model", "data", *PARTS):
        if not isinstance(options[name], Mapping | Namespace):
            raise UserError(f"--{name} is {options[name]!r}.", f"Give settings by name, as --{name}.NAME VALUE.")
    try:  # the parser takes null for any number
        parts: dict[str, Any] = {name: typed(part, {**options[name]}, f"--{name}") for name, part in PARTS.items()}
    except ValueError as error:
        raise UserError(f"{error}.") from error
    recipe = replace(base, model=options.model, **parts)
    named = {setting: options[option] for option, setting in ALIASES.items() if options[option] is not None}
    if "model.polar" in named and recipe.model.get("reference_size") == base.model.get("reference_size"):
        # the base recipe's size belongs to its own kind of aerial image; the method has one for the other kind
        recipe = replace(recipe, model={k: v for k, v in recipe.model.items() if k != "reference_size"})
    for setting, value in named.items():
        part, name = setting.split(".")
        recipe = recipe.replace(**{part: {name: value}})
    return recipe
