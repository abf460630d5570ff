"""How well the headings of queries are told: where their centres look, in degrees clockwise from north."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..utils.npy_rows import take_rows
from .ranking import Ranks
from .truth import Truth

if TYPE_CHECKING:
    from ..distances import HeadingDistance

WITHIN = (5, 10)  # degrees, whose shares of queries are told
ROWS = 256  # pairs that are looked at at once: of 64 headings with 4,096 entries each, 256 MiB


@dataclass(frozen=True, eq=False)
class Headings:
    """Headings of queries in degrees from 0 to 360, float64 `[N]` each.

    Args:
        found: relative to the best positive; NaN for a query whose gallery holds none.
        true: as they are.
    """

    found: np.ndarray
    true: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """By how many degrees each was missed, on the shorter way round: 0 to 180, `[N]`, or NaN."""
        return np.abs((self.found - self.true + 180) % 360 - 180)

    def take(self, rows: np.ndarray) -> Headings:
        """Return those of some queries (indices `[n]`)."""
        return Headings(self.found[rows], self.true[rows])

    def summarise(self, ranks: Ranks) -> dict[str, float]:
        """Return `heading_median_error` in degrees, and `heading_within_5` and `_10`, in percent of the queries.

        `heading_within_5_of_hits` and `_10_of_hits` are the shares among those whose first reference is right. Queries
        without a right reference in the gallery do not count; a number of no query is left out.

        Args:
            ranks: of the same queries.
        """
        errors, hit = self.errors[ranks.found], (ranks.plain < 1)[ranks.found]
        if not len(errors):
            return {}
        shares = {"": errors, **({"_of_hits": errors[hit]} if hit.any() else {})}
        return {"heading_median_error": round(float(np.median(errors)), 4)} | {
            f"heading_within_{degrees}{suffix}": round(100 * float(np.mean(some <= degrees + 1e-6)), 4)
            for suffix, some in shares.items()
            for degrees in WITHIN
        }


@torch.no_grad()
def find_headings(
    query: Tensor, reference: Tensor, truth: Truth, distance: HeadingDistance, device: torch.device | str | None = None
) -> np.ndarray:
    """Return the heading of each query relative to its best positive, in degrees, float64 `[N]`; NaN without one.

    Args:
        query: `[N, Dq]`.
        reference: `[M, Dr]`.
        truth: the right answers.
        distance: how the two are compared.
        device: where to compute; by default where `query` is.
    """
    device = query.device if device is None else torch.device(device)
    rows, columns = truth.positives.rows(), truth.positives.values
    found = np.full(len(query), np.nan)
    best = _of_pairs(distance.pair_similarities, query, rows, reference, columns, device)
    order = np.lexsort((columns, -best, rows))
    order = order[np.unique(rows[order], return_index=True)[1]]
    found[rows[order]] = _of_pairs(distance.headings, query, rows[order], reference, columns[order], device) % 360
    return found


def _of_pairs(
    function: Callable[[Tensor, Tensor], Tensor], query: Tensor, rows: np.ndarray, reference: Tensor,
    columns: np.ndarray, device: torch.device,
) -> np.ndarray:  # fmt: skip
    """Return what a function says of embeddings by row, of queries `rows` and references `columns`, float64 `[T]`."""
    parts = [np.empty(0)]
    for start in range(0, len(rows), ROWS):
        part = slice(start, start + ROWS)
        both = (take_rows(x, some[part]).to(device) for x, some in ((query, rows), (reference, columns)))
        parts.append(function(*both).double().cpu().numpy())
    return np.concatenate(parts)
