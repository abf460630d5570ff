"""The options of `run.py`, whose defaults are a recipe's; `options` makes a run of what they say."""

from __future__ import annotations

from typing import Any, Literal

from jsonargparse import ActionYesNo, ArgumentParser

from ..datasets import list_datasets
from ..methods import PARTS, Recipe, list_methods
from ..utils.console import add_common_options, make_parser

DESCRIPTION = """Train a method on one data set or several, and test it on others.

  python benchmarks/run.py --method geodtr_plus --train cvusa --test cvact
  python benchmarks/run.py --method geodtr_plus --train synth-suburb --test synth-suburb synth-downtown
  python benchmarks/run.py --method geodtr_plus --train 'synth-*' --test synth-suburb --shares 2 1 1 1
"""
NO_DEFAULTS = """Defaults of a recipe's options (--model, --augment ... --evaluation) depend on method and training set:
  python benchmarks/run.py --method METHOD --train DATA_SET --help
"""
ALIASES = {  # option -> the setting that it stands for
    "epochs": "optim.epochs", "batch_size": "optim.batch_size", "micro_batch": "optim.micro_batch", "lr": "optim.lr",
    "precision": "optim.precision", "compile": "optim.compile", "chsg": "augment.chsg", "layout": "augment.layout",
    "semantic": "augment.semantic", "fov": "view.fov", "headings": "view.headings",
    "miner": "loss.miner", "sampler": "sampling.name", "backbone": "model.backbone", "polar": "model.polar",
}  # fmt: skip


def run_parser(base: Recipe | None) -> ArgumentParser:
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
    add("--train", type=str, nargs="+",
        help="data sets to train on, or a pattern as synth-*, whose * stays between hyphens; there are: "
        f"{', '.join(list_datasets())}")  # fmt: skip
    add("--shares", type=float, nargs="+",
        help="of several training sets, how much of every batch each gets, in any unit; by their pairs if not given")
    add("--test", type=str, nargs="+", help="data sets to test on; those trained on if not given")
    add("--data", type=dict[str, Any], default={}, help="options of the data sets' loaders, as --data.count 800")
    add("--data-root", type=str | None, help="folder that holds the data sets (else the variable GEODTR_DATA)")
    add("--allow-partial", action="store_true", help="go on without pairs whose files are missing; the results say so")
    add("--skip-corrupt", action="store_true", help="leave out images that cannot be decoded; the results name them")
    add("--cvact-rule", type=Literal["5m", "identity"] | None, help="what counts as right on cvact-test")
    add("--cache", action="store_true", help="keep resized images on disk, for later epochs and runs")
    add("--limit", type=int | None, help="keep the first N pairs of each data set")
    add("--train-limit", type=int | None, help="keep the first N pairs of each training set; tests stay whole")


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
    add("--headings", type=int | None,
        help="as --view.headings: how many headings tests try for every query; the best counts")  # fmt: skip
    add("--backbone", type=str | None,
        help="as --model.backbone: convnext_tiny, resnet34, a name of timm, or tiny, which is for images of about "
        "32x88: of large ones it leaves many positions (stride 8), and masks grow by their square")  # fmt: skip
    add("--precision", type=Literal["fp32", "bf16"] | None, help="as --optim.precision")
    compiles = ActionYesNo(yes_prefix="", no_prefix="no-")
    add("--compile", action=compiles, default=None, help="as --optim.compile: for long GPU trainings; takes minutes")


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
