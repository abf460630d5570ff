"""Measuring a model on the test sets of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Subset as TorchSubset

from ..augmentations import ImageTransform
from ..datasets import ImageDataset, Split, Subset
from ..evaluation import Headings, Ranks, Truth, find_headings, most_similar, rank_queries, summarise
from ..methods import TwoTower
from ..testers import CrossViewTester
from ..utils.distributed import gather_objects, gather_shards, is_main_process, shard, world_size
from ..utils.npy_rows import open_rows, take_rows
from ..utils.ragged import Ragged
from ..utils.roles import ROLES, Role
from ..utils.seed import isolated_rng
from .build import build_role_transforms, choose_workers
from .checks import check_polar
from .config import RunConfig
from .details import Details
from .metres import Answers, measure_metres, predict_offsets
from .orientation import Orientation
from .run_folder import RunFolder
from .shared_file import shared_file

NOT_PERCENT = ("median_rank", "mean_reciprocal_rank", "num_queries", "num_references", "k_at_1_percent")
SHOWN = 5  # references that the picture of examples shows for each query


class Evaluator:
    """Embed queries and references of each test set, and rank.

    Beyond the embeddings themselves, memory holds blocks of them and tiles of similarities, whose sizes are fixed.

    Args:
        config: the run; its recipe says where embeddings are kept.
        model: what is measured.
        transforms: its image transforms.
        tests: test sets by name.
        device: where it runs.
        folder: where files of embeddings go.

    Raises:
        ValueError: embeddings are to be kept in files, and there is no folder.
        UserError: the model's polar transform does not fit a test set, or its images cannot be turned as asked.
    """

    def __init__(
        self, config: RunConfig, model: TwoTower, transforms: dict[str, ImageTransform], tests: Mapping[str, Split],
        device: torch.device, folder: RunFolder | None = None,
    ):  # fmt: skip
        recipe = config.recipe
        if recipe.evaluation.embeddings == "file" and folder is None:
            raise ValueError("embeddings are to be kept in files, but there is no run folder for them")
        self.config, self.model, self.transforms, self.tests, self.device = config, model, transforms, tests, device
        self.folder = folder if recipe.evaluation.embeddings == "file" else None
        for split in tests.values():
            check_polar(model, split)
        self.orientation = Orientation(recipe.view, model, transforms)
        self.tester = CrossViewTester(
            batch_size=recipe.evaluation.batch_size,
            dataloader_num_workers=choose_workers(config.workers, device),
            data_device=device,
            batch_transform={role: t.to(device) for role, t in build_role_transforms(model, transforms).items()},
            precision=recipe.evaluation.precision or recipe.optim.precision,
            progress=is_main_process(),
        )

    def __call__(self, details: bool = False) -> tuple[dict[str, dict[str, Any]], dict[str, Details]]:
        """Return the numbers on every test set, in percent (ranks aside), and the details if they are wanted.

        The training's generators stay as they are, however often and on whatever is measured.
        """
        with isolated_rng(self.config.seed):
            measured = {name: self.measure(split, details) for name, split in self.tests.items()}
        return (
            {name: scores for name, (scores, _) in measured.items()},
            {name: more for name, (_, more) in measured.items() if more is not None},
        )

    def measure(self, split: Split, details: bool = False) -> tuple[dict[str, Any], Details | None]:
        """Return the numbers on one test set, and what became of its queries if that is wanted."""
        embeddings = self.embed(split)
        query, reference = embeddings["query"], embeddings["reference"]
        ranks = self.rank(query, reference, split.truth)
        headings = self.find_headings(query, reference, split.truth)
        scores = self.scores(ranks, split, headings)
        for subset in split.subsets:
            part = self.rank_subset(query, reference, split.truth, subset, ranks)
            scores.setdefault("subsets", {})[subset.name] = self.scores(part, split, headings, subset.queries)
        if not details:
            return scores, None
        scores |= self.metres(split, query, reference)
        return scores, self._details(query, reference, split.truth, ranks, headings)

    def metres(self, split: Split, query: Tensor, reference: Tensor) -> dict[str, float]:
        """Return the errors in metres of the most similar references, for sets with coordinates."""
        if split.queries.coordinates is None or split.references.coordinates is None:
            return {}
        count, part = len(query), shard(len(query))
        own = np.arange(part.start, part.stop)
        found = self._most_similar(query, own, reference, 1)[1][:, 0] if part else own
        answers = np.concatenate(gather_objects(found))

        def offsets() -> np.ndarray:
            pairs = TorchSubset(Answers(*self._images(split, self.orientation), answers), part)
            return gather_shards(predict_offsets(self.model, pairs, self.tester), count).cpu().numpy()

        return measure_metres(split, answers, offsets if self.model.predicts_offset else None)

    def embed(self, split: Split, roles: Collection[str] = ROLES) -> dict[str, Tensor]:
        """Return embeddings by role, float32 [N, D] each, of queries and references in the order of the split.

        Where headings are tried, rows of the role that is turned are those of all its copies, side by side.
        """
        return self._embed_roles(split, self.orientation, roles)

    def embed_pairs(self, split: Split) -> tuple[Tensor, Tensor]:
        """Return embeddings of the two images of every training pair, float32 [P, D] each, turned as in training.

        Where pairs are not simply the images in order, as VIGOR's, a copy of P * D * 4 bytes is made, see `take_rows`.
        """
        with isolated_rng(self.config.seed):
            embeddings = self._embed_roles(split, self.orientation.of_training())
        query, reference = (self._take(embeddings.pop(role), rows) for role, rows in zip(ROLES, split.pairs.T))
        return query, reference

    def rank(self, query: Tensor, reference: Tensor, truth: Truth, rows: np.ndarray | None = None) -> Ranks:
        """Rank the queries `[N, D]`, or some `rows` of them, among references `[M, D]`; each process ranks a part."""
        rows = np.arange(len(query)) if rows is None else rows
        part = shard(len(rows))
        own = rows[part.start : part.stop]
        ties, ranks = self.config.recipe.evaluation.ties, None
        if part:  # not if there are more processes than queries
            ranks = rank_queries(
                self._take(query, own), reference, truth.take(own), ties=ties, device=self.device,
                distance=self.orientation.distance,
            )  # fmt: skip
        return Ranks.joined([ranks for ranks in gather_objects(ranks) if ranks is not None])

    def rank_subset(self, query: Tensor, reference: Tensor, truth: Truth, subset: Subset, ranks: Ranks) -> Ranks:
        """Rank a part of a test set of `[N, D]` and `[M, D]`; the whole's ranks stay if the gallery stays whole."""
        if subset.references is None:
            return ranks.take(subset.queries)
        # a copy of at most M * D * 4 bytes: 1.1 GB for 92,802 references of 3,072 entries, see `take_rows`
        gallery = self._take(reference, subset.references)
        return self.rank(query, gallery, truth.keep_references(subset.references, len(reference)), subset.queries)

    def find_headings(self, query: Tensor, reference: Tensor, truth: Truth) -> Headings | None:
        """Tell where queries look by their right references, each process for its part; None: the model cannot."""
        distance, part = self.orientation.distance, shard(len(query))
        if distance is None:
            return None
        own = np.arange(part.start, part.stop)
        found = find_headings(self._take(query, own), reference, truth.take(own), distance, self.device)
        return Headings(np.concatenate(gather_objects(found)), self.orientation.true_headings(len(query)))

    def scores(
        self, ranks: Ranks, split: Split, headings: Headings | None = None, rows: np.ndarray | None = None
    ) -> dict[str, Any]:
        """Return the metrics of ranks, and of the headings of all queries or of some rows, under a test set's rules."""
        scores = summarise(ranks, ks=split.ks, percent_rounding=split.percent_rounding)
        scores = {name: value if name in NOT_PERCENT else round(100 * value, 4) for name, value in scores.items()}
        if headings is None:
            return scores
        return scores | (headings if rows is None else headings.take(rows)).summarise(ranks)

    def _images(self, split: Split, orientation: Orientation) -> tuple[ImageDataset, ImageDataset]:
        turns = orientation.turns(len(split.queries))
        queries = ImageDataset(split.queries, self.transforms["query"], headings=turns)
        return queries, ImageDataset(split.references, self.transforms["reference"])

    def _embed_roles(
        self, split: Split, orientation: Orientation, roles: Collection[str] = ROLES
    ) -> dict[str, Tensor]:
        return {
            role: self._embed(images, role, split, *orientation.embedding(role))
            for role, images in zip(ROLES, self._images(split, orientation))
            if role in roles
        }

    def _embed(self, images: ImageDataset, role: Role, split: Split, network: nn.Module, size: int) -> Tensor:
        """Embed one role `[N, size]`; each process embeds its part, and gets all: in memory, or over one file."""
        count, part = len(images), shard(len(images))

        def embed_part(out: Tensor | None = None) -> Tensor:
            if not part:  # there are more processes than images
                return torch.empty(0, size, device=self.device)
            own = TorchSubset(images, part) if world_size() > 1 else images
            return self.tester.embed(own, role, network, out=out)

        if self.folder is None:
            return gather_shards(embed_part(), count)
        path = self.folder.embeddings(split.name, role, split.split)
        with shared_file(path, (count, size)) as partial:
            embed_part(open_rows(partial)[part.start : part.stop])
        return open_rows(path)

    def _details(
        self, query: Tensor, reference: Tensor, truth: Truth, ranks: Ranks, headings: Headings | None
    ) -> Details:
        """Find the best wrong reference of every query, each process for its part, and the examples."""
        count, part = len(query), shard(len(query))
        own = np.arange(part.start, part.stop)
        right = Ragged.joined([truth.positives, *([] if truth.ignored is None else [truth.ignored])])
        found = self._most_similar(query, own, reference, 1, right.take(own)) if part else None
        parts = [both for both in gather_objects(found) if both is not None]
        similarity, wrong = (np.concatenate(column)[:, 0] for column in zip(*parts))
        examples = np.linspace(0, count - 1, min(self.config.recipe.evaluation.examples, count)).astype(np.int64)
        top = self._most_similar(query, examples, reference, SHOWN)[1] if len(examples) else np.empty((0, 0), np.int64)
        return Details(ranks, wrong, similarity, (examples, top), headings)

    def _most_similar(
        self, query: Tensor, rows: np.ndarray, reference: Tensor, count: int, left_out: Ragged | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        return most_similar(
            self._take(query, rows), reference, min(count, len(reference)), left_out=left_out, device=self.device,
            distance=self.orientation.distance,
        )  # fmt: skip

    def _take(self, embeddings: Tensor, rows: np.ndarray) -> Tensor:
        return take_rows(embeddings, rows, self.folder.path if self.folder else None)
