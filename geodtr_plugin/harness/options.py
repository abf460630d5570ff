"""From the words of a command line to a `RunConfig`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from ..datasets import facts_of
from ..datasets.names import expand_names, names_in
from ..datasets.registry import is_centred
from ..methods import METHODS, PARTS, Recipe
from ..methods.earlier_names import MOVED_TO_ARGS
from ..methods.ranges import check_options
from ..utils.console import parse
from ..utils.errors import UnknownNameError, UserError
from ..utils.registry import import_modules
from ..utils.typed import typed
from .config import RunConfig
from .initial_weights import split_choice
from .option_list import ALIASES, run_parser
from .settings_file import read_settings, value_of

# settings that may be written without the `args` between: --loss.alpha is --loss.args.alpha
SHORT = {f"--{part}.{name}": f"--{part}.args.{name}" for part, names in MOVED_TO_ARGS.items() for name in names}
SHORT["--data.shares"] = "--shares"  # of the data sets of a run, not of one's loader
SAME_IN_CONFIG = (  # options that RunConfig takes as they are
    "method", "data_root", "limit", "train_limit", "skip_corrupt", "cache", "device", "seed", "workers", "threads",
    "init_weights", "out",
)  # fmt: skip
# settings that go where another loss, miner or sampler is named
DEPENDING = {"loss.name": ("args", "schedule"), "loss.miner": ("miner_args",), "sampling.name": ("args",)}
FIRST = ("method", "recipe", "train", "data_root", "data", "init_weights")  # on which other defaults depend


def parse_run(argv: Sequence[str]) -> tuple[RunConfig, str]:
    """Return the run that a command line describes, and its full settings as YAML that `--config` reads back.

    Raises:
        UserError: the words cannot be understood, or do not go together.
    """
    words = [_spelled_out(word, argv[i + 1 : i + 2]) for i, word in enumerate(argv)]
    known, words = _first_look(words)
    import_modules(known.imports)
    known.train = expand_names(names_in(known.train))
    if "-h" in words or "--help" in words:
        run_parser(_base_recipe(known) if _is_specific(known) else None).print_help()
        raise SystemExit(0)
    base = _base_recipe(known)
    parser = run_parser(base)
    options = parse(parser, words)
    for part in ("train", "test"):  # the settings name what was meant, whatever will be registered later
        options[part] = list(expand_names(options[part] or [])) or None
    config = _to_config(options, base, _recipe_name(known), known.imports)
    # a settings file names every value of one stage
    later = () if known.config else _later_stages(words, known, config.recipe)
    return replace(config, later_stages=later), parser.dump(options, skip_none=False)


def recipe_for(
    train: str | Sequence[str] | None, root: str | None = None, data: Mapping[str, Any] | None = None
) -> str:
    """Return the name of the recipe that fits a training set: by its scale, and by where its cameras stand.

    Args:
        train: the data set, or several: then the recipe fits the largest scale, and cameras off the centres.
        root: the folder that holds it.
        data: options of its loader.
    """
    names = names_in(train)
    if not names:
        return "paper"
    scales = {facts_of(name).scale for name in names}
    scale = "paper" if "paper" in scales else min(scales)
    return scale if all(is_centred(name, root, **(data or {})) for name in names) else f"{scale}_offset"


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
    parser.add_argument("--train", nargs="+")
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
    if run := _run_of_weights(known):
        return run.recipe_name
    centred = value_of(_named(known, "data.centred"))
    return recipe_for(known.train, known.data_root, {} if centred is None else {"centred": centred})


def _base_recipe(known: argparse.Namespace, name: str | None = None) -> Recipe:
    """Return the recipe of that name, or that of the run whose weights are to be used, unless one is asked for.

    The arguments of its loss, miner and sampler go where the command line names others.
    """
    if name is None and (run := _run_of_weights(known)):
        recipe = run.recipe
    else:
        name = name or _recipe_name(known)
        recipes = METHODS[known.method].recipes
        if name not in recipes:
            raise UnknownNameError(f"recipe of {known.method}", name, recipes)
        recipe = recipes[name]
    for setting, depending in DEPENDING.items():
        part, name = setting.split(".")
        named = _named(known, setting)
        if named is not None and named != getattr(getattr(recipe, part), name):
            recipe = recipe.replace(**{part: {name: named, **{other: {} for other in depending}}})
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


def _run_of_weights(known: argparse.Namespace) -> RunConfig | None:
    """Return the settings of the run whose weights are to be used; None if they are no run's, or a recipe is named."""
    from .run_folder import RunFolder

    folder = split_choice(known.init_weights)[0] if known.init_weights and known.recipe == "auto" else ""
    if not os.path.isdir(folder):
        return None
    run = RunFolder.existing(folder).config()
    if run.method != known.method:
        raise UserError(f"{folder} is a run of {run.method}, not of {known.method}.", f"Add --method {run.method}.")
    return run


def _later_stages(words: Sequence[str], known: argparse.Namespace, recipe: Recipe) -> tuple[tuple[str, Recipe], ...]:
    """Return the stages after a recipe; what the command line says holds for all of them."""
    stages = []
    while recipe.next_stage and recipe.optim.epochs:
        name = recipe.next_stage
        base = _base_recipe(known, name)
        recipe = _to_recipe(parse(run_parser(base), words), base)
        stages.append((name, recipe))
    return tuple(stages)


def _to_config(options: Namespace, base: Recipe, recipe_name: str, imports: Sequence[str]) -> RunConfig:
    recipe = _to_recipe(options, base)
    check_options(METHODS[options.method], recipe.model, "--model.")
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
    train, tests = tuple(options.train or ()), tuple(options.test or options.train)
    shares = tuple(options.shares) if options.shares else None
    same = {name: options[name] for name in SAME_IN_CONFIG}
    imports = tuple(str(Path(name).absolute()) if name.endswith(".py") else name for name in imports)
    return RunConfig(
        recipe=recipe, recipe_name=recipe_name, train=train, shares=shares, test=tests, data=data, imports=imports,
        **same,
    )  # fmt: skip


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
