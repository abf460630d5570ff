"""What is left of a data set without its damaged images; they are named, and nothing is put in their place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..utils.errors import DatasetCorruptError
from ..utils.seed import one_thread_worker
from .base import Split
from .images import Images


def readable(index: Split, workers: int = 0) -> tuple[Split, list[str]]:
    """Decodes every image once, and leaves out what cannot be decoded.

    Pairs go with either of their images. A query goes too when none of its positives is left, since it could only be
    answered wrongly.

    Args:
        index: the data set; it is returned itself if all its images are good.
        workers: processes that decode; 0 decodes in this one.

    Returns:
        The index of what is left, and a sentence for every image that is not in it.

    Raises:
        DatasetNotFoundError: an image is missing; that is no damage, but an incomplete copy.
        DatasetCorruptError: nothing is left.
    """
    faults = {role: _faults(index, role, workers) for role in ("queries", "references")}
    if not any(faults.values()):
        return index, []
    references = _without(len(index.references), faults["references"])
    queries = _without(len(index.queries), faults["queries"])
    had = index.truth.positives.counts() > 0
    has = index.truth.keep_references(references, len(index.references)).positives.counts() > 0
    orphans = [int(i) for i in queries if had[i] and not has[i]]
    sentences = [sentence for role in faults.values() for sentence in role.values()]
    sentences += [
        f"Query {i} of {len(index.queries)}, {index.queries.ids[i]}, is left out: none of its references can be read."
        for i in orphans
    ]
    queries = np.setdiff1d(queries, orphans)
    if not len(queries) or not len(references):
        raise DatasetCorruptError(f"No image of {index.name} {index.split} can be used. The first: {sentences[0]}")
    total = len(index.pairs) if index.total_pairs is None else index.total_pairs
    return replace(index.keep(queries, references), total_pairs=total), sentences


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


def _faults(index: Split, role: str, workers: int) -> dict[int, str]:
    """The damaged images of a role, and what is wrong with each."""
    attempts, faults = _Attempts(getattr(index, role)), {}
    loader = DataLoader(
        attempts, batch_size=16, num_workers=workers, collate_fn=list, worker_init_fn=one_thread_worker
    )
    with tqdm(total=len(attempts), desc=f"decode {index.name} {index.split} {role}", unit="image") as bar:
        for batch in loader:
            faults.update({i: fault for i, fault in batch if fault is not None})
            bar.update(len(batch))
    return faults


def _without(count: int, rows: dict[int, str]) -> np.ndarray:
    return np.setdiff1d(np.arange(count), list(rows))
