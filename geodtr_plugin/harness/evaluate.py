"""Measuring a model on the test sets of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset as TorchSubset

from ..augmentations import ViewTransform
from ..datasets.base import Index, Subset, ViewDataset
from ..evaluation import Truth
from ..evaluation.metrics import summarise
from ..evaluation.ranking import Ranks, rank_queries
from ..methods._base import TwoTower
from ..testers import CrossViewTester
from ..utils.distributed import gather_objects, gather_shards, is_first, shard, wait_for_all, world_size
from ..utils.errors import UserError
from ..utils.npy_rows import block_height, new_rows, open_rows, take_rows
from .build import ROLES, build_role_transforms, check_polar, choose_workers
from .config import RunConfig
from .run_folder import RunFolder

NOT_PERCENT = ("median_rank", "mean_reciprocal_rank", "num_queries", "num_references", "k_at_1_percent")
HEADINGS_SEED = 0
EXAMPLES, SHOWN = 4, 5  # queries of the picture of examples, and references shown for each


class Evaluator:
    """Embeds queries and references of each test set, and ranks.

    Beyond the embeddings themselves, memory holds blocks of them and tiles of similarities, whose sizes are fixed.

    Args:
        config: the run; its recipe says where embeddings are kept.
        model: what is measured.
        views: its view transforms.
        tests: test sets by name.
        device: where it runs.
        folder: where files of embeddings go.
    """

    def __init__(
        self, config: RunConfig, model: TwoTower, views: dict[str, ViewTransform], tests: dict[str, Index],
        device: torch.device, folder: RunFolder | None = None,
    ):  # fmt: skip
        recipe = config.recipe
        if recipe.evaluation.embeddings == "file" and folder is None:
            raise ValueError("embeddings are to be kept in files, but there is no run folder for them")
        self.config, self.model, self.views, self.tests, self.device = config, model, views, tests, device
        self.folder = folder if recipe.evaluation.embeddings == "file" else None
        self.examples: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # by test set, from the last measurement
        for index in tests.values():
            check_polar(model, index)
        self.tester = CrossViewTester(
            batch_size=recipe.evaluation.batch_size,
            dataloader_num_workers=choose_workers(config.workers, device),
            data_device=device,
            batch_transform={role: t.to(device) for role, t in build_role_transforms(model, views).items()},
            precision=recipe.evaluation.precision or recipe.optim.precision,
            progress=is_first(),
        )

    def __call__(self) -> dict[str, dict[str, Any]]:
        """Numbers in percent (ranks aside) by test set."""
        return {name: self.measure(index) for name, index in self.tests.items()}

    def measure(self, index: Index) -> dict[str, Any]:
        """Numbers on one test set."""
        embeddings = self.embed(index)
        query, reference = embeddings["query"], embeddings["reference"]
        self.examples[index.name] = most_similar(query, reference)
        ranks = self.rank(query, reference, index.truth)
        scores = self.scores(ranks, index)
        for subset in index.subsets:
            part = self.rank_subset(query, reference, index.truth, subset, ranks)
            scores.setdefault("subsets", {})[subset.name] = self.scores(part, index)
        return scores

    def embed(self, index: Index) -> dict[str, Tensor]:
        """Embeddings by role, float32 [N, D] each, of queries and references in the order of the index."""
        queries = ViewDataset(index.queries, self.views["query"], headings=self._headings(len(index.queries)))
        references = ViewDataset(index.references, self.views["reference"])
        return {role: self._embed(images, role, index) for role, images in zip(ROLES, (queries, references))}

    def embed_pairs(self, index: Index) -> tuple[Tensor, Tensor]:
        """Embeddings of the two images of every training pair, float32 [P, D] each.

        Where pairs are not simply the images in order, as VIGOR's, a copy of P * D * 4 bytes is made, see `take_rows`.
        """
        embeddings = self.embed(index)
        return tuple(self._take(embeddings.pop(role), rows) for role, rows in zip(ROLES, index.pairs.T))

    def _embed(self, images: ViewDataset, role: str, index: Index) -> Tensor:
        """Each process embeds its part of the images, and gets all embeddings: in memory, or over one file."""
        count, part = len(images), shard(len(images))
        if self.folder is None:
            return gather_shards(self._embed_part(images, part, role), count)
        path = self.folder.embeddings(index.name, role, index.split)
        with shared_file(path, (count, self.model.embedding_size)) as partial:
            self._embed_part(images, part, role, open_rows(partial)[part.start : part.stop])
        return open_rows(path)

    def _embed_part(self, images: ViewDataset, part: range, role: str, out: Tensor | None = None) -> Tensor:
        if not part:  # there are more processes than images
            return torch.empty(0, self.model.embedding_size, device=self.device)
        own = TorchSubset(images, part) if world_size() > 1 else images
        return self.tester.embed(own, role, self.model, out=out)

    def _headings(self, count: int) -> np.ndarray | None:
        """Where queries of a limited field of view look: the same for all methods and runs."""
        view = self.config.recipe.view
        if view.fov == 360 or view.heading == "fixed":
            return None
        return np.random.default_rng(HEADINGS_SEED).random(count)

    def rank(self, query: Tensor, reference: Tensor, truth: Truth, rows: np.ndarray | None = None) -> Ranks:
        """Ranks of the queries in `rows`, or of all; each process ranks its part of them."""
        rows = np.arange(len(query)) if rows is None else rows
        part = shard(len(rows))
        own = rows[part.start : part.stop]
        ties, ranks = self.config.recipe.evaluation.ties, None
        if part:  # not if there are more processes than queries
            ranks = rank_queries(self._take(query, own), reference, truth.take(own), ties=ties, device=self.device)
        return joined([ranks for ranks in gather_objects(ranks) if ranks is not None])

    def rank_subset(self, query: Tensor, reference: Tensor, truth: Truth, subset: Subset, ranks: Ranks) -> Ranks:
        """Ranks of a part of a test set; `ranks` are those of the whole, which stay if the gallery stays."""
        if subset.references is None:
            return ranks.take(subset.queries)
        # a copy of at most M * D * 4 bytes: 1.1 GB for 92,802 references of 3,072 entries, see `take_rows`
        gallery = self._take(reference, subset.references)
        return self.rank(query, gallery, truth.keep_references(subset.references, len(reference)), subset.queries)

    def scores(self, ranks: Ranks, index: Index) -> dict[str, Any]:
        """Metrics of ranks under a test set's rules."""
        scores = summarise(ranks, ks=index.ks, percent_rounding=index.percent_rounding)
        return {name: value if name in NOT_PERCENT else round(100 * value, 4) for name, value in scores.items()}

    def _take(self, embeddings: Tensor, rows: np.ndarray) -> Tensor:
        return take_rows(embeddings, rows, self.folder and self.folder.path)


