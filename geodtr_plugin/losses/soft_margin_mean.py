"""The mean of the soft-margin triplet loss where every row and every column has one positive, with its gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

THRESHOLD = 20.0  # torch's default: a softplus of more than this is its argument


class Parts(NamedTuple):
    """The mean, and what its gradient is made of."""

    mean: Tensor  # []
    weights: Tensor  # [N, N], what a term counts
    by_row: Tensor  # [N, N], how much larger than the positive of its row an entry is
    by_column: Tensor  # [N, N], and than that of its column


def soft_margin_mean(matrix: Tensor, positives: Tensor, negatives: Tensor, slope: float) -> Tensor:
    """Return the mean of log(1 + exp(slope (negative - positive))) over all negatives of all rows and columns.

    Both directions have a term for every negative pair, so that their means have one divisor. No shape depends on the
    data. The gradient is computed along with the value, which saves half of the kernels, and can be derived again.

    Args:
        matrix: `[N, N]`, similarities (slope above 0) or distances (below 0).
        positives: bool `[N, N]`, one in every row and every column.
        negatives: bool `[N, N]`.
        slope: not 0.
    """
    if torch.is_grad_enabled() and matrix.requires_grad:
        return _WithGradient.apply(matrix, positives, negatives, slope)
    return _parts(matrix, positives, negatives, slope).mean


def _parts(matrix: Tensor, positives: Tensor, negatives: Tensor, slope: float) -> Parts:
    share = negatives.sum(dtype=matrix.dtype).clamp_(min=1).reciprocal_().mul_(slope / 2)
    weights = negatives * share
    own = matrix * positives
    bests = own.sum(1, keepdim=True), own.sum(0, keepdim=True)
    del own  # as large as the matrix, as everything here: memory is what limits the batch
    by_row, by_column = (matrix - best for best in bests)
    there, back = (F.softplus(larger, slope, THRESHOLD) for larger in (by_row, by_column))
    return Parts(there.add_(back).mul(weights).sum(), weights, by_row, by_column)


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, positives: Tensor, negatives: Tensor, slope: float) -> Tensor:
        mean, weights, *larger = _parts(matrix, positives, negatives, slope)
        there, back = (torch.ops.aten.softplus_backward(weights, part, slope, THRESHOLD) for part in larger)
        # what pushes the negatives of a row and of a column away pulls its positive
        pull = there.sum(1, keepdim=True) + back.sum(0, keepdim=True)
        gradient = there.add_(back).sub_(pull.mul_(positives))
        ctx.save_for_backward(gradient, matrix, positives, negatives)
        ctx.slope = slope
        return mean

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        own, matrix, positives, negatives = ctx.saved_tensors
        if torch.is_grad_enabled():  # it will be derived again, for which it has to depend on the matrix
            mean = _parts(matrix, positives, negatives, ctx.slope).mean
            (own,) = torch.autograd.grad(mean, matrix, create_graph=True)
        return own * gradient, None, None, None
