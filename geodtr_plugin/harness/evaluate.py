"""Measuring a model on the test sets of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset as TorchSubset

from ..augmentations import ViewTransform
from ..datasets.base import Index, Subset, ViewDataset
from ..methods._base import TwoTower
from ..testers import CrossViewTester
from ..utils import Truth
from ..utils.distributed import gather_objects, gather_shards, is_first, shard, world_size
from ..utils.metrics import summarise
from ..utils.ranking import Ranks, rank_queries
from .build import ROLES, build_role_transforms, check_polar, choose_workers
from .config import RunConfig

NOT_PERCENT = ("median_rank", "mean_reciprocal_rank", "num_queries", "num_references", "k_at_1_percent")
HEADINGS_SEED = 0
EXAMPLES, SHOWN = 4, 5  # queries of the picture of examples, and references shown for each


class Evaluator:
    """Embeds queries and references of each test set, and ranks.

    Args:
        config: the run.
        model: what is measured.
        views: its view transforms.
        tests: test sets by name.
        device: where it runs.
    """

    def __init__(
        self, config: RunConfig, model: TwoTower, views: dict[str, ViewTransform], tests: dict[str, Index],
        device: torch.device,
    ):  # fmt: skip
        self.config, self.model, self.views, self.tests, self.device = config, model, views, tests, device
        self.examples: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # by test set, from the last measurement
        for index in tests.values():
            check_polar(model, index)
        self.tester = CrossViewTester(
            batch_size=config.recipe.evaluation.batch_size,
            dataloader_num_workers=choose_workers(config.workers, device),
            data_device=device,
            batch_transform={role: t.to(device) for role, t in build_role_transforms(model, views).items()},
            precision=config.recipe.optim.precision,
            progress=is_first(),
        )

    def __call__(self) -> dict[str, dict[str, Any]]:
        """Numbers in percent (ranks aside) by test set."""
        return {name: self.measure(index) for name, index in self.tests.items()}

    def measure(self, index: Index) -> dict[str, Any]:
        """Numbers on one test set."""
        embeddings = self.embed(index)
        self.examples[index.name] = most_similar(embeddings["query"], embeddings["reference"])
        scores = self.rank(embeddings["query"], embeddings["reference"], index.truth, index)
        for subset in index.subsets:
            parts = restrict(embeddings["query"], embeddings["reference"], index.truth, subset)
            scores.setdefault("subsets", {})[subset.name] = self.rank(*parts, index)
        return scores

    def embed(self, index: Index) -> dict[str, Tensor]:
        """Embeddings by role, float32 [N, D] each, of queries and references in the order of the index."""
        queries = ViewDataset(index.queries, self.views["query"], headings=self._headings(len(index.queries)))
        references = ViewDataset(index.references, self.views["reference"])
        return {role: self._embed(images, role) for role, images in zip(ROLES, (queries, references))}

    def _embed(self, images: ViewDataset, role: str) -> Tensor:
        """Each process embeds its part of the images, and gets all embeddings."""
        own = TorchSubset(images, shard(len(images))) if world_size() > 1 else images
        return gather_shards(self.tester.embed(own, role, self.model), len(images))

    def _headings(self, count: int) -> np.ndarray | None:
        """Where queries of a limited field of view look: the same for all methods and runs."""
        view = self.config.recipe.view
        if view.fov == 360 or view.heading == "fixed":
            return None
        return np.random.default_rng(HEADINGS_SEED).random(count)

    def rank(self, query: Tensor, reference: Tensor, truth: Truth, index: Index) -> dict[str, Any]:
        """Metrics of embeddings under a test set's rules."""
        own = np.array(shard(len(query)), dtype=np.int64)  # each process ranks its part of the queries
        ranks = rank_queries(
            query[own], reference, truth.take(own), ties=self.config.recipe.evaluation.ties, device=self.device
        )
        scores = summarise(joined(gather_objects(ranks)), ks=index.ks, percent_rounding=index.percent_rounding)
        return {name: value if name in NOT_PERCENT else round(100 * value, 4) for name, value in scores.items()}


def joined(parts: list[Ranks]) -> Ranks:
    """The ranks of consecutive parts of the queries."""
    names = ("plain", "without_neutrals", "found")
    return Ranks(*(np.concatenate([getattr(part, name) for part in parts]) for name in names), parts[0].num_references)


def restrict(query: Tensor, reference: Tensor, truth: Truth, subset: Subset) -> tuple[Tensor, Tensor, Truth]:
    """Embeddings and truth of a part of a test set."""
    truth = truth.take(subset.queries)
    if subset.references is None:
        return query[subset.queries], reference, truth
    truth = truth.keep_references(subset.references, len(reference))
    return query[subset.queries], reference[subset.references], truth


def most_similar(query: Tensor, reference: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Rows of some queries [E], spread over all, and their most similar references [E, K], best first."""
    rows = torch.linspace(0, len(query) - 1, min(EXAMPLES, len(query))).long()
    top = (query[rows] @ reference.T).topk(min(SHOWN, len(reference)), dim=1).indices
    return rows.numpy(), top.cpu().numpy()
