"""How probable it is that the first match is right: Platt's logistic curve over its similarity and its gap.

A similarity alone says little: in a city of equal streets, a high one is common. The gap to the best other place says
how alone the first one is. Both are fitted on photos with known places that the model has not been trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from ..utils.errors import UserError

FEWEST = 20  # pairs; with fewer, three numbers are fitted to chance
NOWHERE_SHARE = 0.1  # of the photos are taken to show places that the gallery has not: something must be believed of it
FOLDS = 5  # of the pairs, each judged by a curve that was fitted on the others
BINS = 10  # of the probability, in the reliability curve
_RIDGE = 1e-3  # of the curve's weights on standardised evidence: where the classes are apart they would grow for ever


@dataclass(frozen=True)
class Evidence:
    """What a first match looks like, and whether it is right.

    Args:
        similarity: of the first match.
        gap: to the most similar other place, see `Match.gap`; None where there is none.
        right: it is within RIGHT_WITHIN of the true place.
        nowhere: the true place and all around it had been taken out of the matches, so that none can be right.
        pair: number of the photo.
    """

    similarity: float
    gap: float | None
    right: bool
    nowhere: bool
    pair: int


@dataclass(frozen=True)
class Reliability:
    """How probabilities and outcomes agree, on photos that their curve was not fitted on.

    Args:
        error: expected calibration error: the mean difference between probability and share of right ones, over the
            bins, by their weight.
        bins: (mean probability, share of right ones, weight) of each bin that is not empty; weights add up to 1.
        right: share of first matches that are right, places in the gallery alone.
        probability: mean over the same photos.
        nowhere: mean probability of photos whose place was taken out of the gallery.
        told_apart: probability that such a photo gets a lower one than a photo whose place is there (ROC area).
    """

    error: float
    bins: tuple[tuple[float, float, float], ...]
    right: float
    probability: float
    nowhere: float | None
    told_apart: float | None


@dataclass(frozen=True)
class Calibration:
    """A fitted curve, and what it was fitted on; lies in the index's manifest.

    Args:
        bias: of the curve: the probability is 1 / (1 + exp(-(bias + by_similarity * similarity + by_gap * gap))).
        by_similarity: weight of the similarity of the first match.
        by_gap: weight of its gap.
        pairs: where the photos came from.
        count: of them.
        headings: how many headings were tried for each.
        taken_as: the kinds of photos among them.
        nowhere_share: of photos that were taken to show no place of the gallery.
        reliability: by cross-validation.
    """

    bias: float
    by_similarity: float
    by_gap: float
    pairs: str
    count: int
    headings: int
    taken_as: tuple[str, ...]
    nowhere_share: float
    reliability: Reliability

    def probability(self, similarity: float, gap: float | None) -> float:
        """Return the probability that a first match of this similarity and gap is right."""
        return float(expit(self.bias + self.by_similarity * similarity + self.by_gap * (gap or 0.0)))

    def refusal(self, taken_as: str, headings: int, together: bool) -> str | None:
        """Return why this curve says nothing of such a search, as a part of a sentence; None if it does."""
        if together:
            return "the index was calibrated on single photos"
        if headings != self.headings:
            return f"the index was calibrated with --headings {self.headings}"
        if taken_as not in self.taken_as:
            return f"the index was calibrated on each {' and '.join(self.taken_as)}, and this is a {taken_as}"
        return None


def fit_calibration(evidence: Sequence[Evidence], pairs: str, headings: int, taken_as: Sequence[str]) -> Calibration:
    """Fit the curve, and measure it by cross-validation.

    Args:
        evidence: of every photo as it is and, where something is left of its matches, with its place taken out.
        pairs: where the photos came from.
        headings: how many were tried.
        taken_as: the kinds of photos.

    Raises:
        UserError: there are too few photos.
    """
    numbers = np.array([one.pair for one in evidence])
    count = len(np.unique(numbers))
    if count < FEWEST:
        message = f"{count} photos with a known place are too few to calibrate on; {FEWEST} is the least."
        raise UserError(message, "Name more, or a rendered world: --calibrate synth-suburb.")
    features = np.array([(one.similarity, one.gap or 0.0) for one in evidence], np.float64)
    right = np.array([one.right for one in evidence])
    nowhere = np.array([one.nowhere for one in evidence])
    weights = np.where(nowhere, NOWHERE_SHARE / max(1, nowhere.sum()), (1 - NOWHERE_SHARE) / (~nowhere).sum())
    fold = np.random.default_rng(0).permutation(numbers.max() + 1)[numbers] % FOLDS  # a photo is in one fold, twice
    judged = np.empty(len(evidence))
    for number in range(FOLDS):
        rest = fold != number
        bias, slopes = fit_logistic(features[rest], right[rest], weights[rest])
        judged[~rest] = expit(bias + features[~rest] @ slopes)
    reliability = measure(judged, right, nowhere, weights)
    bias, (by_similarity, by_gap) = fit_logistic(features, right, weights)
    return Calibration(
        bias, float(by_similarity), float(by_gap), pairs, count, headings, tuple(sorted(set(taken_as))), NOWHERE_SHARE,
        reliability,
    )  # fmt: skip


def fit_logistic(features: np.ndarray, right: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Fit a logistic curve to weighted outcomes.

    Outcomes are drawn towards each other as by Platt (1999), so that a class without errors does not promise certainty.

    Args:
        features: float64 `[N, F]`.
        right: bool `[N]`.
        weights: float64 `[N]`, of any sum.

    Returns:
        The bias, and the weights of the features `[F]`, none below 0: more evidence never makes less probable.
    """
    from scipy.optimize import minimize
    mean, deviation = features.mean(0), np.maximum(features.std(0), 1e-6)
    standard = (features - mean) / deviation
    shares = weights / weights.sum()
    positives, negatives = len(right) * shares[right].sum(), len(right) * shares[~right].sum()
    target = np.where(right, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logits = parameters[0] + standard @ parameters[1:]
        error = shares * (expit(logits) - target)
        value = float((shares * (np.logaddexp(0, logits) - target * logits)).sum())
        ridge = _RIDGE / 2 * float((parameters[1:] ** 2).sum())
        gradient = np.concatenate([[error.sum()], error @ standard + _RIDGE * parameters[1:]])
        return value + ridge, gradient

    bounds = [(None, None)] + [(0, None)] * features.shape[1]
    found = minimize(loss, np.zeros(1 + features.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds).x
    slopes = found[1:] / deviation
    return float(found[0] - slopes @ mean), slopes


def measure(probability: np.ndarray, right: np.ndarray, nowhere: np.ndarray, weights: np.ndarray) -> Reliability:
    """Return how probabilities `[N]` agree with what is right, bool `[N]`; arguments as columns of `Evidence`."""
    weights = weights / weights.sum()
    bin_of = np.minimum((probability * BINS).astype(int), BINS - 1)
    bins = []
    for number in np.unique(bin_of):
        share = weights[bin_of == number]
        said, is_right = (float(share @ column[bin_of == number] / share.sum()) for column in (probability, right))
        bins.append((said, is_right, float(share.sum())))
    there, gone = probability[~nowhere], probability[nowhere]
    below = (gone[:, None] < there).mean() + (gone[:, None] == there).mean() / 2 if len(gone) and len(there) else None
    return Reliability(
        sum(weight * abs(said - is_right) for said, is_right, weight in bins), tuple(bins),
        float(right[~nowhere].mean()), float(there.mean()), float(gone.mean()) if len(gone) else None,
        None if below is None else float(below),
    )  # fmt: skip

