"""The command line: `python benchmarks/run.py ...` and `geodtr run ...` are the same."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from ..datasets import list_datasets
from ..datasets.registry import facts_of
from ..methods import PARTS, Recipe, list_methods
from ..utils.console import complain, guarded, make_parser, parse
from ..utils.errors import UnknownNameError, UserError
from .config import RunConfig

RUN_DESCRIPTION = """Train a method on one data set and test it on others.

  python benchmarks/run.py --method geodtr_plus --train cvusa --test cvact
  python benchmarks/run.py --method geodtr_plus --train synth-suburb --test synth-suburb synth-downtown
"""
VERBS = """usage: geodtr VERB ...

verbs:
  run           train and test a method
  compare       train and test several methods, or variants of one, over seeds
  ablations     the tables of the GeoDTR+ paper
  models        what there is: papers, sizes, published numbers, where the authors keep weights
  export        a trained model as a folder that anyone can load, or as a program of torch.export
  data check    look at a data set on disk for all that is known to go wrong
  data write    write tiles and photos of a synthetic city into a folder, to try the next two on
  index build   embed a folder of aerial tiles, or of photos with known places, to search in
  locate        where was this photo taken?

geodtr VERB --help says more."""
COMMANDS = {  # verb -> module beside this one, function
    "ablations": ("ablations", "ablations_command"),
    "compare": ("compare", "compare_command"),
    "data": ("data_check", "data_command"),
    "export": ("export_command", "export_command"),
    "index": ("index_command", "index_command"),
    "locate": ("locate_command", "locate_command"),
    "models": ("models_command", "models_command"),
}
SHORTCUTS = {  # option -> the setting that it stands for
    "epochs": "optim.epochs", "batch_size": "optim.batch_size", "micro_batch": "optim.micro_batch", "lr": "optim.lr",
    "precision": "optim.precision", "compile": "optim.compile", "chsg": "augment.chsg", "layout": "augment.layout",
    "semantic": "augment.semantic", "fov": "view.fov", "miner": "loss.miner", "sampler": "sampling.name",
}  # fmt: skip
MODEL_SHORTCUTS = ("backbone", "polar")
SAME_IN_CONFIG = (  # options that RunConfig takes as they are
    "method", "train", "data_root", "limit", "skip_corrupt", "cache", "device", "seed", "workers", "threads",
    "init_weights", "out",
)  # fmt: skip
RESUMABLE = ("data_root", "device", "workers", "threads")  # what a resumed run may set anew


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script `geodtr`: the first word is the verb."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(VERBS)
        return 0 if argv else 2
    verb, rest = argv[0], argv[1:]
    if verb == "run":
        return run_command(rest)
    if verb not in COMMANDS:
        return complain(UnknownNameError("verb", verb, ("run", *COMMANDS)))
    module, function = COMMANDS[verb]
    return getattr(importlib.import_module(f"{__package__}.{module}"), function)(rest)


def run_command(argv: Sequence[str] | None = None) -> int:
    """`benchmarks/run.py`: exit code 0, or 1 after a sentence that says what was wrong (130 after Ctrl-C)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    # OpenMP threads wait by spinning, which makes a step three times slower as soon as another program wants a core;
    # so few turns cost nothing on an idle machine
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    resumes = any(word.split("=")[0] == "--resume" for word in argv)
    return guarded(lambda: _resume(argv) if resumes else _run(argv), argv)


def _run(argv: Sequence[str]) -> int:
    config, settings = parse_run(argv)
    from ..utils import distributed
    from .runner import run

    run(config, settings=settings, command=argv)
    distributed.leave()
    return 0


def _resume(argv: Sequence[str]) -> int:
    options = parse(_resume_parser(), argv)
    from ..utils import distributed
    from .runner import resume

    resume(Path(options.resume), **{name: options[name] for name in RESUMABLE})
    distributed.leave()
    return 0


