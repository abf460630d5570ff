"""`benchmarks/real_pairs.py`: what to expect of a trained model on one's own places, from a few pairs."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jsonargparse import ArgumentParser, Namespace

from ..utils.console import add_common_options, guarded, make_parser, parse_and_import, prepare_torch, say
from ..utils.errors import UserError

if TYPE_CHECKING:
    from ..datasets.base import Split
    from ..evaluation import Ranks
    from ..search.embedder import RunRecord
    from ..search.zero_shot import Outcome

DESCRIPTION = """Measure trained models on pairs of one's own, panoramas and tiles around them, without more training.

  python benchmarks/real_pairs.py my_city                                    # the weights that come with the package
  python benchmarks/real_pairs.py my_city --model runs/a runs/b/last.safetensors --test-scales 1.0 0.8 0.65 0.5
  python benchmarks/real_pairs.py my_city --model runs/my_run --panorama-rows 0.25 0.75

The folder holds queries/ (panoramas, north in the middle) and references/ (square tiles, north up, the camera in the
middle). Images of the same name are pairs; or a table says which are, as for the data set folder:PATH.
Rank 0 is the top and 1 the end of the gallery. The eight layouts are each tile turned by quarters and mirrored: real
pixels, wrong places. Intervals are of 95 %.
"""
RESULTS = "real_pairs.json"


class Found(NamedTuple):
    """What a model found at one scale of the tiles, and the scores of that."""

    model: str
    record: RunRecord
    outcome: Outcome
    scores: dict[str, Any]


def real_pairs_command(argv: Sequence[str] | None = None) -> int:
    """Run `benchmarks/real_pairs.py`; return 0, or 1 after a sentence that says what was wrong."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _real_pairs(argv), argv)


def real_pairs_parser() -> ArgumentParser:
    """Return the options of `benchmarks/real_pairs.py`."""
    parser = make_parser("real_pairs.py", DESCRIPTION)
    add = parser.add_argument
    add("folder", type=str, help="folder of pairs")
    add("--model", type=str, nargs="+", default=["worlds"],
        help="run folders, exported ones, files of weights in them, or worlds, the package's own")  # fmt: skip
    add("--test-scales", type=float, nargs="+", default=[1.0],
        help="parts of the tiles' side that models see, a row of the table each: 0.5 is half the metres")  # fmt: skip
    add("--panorama-rows", type=float, nargs=2, default=[0.0, 1.0],
        help="the part of the panoramas' height that models see: 0.25 0.75 is the middle half")  # fmt: skip
    add("--out", type=str | None, help="folder of the results and pictures; runs/real-pairs-FOLDER if not given")
    add("--batch-size", type=int, default=64, help="images that the network takes at once")
    add("--seed", type=int, default=0, help="of the intervals of ranks")
    add_common_options(parser, "import", "device", "threads", "debug")
    return parser


def _real_pairs(argv: Sequence[str]) -> int:
    options = parse_and_import(real_pairs_parser(), argv)
    _check(options)
    prepare_torch(options.threads)
    from ..search.embedder import Embedder
    from ..search.zero_shot import find_pairs
    from ..search.zero_shot_scores import chance_of, outcome_scores, tables

    split = read_pairs(options.folder, options.panorama_rows)
    say(f"{split.layout}; {len(split.queries):,} queries, {len(split.references):,} tiles", error=True)
    records = {name: read_record(name) for name in options.model}  # a wrong name is told before any work
    found = []
    for name, record in records.items():
        embedder = Embedder.load(record, options.device)
        if embedder.model.distance is not None:
            raise UserError(
                f"{name} compares images at all headings by itself, and cannot tell a tile from a turned one.",
                "Measure it with run.py --epochs 0.",
            )
        outcomes = find_pairs(embedder, split, options.test_scales, options.batch_size)
        found += [Found(name, record, outcome, outcome_scores(outcome, options.seed)) for outcome in outcomes]
    chance = chance_of(split.truth.positives.counts(), len(split.references))
    say(tables([(row.model, row.outcome.scale, row.scores) for row in found], chance, len(split.references)))
    _write(options, split, found, chance)
    return 0


