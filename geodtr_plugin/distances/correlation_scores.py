"""Exact similarities of many feature maps at their best shifts, in bounded memory: what ranking by DSM's rule asks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..evaluation.scores import BoundedScores
from ..evaluation.similarity import Vectors
from .fourier import correlations, crop_energies, pair_correlations, query_spectrum, reference_spectrum

if TYPE_CHECKING:
    from .circular_correlation import CircularCorrelation

TIE = 1e-12  # of two shifts that fit as well as each other, the first counts
TILE_BYTES = {"cpu": 4 * 2**20, "cuda": 2**28}  # of correlations: what a cache holds; what keeps a GPU busy
PAIR_BYTES = {"cpu": 4 * 2**20, "cuda": 2**28}  # of pairs that are looked at one by one
SMALLEST_ENERGY = 1e-12  # of a crop of a map of norm 1; less is no crop to compare with


class CorrelationScores(BoundedScores):
    """The similarities of queries and references as `CircularCorrelation` defines them, in float64.

    The best shift is the first whose correlation is within 1e-12 of the highest.

    Args:
        distance: which knows the shapes of the maps.
        query, reference: all of them, flattened.

    Raises:
        ValueError: their sizes are not those of the maps.
    """

    def __init__(self, distance: CircularCorrelation, query: Vectors, reference: Vectors):
        self.distance, self.query, self.reference = distance, query, reference
        distance.check_size(query.size, distance.query_width)
        distance.check_size(reference.size, distance.width)
        self._spectra: tuple[slice, torch.dtype, Tensor] | None = None

    def pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the float64 similarities `[T]` of query `rows[t]` and reference `columns[t]`, int64 `[T]` each."""
        similarities = torch.empty(len(rows), dtype=torch.float64, device=self.query.device)
        step = max(1, self._bytes(PAIR_BYTES) // (32 * self.reference.size))
        for part, some, others in zip(similarities.split(step), rows.split(step), columns.split(step)):
            query = self._maps(self.query, some, torch.float64)
            reference = self._maps(self.reference, others, torch.float64)
            energies = crop_energies(reference, self.distance.query_width)
            part.copy_(best_similarity(pair_correlations(query, reference).T, energies.T))
        return similarities

    def bounds(self, rows: slice, columns: slice, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the lowest and the highest that the similarities of a tile can be, see `BoundedScores`."""
        queries = self._query_spectrum(rows, dtype)
        low = torch.empty(queries.shape[1], columns.stop - columns.start, dtype=dtype, device=queries.device)
        high = torch.empty_like(low)
        side = max(1, math.isqrt(self._bytes(TILE_BYTES) // (low.element_size() * self.distance.width)))
        for left in range(0, low.shape[1], side):
            some = slice(columns.start + left, min(columns.start + left + side, columns.stop))
            maps = self._maps(self.reference, some, torch.float64)
            references = reference_spectrum(maps).to(dtype)
            energies = crop_energies(maps, self.distance.query_width).T[:, None]
            for top in range(0, len(low), side):
                tile = correlations(queries[:, top : top + side], references)
                here = slice(top, top + side), slice(left, left + side)
                low[here], high[here] = self._tile_bounds(tile, energies)
        return low, high

    def _tile_bounds(self, tile: Tensor, energies: Tensor) -> tuple[Tensor, Tensor]:
        """Return bounds `[n, m]` from correlations `[width, n, m]` and the crops' energies, float64 `[width, 1, m]`."""
        if tile.dtype == torch.float64:
            exact = best_similarity(tile, energies.expand_as(tile))
            return exact, exact
        error, rounding, best = self.error, 8 * 2.0**-24, tile.amax(0)
        scales = energies.clamp(min=SMALLEST_ENERGY).rsqrt().to(tile.dtype)  # what makes cosines of correlations
        if self.distance.query_width == self.distance.width:  # all crops have one energy
            least = most = scales[0]
        else:  # float32 does not tell which of some shifts is the best
            near = tile >= best - (2 * error + TIE)
            least = torch.where(near, scales, torch.inf).amin(0)
            most = torch.where(near, scales, 0.0).amax(0)
        low, high = best - error, best + error  # the best correlation is between these
        low = low * torch.where(low > 0, least, most) - rounding
        return low, high * torch.where(high > 0, most, least) + rounding

    @property
    def error(self) -> float:
        """What float32 correlations of maps of norm 1 err by at most.

        Coefficients and matrices are rounded from float64; each product sums up 2 d terms, and the inverse transform
        as many of these as there are columns. The terms' sizes add up to sqrt(2) at most (Cauchy-Schwarz, Parseval).
        """
        numbers = self.distance.height * self.distance.channels
        return math.sqrt(2) * (2 * numbers + self.distance.width + 4) * 2.0**-24 + TIE

    def _maps(self, vectors: Vectors, rows: slice | Tensor, dtype: torch.dtype) -> Tensor:
        """Return rows as unit maps `[n, columns, height * channels]`."""
        units = vectors.rows(rows, dtype) * vectors.inverse_norms[rows, None].to(dtype)
        return self.distance.as_columns(units)

    def _query_spectrum(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """Return the Fourier coefficients of a block of queries, which all tiles of the block use."""
        if self._spectra is None or self._spectra[:2] != (rows, dtype):
            self._spectra = None  # before the next, so that both are never held
            step = max(1, self._bytes(TILE_BYTES) // (16 * self.reference.size))
            parts = []
            for start in range(rows.start, rows.stop, step):
                maps = self._maps(self.query, slice(start, min(start + step, rows.stop)), torch.float64)
                parts.append(query_spectrum(maps, self.distance.width).to(dtype))
            self._spectra = rows, dtype, torch.cat(parts, dim=1)
        return self._spectra[2]

    def _bytes(self, table: dict[str, int]) -> int:
        return table.get(self.query.device.type, table["cuda"])


def best_similarity(correlations: Tensor, energies: Tensor) -> Tensor:
    """Return the similarities `[...]` at the first best shift, of correlations and crops' energies `[width, ...]`."""
    shift = (correlations >= correlations.amax(0) - TIE).byte().argmax(0, keepdim=True)
    return (correlations.gather(0, shift) * energies.gather(0, shift).clamp(min=SMALLEST_ENERGY).rsqrt())[0]