def parse_run(argv: Sequence[str]) -> tuple[RunConfig, str]:
    """Command line words -> what to run, and the full settings as YAML that `--config` reads back."""
    argv = named_loss(argv)
    known = _first_look(argv)
    help_only = "-h" in argv or "--help" in argv
    name = known.recipe if known.recipe != "auto" else recipe_for(known.train)
    # a run's weights bring its recipe with them, unless one is asked for
    weights = known.init_weights if known.recipe == "auto" else None
    base = Recipe() if help_only else _base_recipe(known.method, name, weights)
    parser = _run_parser(base)
    options = parse(parser, argv)
    config = _to_config(options, base, name)
    # a settings file names every value of one stage
    later = () if known.config else _later_stages(argv, known.method, config.recipe)
    return replace(config, later=later), parser.dump(options, skip_none=False)


def _later_stages(argv: Sequence[str], method: str, recipe: Recipe) -> tuple[tuple[str, Recipe], ...]:
    """The stages after a recipe; what the command line says holds for all of them."""
    stages = []
    while recipe.then and recipe.optim.epochs:
        name = recipe.then
        base = _base_recipe(method, name, None)
        recipe = _to_recipe(parse(_run_parser(base), argv), base)
        stages.append((name, recipe))
    return tuple(stages)


def named_loss(argv: Sequence[str]) -> list[str]:
    """`--loss NAME` as `--loss.name NAME`: by itself, --loss takes a whole group of settings."""
    words = list(argv)
    for i, word in enumerate(words):
        option, _, value = word.partition("=")
        given = value or "".join(words[i + 1 : i + 2])
        if option == "--loss" and not given.startswith("{"):
            words[i] = word.replace("--loss", "--loss.name", 1)
    return words


def recipe_for(train: str | None) -> str:
    """Name of the recipe that fits a training set: by its scale, and by whether cameras stand at the tiles' centres."""
    if train is None:
        return "paper"
    facts = facts_of(train)
    return facts.scale if facts.centred else f"{facts.scale}_offset"


def _base_recipe(method: str, name: str, init_weights: str | None) -> Recipe:
    """The method's recipe of that name, or that of the run whose weights are to be used."""
    if init_weights is not None and Path(init_weights).is_dir():
        from .run_folder import RunFolder

        run = RunFolder.existing(init_weights).config()
        if run.method != method:
            raise UserError(f"{init_weights} is a run of {run.method}, not of {method}. Add --method {run.method}.")
        return run.recipe
    from ..methods import method_class

    recipes = method_class(method).recipes
    if name not in recipes:
        raise UnknownNameError(f"recipe of {method}", name, recipes)
    return recipes[name]


def _first_look(argv: Sequence[str]) -> Namespace:
    """The few words on which the defaults of all others depend."""
    from argparse import ArgumentParser as PlainParser

    parser = PlainParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--method", default="geodtr_plus")
    parser.add_argument("--recipe", default="auto")
    parser.add_argument("--train")
    parser.add_argument("--init-weights")
    parser.add_argument("--config")
    known, _ = parser.parse_known_args(argv)
    if known.config:
        import yaml

        if not Path(known.config).is_file():
            raise UserError(f"There is no settings file {known.config}.")
        parser.set_defaults(**{k: v for k, v in yaml.safe_load(Path(known.config).read_text()).items() if k in known})
        known, _ = parser.parse_known_args(argv)
    return known


