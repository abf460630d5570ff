"""The most similar references of every query by brute force, tile by tile in bounded memory."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..utils.ragged import Ragged, as_int64
from .similarity import plain_float32

if TYPE_CHECKING:
    from ..distances import HeadingDistance

ROWS, COLUMNS = 1024, 16_384  # of a tile, at most: 64 MiB of similarities; narrower tiles cost more sorting
BLOCK_BYTES = 32 * 2**20  # of references that are normalised at once
GROUP = 256  # references that a single query is multiplied with at once


@torch.no_grad()
def most_similar(
    query: Tensor | np.ndarray,
    reference: Tensor | np.ndarray,
    count: int,
    *,
    candidates: np.ndarray | None = None,
    left_out: Ragged | None = None,
    normalised: bool = False,
    device: torch.device | str | None = None,
    distance: HeadingDistance | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the references of highest cosine similarity to each query, in float32.

    Args:
        query: `[N, D]`, any floating type, any norm. A row with NaN or infinity has no neighbours.
        reference: `[M, D]`, likewise; may be a memory map. A row with NaN or infinity is nobody's neighbour.
        count: neighbours to find.
        candidates: the references to choose from, distinct rows `[C]`; None: all.
        left_out: per query, references that it must not find.
        normalised: a promise that all rows are finite and of unit norm, which saves a pass over them.
        device: where to compute; by default where `query` is.
        distance: of the model, where it has one of its own: its similarity counts in place of the cosine, and
            references are `[M, Dr]`.

    Returns:
        Similarities float32 `[N, count]`, most similar first and equals by their row, and rows of `reference`
        int64 `[N, count]`. Where there are no more: -infinity and -1.

    Raises:
        ValueError: the embeddings are not of one space.
    """
    query, reference = _tensor(query), _tensor(reference)
    if query.ndim != 2 or reference.ndim != 2 or (distance is None and query.shape[1] != reference.shape[1]):
        shapes = f"{list(query.shape)} and {list(reference.shape)}"
        raise ValueError(f"embeddings of one space are [N, D] and [M, D], not {shapes}")
    asking, known = (np.arange(len(x)) if normalised else finite_rows(x) for x in (query, reference))
    if candidates is not None:
        known = np.intersect1d(known, as_int64(candidates))
    if left_out is not None:
        left_out = left_out.take(asking).renumbered(_positions(known, len(reference)))
    device = query.device if device is None else torch.device(device)
    compare = _products if distance is None else distance.similarities
    best = _Best(len(asking), count, device)
    with plain_float32(device):
        whole = normalised and distance is None
        width = COLUMNS if whole else max(1, min(COLUMNS, BLOCK_BYTES // (4 * reference.shape[1])))
        for left in range(0, len(known), width):
            columns = slice(left, min(left + width, len(known)))
            units = _units(reference, known[columns], device, normalised)
            for top in range(0, len(asking), ROWS):
                rows = slice(top, min(top + ROWS, len(asking)))
                tile = compare(_units(query, asking[rows], device, normalised), units)
                if left_out is not None:
                    _leave_out(tile, left_out.take(rows), columns)
                best.add(rows, tile, columns.start)
    similarities = np.full((len(query), count), -np.inf, np.float32)
    table = np.full((len(query), count), -1, np.int64)
    similarities[asking] = best.values.cpu().numpy()
    table[asking] = np.append(known, -1)[best.columns.cpu().numpy()]  # column -1 is the last
    return similarities, table


def finite_rows(embeddings: Tensor) -> np.ndarray:
    """Return the rows of `[N, D]` that hold neither NaN nor infinity, int64, rising."""
    blocks = [embeddings[top : top + ROWS].isfinite().all(dim=1) for top in range(0, len(embeddings), ROWS)]
    return torch.cat(blocks).nonzero()[:, 0].cpu().numpy() if blocks else np.empty(0, np.int64)


class _Best:
    """The highest similarities `[n, count]` of every row so far, and their columns; -infinity and -1 where none is."""

    def __init__(self, rows: int, count: int, device: torch.device):
        self.values = torch.full((rows, count), -torch.inf, device=device)
        self.columns = torch.full((rows, count), -1, dtype=torch.int64, device=device)

    def add(self, rows: slice, tile: Tensor, first: int) -> None:
        """Take in the similarities `[n, c]` of some rows to the columns from `first` on."""
        count = self.values.shape[1]
        values, at = _top(tile, min(count, tile.shape[1]))
        columns = torch.where(values == -torch.inf, -1, at + first)
        values = torch.cat([self.values[rows], values], dim=1)
        columns = torch.cat([self.columns[rows], columns], dim=1)
        # equals stay in the order of their columns: earlier tiles come first
        values, order = values.sort(dim=1, descending=True, stable=True)
        self.values[rows], self.columns[rows] = values[:, :count], columns.gather(1, order)[:, :count]


def _top(tile: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the `count` highest of each row, highest first, and their columns; among equals the lower column."""
    values, at = tile.topk(count, dim=1)
    lowest = values[:, -1:]
    # topk takes any of the equals at its lower end
    passed_over = (tile == lowest).sum(dim=1) > (values == lowest).sum(dim=1)
    tied = (passed_over & (lowest[:, 0] > -torch.inf)).nonzero()[:, 0]
    if len(tied):
        ordered = tile[tied].sort(dim=1, descending=True, stable=True)
        values[tied], at[tied] = ordered.values[:, :count], ordered.indices[:, :count]
    at, order = at.sort(dim=1)
    values, order = values.gather(1, order).sort(dim=1, descending=True, stable=True)
    return values, at.gather(1, order)


def _tensor(embeddings: Tensor | np.ndarray) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of memory maps that cannot be written to; nothing is
        return torch.as_tensor(embeddings).detach()


def _units(embeddings: Tensor, rows: np.ndarray, device: torch.device, normalised: bool) -> Tensor:
    """Return rows `[n]`, rising, as unit vectors on the device; consecutive ones without a copy if they are that."""
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        picked = embeddings[int(rows[0]) : int(rows[-1]) + 1]
    else:
        picked = embeddings[torch.from_numpy(rows).to(embeddings.device)]
    picked = picked.to(device, torch.float32)
    return picked if normalised else normalize(picked, dim=1)


def _products(query: Tensor, reference: Tensor) -> Tensor:
    """Return the inner products `[n, c]` of `[n, D]` and `[c, D]`."""
    if len(query) > 1 or query.device.type != "cpu":
        return query @ reference.T
    # MKL reads the matrix of a product with one vector at two thirds of the memory's speed, smaller ones at all of it
    groups, size = len(reference) // GROUP, reference.shape[1]
    grouped = reference[: groups * GROUP].view(groups, GROUP, size)
    products = torch.bmm(grouped, query.T.expand(groups, size, 1)).flatten()
    return torch.cat([products, reference[groups * GROUP :] @ query[0]])[None]


def _leave_out(tile: Tensor, left_out: Ragged, columns: slice) -> None:
    here = (left_out.values >= columns.start) & (left_out.values < columns.stop)
    rows, values = left_out.rows()[here], left_out.values[here] - columns.start
    tile[torch.from_numpy(rows).to(tile.device), torch.from_numpy(values).to(tile.device)] = -torch.inf


def _positions(rows: np.ndarray, num: int) -> np.ndarray:
    """Return where each of 0 ... num - 1 stands in `rows`, -1 for those that do not."""
    positions = np.full(num, -1, np.int64)
    positions[rows] = np.arange(len(rows))
    return positions
