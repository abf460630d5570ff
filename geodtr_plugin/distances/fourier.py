"""Circular correlations of feature maps along their columns, by the discrete Fourier transform as a matrix product.

Maps are `[n, columns, d]`, d numbers a column. A query G of at most w columns and a reference R of w have the
correlation c[k] = sum over columns j of <G[j], R[(j + k) mod w]> at the shift k.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def correlations(query: Tensor, reference: Tensor) -> Tensor:
    """Return the correlations `[w, n, m]` of all pairs at all shifts, from their spectra `[w, n or m, 2 d]`."""
    _, back = _transforms(len(query), query.device, query.dtype)
    products = query @ reference.mT
    return (back @ products.flatten(1)).view_as(products)


def query_spectrum(maps: Tensor, width: int) -> Tensor:
    """Return what `correlations` takes of queries `[n, at most width, d]`: `[width, n, 2 d]`."""
    coefficients = _coefficients(maps, width)
    return torch.cat([coefficients, coefficients[_complex(width)]])


def reference_spectrum(maps: Tensor) -> Tensor:
    """Return what `correlations` takes of references `[m, w, d]`: `[w, m, 2 d]`."""
    width = maps.shape[1]
    coefficients = _coefficients(maps, width)
    real, imaginary = coefficients[_complex(width)].chunk(2, dim=2)
    return torch.cat([coefficients, torch.cat([imaginary, -real], dim=2)])


def _coefficients(maps: Tensor, width: int) -> Tensor:
    """Return the transform of maps, zero to the right, `[F, n, 2 d]`: real parts before imaginary ones."""
    into, _ = _transforms(width, maps.device, maps.dtype)
    count, columns, numbers = maps.shape
    coefficients = into[:, :columns] @ maps.transpose(0, 1).flatten(1)
    return coefficients.view(2, -1, count, numbers).permute(1, 2, 0, 3).flatten(2)


def _complex(width: int) -> slice:
    """Return the frequencies whose coefficients are complex; the others' are real."""
    return slice(1, (width + 1) // 2)


def pair_correlations(query: Tensor, reference: Tensor) -> Tensor:
    """Return the correlations `[n, w]` of maps by row, `[n, columns, d]` and `[n, w, d]`, at all shifts.

    They are sums over diagonals of the products of columns: less work than a transform where each map has one partner.
    """
    products = query @ reference.mT  # [n, columns, w]
    shifts = torch.arange(reference.shape[1], device=query.device)
    shifted = (shifts[: query.shape[1], None] + shifts) % len(shifts)
    return products.gather(2, shifted.expand_as(products)).sum(1)


def crop_energies(reference: Tensor, columns: int) -> Tensor:
    """Return the squared norms `[n, w]` of the crops of maps `[n, w, d]` to some columns, by the first of these."""
    shifts = torch.arange(reference.shape[1], device=reference.device)
    inside = (shifts[:, None] - shifts) % len(shifts) < columns
    return reference.square().sum(2) @ inside.to(reference.dtype)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # else what evaluation made could not be used in training
def _transforms(width: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the transform of `width` real numbers, and its inverse, as matrices.

    Returns:
        `[2 F, width]`, giving the real and then the imaginary parts of the frequencies 0 ... F - 1 = width // 2; and
        `[width, width]`, taking all real parts and then those imaginary parts that are not always 0.
    """
    columns = torch.arange(width, dtype=torch.float64)
    frequencies = columns[: width // 2 + 1, None]
    angles = 2 * torch.pi / width * (frequencies * columns % width)
    into = torch.cat([angles.cos(), -angles.sin()])
    weights = (2 - ((frequencies == 0) | (2 * frequencies == width)).double()) / width
    back = torch.cat([weights * angles.cos(), -(weights * angles.sin())[_complex(width)]]).T
    return into.to(device, dtype), back.to(device, dtype).contiguous()
