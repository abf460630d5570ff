"""PML's accuracy calculator with exact ranks, for queries and references of different kinds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from pytorch_metric_learning.utils.accuracy_calculator import EQUALITY, AccuracyCalculator
from torch import Tensor

from ..utils.ragged import as_int64, group
from .metrics import KS, metric_functions, recall_at
from .ranking import TIES, Ranks, rank_queries
from .truth import Truth

if TYPE_CHECKING:
    from ..distances import HeadingDistance

PREFIX = "calculate_"  # PML's: a method with this prefix is a metric
PML_METRICS = frozenset(name.removeprefix(PREFIX) for name in dir(AccuracyCalculator) if name.startswith(PREFIX))
FLOAT32_INTEGERS = 2**24  # larger labels are not exact in float32


class CrossViewAccuracyCalculator(AccuracyCalculator):
    """R@K, R@1%, hit rate, median rank, MRR and a 95 % interval of R@1, for PML's testers and hooks.

    Without `include`, the metrics are those of `evaluation.recall` (and any `calculate_*` of a subclass), and R@1 once
    more as `precision_at_1`, the name by which PML's hooks may ask for it. PML's own metrics need memory of the order
    of N * M; they are computed where `include` names them, or where `exclude` names one of them, which has a meaning
    only against PML's full list (`exclude=("NMI", "AMI")`). `mean_reciprocal_rank` is ours.

    Labels are compared as int64. Negative labels stand for none. A query without a right reference counts as a miss
    (PML's own metrics leave it out of the mean).

    Args:
        include, exclude: names of metrics, as in PML.
        ks: the K of `recall_at_K`.
        percent_rounding: "floor" or "floor_plus_one" (VIGOR), see `metrics.one_percent`.
        ties: "pessimistic" or "optimistic" (the authors' scripts), see `rank_queries`.
        device: where to compute; PML's default is the GPU if there is one.
        interval: compute `recall_at_1_low` and `recall_at_1_high`.
        buffer_bytes: memory for tiles, see `rank_queries`.
        distance: of the model, where it has one of its own, see `rank_queries`; PML's own metrics know none.
        **kwargs: PML's other arguments, which keep their meaning.

    Raises:
        ValueError: `ks`, `percent_rounding` or `ties` is unknown.
    """

    def __init__(
        self,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        *,
        ks: Sequence[int] = KS,
        percent_rounding: str = "floor",
        ties: str = "pessimistic",
        device: torch.device | str | None = None,
        interval: bool = True,
        buffer_bytes: int | None = None,
        distance: HeadingDistance | None = None,
        **kwargs,
    ):
        if ties not in TIES:
            raise ValueError(f"ties must be one of {', '.join(TIES)}, not {ties!r}")
        self.ties, self.buffer_bytes, self.distance = ties, buffer_bytes, distance
        self.rank_metrics = metric_functions(ks, percent_rounding, interval)
        pml_only = PML_METRICS - set(self.rank_metrics)
        self.ours_by_default = not include and pml_only.isdisjoint(exclude)
        if self.ours_by_default:
            self.rank_metrics["precision_at_1"] = partial(recall_at, k=1)
            pml_only -= {"precision_at_1"}
        for name in self.rank_metrics:  # PML finds metrics by the prefix, on the instance too
            setattr(self, PREFIX + name, partial(self._rank_metric, name))
        super().__init__(include, exclude, device=None if device is None else torch.device(device), **kwargs)
        if self.ours_by_default:  # a later get_accuracy(include=...) may still ask for PML's own
            self.original_function_dict |= {name: getattr(self, PREFIX + name) for name in sorted(pml_only)}

    def get_function_dict(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> dict:
        """Return the metrics to compute, by name; see the class for what an empty `include` means."""
        if not include and self.ours_by_default:
            known = self.original_function_dict
            include = [name for name in known if name in self.rank_metrics or name not in PML_METRICS]
        return super().get_function_dict(include, exclude)

    def get_accuracy(
        self,
        query: Tensor | np.ndarray,
        query_labels: Tensor | np.ndarray,
        reference: Tensor | np.ndarray | None = None,
        reference_labels: Tensor | np.ndarray | None = None,
        ref_includes_query: bool = False,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        truth: Truth | None = None,
    ) -> dict[str, float]:
        """Compute the metrics.

        Args:
            query: `[N, D]`.
            query_labels: `[N]`, or `[N, 1 + S]`: the positive label, then semi-positive ones; negative for none.
            reference: `[M, D]`; by default the queries, each left out for itself.
            reference_labels: `[M]`.
            ref_includes_query: the first N references are the queries; query i then leaves reference i out.
            include, exclude: names of metrics, for this call.
            truth: the right answers; replaces what the labels say (for our metrics, not for PML's own).

        Raises:
            NonFiniteEmbeddingsError: an embedding is NaN or infinite.
            ValueError: embeddings and labels do not fit each other.
        """
        if reference is None:
            reference, reference_labels, ref_includes_query = query, query_labels, True
        query, query_labels, reference, reference_labels = map(
            torch.as_tensor, (query, query_labels, reference, reference_labels)
        )
        _check(query, query_labels, reference, reference_labels, ref_includes_query)
        wanted = self.get_function_dict(include, exclude)
        ours = {name: function for name, function in wanted.items() if name in self.rank_metrics}
        others = [name for name in wanted if name not in ours]
        results = {}
        if ours:
            truth = self._truth(query_labels, reference_labels) if truth is None else truth
            ranks = self.get_ranks(query, reference, truth, ref_includes_query)
            results = self._get_accuracy(ours, ranks=ranks, query_labels=query_labels)
        if others:
            codes = self._codes(query_labels, reference_labels)
            results |= super().get_accuracy(query, codes[0], reference, codes[1], ref_includes_query, others)
        self.curr_function_dict = wanted
        return {name: results[name] for name in wanted}

    def get_ranks(
        self,
        query: Tensor | np.ndarray,
        reference: Tensor | np.ndarray,
        truth: Truth | None = None,
        ref_includes_query: bool = False,
    ) -> Ranks:
        """Return the ranks of queries `[N, D]` among references `[M, D]` under this calculator's rules."""
        return rank_queries(
            query, reference, truth, ref_includes_query=ref_includes_query, ties=self.ties, device=self.device,
            buffer_bytes=self.buffer_bytes, distance=self.distance,
        )  # fmt: skip

    def _get_accuracy(self, function_dict: dict, **kwargs) -> dict[str, float]:
        """Compute the metrics, called by PML; from the results of a k-nn search, as in PML's tests, PML's own."""
        if "ranks" not in kwargs:
            without_ranks = {name: f for name, f in function_dict.items() if name not in self.rank_metrics}
            shared = [name for name in function_dict if name in self.rank_metrics and name in PML_METRICS]
            function_dict = without_ranks | {n: partial(getattr(AccuracyCalculator, PREFIX + n), self) for n in shared}
        return super()._get_accuracy(function_dict, **kwargs)

    def _rank_metric(self, name: str, ranks: Ranks, query_labels: Tensor, **kwargs) -> float | list[float]:
        """Compute one metric over all queries, or by class where PML's `avg_of_avgs` or `return_per_class` asks."""
        metric = self.rank_metrics[name]
        if not (self.avg_of_avgs or self.return_per_class):
            return metric(ranks)
        labels = query_labels.cpu().numpy()
        labels = labels[:, 0] if labels.ndim == 2 else labels
        classes = group(labels, np.unique(labels))
        values = [metric(ranks.take(classes[i])) for i in range(len(classes))]
        return values if self.return_per_class else float(np.mean(values))

    def _truth(self, query_labels: Tensor, reference_labels: Tensor) -> Truth:
        if self.label_comparison_fn is EQUALITY:
            return Truth.from_labels(*_integers(query_labels, reference_labels))
        rows = (query_labels[i : i + 1] for i in range(len(query_labels)))
        matches = (self.label_comparison_fn(row, reference_labels).reshape(-1) for row in rows)
        return Truth.from_lists([match.nonzero()[:, 0] for match in matches])

    def _codes(self, query_labels: Tensor, reference_labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels as small integers of the same order, because PML compares labels as float32."""
        if self.label_comparison_fn is not EQUALITY:
            return query_labels, reference_labels
        queries, references = _integers(query_labels, reference_labels)
        queries = queries[:, 0] if queries.ndim == 2 else queries
        codes = np.unique(np.concatenate([queries, references]), return_inverse=True)[1].reshape(-1)
        return torch.from_numpy(codes[: len(queries)]), torch.from_numpy(codes[len(queries) :])


def _integers(query_labels: Tensor, reference_labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return labels as int64: queries `[N]` or `[N, 1 + S]`, references `[M]`; a row of width > 1 is one label."""
    queries, references = _integer(query_labels), _integer(reference_labels)
    if references.ndim == 2 and references.shape[1] == 1:
        references = references[:, 0]
    if references.ndim == 2 and queries.shape[1:] == references.shape[1:]:
        codes = np.unique(np.concatenate([queries, references]), axis=0, return_inverse=True)[1].reshape(-1)
        queries, references = codes[: len(queries)], codes[len(queries) :]
    return queries, references


def _integer(labels: Tensor) -> np.ndarray:
    """Return labels as int64; floats pass if they are whole and small enough to be exact."""
    exact = labels.is_floating_point() and bool(((labels == labels.round()) & (labels.abs() < FLOAT32_INTEGERS)).all())
    return as_int64(labels.long() if exact or labels.dtype == torch.bool else labels)


def _check(query: Tensor, query_labels: Tensor, reference: Tensor, reference_labels: Tensor, same: bool) -> None:
    if len(query) != len(query_labels) or len(reference) != len(reference_labels):
        raise ValueError("embeddings and labels must have the same length")
    first = reference[: len(query)], reference_labels[: len(query)]
    if same and not (_equal(query, first[0]) and _equal(query_labels, first[1])):
        raise ValueError("ref_includes_query needs the queries, and their labels, to be the first references")


def _equal(one: Tensor, other: Tensor) -> bool:
    """Test as PML does, but let NaN equal NaN: that gets an error of its own."""
    return one is other or (one.shape == other.shape and torch.allclose(one, other.to(one), equal_nan=True))
