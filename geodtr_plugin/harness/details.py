"""What became of the queries of a test set, one by one, and the table of it in a run folder."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..datasets import Split
from ..evaluation import Headings, Ranks
from ..utils.files import write_text
from ..utils.visible import csv_cell


@dataclass(frozen=True)
class Details:
    """What became of the queries of a test set, one by one.

    Args:
        ranks: of all queries.
        wrong: the most similar reference that is neither right nor ignored, int `[N]`; -1 where there is none.
        wrong_similarity: its cosine, float32 `[N]`.
        examples: some queries, rows `[E]`, and their most similar references, best first, `[E, K]`.
        headings: where the queries look, and where the model finds that they do; None where it cannot tell.
    """

    ranks: Ranks
    wrong: np.ndarray
    wrong_similarity: np.ndarray
    examples: tuple[np.ndarray, np.ndarray]
    headings: Headings | None = None


def write_ranks(file: Path, split: Split, details: Details) -> None:
    """Write a line a query: its id, rank (1 is the top), the right reference's similarity, the best wrong reference.

    Where the model tells headings: also where the query looks by its right reference, and where it does, in degrees.
    Empty cells: the gallery holds no right reference, or no wrong one. An id that a spreadsheet would compute gets a
    `'` before it, see `csv_cell`.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    told = [] if details.headings is None else ["heading", "true_heading"]
    writer.writerow(["query", "rank", "similarity", "wrong", "wrong_similarity", *told])
    ranks = details.ranks
    for row, query in enumerate(split.queries.ids):
        right = [int(ranks.plain[row]) + 1, f"{ranks.similarity[row]:.6f}"] if ranks.found[row] else ["", ""]
        wrong = int(details.wrong[row])
        other = [split.references.ids[wrong], f"{details.wrong_similarity[row]:.6f}"] if wrong >= 0 else ["", ""]
        looks = [_degrees(getattr(details.headings, name)[row]) for name in ("found", "true") if told]
        writer.writerow(map(csv_cell, [query, *right, *other, *looks]))
    write_text(file, lines.getvalue())


def _degrees(heading: float) -> str:
    return "" if np.isnan(heading) else f"{heading:.2f}"
