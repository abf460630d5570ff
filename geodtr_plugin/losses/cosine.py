"""Cosine similarity whose gradient takes few kernels: on a GPU, small batches wait for nothing but their start."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_metric_learning.distances import CosineSimilarity
from torch import Tensor

NO_DIRECTION = 1e-12  # what torch.nn.functional.normalize divides shorter vectors by


class FewKernelsCosine(CosineSimilarity):
    """PML's `CosineSimilarity`, to the same values and gradients."""

    def normalize(self, embeddings: Tensor, dim: int = 1, **kwargs: Any) -> Tensor:
        """Return the rows of embeddings `[N, D]` as unit vectors."""
        return UnitRows.apply(embeddings)


class UnitRows(torch.autograd.Function):
    """The rows of a matrix as unit vectors, and the gradient (g - u (u . g)) / |x|, in 3 and 4 kernels, not 3 and 17."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        """Return `[N, D]` of norm 1."""
        norms = _norms(rows)
        units = rows / norms
        ctx.save_for_backward(rows, units, norms)
        return units

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient `[N, D]`, which can be derived again."""
        rows, units, norms = ctx.saved_tensors
        if torch.is_grad_enabled():
            norms = _norms(rows)  # for a second derivative, which needs to know how they came about
        radial = (gradient * units).sum(dim=1, keepdim=True)
        return torch.addcmul(gradient, units, radial, value=-1) / norms


def _norms(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(NO_DIRECTION)