def _run_parser(base: Recipe) -> ArgumentParser:
    parser = make_parser("run.py", RUN_DESCRIPTION)
    parser.add_argument("--config", action="config", help="settings file, such as the recipe.yaml of a run folder")
    add = parser.add_argument
    add("--method", default="geodtr_plus", help=f"one of: {', '.join(list_methods())}")
    add("--recipe", default="auto", help="paper, paper_offset, laptop, laptop_offset; auto chooses by --train")
    add("--train", type=str | None, help=f"data set to train on, one of: {', '.join(list_datasets())}")
    add("--test", type=str, nargs="+", help="data sets to test on; the one trained on if not given")
    add("--data", type=dict[str, Any], default={}, help="options of the data sets' loaders, as --data.count 800")
    add("--data-root", type=str | None, help="folder that holds the data sets (else the variable GEODTR_DATA)")
    add("--allow-partial", action="store_true", help="go on without pairs whose files are missing; the results say so")
    add("--skip-corrupt", action="store_true", help="leave out images that cannot be decoded; the results name them")
    add("--cvact-rule", type=Literal["5m", "identity"] | None, help="what counts as right on cvact-test")
    add("--cache", action="store_true", help="keep resized images on disk, for later epochs and runs")
    add("--limit", type=int | None, help="keep the first N pairs of each data set")
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
    add("--backbone", type=str | None, help="as --model.backbone: convnext_tiny, resnet34, tiny, or a name of timm")
    add("--precision", type=Literal["fp32", "bf16"] | None, help="as --optim.precision")
    compiles = ActionYesNo(yes_prefix="", no_prefix="no-")
    add("--compile", action=compiles, default=None, help="as --optim.compile: faster steps on GPUs after some minutes")
    weights_help = "start from a weights file (ours or the authors') or from a run"
    add("--init-weights", "--init_weights", type=str | None, help=weights_help)
    add("--resume", type=str | None, help="continue the run in this folder with its own settings")
    add("--out", type=str | None, help="folder of the run; one below runs/ if not given")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add("--seed", type=int, default=0)
    add("--workers", type=int | None, help="processes that load images; chosen by the machine if not given")
    add("--threads", type=int | None, help="threads of torch on the CPU")
    add("--debug", action="store_true", help="show the traceback of errors")
    model = {name: list(value) if isinstance(value, tuple) else value for name, value in base.model.items()}
    add("--model", type=dict[str, Any], default=model, help="options of the method, as --model.descriptors 6")
    for name, part in PARTS.items():
        parser.add_argument(f"--{name}", type=part, default=getattr(base, name))
    return parser


def _resume_parser() -> ArgumentParser:
    parser = make_parser("run.py --resume RUN", "Continue an interrupted run from its last complete epoch.")
    parser.add_argument("--resume", type=str, required=True, help="folder of the run")
    parser.add_argument("--data-root", type=str | None)
    parser.add_argument("--device", type=str | None)
    parser.add_argument("--workers", type=int | None)
    parser.add_argument("--threads", type=int | None)
    parser.add_argument("--debug", action="store_true")
    return parser


def _to_config(options: Namespace, base: Recipe, recipe_name: str) -> RunConfig:
    recipe = _to_recipe(options, base)
    if options.train is None and not options.test:
        raise UserError("Nothing to do: name a data set with --train, or one or more with --test.")
    if options.train is None and recipe.optim.epochs:
        raise UserError("--train is missing. To evaluate without training, give --epochs 0 and --init-weights.")
    data = dict(options.data)
    if options.allow_partial:
        data["allow_partial"] = True
    if options.cvact_rule:
        data["rule"] = options.cvact_rule
    tests = tuple(options.test or [options.train])
    same = {name: options[name] for name in SAME_IN_CONFIG}
    return RunConfig(recipe=recipe, recipe_name=recipe_name, test=tests, data=data, **same)


def _to_recipe(options: Namespace, base: Recipe) -> Recipe:
    """The recipe's parts as given, then the shortcuts."""
    parts = {name: part(**options[name]) for name, part in PARTS.items()}
    recipe = replace(base, model=options.model, **parts)
    for option, setting in SHORTCUTS.items():
        if options[option] is not None:
            part, name = setting.split(".")
            recipe = recipe.but(**{part: {name: options[option]}})
    given = {name: options[name] for name in MODEL_SHORTCUTS if options[name] is not None}
    if "polar" in given and recipe.model.get("reference_size") == base.model.get("reference_size"):
        # the base recipe's size belongs to its own kind of aerial image; the method has one for the other kind
        recipe = replace(recipe, model={k: v for k, v in recipe.model.items() if k != "reference_size"})
    return recipe.but(model=given)
