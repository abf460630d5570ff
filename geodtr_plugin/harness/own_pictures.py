"""Sheets of what a method itself makes of pairs, such as the panoramas that a generator paints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..datasets import ImageDataset, Split
from ..methods import TwoTower
from ..testers.embedding import embed_input, modes_restored
from ..utils.roles import ROLES, Role
from .details import Details
from .evaluate import Evaluator
from .pictures import sheet
from .run_folder import RunFolder


@torch.no_grad()
def write_own_pictures(folder: RunFolder, evaluate: Evaluator, details: Mapping[str, Details]) -> None:
    """Write `made-TEST.png` for each test set, of the queries that its picture of examples shows.

    Nothing is written for a method that makes no pictures.
    """
    model = evaluate.model
    if type(model).pictures is TwoTower.pictures:
        return
    with modes_restored(model):
        model.eval()
        for name, split in evaluate.tests.items():
            right = split.truth.positives
            pairs = [(int(query), int(right[query][0])) for query in details[name].examples[0] if len(right[query])]
            if pairs and (made := model.pictures(*_images(evaluate, split, pairs))):
                columns = {title: images.permute(0, 2, 3, 1).cpu().numpy() for title, images in made.items()}
                sheet(columns, f"{model.method_name} on {name}", folder.picture(f"made-{name}"))


def _images(evaluate: Evaluator, split: Split, pairs: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Return the queries and the references of some pairs of rows, as the network gets them."""

    def of_role(role: Role, rows: Sequence[int]) -> Tensor:
        stored = ImageDataset(getattr(split, "queries" if role == "query" else "references"), evaluate.transforms[role])
        transform = evaluate.tester.batch_transform[role]
        return torch.cat([embed_input(stored[row][0][None], transform, evaluate.device, None) for row in rows])

    return [of_role(role, rows) for role, rows in zip(ROLES, zip(*pairs))]
