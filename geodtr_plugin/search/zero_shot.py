"""How well a model finds places that it was not trained on: among their tiles, and among the same tiles turned.

A tile under the eight layouts of layout simulation (four quarter turns, mirrored or not) is real pixels of a place that
is nowhere: the kinds of things in it are right, and their layout is wrong in seven of eight. So a model that goes by
what there is, and not by where it is, is found out although there are few pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..augmentations.layout import STRENGTHS, turn_tiles
from ..datasets.base import Split
from ..datasets.images import Images
from ..evaluation import Ranks, most_similar, rank_queries
from ..evaluation.ranking import TIE
from ..utils.errors import UserError
from .embedder import Embedder

LAYOUTS = torch.tensor(STRENGTHS["strong"])  # 0 is the tile as it is
SHOWN = 5  # most similar tiles that are kept, for pictures
SMALLEST = 8  # pixels along the side of an inner part; a smaller one shows nothing


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of the queries at one scale of the tiles.

    Args:
        scale: the part of each tile's side that the model saw.
        ranks: among the M tiles.
        turned: among the 8 M tiles under all layouts.
        own: bool `[N]`, whether the right one of the eight of a query's own tile is the most similar of these.
        top: rows of the most similar tiles, best first, int64 `[N, SHOWN]`; -1 where there are no more.
    """

    scale: float
    ranks: Ranks
    turned: Ranks
    own: np.ndarray
    top: np.ndarray


def find_pairs(embedder: Embedder, split: Split, scales: Sequence[float], batch_size: int = 64) -> list[Outcome]:
    """Search all queries among the tiles, and among the tiles under the eight layouts, at each scale.

    Args:
        embedder: of the model.
        split: queries at the centres of their tiles, and what is right.
        scales: the parts of the tiles' side that are kept, in (0, 1], see `inner_part`.
        batch_size: images that the network takes at once.

    Raises:
        UserError: a tile is not square, or too small for a scale.
        DatasetNotFoundError, DatasetCorruptError: an image cannot be read.
    """
    queries = _embed_queries(embedder, split.queries, batch_size)
    tiles = _embed_tiles(embedder, split.references, scales, batch_size)
    return [_outcome(scale, queries, under_layouts, split) for scale, under_layouts in zip(scales, tiles)]


def inner_part(tile: Tensor, scale: float) -> Tensor:
    """Return the middle of a tile `[3, S, S]`: `scale` of its side, to a pixel on each end, around the same centre.

    In metres that is a smaller tile, for a model that was trained on such.

    Raises:
        UserError: the scale is not above 0 and at most 1, the tile is not square, or what is left is too small.
    """
    height, width = tile.shape[-2:]
    if not 0 < scale <= 1:
        remedy = "Give parts of the tiles' side, above 0 and at most 1: nothing lies around a tile."
        raise UserError(f"The tiles' scale is {scale:g}.", remedy)
    if height != width:
        remedy = "Crop the tiles to squares around their cameras: they are turned by quarters."
        raise UserError(f"A tile of {height} x {width} pixels is no square.", remedy)
    edge = round(height * (1 - scale) / 2)
    if height - 2 * edge < SMALLEST:
        raise UserError(f"{scale:g} of a tile of {height} pixels is too small to show a place.", "Give a larger scale.")
    return tile[..., edge : height - edge, edge : width - edge]


def under_layouts(tile: Tensor) -> Tensor:
    """Return a tile `[3, S, S]` under the eight layouts, `[8, 3, S, S]`, as `LayoutSimulation` turns it."""
    return turn_tiles(tile.expand(len(LAYOUTS), *tile.shape), LAYOUTS)


def _embed_queries(embedder: Embedder, queries: Images, batch_size: int) -> np.ndarray:
    """Return unit vectors, float32 `[N, D]`."""
    batches = [range(i, min(i + batch_size, len(queries))) for i in range(0, len(queries), batch_size)]
    return np.concatenate(
        [embedder.embed([embedder.on_load(queries.read(i), "query") for i in rows], "query") for rows in batches]
    )


def _embed_tiles(embedder: Embedder, tiles: Images, scales: Sequence[float], batch_size: int) -> np.ndarray:
    """Return unit vectors by scale and layout, float32 `[S, 8, M, D]`; each tile is decoded once."""
    at_once = max(1, batch_size // len(LAYOUTS))
    blocks = []
    for first in range(0, len(tiles), at_once):
        whole = [tiles.read(i) for i in range(first, min(first + at_once, len(tiles)))]
        blocks.append([_embed_under_layouts(embedder, whole, scale) for scale in scales])
    return np.concatenate([np.stack(block) for block in blocks], axis=2)


def _embed_under_layouts(embedder: Embedder, tiles: Sequence[Tensor], scale: float) -> np.ndarray:
    """Return unit vectors by layout, float32 `[8, m, D]`."""
    turned = [embedder.on_load(view, "reference") for tile in tiles for view in under_layouts(inner_part(tile, scale))]
    vectors = embedder.embed(turned, "reference")
    return vectors.reshape(len(tiles), len(LAYOUTS), -1).swapaxes(0, 1)


def _outcome(scale: float, queries: np.ndarray, tiles: np.ndarray, split: Split) -> Outcome:
    """Rank queries `[N, D]` among tiles `[8, M, D]` at layout 0, and among all of them."""
    _, top = most_similar(queries, tiles[0], SHOWN)
    everything = tiles.reshape(-1, tiles.shape[-1])  # the tiles as they are come first, so that the truth stays
    return Outcome(
        scale, rank_queries(queries, tiles[0], split.truth), rank_queries(queries, everything, split.truth),
        _own_found(queries, tiles, own_tiles(split)), top,
    )  # fmt: skip


def own_tiles(split: Split) -> np.ndarray:
    """Return the tile of each query, int64 `[N]`: the first of its pairs; -1 where there is none."""
    own = np.full(len(split.queries), -1, np.int64)
    rows, first = np.unique(split.pairs[:, 0], return_index=True)
    own[rows] = split.pairs[first, 1]
    return own


def _own_found(queries: np.ndarray, tiles: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Tell of each query whether its own tile is more similar as it is than under any other layout, bool `[N]`."""
    has_one = own >= 0
    similarity = np.einsum("nd,lnd->nl", queries[has_one], tiles[:, own[has_one]], dtype=np.float64)
    found = np.zeros(len(queries), bool)
    found[has_one] = (similarity[:, 1:] < similarity[:, :1] - TIE).all(axis=1)
    return found
