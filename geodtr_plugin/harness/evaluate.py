"""Measuring a model on the test sets of a run."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset as TorchSubset

from ..augmentations import ImageTransform
from ..datasets import ImageDataset, Split, Subset
from ..evaluation import Ranks, Truth, most_similar, rank_queries, summarise
from ..methods import TwoTower
from ..testers import CrossViewTester
from ..utils.distributed import gather_objects, gather_shards, is_main_process, shard, wait_for_all, world_size
from ..utils.errors import UserError
from ..utils.files import write_text
from ..utils.npy_rows import new_rows, open_rows, take_rows
from ..utils.ragged import Ragged
from ..utils.roles import ROLES
from ..utils.seed import isolated_rng
from ..utils.visible import csv_cell
from .build import build_role_transforms, choose_workers
from .checks import check_polar
from .config import RunConfig
from .metres import Answers, measure_metres, predict_offsets
from .run_folder import RunFolder

NOT_PERCENT = ("median_rank", "mean_reciprocal_rank", "num_queries", "num_references", "k_at_1_percent")
HEADINGS_SEED = 0
SHOWN = 5  # references that the picture of examples shows for each query


@dataclass(frozen=True)
class Details:
    """What became of the queries of a test set, one by one.

    Args:
        ranks: of all queries.
        wrong: the most similar reference that is neither right nor ignored, int `[N]`; -1 where there is none.
        wrong_similarity: its cosine, float32 `[N]`.
        examples: some queries, rows `[E]`, and their most similar references, best first, `[E, K]`.
    """

    ranks: Ranks
    wrong: np.ndarray
    wrong_similarity: np.ndarray
    examples: tuple[np.ndarray, np.ndarray]


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
        UserError: the model's polar transform does not fit a test set.
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
        scores = self.scores(ranks, split)
        for subset in split.subsets:
            part = self.rank_subset(query, reference, split.truth, subset, ranks)
            scores.setdefault("subsets", {})[subset.name] = self.scores(part, split)
        if not details:
            return scores, None
        scores |= self.metres(split, query, reference)
        return scores, self._details(query, reference, split.truth, ranks)

    def metres(self, split: Split, query: Tensor, reference: Tensor) -> dict[str, float]:
        """Return the errors in metres of the most similar references, for sets with coordinates."""
        if split.queries.coordinates is None or split.references.coordinates is None:
            return {}
        count, part = len(query), shard(len(query))
        own = np.arange(part.start, part.stop)
        found = self._most_similar(query, own, reference, 1)[1][:, 0] if part else own
        answers = np.concatenate(gather_objects(found))

        def offsets() -> np.ndarray:
            pairs = TorchSubset(Answers(*self._images(split), answers), part)
            return gather_shards(predict_offsets(self.model, pairs, self.tester), count).cpu().numpy()

        return measure_metres(split, answers, offsets if self.model.predicts_offset else None)

    def embed(self, split: Split) -> dict[str, Tensor]:
        """Return embeddings by role, float32 [N, D] each, of queries and references in the order of the split."""
        return {role: self._embed(images, role, split) for role, images in zip(ROLES, self._images(split))}

    def _images(self, split: Split) -> tuple[ImageDataset, ImageDataset]:
        headings = self._headings(len(split.queries))
        queries = ImageDataset(split.queries, self.transforms["query"], headings=headings)
        return queries, ImageDataset(split.references, self.transforms["reference"])

    def embed_pairs(self, split: Split) -> tuple[Tensor, Tensor]:
        """Return embeddings of the two images of every training pair, float32 [P, D] each.

        Where pairs are not simply the images in order, as VIGOR's, a copy of P * D * 4 bytes is made, see `take_rows`.
        """
        with isolated_rng(self.config.seed):
            embeddings = self.embed(split)
        query, reference = (self._take(embeddings.pop(role), rows) for role, rows in zip(ROLES, split.pairs.T))
        return query, reference

    def rank(self, query: Tensor, reference: Tensor, truth: Truth, rows: np.ndarray | None = None) -> Ranks:
        """Rank the queries `[N, D]`, or some `rows` of them, among references `[M, D]`; each process ranks a part."""
        rows = np.arange(len(query)) if rows is None else rows
        part = shard(len(rows))
        own = rows[part.start : part.stop]
        ties, ranks = self.config.recipe.evaluation.ties, None
        if part:  # not if there are more processes than queries
            ranks = rank_queries(self._take(query, own), reference, truth.take(own), ties=ties, device=self.device)
        return Ranks.joined([ranks for ranks in gather_objects(ranks) if ranks is not None])

    def rank_subset(self, query: Tensor, reference: Tensor, truth: Truth, subset: Subset, ranks: Ranks) -> Ranks:
        """Rank a part of a test set of `[N, D]` and `[M, D]`; the whole's ranks stay if the gallery stays whole."""
        if subset.references is None:
            return ranks.take(subset.queries)
        # a copy of at most M * D * 4 bytes: 1.1 GB for 92,802 references of 3,072 entries, see `take_rows`
        gallery = self._take(reference, subset.references)
        return self.rank(query, gallery, truth.keep_references(subset.references, len(reference)), subset.queries)

    def scores(self, ranks: Ranks, split: Split) -> dict[str, Any]:
        """Return the metrics of ranks under a test set's rules."""
        scores = summarise(ranks, ks=split.ks, percent_rounding=split.percent_rounding)
        return {name: value if name in NOT_PERCENT else round(100 * value, 4) for name, value in scores.items()}

    def _embed(self, images: ImageDataset, role: str, split: Split) -> Tensor:
        """Embed one role; each process embeds its part, and gets all embeddings: in memory, or over one file."""
        count, part = len(images), shard(len(images))
        if self.folder is None:
            return gather_shards(self._embed_part(images, part, role), count)
        path = self.folder.embeddings(split.name, role, split.split)
        with shared_file(path, (count, self.model.embedding_size)) as partial:
            self._embed_part(images, part, role, open_rows(partial)[part.start : part.stop])
        return open_rows(path)

    def _embed_part(self, images: ImageDataset, part: range, role: str, out: Tensor | None = None) -> Tensor:
        if not part:  # there are more processes than images
            return torch.empty(0, self.model.embedding_size, device=self.device)
        own = TorchSubset(images, part) if world_size() > 1 else images
        return self.tester.embed(own, role, self.model, out=out)

    def _headings(self, count: int) -> np.ndarray | None:
        """Return where queries of a limited field of view look, in turns: the same for all methods and runs."""
        view = self.config.recipe.view
        if view.fov == 360 or view.heading == "fixed":
            return None
        return np.random.default_rng(HEADINGS_SEED).random(count)

    def _details(self, query: Tensor, reference: Tensor, truth: Truth, ranks: Ranks) -> Details:
        """Find the best wrong reference of every query, each process for its part, and the examples."""
        count, part = len(query), shard(len(query))
        own = np.arange(part.start, part.stop)
        right = Ragged.joined([truth.positives, *([] if truth.ignored is None else [truth.ignored])])
        found = self._most_similar(query, own, reference, 1, right.take(own)) if part else None
        parts = [both for both in gather_objects(found) if both is not None]
        similarity, wrong = (np.concatenate(column)[:, 0] for column in zip(*parts))
        examples = np.linspace(0, count - 1, min(self.config.recipe.evaluation.examples, count)).astype(np.int64)
        top = self._most_similar(query, examples, reference, SHOWN)[1] if len(examples) else np.empty((0, 0), np.int64)
        return Details(ranks, wrong, similarity, (examples, top))

    def _most_similar(
        self, query: Tensor, rows: np.ndarray, reference: Tensor, count: int, left_out: Ragged | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        count = min(count, len(reference))
        return most_similar(self._take(query, rows), reference, count, left_out=left_out, device=self.device)

    def _take(self, embeddings: Tensor, rows: np.ndarray) -> Tensor:
        return take_rows(embeddings, rows, self.folder.path if self.folder else None)


def write_ranks(file: Path, split: Split, details: Details) -> None:
    """Write a line a query: its id, rank (1 is the top), the right reference's similarity, the best wrong reference.

    Empty cells: the gallery holds no right reference, or no wrong one. An id that a spreadsheet would compute gets a
    `'` before it, see `csv_cell`.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["query", "rank", "similarity", "wrong", "wrong_similarity"])
    ranks = details.ranks
    for row, query in enumerate(split.queries.ids):
        right = [int(ranks.plain[row]) + 1, f"{ranks.similarity[row]:.6f}"] if ranks.found[row] else ["", ""]
        wrong = int(details.wrong[row])
        other = [split.references.ids[wrong], f"{details.wrong_similarity[row]:.6f}"] if wrong >= 0 else ["", ""]
        writer.writerow(map(csv_cell, [query, *right, *other]))
    write_text(file, lines.getvalue())


@contextmanager
def shared_file(path: Path, shape: tuple[int, int]) -> Iterator[Path]:
    """Give the name of a new `.npy` file [N, D] into which every process is to write its rows.

    It becomes `path` when all have done so; whatever happens before, `path` stays as it was.

    Raises:
        UserError: the processes do not write to one file system, or the disk has no room.
    """
    partial = path.with_name(f"{path.stem}.partial.npy")  # always this one: no heap of them after runs that were killed
    try:
        if is_main_process():
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("w+b") as file:
                new_rows(file, shape)
        wait_for_all()
        if not partial.is_file():
            raise UserError(
                f"{partial} was made by the first process and is not there for another one.",
                "Let all processes write to one file system, or keep embeddings in memory: "
                "--evaluation.embeddings memory.",
            )
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        wait_for_all()
        if is_main_process():
            os.replace(partial, path)
    finally:
        if is_main_process():
            partial.unlink(missing_ok=True)
    wait_for_all()
