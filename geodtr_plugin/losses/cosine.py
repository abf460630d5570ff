"""Cosine similarity whose gradient takes few kernels: on a GPU, small batches wait for nothing but their start."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_metric_learning.distances import CosineSimilarity
from torch import Tensor

NO_DIRECTION = 1e-12  # what torch.nn.functional.normalize divides shorter vectors by


class FewKernelsCosine(CosineSimilarity):
    """PML's `CosineSimilarity`, to the same values and gradients."""

    def normalize(self, embeddings: Tensor, dim: int = 1) -> Tensor:
        """Return embeddings `[..., D, ...]`, D at `dim`, as unit vectors."""
        return UnitVectors.apply(embeddings, dim)


class UnitVectors(torch.autograd.Function):
    """Vectors x as u of norm 1, and the gradient (g - u (u . g)) / |x|: 3 and 4 kernels, where torch takes 3 and 14."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, dim: int) -> Tensor:
        """Return vectors along `dim` divided by their norms."""
        norms = _norms(vectors, dim)
        units = vectors / norms
        ctx.save_for_backward(vectors, units, norms)
        ctx.dim = dim
        return units

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient, which can be derived again."""
        vectors, units, norms = ctx.saved_tensors
        if torch.is_grad_enabled():
            norms = _norms(vectors, ctx.dim)  # a second derivative needs to know how they came about
        radial = (gradient * units).sum(dim=ctx.dim, keepdim=True)
        return torch.addcmul(gradient, units, radial, value=-1) / norms, None


def _norms(vectors: Tensor, dim: int) -> Tensor:
    return torch.linalg.vector_norm(vectors, dim=dim, keepdim=True).clamp_min(NO_DIRECTION)
