"""Pictures to work on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from geodtr_plugin.datasets import Split
from geodtr_plugin.evaluation import Truth


def random_images(count: int, height: int, width: int) -> Tensor:
    """uint8 [count, 3, height, width], smooth, with all levels."""
    coarse = torch.rand(count, 3, max(2, height // 8), max(2, width // 8))
    fine = interpolate(coarse, (height, width), mode="bilinear")
    return (255 * fine).byte()


def stored_pairs(folder: Path, distinct: int, count: int) -> Split:
    """`count` training pairs of places of their own, in `distinct` pairs of JPEG files as large as CVUSA's.

    Files that serve several pairs are decoded for each of them: what an epoch loads does not depend on `distinct`, as
    long as they outgrow the processor's caches. They lie in the system's cache of files, as those of CVUSA do after a
    first epoch on a machine with 16 GB of memory to spare.
    """
    from loader import write_pairs  # late: it sets threads for all processes that are started from here on

    files, rows = write_pairs(folder, distinct), np.arange(count)
    return replace(
        files, queries=files.queries.take(rows % distinct), references=files.references.take(rows % distinct),
        pairs=np.stack([rows, rows], axis=1), query_places=rows, reference_places=rows, truth=Truth.diagonal(count),
    )  # fmt: skip
