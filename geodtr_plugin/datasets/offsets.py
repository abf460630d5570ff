"""Where in a reference its query was taken, for sets whose cameras stand anywhere in their tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..evaluation.truth import Truth
from ..utils.ragged import as_int64


@dataclass(frozen=True, eq=False)
class Offsets:
    """Offsets of queries in the references that show their places.

    An offset is (down, right): how far below the tile's centre and to the right of it the query stands, in parts of the
    tile's side. (0, 0) is the centre, (0.5, 0) the middle of the lower edge; tiles have north up.

    Args:
        queries: rows of the queries, int64 `[T]`.
        references: rows of the references, int64 `[T]`.
        shares: the offsets of these pairs, float64 `[T, 2]`.
        metres: metres along the side of every reference, float64 `[M]`; NaN where nobody knows.

    Raises:
        ValueError: the sizes differ, or a row is none.
    """

    queries: np.ndarray
    references: np.ndarray
    shares: np.ndarray
    metres: np.ndarray
    _keys: np.ndarray = field(init=False, repr=False)  # one number for each pair, rising

    def __post_init__(self) -> None:
        queries, references = as_int64(self.queries), as_int64(self.references)
        shares, metres = (np.asarray(values, np.float64) for values in (self.shares, self.metres))
        if not len(queries) == len(references) == len(shares) or shares.shape[1:] != (2,):
            raise ValueError(f"{len(queries)} and {len(references)} rows came with offsets {list(shares.shape)}")
        if len(queries) and not (0 <= min(queries.min(), references.min()) and references.max() < len(metres)):
            raise ValueError(f"offsets name references that are not among {len(metres)}")
        keys = queries * len(metres) + references
        order = np.argsort(keys, kind="stable")
        parts = dict(queries=queries[order], references=references[order], shares=shares[order], metres=metres)
        for name, values in {**parts, "_keys": keys[order]}.items():
            object.__setattr__(self, name, values)

    @classmethod
    def from_positions(cls, truth: Truth, query: np.ndarray, reference: np.ndarray, side: float) -> Offsets:
        """Return the offsets of all pairs of a truth from positions on a plane.

        Args:
            truth: whose positives and ignored references get an offset.
            query: metres east and north, float64 `[N, 2]`.
            reference: of the tiles' centres, float64 `[M, 2]`.
            side: metres along a tile.
        """
        known = [part for part in (truth.positives, truth.ignored) if part is not None]
        rows, columns = (np.concatenate(parts) for parts in zip(*((part.rows(), part.values) for part in known)))
        east, north = (query[rows] - reference[columns]).T
        return cls(rows, columns, np.stack([-north, east], axis=1) / side, np.full(len(reference), float(side)))

    def of(self, queries: Sequence[int] | np.ndarray, references: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the offsets of row-aligned queries `[n]` and references `[n]`, float32 `[n, 2]`; NaN if unknown."""
        wanted = as_int64(queries) * len(self.metres) + as_int64(references)
        shares = np.full((len(wanted), 2), np.nan, np.float32)
        if len(self._keys):
            at = np.searchsorted(self._keys, wanted).clip(max=len(self._keys) - 1)
            known = self._keys[at] == wanted
            shares[known] = self.shares[at[known]]
        return shares

    def keep(self, queries: np.ndarray, references: np.ndarray) -> Offsets:
        """Return what is left for some queries, rising rows `[n]`, and references, `[m]`, numbered anew."""
        kept = np.isin(self.queries, queries) & np.isin(self.references, references)
        rows, columns = np.searchsorted(queries, self.queries[kept]), np.searchsorted(references, self.references[kept])
        return Offsets(rows, columns, self.shares[kept], self.metres[references])

    @classmethod
    def joined(cls, parts: Sequence[Offsets | None], sizes: Sequence[tuple[int, int]]) -> Offsets | None:
        """Return the offsets of several sets, one after the other; None where no set has any.

        Args:
            parts: of each set.
            sizes: queries and references of each.
        """
        if all(part is None for part in parts):
            return None
        none = np.empty(0, np.int64)
        whole = [
            cls(none, none, np.empty((0, 2)), np.full(count, np.nan)) if part is None else part
            for part, (_, count) in zip(parts, sizes)
        ]
        starts = np.cumsum([(0, 0), *sizes[:-1]], axis=0)
        return cls(
            np.concatenate([part.queries + start for part, start in zip(whole, starts[:, 0])]),
            np.concatenate([part.references + start for part, start in zip(whole, starts[:, 1])]),
            np.concatenate([part.shares for part in whole]),
            np.concatenate([part.metres for part in whole]),
        )
