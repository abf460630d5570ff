"""Errors in metres of a run's answers: of the most similar tile's centre, and of the place that a head finds in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..datasets import ImageDataset, Split
from ..evaluation.metres import displaced, errors_in_metres, summarise_errors
from ..methods import TwoTower
from ..testers import CrossViewTester
from ..testers.embedding import embed_input, modes_restored
from ..utils.loading import ReportingLoader
from ..utils.pair_data import OFFSET
from ..utils.precision import autocast

WITH_OFFSET = "_with_offset"  # ends the names of errors after the predicted offset


def measure_metres(
    split: Split, answers: np.ndarray, predict: Callable[[], np.ndarray] | None = None
) -> dict[str, float]:
    """Return the errors of the answers on one test set; nothing where it has no coordinates.

    Args:
        split: the test set.
        answers: the most similar reference of every query, int64 `[N]`.
        predict: gives the offsets of the queries in these references, float `[N, 2]`; None: the model has no head.
    """
    queries, references = split.queries, split.references
    kind = queries.coordinate_kind
    if queries.coordinates is None or references.coordinates is None or kind is None:
        return {}
    if kind != references.coordinate_kind:  # nothing says how they lie to each other
        return {}
    centres = references.coordinates[answers]
    scores = summarise_errors(errors_in_metres(centres, queries.coordinates, kind))
    if predict is None or split.offsets is None or not scores:
        return scores
    places = displaced(centres, kind, predict(), split.offsets.metres[answers])
    return scores | summarise_errors(errors_in_metres(places, queries.coordinates, kind), WITH_OFFSET)


class Answers(Dataset):
    """Item i is (query i, its answer), uint8 `[3, h, w]` each.

    Args:
        queries, references: of a test set.
        answers: rows of the references, int64 `[N]`.
    """

    def __init__(self, queries: ImageDataset, references: ImageDataset, answers: np.ndarray):
        self.queries, self.references, self.answers = queries, references, answers

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.queries[i][0], self.references[int(self.answers[i])][0]


@torch.no_grad()
def predict_offsets(model: TwoTower, pairs: Dataset, tester: CrossViewTester) -> Tensor:
    """Return where in its reference the model's head sees each query, float32 `[n, 2]`, on the tester's device.

    Args:
        model: one with `predicts_offset`.
        pairs: items (query, reference), uint8.
        tester: whose transforms, batches and precision are used.
    """
    device, transforms = tester.data_device, tester.batch_transform
    loader = ReportingLoader(pairs, batch_size=tester.batch_size, num_workers=tester.dataloader_num_workers)
    found: list[Any] = []
    with modes_restored(model):
        model.eval()
        for query, reference in loader:
            images = [
                embed_input(stored, transforms.get(role), device, None)
                for role, stored in (("query", query), ("reference", reference))
            ]
            with autocast(tester.precision, device):
                found.append(model(*images).extras[OFFSET].float())
    return torch.cat(found) if found else torch.empty(0, 2, device=device)
