"""SARE: attraction of the positive and repulsion of the negatives as one probability."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pytorch_metric_learning.distances import BaseDistance
from torch import Tensor

from . import register_loss
from .pairs import Exclusion
from .tuple_hinge import TupleLoss

_TINY = 1e-8  # below it a squared distance has no gradient, for that of its root grows without bound

# logarithms of the kernels, as functions of the squared distance
KERNELS = {
    "gaussian": lambda d: -d,
    "exponential": lambda d: -d.clamp(min=_TINY).sqrt(),
    "cauchy": lambda d: -d.clamp(min=0).log1p(),
}
FORMS = ("joint", "ind")


class SARELoss(TupleLoss):
    """Stochastic attraction-repulsion embedding: -ln of the probability that the query belongs to its positive.

    A kernel k(d) of the squared distance makes similarities; k_p is that of the positive, k_n of a negative:

    * "joint": ln(1 + sum over n of k_n / k_p), all negatives of a tuple compete in one softmax. With the Gaussian
      kernel this is InfoNCE at a cosine temperature of 0.5, in one direction.
    * "ind": ln(1 + k_n / k_p), a term for each negative. With the Gaussian kernel this is the soft-margin triplet loss
      with alpha = 1, in one direction.

    The mean is over tuples for "joint" and over (query, negative) pairs for "ind". The released code divides both by
    the number of pairs, so that its "joint" takes steps smaller by the number of negatives.

    Args:
        form: "joint" or "ind".
        kernel: "gaussian", exp(-d); "exponential", exp(-sqrt d); or "cauchy", 1 / (1 + d).
        **kwargs: see `TupleLoss`.

    Raises:
        ValueError: there is no such form or kernel.

    Source: Liu et al., ICCV 2019, section 3.
    """

    def __init__(self, form: str = "joint", kernel: str = "gaussian", **kwargs):
        if form not in FORMS:
            raise ValueError(f"form is {form!r}; it must be one of {', '.join(FORMS)}")
        if kernel not in KERNELS:
            raise ValueError(f"kernel is {kernel!r}; it must be one of {', '.join(KERNELS)}")
        super().__init__(**kwargs)
        self.form, self.kernel = form, kernel

    def terms(self, positive: Tensor, references: Tensor, negatives: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return one term a tuple for "joint", one a (query, positive, negative) for "ind"; `[L]`, and their rows."""
        log_kernel = KERNELS[self.kernel]
        ratios = log_kernel(references) - log_kernel(positive)  # ln(k_n / k_p)
        if self.form == "ind":
            return F.softplus(ratios[negatives]), rows[:, None].expand_as(negatives)[negatives]
        ratios = ratios.masked_fill(~negatives, -torch.inf)
        return torch.cat([torch.zeros_like(positive), ratios], dim=1).logsumexp(dim=1), rows


@register_loss("sare_ind")
def sare_ind(
    kernel: str = "gaussian", exclusion: Exclusion | None = None, distance: BaseDistance | None = None
) -> SARELoss:
    """Return the SARE loss with a term for each negative."""
    return SARELoss("ind", kernel, exclusion=exclusion, distance=distance)


@register_loss("sare_joint")
def sare_joint(
    kernel: str = "gaussian", exclusion: Exclusion | None = None, distance: BaseDistance | None = None
) -> SARELoss:
    """Return the SARE loss in which all negatives of a tuple compete."""
    return SARELoss("joint", kernel, exclusion=exclusion, distance=distance)