@contextmanager
def shared_file(path: Path, shape: tuple[int, int]) -> Iterator[Path]:
    """The name of a new `.npy` file [N, D] into which every process is to write its rows.

    It becomes `path` when all have done so; whatever happens before, `path` stays as it was.
    """
    partial = path.with_name(f"{path.stem}.partial.npy")  # always this one: no heap of them after runs that were killed
    try:
        if is_first():
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("w+b") as file:
                new_rows(file, shape)
        wait_for_all()
        if not partial.is_file():
            raise UserError(
                f"{partial} was made by the first process and is not there for another one. Let all processes write to "
                "one file system, or keep embeddings in memory: --evaluation.embeddings memory."
            )
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        wait_for_all()
        if is_first():
            os.replace(partial, path)
    finally:
        if is_first():
            partial.unlink(missing_ok=True)
    wait_for_all()


def joined(parts: list[Ranks]) -> Ranks:
    """The ranks of consecutive parts of the queries."""
    names = ("plain", "without_neutrals", "found")
    return Ranks(*(np.concatenate([getattr(part, name) for part in parts]) for name in names), parts[0].num_references)


def most_similar(query: Tensor, reference: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Rows of some queries [E], spread over all, and their most similar references [E, K], best first."""
    rows = torch.linspace(0, len(query) - 1, min(EXAMPLES, len(query))).long()
    some = query[rows]
    similar = torch.cat([some @ block.T for block in reference.split(block_height(reference))], dim=1)  # [E, M]: small
    top = similar.topk(min(SHOWN, len(reference)), dim=1).indices
    return rows.numpy(), top.cpu().numpy()
