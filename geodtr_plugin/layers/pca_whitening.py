"""PCA with whitening: fewer dimensions of equal variance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from ..utils.errors import UserError

FLOOR = 1e-9  # variances below it are taken for it, as the authors of NetVLAD do
_BLOCK = 4096  # columns that are turned into float64 at once


class PCAWhitening(nn.Module):
    """y = diag(1 / sqrt(lambda)) U^T (x - mean), brought to unit length: the last step of NetVLAD's pipeline.

    lambda and U are the largest eigenvalues and their vectors of the covariance of `fit`'s rows. Until it is fitted,
    or filled from a file, the layer only brings its input to unit length. Its state is part of the state dict. The
    first d entries of y, normalised again, are the descriptor of size d.

    Args:
        input: length of the vectors D.
        output: how many components stay.

    Raises:
        ValueError: `output` is not between 1 and `input`.
    """

    def __init__(self, input: int, output: int = 4096):
        super().__init__()
        if not 0 < output <= input:
            raise ValueError(f"PCA keeps {output} of {input} dimensions; it can keep 1 to {input}.")
        self.register_buffer("weight", torch.zeros(output, input))
        self.register_buffer("bias", torch.zeros(output))
        self.register_buffer("fitted", torch.tensor(False))
        self.ready = False  # what `fitted` says, without asking the device in every forward
        self.register_load_state_dict_post_hook(_remember)

    @property
    def embedding_size(self) -> int:
        """Length of what comes out: `output` once fitted, `input` before."""
        return self.weight.shape[0 if self.ready else 1]

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, input]` to fp32 of unit norm, `[B, output]` once fitted, else `[B, input]`."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            return normalize(linear(x, self.weight, self.bias) if self.ready else x, dim=1)

    @torch.no_grad()
    def fit(self, rows: Tensor) -> PCAWhitening:
        """Learn mean, directions and variances, in float64 inside.

        Args:
            rows: `[n, input]`, a sample of descriptors (NetVLAD takes at most 10,000), more than `output` of them.

        Raises:
            ValueError: the descriptors have another length.
            UserError: there are too few of them.
        """
        output, size = self.weight.shape
        if rows.shape[1] != size:
            raise ValueError(f"The descriptors have {rows.shape[1]} entries; this PCA is for {size}.")
        if len(rows) <= output:
            raise UserError(f"{len(rows)} images do not fix {output} components of a PCA: give more than {output}.")
        mean = rows.mean(dim=0, dtype=torch.float64)
        directions, variances = (_dual if size > len(rows) else _primal)(rows, mean, output)
        return self.fill(directions, variances, mean)

    @torch.no_grad()
    def fill(self, directions: Tensor, variances: Tensor, mean: Tensor) -> PCAWhitening:
        """Take an eigen-decomposition: directions `[input, >= output]`, variances `[>= output]`, mean `[input]`.

        Raises:
            ValueError: there are too few directions, or they have another length.
        """
        output, size = self.weight.shape
        if directions.shape[0] != size or directions.shape[1] < output:
            raise ValueError(
                f"Directions are {tuple(directions.shape)}; this PCA needs {size} rows and {output} columns at least."
            )
        scales = variances.flatten()[:output].double().clamp(min=FLOOR).rsqrt()
        weight = (directions[:, :output] * scales.to(directions.dtype)).T
        self.weight.copy_(weight)
        self.bias.copy_(-(weight.double() @ mean.flatten().double().to(weight.device)))
        self.fitted.fill_(True)
        self.ready = True
        return self

    def fill_from(self, path: str | Path) -> PCAWhitening:
        """Take the HDF5 file that OpenIBL and HAF write beside a model: `U`, `lams` and `mu`.

        Raises:
            UserError: h5py is missing, or the file is no such file.
        """
        try:
            import h5py
        except ImportError as error:
            raise UserError(f"{path} is HDF5, which needs another package.", "pip install h5py") from error
        try:
            with h5py.File(path, "r") as file:
                return self.fill(*(torch.from_numpy(file[name][...]) for name in ("U", "lams", "mu")))
        except (OSError, KeyError) as error:
            raise UserError(f"{path} is no PCA file with U, lams and mu: {error}") from error

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]} -> {self.weight.shape[0]}, fitted={self.ready}"


def _remember(pca: PCAWhitening, incompatible: Any) -> None:
    """Keep `ready` true to a loaded state dict."""
    pca.ready = not pca.fitted.is_meta and bool(pca.fitted)


def _primal(rows: Tensor, mean: Tensor, output: int) -> tuple[Tensor, Tensor]:
    """Return directions `[D, output]` and variances `[output]` of rows `[n, D]`, D <= n, from the D x D covariance."""
    centred = rows.double() - mean
    return _largest(centred.T @ centred / (len(rows) - 1), output)


def _dual(rows: Tensor, mean: Tensor, output: int) -> tuple[Tensor, Tensor]:
    """Return what `_primal` returns from the n x n products of rows, for D > n, in blocks of columns."""
    parts = [slice(start, start + _BLOCK) for start in range(0, rows.shape[1], _BLOCK)]

    def centred(part: slice) -> Tensor:
        return rows[:, part].double() - mean[part]

    products = sum(x @ x.T for x in map(centred, parts))
    vectors, variances = _largest(products / (len(rows) - 1), output)
    vectors = vectors * ((len(rows) - 1) * variances.clamp(min=FLOOR)).rsqrt()
    return torch.cat([(centred(part).T @ vectors).float() for part in parts]), variances


def _largest(matrix: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Return the `number` eigenvectors of largest eigenvalue of a symmetric matrix, in columns, and the eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)  # ascending
    return vectors[:, -number:].flip(1), values[-number:].flip(0)
