"""The most similar references of every query, found tile by tile in bounded memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..utils.ragged import Ragged, as_int64
from .similarity import plain_float32

ROWS, COLUMNS = 1024, 16_384  # of a tile: 64 MiB of similarities; narrower tiles cost more sorting


@torch.no_grad()
def most_similar(
    query: Tensor | np.ndarray,
    reference: Tensor | np.ndarray,
    count: int,
    candidates: np.ndarray | None = None,
    left_out: Ragged | None = None,
) -> np.ndarray:
    """The references of highest cosine similarity to each query, computed in float32 where `query` is.

    Args:
        query: `[N, D]`, any floating type, any norm. A row with NaN or infinity has no neighbours.
        reference: `[M, D]`, likewise. A row with NaN or infinity is nobody's neighbour.
        count: neighbours to find.
        candidates: the references to choose from, distinct rows `[C]`; None: all.
        left_out: per query, references that it must not find.

    Returns:
        int32 `[N, count]`, rows of `reference`, most similar first; -1 where there are no more.
    """
    query, reference = torch.as_tensor(query).detach(), torch.as_tensor(reference).detach()
    if query.ndim != 2 or reference.ndim != 2 or query.shape[1] != reference.shape[1]:
        shapes = f"{list(query.shape)} and {list(reference.shape)}"
        raise ValueError(f"embeddings of one space are [N, D] and [M, D], not {shapes}")
    asking, found = finite_rows(query), finite_rows(reference)
    if candidates is not None:
        found = np.intersect1d(found, as_int64(candidates))
    if left_out is not None:
        left_out = left_out.take(asking).renumbered(_positions(found, len(reference)))
    best = _Best(len(asking), count, query.device)
    with plain_float32(query.device):
        for left in range(0, len(found), COLUMNS):
            columns = slice(left, min(left + COLUMNS, len(found)))
            units = _units(reference, found[columns], query.device)
            for top in range(0, len(asking), ROWS):
                rows = slice(top, min(top + ROWS, len(asking)))
                tile = _units(query, asking[rows], query.device) @ units.T
                if left_out is not None:
                    _leave_out(tile, left_out.take(rows), columns)
                best.add(rows, tile, columns.start)
    table = np.full((len(query), count), -1, np.int32)
    table[asking] = best.mapped(found)
    return table


def finite_rows(embeddings: Tensor) -> np.ndarray:
    """The rows of `[N, D]` that hold neither NaN nor infinity, int64, rising."""
    blocks = [embeddings[top : top + ROWS].isfinite().all(dim=1) for top in range(0, len(embeddings), ROWS)]
    return torch.cat(blocks).nonzero()[:, 0].cpu().numpy() if blocks else np.empty(0, np.int64)


class _Best:
    """The highest similarities of every row so far, and their columns."""

    def __init__(self, rows: int, count: int, device: torch.device):
        self.values = torch.full((rows, count), -torch.inf, device=device)
        self.columns = torch.full((rows, count), -1, dtype=torch.int32, device=device)

    def add(self, rows: slice, tile: Tensor, first: int) -> None:
        """Takes in the similarities `[n, c]` of some rows to the columns from `first` on."""
        count = self.values.shape[1]
        values, at = tile.topk(min(count, tile.shape[1]), dim=1)
        values = torch.cat([self.values[rows], values], dim=1)
        columns = torch.cat([self.columns[rows], at.int() + first], dim=1)
        self.values[rows], order = values.topk(count, dim=1)
        self.columns[rows] = columns.gather(1, order)

    def mapped(self, names: np.ndarray) -> np.ndarray:
        """Names of the columns, `[rows, count]`, -1 for those that were left out."""
        columns = torch.where(self.values == -torch.inf, -1, self.columns).cpu().numpy()
        return np.append(names, -1)[columns]  # column -1 is the last


def _units(embeddings: Tensor, rows: np.ndarray, device: torch.device) -> Tensor:
    picked = embeddings[torch.from_numpy(rows).to(embeddings.device)]
    return normalize(picked.to(device, torch.float32), dim=1)


def _leave_out(tile: Tensor, left_out: Ragged, columns: slice) -> None:
    here = (left_out.values >= columns.start) & (left_out.values < columns.stop)
    rows, values = left_out.rows()[here], left_out.values[here] - columns.start
    tile[torch.from_numpy(rows).to(tile.device), torch.from_numpy(values).to(tile.device)] = -torch.inf


def _positions(rows: np.ndarray, num: int) -> np.ndarray:
    """Where each of 0 ... num - 1 stands in `rows`, -1 for those that do not."""
    positions = np.full(num, -1, np.int64)
    positions[rows] = np.arange(len(rows))
    return positions
