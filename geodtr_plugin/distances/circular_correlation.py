"""DSM's similarity of feature maps: a query slides along the columns of the reference, and the best place counts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..evaluation.similarity import Vectors
from .base import HeadingDistance, wrapped
from .correlation_scores import SMALLEST_ENERGY, CorrelationScores
from .fourier import correlations, crop_energies, pair_correlations, query_spectrum, reference_spectrum

TILE_BYTES = 2**26  # of the correlations that are held at once where no gradient is needed


class CircularCorrelation(HeadingDistance):
    """The similarity of feature maps, `[height, width, channels]` flattened, at the best circular shift of columns.

    For every pair the correlation c[k] = sum over columns j of <query[:, j], reference[:, (j + k) mod width]> is
    computed for all shifts k; at its highest the reference is cropped to the width of the query, and the similarity is
    the cosine of query and crop. A reference shows the full turn, its columns go clockwise; a query may be narrower.

    Correlations come from the discrete Fourier transform along the columns, as products of matrices: with h * c
    numbers in a column of w, n * m pairs take w (4 h c + 2 w) n m operations, not 2 w w h c n m.

    Args:
        reference_shape: (height, width, channels) of a reference's map.
        query_width: columns of a query's map; None: as many as the reference's.
        fov: degrees that a query shows, for headings; None: as many as its columns take in the reference. Networks
            round the width of their maps up, so that the images' own widths say it better.

    Raises:
        ValueError: the query is wider than the reference, or a size is below 1.

    Source: Shi et al., CVPR 2020 (DSM), sections 3.2 and 3.3.
    """

    def __init__(
        self, reference_shape: tuple[int, int, int], query_width: int | None = None, fov: float | None = None, **kwargs
    ):
        super().__init__(**kwargs)
        self.height, self.width, self.channels = reference_shape
        self.query_width = self.width if query_width is None else query_width
        if min(reference_shape) < 1 or not 1 <= self.query_width <= self.width:
            raise ValueError(f"a query of {self.query_width} columns does not fit into a reference of {self.width}")
        self.fov = 360 * self.query_width / self.width if fov is None else fov

    def similarities(self, query: Tensor, reference: Tensor) -> Tensor:
        """Return the cosine at the best heading of every query `[n, Dq]` and reference `[m, Dr]`, `[n, m]`.

        Where no gradient is needed, memory beside the result is bounded by some 4 * TILE_BYTES.

        Raises:
            ValueError: embeddings are not of the size of the maps.
        """
        query, reference = self._maps(query, reference)
        if torch.is_grad_enabled() and (query.requires_grad or reference.requires_grad):
            return self._similarities(query, reference)
        side = max(1, int((TILE_BYTES / (query.element_size() * self.width)) ** 0.5))
        result = query.new_empty(len(query), len(reference))
        for left in range(0, len(reference), side):
            for top in range(0, len(query), side):
                rows, columns = slice(top, top + side), slice(left, left + side)
                result[rows, columns] = self._similarities(query[rows], reference[columns])
        return result

    def pair_similarities(self, query: Tensor, reference: Tensor) -> Tensor:
        """Return the cosines `[n]` at the best headings of pairs: query `[n, Dq]` and reference `[n, Dr]` by row."""
        query, reference = self._maps(query, reference)
        return self._at_best(pair_correlations(query, reference).T, reference)

    @torch.no_grad()
    def headings(self, query: Tensor, reference: Tensor) -> Tensor:
        """Return where the middle of each query looks, against the middle of the reference of the same row.

        Args:
            query: `[n, Dq]`.
            reference: `[n, Dr]`.

        Returns:
            Degrees `[n]` in [-180, 180), positive clockwise, in steps of 360 / width. A query that begins at column k
            of the reference has the heading 360 k / width - 180 + fov / 2: k steps, if it shows the full turn.
        """
        query, reference = self._maps(query, reference)
        shifts = pair_correlations(query, reference).argmax(1)
        return wrapped(shifts * (360 / self.width) + (self.fov - 360) / 2)

    def scores(self, query: Vectors, reference: Vectors) -> CorrelationScores:
        """Return the exact similarities of queries `[N, Dq]` and references `[M, Dr]`, for ranking."""
        return CorrelationScores(self, query, reference)

    def as_columns(self, maps: Tensor) -> Tensor:
        """Return flat maps `[n, D]` as columns, `[n, columns, height * channels]`."""
        columns = maps.shape[1] // (self.height * self.channels)
        return maps.view(-1, self.height, columns, self.channels).transpose(1, 2).flatten(2)

    def check_size(self, size: int, columns: int) -> None:
        """Raise ValueError for maps of `size` numbers that should have some columns."""
        if size != (wanted := self.height * columns * self.channels):
            raise ValueError(f"maps of {columns} columns have {wanted} numbers, not {size}")

    def _maps(self, query: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings as unit maps `[n, columns, height * channels]` of one type, float32 at least."""
        self.check_size(query.shape[1], self.query_width)
        self.check_size(reference.shape[1], self.width)
        dtype = torch.promote_types(torch.promote_types(query.dtype, reference.dtype), torch.float32)
        query, reference = (self.as_columns(normalize(x.to(dtype), dim=1)) for x in (query, reference))
        return query, reference

    def _similarities(self, query: Tensor, reference: Tensor) -> Tensor:
        """Return the cosines `[n, m]` of unit maps at their best shifts."""
        spectra = query_spectrum(query, self.width), reference_spectrum(reference)
        return self._at_best(correlations(*spectra), reference)

    def _at_best(self, correlations: Tensor, reference: Tensor) -> Tensor:
        """Return the cosines `[..., m]` at the highest of the correlations `[width, ..., m]` with m reference maps."""
        shifts = correlations.argmax(0, keepdim=True)
        energies = crop_energies(reference, self.query_width).T.clamp(min=SMALLEST_ENERGY)  # [width, m]
        energies = energies.view(self.width, *[1] * (correlations.ndim - 2), -1).expand_as(correlations)
        return (correlations.gather(0, shifts) * energies.gather(0, shifts).rsqrt())[0]