def _check(options: Namespace) -> None:
    if options.batch_size < 1 or options.seed < 0:
        raise UserError("--batch-size must be 1 at least, and --seed 0.")
    wrong = [scale for scale in options.test_scales if not 0 < scale <= 1]
    if wrong:
        remedy = "Give parts of the tiles' side, above 0 and at most 1: nothing lies around a tile."
        raise UserError(f"--test-scales has {wrong[0]:g}.", remedy)
    for option in ("model", "test_scales"):
        options[option] = list(dict.fromkeys(options[option]))


def read_pairs(folder: str, rows: Sequence[float]) -> Split:
    """Return all pairs of a folder, with cameras at the centres of their tiles.

    Raises:
        UserError: the folder says that its cameras stand elsewhere, or has too few tiles to search among.
    """
    from ..datasets import load_split
    from ..datasets.folder import STATEMENT, says_centred

    path = Path(folder).expanduser()
    if (path / STATEMENT).is_file() and not says_centred(path):
        remedy = "Where they stand elsewhere, measure with run.py --epochs 0."
        raise UserError(f"{path / STATEMENT} says that cameras are not at the centres of their tiles.", remedy)
    split = load_split(f"folder:{path.absolute()}", "test", centred=True, test_share=1.0, panorama_rows=rows)
    if len(split.references) < 2:
        raise UserError(f"{folder} has one tile, which any model finds.", "Add pairs, or tiles without a query.")
    return split


def read_record(name: str) -> RunRecord:
    """Return the record of a model: a run folder or an exported one, or a file of weights in one."""
    from ..search.embedder import RunRecord

    path = Path(name).expanduser()
    return RunRecord.read(path.parent, path.name) if path.suffix == ".safetensors" else RunRecord.read(name)


def _write(options: Namespace, split: Split, found: Sequence[Found], chance: dict[str, Any]) -> None:
    """Write the results, then a picture of each model at its first scale."""
    from ..search.zero_shot_sheet import draw_sheet
    from ..utils.figures import failing_with_a_warning
    from ..utils.files import write_json

    out = Path(options.out or Path("runs") / f"real-pairs-{_plain(Path(options.folder).resolve().name)}")
    write_json(out / RESULTS, results_of(options, split, found, chance))
    written = [str(out / RESULTS)]
    drawn = [row for row in found if row.outcome.scale == options.test_scales[0]]
    for number, row in enumerate(drawn, start=1):
        file = out / f"{number}-{_plain(row.model)}.png"
        with failing_with_a_warning(f"The picture {file}"):
            title = f"{row.model}, tiles at {100 * row.outcome.scale:.4g} % (green: the right one)"
            shown = draw_sheet(split, row.outcome, title, file)
            part = f" (the first {shown} of {len(split.queries):,})" if shown < len(split.queries) else ""
            written.append(f"{file}{part}")
    say(f"\nWritten: {', '.join(written)}")


def results_of(options: Namespace, split: Split, found: Sequence[Found], chance: dict[str, Any]) -> dict[str, Any]:
    """Return the content of real_pairs.json: shares in percent, normalised ranks from 0 to 1, ranks from 1."""
    return {
        "folder": str(Path(options.folder).absolute()),
        "layout": split.layout,
        "fingerprint": split.fingerprint(),
        "queries": len(split.queries),
        "tiles": len(split.references),
        "panorama_rows": list(options.panorama_rows),
        "seed": options.seed,
        "chance": chance,
        "rows": [
            {"model": row.model, "weights": row.record.weights, "sha256": row.record.sha256,
             "method": row.record.model["method"], "scale": row.outcome.scale, **row.scores,
             "ranks": _by_query(split, row.outcome)}
            for row in found
        ],
    }  # fmt: skip


def _by_query(split: Split, outcome: Outcome) -> list[dict[str, Any]]:
    """Return the ranks of each query, from 1; none where no tile is right."""

    def ranks_of(ranks: Ranks) -> list[int | None]:
        return [int(rank) + 1 if found else None for rank, found in zip(ranks.plain, ranks.found)]

    columns = zip(split.queries.ids, ranks_of(outcome.ranks), ranks_of(outcome.turned), outcome.own.tolist())
    names = ("query", "rank", "rank_among_layouts", "own_layout_found")
    return [dict(zip(names, column)) for column in columns]


def _plain(name: str) -> str:
    """Return a name for files: letters, digits, dots and lines of it."""
    return re.sub("[^A-Za-z0-9_.-]+", "-", name).strip("-.")[-60:] or "model"
