"""`geodtr index build`: the references of a city, embedded and ready to be searched."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser

from ..utils.console import complain, guarded, make_parser, parse
from ..utils.errors import UnknownNameError

if TYPE_CHECKING:
    from ..search.building import Summary

DESCRIPTION = """Embed aerial tiles (or photos) with a run's model, for geodtr locate.

  geodtr index build --run runs/my_run --references tiles/ -o city.index
  geodtr index build --run runs/my_run --references places.csv -o city.index --kind ivf --dtype float16
  geodtr index build --run runs/my_run --references north/ -o north.index --cells city.index

References are a folder, searched to its last subfolder, or a table file,lat,lon. Coordinates come from the table, else
from the images' GPS, else, if asked, from their names. What is interrupted goes on where it was with the same command.
Cells are learned from a sample, on the GPU where faiss sees one; --cells takes those of another index, so that many
hosts can each build a part of a large gallery. geodtr locate searches the parts as one.
Exit code 0 if anything could be indexed, else 1; what was left out is named.
"""
MOST_SHOWN = 20  # of the images that were left out


def index_command(argv: Sequence[str]) -> int:
    """What follows `geodtr index`; the exit code."""
    verbs: dict[str, Callable[[Sequence[str]], int]] = {"build": build_command}
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: geodtr index VERB ...\n\nverbs:\n  build    embed references (geodtr index build --help)")
        return 0 if argv else 2
    if argv[0] not in verbs:
        return complain(UnknownNameError("verb of 'index'", argv[0], verbs))
    return verbs[argv[0]](argv[1:])


def build_command(argv: Sequence[str]) -> int:
    """`geodtr index build`: 0 when something was indexed, 1 after a sentence that says what was wrong."""
    return guarded(lambda: _build_and_tell(argv), argv)


def build_parser() -> ArgumentParser:
    """The options of the command."""
    parser = make_parser("geodtr index build", DESCRIPTION)
    add = parser.add_argument
    add("--run", type=str, required=True, help="run folder with the model")
    add("--references", type=str, required=True, help="folder of images, or table file,lat,lon (.csv)")
    add("-o", "--out", type=str, required=True, help="the index: a folder that is made")
    add("--kind", type=Literal["auto", "flat", "ivf", "ivfpq"], default="auto",
        help="flat is exact; ivf and ivfpq are approximate; auto is flat below 50,000 references")  # fmt: skip
    add("--nlist", type=int | None, help="cells of an approximate index; 4 sqrt(N) if not given")
    add("--nprobe", type=int | None, help="cells that a search looks at; a sixteenth of them if not given")
    add("--cells", type=str | None, help="index whose cells are taken, with their kind and number; none are learned")
    add("--dtype", type=Literal["float32", "float16"], default="float32", help="of the stored vectors")
    add("--names", type=Literal["none", "lat_lon", "lon_lat"], default="none",
        help="read coordinates from names that end with them, such as tile_48.13743_11.57549.png")  # fmt: skip
    add("--batch-size", type=int, default=64, help="images that the network takes at once")
    add("--device", type=str, default="auto", help="auto, cpu, cuda or mps")
    add("--workers", type=int, default=0, help="processes that decode images; 0 decodes in this one")
    add("--threads", type=int | None, help="of torch on the CPU")
    add("--overwrite", action="store_true", help="replace an index, or an unfinished one of other settings")
    add("--debug", action="store_true", help="show the traceback of errors")
    return parser


def _build_and_tell(argv: Sequence[str]) -> int:
    options = parse(build_parser(), argv)
    prepare(options.threads)
    from ..search.building import build_index

    summary = build_index(
        options.run, options.references, options.out, kind=options.kind, nlist=options.nlist, nprobe=options.nprobe,
        dtype=options.dtype, names=options.names, batch_size=options.batch_size, device=options.device,
        workers=options.workers, overwrite=options.overwrite, cells=options.cells,
    )  # fmt: skip
    _tell(summary, options.names)
    return 0


def prepare(threads: int | None) -> None:
    """What a command that runs a network sets for its process."""
    # as in `run`: OpenMP threads wait by spinning, which is slow as soon as another program wants a core
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    import torch

    from ..utils.malloc import keep_freed_memory

    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)


def _tell(summary: Summary, names: str) -> None:
    """Faults first, the result last."""
    from ..search.photos import shown

    tell_left_out(summary.left_out)
    for note in summary.notes:
        print(note, file=sys.stderr)
    if summary.without_position:
        hint = " --names reads coordinates from files' names." if names == "none" else ""
        without = f"{summary.without_position:,} of {summary.count:,} references"
        print(f"{without} have no coordinates.{hint}", file=sys.stderr)
    if summary.resumed_at:
        print(f"Continued an interrupted build after {summary.resumed_at:,} images.", file=sys.stderr)
    left_out = f", {len(summary.left_out):,} left out" if summary.left_out else ""
    print(f"{shown(summary.path)}: {summary.count:,} references indexed ({summary.kind}){left_out}.")


def tell_left_out(left_out: Sequence[tuple[str, str]]) -> None:
    """A line for each of the first images that could not be used."""
    from ..search.photos import shown

    for name, reason in left_out[:MOST_SHOWN]:
        print(f"Left out: {shown(name)} {reason}.", file=sys.stderr)
    if len(left_out) > MOST_SHOWN:
        print(f"Left out: {len(left_out) - MOST_SHOWN:,} more.", file=sys.stderr)
