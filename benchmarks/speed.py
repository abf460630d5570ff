"""How fast the package is beside its peers, and how little memory it takes: `python benchmarks/speed.py --help`.

    loss          our dense soft-margin triplet loss against PML's TripletMarginLoss over all triplets
    evaluation    exact ranks against the bare matrix product, the authors' rule and PML's AccuracyCalculator
    augmentation  batched CHSG against the authors' torchvision transforms, image by image
    step          a training step of GeoDTR+ in bf16, channels last and compiled, against plain fp32
    micro-batch   a large batch embedded piece by piece against the plain step
    epoch         an epoch from JPEG files: how much of it the device computes, and which side waits for the other
    start         how long `--help` and `import geodtr_plugin` take

The peers are built here from public libraries. Two things that are compared take turns, and medians are shown; with one
thread on a CPU, times are those of the thread's CPU, so that other programs disturb little. Memory is the growth of the
peak that the system (or the GPU's allocator) saw, on a CPU in a process of its own. `ratio` says how many times faster
ours is where the floor says "at least", else how many times as much it takes.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout runs without being installed
sys.path.insert(0, str(Path(__file__).resolve().parent))  # and so does an import of this script

PARTS = ("loss", "evaluation", "augmentation", "step", "micro-batch", "epoch", "start")
SIZES = ("miniature", "small", "real")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; 1 where a floor is missed and `--strict` was given."""
    options = parse(arguments)
    os.environ.update(dict.fromkeys(THREADS, str(options.threads)))  # before numpy and torch start
    from speed_parts import rows
    from speed_parts.measure import Bench

    bench = Bench(options.device, options.size, options.threads, options.rounds)
    measured = []
    print(rows.heading(bench))
    for name in options.what:
        for row in importlib.import_module(f"speed_parts.{name.replace('-', '_')}").measure(bench):
            measured.append(row)
            print(row.line(), flush=True)
    print(rows.notes(measured), end="")
    if options.csv:
        rows.write(measured, bench, options.csv)
    return int(options.strict and any(row.met is False for row in measured))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", type=parts, default=PARTS, help=f"parts, of {','.join(PARTS)}; by default all")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto: a GPU where there is one")
    parser.add_argument(
        "--size", choices=SIZES,
        help="by default small on a CPU and real on a GPU; the floors are about real; miniature only tries the script",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, help="threads on a CPU")
    parser.add_argument("--rounds", type=int, help="how often each thing is measured; by default 3 to 7, by its cost")
    parser.add_argument("--csv", type=Path, help="also write the table to this file")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a floor is missed")
    return parser.parse_args(arguments)


def parts(words: str) -> tuple[str, ...]:
    """The parts that a comma-separated list names, in the order of the table."""
    named = [word.strip() for word in words.split(",")]
    unknown = set(named) - set(PARTS)
    if unknown:
        raise argparse.ArgumentTypeError(f"no part is called {', '.join(sorted(unknown))}: take {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in named)


if __name__ == "__main__":
    sys.exit(main())
