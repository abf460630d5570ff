"""DSM's similarity of feature maps: a query slides along the columns of the reference, and the best place counts."""

from __future__ import annotations

from functools import lru_cache
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .base import HeadingDistance, wrapped

TILE_BYTES = 2**26  # of the correlations that are held at once where no gradient is needed
SMALLEST_ENERGY = 1e-12  # of a crop of a map of norm 1; less is no crop to compare with


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
        query, reference = self._maps(query, self.query_width), self._maps(reference, self.width)
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
        query, reference = self._maps(query, self.query_width), self._maps(reference, self.width)
        correlations = self._pair_correlations(query, reference)
        shifts = correlations.argmax(1, keepdim=True)
        energies = self._energies(reference).clamp(min=SMALLEST_ENERGY)
        return (correlations.gather(1, shifts) * energies.gather(1, shifts).rsqrt())[:, 0]

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
        query, reference = self._maps(query, self.query_width), self._maps(reference, self.width)
        shifts = self._pair_correlations(query, reference).argmax(1)
        return wrapped(shifts * (360 / self.width) + (self.fov - 360) / 2)

    def _maps(self, embeddings: Tensor, width: int) -> Tensor:
        """Return embeddings `[n, D]` as unit maps `[n, width, height * channels]`, float32 at least."""
        size = prod((self.height, width, self.channels))
        if embeddings.ndim != 2 or embeddings.shape[1] != size:
            raise ValueError(f"maps of {width} columns are [n, {size}], not {list(embeddings.shape)}")
        embeddings = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
        maps = normalize(embeddings, dim=1).view(-1, self.height, width, self.channels)
        return maps.transpose(1, 2).flatten(2)

    def _similarities(self, query: Tensor, reference: Tensor) -> Tensor:
        """Return the cosines `[n, m]` of unit maps at their best shifts."""
        correlations = self._correlations(query, reference)
        shifts = correlations.argmax(0, keepdim=True)
        energies = self._energies(reference).T.clamp(min=SMALLEST_ENERGY)  # [width, m]
        return correlations.gather(0, shifts)[0] * energies.gather(0, shifts[0]).rsqrt()

    def _correlations(self, query: Tensor, reference: Tensor) -> Tensor:
        """Return the correlations `[width, n, m]` of maps at all shifts."""
        into, back = fourier(self.width, query.device, query.dtype)
        query, reference = _spectrum(query, into), _spectrum(reference, into)
        real, imaginary = reference.chunk(2, dim=2)
        turned = torch.cat([imaginary, -real], dim=2)
        inner = slice(1, (self.width + 1) // 2)  # frequencies whose coefficient is complex
        products = torch.cat([query @ reference.mT, query[inner] @ turned[inner].mT])  # [width, n, m]
        return (back @ products.flatten(1)).view_as(products)

    def _pair_correlations(self, query: Tensor, reference: Tensor) -> Tensor:
        """Return the correlations `[n, width]` of maps by row: the sums over diagonals of the columns' products."""
        products = query @ reference.mT  # [n, query_width, width]
        columns = torch.arange(self.width, device=query.device)
        shifted = (columns[: self.query_width, None] + columns) % self.width
        return products.gather(2, shifted.expand_as(products)).sum(1)

    def _energies(self, reference: Tensor) -> Tensor:
        """Return the squared norms `[m, width]` of the crops of maps that begin at each column."""
        columns = torch.arange(self.width, device=reference.device)
        inside = (columns[:, None] - columns) % self.width < self.query_width
        return reference.square().sum(2) @ inside.to(reference.dtype)


def _spectrum(maps: Tensor, into: Tensor) -> Tensor:
    """Return Fourier coefficients `[F, n, 2 d]`, real parts before imaginary ones, of maps `[n, at most w, d]`."""
    count, width, numbers = maps.shape
    coefficients = into[:, :width] @ maps.transpose(0, 1).flatten(1)
    return coefficients.view(2, -1, count, numbers).permute(1, 2, 0, 3).flatten(2)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # else what evaluation made could not be used in training
def fourier(width: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the discrete Fourier transform of `width` real numbers, and its inverse, as matrices.

    Returns:
        `[2 F, width]`, the real and then the imaginary parts of the frequencies 0 ... F - 1 = width // 2; and
        `[width, width]`, from all real parts and those imaginary parts that are not always 0.
    """
    columns = torch.arange(width, dtype=torch.float64)
    frequencies = columns[: width // 2 + 1]
    angles = 2 * torch.pi / width * (frequencies[:, None] * columns % width)
    into = torch.cat([angles.cos(), -angles.sin()])
    weights = (2 - ((frequencies == 0) | (2 * frequencies == width)).double()[:, None]) / width
    inner = slice(1, (width + 1) // 2)
    back = torch.cat([weights * angles.cos(), -(weights * angles.sin())[inner]]).T
    return into.to(device, dtype), back.to(device, dtype).contiguous()
