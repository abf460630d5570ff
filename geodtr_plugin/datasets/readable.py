"""What is left of a data set without its damaged images; they are named, and nothing is put in their place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch.utils.data import Dataset
from tqdm import tqdm

from ..utils.errors import DatasetCorruptError
from ..utils.loading import ReportingLoader
from ..utils.roles import ROLE_FOLDERS
from ..utils.seed import one_thread_worker
from ..utils.visible import visible
from .base import Split
from .images import Images


def readable(split: Split, workers: int = 0) -> tuple[Split, list[str]]:
    """Decode every image once, and leave out what cannot be decoded.

    Pairs go with either of their images. A query goes too when none of its positives is left, since it could only be
    answered wrongly.

    Args:
        split: the split; it is returned itself if all its images are good.
        workers: processes that decode; 0 decodes in this one.

    Returns:
        What is left of the split, and a sentence for every image that is not in it.

    Raises:
        DatasetNotFoundError: an image is missing; that is no damage, but an incomplete copy.
        DatasetCorruptError: nothing is left.
    """
    damaged = {role: _damaged(split, role, workers) for role in ROLE_FOLDERS}
    if not any(damaged.values()):
        return split, []
    references = _rows_without(len(split.references), damaged["references"])
    queries = _rows_without(len(split.queries), damaged["queries"])
    had = split.truth.positives.counts() > 0
    has = split.truth.keep_references(references, len(split.references)).positives.counts() > 0
    orphans = [int(i) for i in queries if had[i] and not has[i]]
    sentences = [sentence for role in damaged.values() for sentence in role.values()]
    sentences += [
        f"Query {i} of {len(split.queries)}, {split.queries.ids[i]}, is left out: none of its references can be read."
        for i in orphans
    ]
    queries = np.setdiff1d(queries, orphans)
    if not len(queries) or not len(references):
        raise DatasetCorruptError(f"No image of {split.name} {split.split} can be used.", f"The first: {sentences[0]}")
    total = len(split.pairs) if split.total_pairs is None else split.total_pairs
    return replace(split.keep(queries, references), total_pairs=total), sentences


class _Attempts(Dataset):
    """Item i is (i, what is wrong with image i or None)."""

    def __init__(self, images: Images):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[int, str | None]:
        try:
            self.images.read(i)
        except DatasetCorruptError as error:
            return i, str(error)
        return i, None


def _damaged(split: Split, role: str, workers: int) -> dict[int, str]:
    """Return the damaged images of a role by row, and what is wrong with each."""
    attempts, damaged = _Attempts(getattr(split, role)), {}
    loader = ReportingLoader(
        attempts, batch_size=16, num_workers=workers, collate_fn=list, worker_init_fn=one_thread_worker
    )
    title = visible(f"decode {split.name} {split.split} {role}", one_line=True)
    with tqdm(total=len(attempts), desc=title, unit="image") as bar:
        for batch in loader:
            damaged.update({i: fault for i, fault in batch if fault is not None})
            bar.update(len(batch))
    return damaged


def _rows_without(count: int, rows: dict[int, str]) -> np.ndarray:
    return np.setdiff1d(np.arange(count), list(rows))
