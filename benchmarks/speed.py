"""How fast the package is beside its peers, and how little memory it takes: `python benchmarks/speed.py --help`.

    loss          our soft-margin triplet loss against PML's TripletMarginLoss over all triplets
    evaluation    exact ranks against the bare matrix product and PML's AccuracyCalculator
    distance      exact ranks by DSM's distance against the bare products of its Fourier form
    augmentation  CHSG with layouts and colours on a batch, against the authors' transforms image by image
    launches      operations that a GPU has to start in a step, against plain PyTorch's; counted on any machine
    step          a training step of GeoDTR+ in bf16 and channels last, against plain fp32
    loader        from JPEG files to a CHSG batch on one core, against the authors' way
    compiled      the step compiled, which takes minutes, against the step as it is; on a GPU

The peers are built here from public libraries. What is compared takes turns, and medians are shown; rows come as they
are measured. With one thread on a CPU, times are those of the thread's CPU, so that other programs disturb little.
Memory is the growth of the peak that the system, or the GPU's allocator, saw. `ratio` says how many times faster ours
is, or how many times less it takes.
Figures with their dates: docs/benchmarks.
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

PARTS = ("launches", "loss", "evaluation", "distance", "augmentation", "step", "loader", "compiled")
SIZES = ("miniature", "small", "real")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the parts that the command line names, print a row as soon as it is measured, and return 0."""
    options = parse(arguments)
    os.environ.update(dict.fromkeys(THREADS, str(options.threads)))  # before numpy and torch start
    from speed_parts import table
    from speed_parts.bench import Bench

    bench = Bench(options.device, options.size, options.threads, options.rounds)
    print(table.heading(bench))
    rows = []
    for part in options.what:
        for row in importlib.import_module(f"speed_parts.{part}").measure(bench):
            print(row.line(), flush=True)
            rows.append(row)
    if options.csv:
        table.write(rows, bench, options.csv)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--what", type=parts, default=PARTS, help=f"parts, of {','.join(PARTS)}; by default all")
    add("--device", default="auto", help="cpu, cuda or auto: a GPU where there is one")
    add("--size", choices=SIZES, help="by default small on a CPU, and real on a GPU; miniature only tries the script")
    add("--threads", type=int, default=1, help="threads on a CPU")
    add("--rounds", type=int, help="how often each thing is measured; by default 3 to 51, by its cost")
    add("--csv", type=Path, help="also write the table to this file, in seconds and bytes")
    return parser.parse_args(arguments)


def parts(words: str) -> tuple[str, ...]:
    """Return the parts that a comma-separated list names, in the order of the table."""
    named = [word.strip() for word in words.split(",")]
    unknown = sorted(set(named) - set(PARTS))
    if unknown:
        raise argparse.ArgumentTypeError(f"no part is called {', '.join(unknown)}: take {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in named)


if __name__ == "__main__":
    sys.exit(main())
