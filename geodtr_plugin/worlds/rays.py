"""What a panorama's rays meet, for all pixels at once: fixed tables, gathers, a count; no loop over rays."""

from __future__ import annotations

import numpy as np


def first_solid(rows: np.ndarray, height: int) -> np.ndarray:
    """Return the number of the nearest distance at which a column's silhouette reaches a pixel.

    The highest silhouette so far is a running minimum over the distance, and a pixel's hit is the number of distances
    whose silhouette is still below it.

    Args:
        rows: int `[D, W]`, pixel row of the upper edge of what stands at each distance, near to far.
        height: pixel rows H.

    Returns:
        int32 `[H, W]`, D where nothing is reached.
    """
    width = rows.shape[1]
    silhouette = np.minimum.accumulate(rows, axis=0).astype(np.intp)
    silhouette *= width
    silhouette += np.arange(width)
    counts = np.bincount(silhouette.ravel(), minlength=(height + 1) * width).reshape(height + 1, width)
    below = np.cumsum(counts[:0:-1], axis=0, dtype=np.int32)
    return below[::-1]


def nearest_crown(sample: np.ndarray, top: np.ndarray, base: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the number of the distance of the nearest crown that covers each pixel.

    Crowns are painted from far to near; rows that the next nearer place paints anyway are left out.

    Args:
        sample: int `[K]`, ascending flat indices into `[D, W]` of the places under a crown.
        top, base: int `[K]`, first and last-plus-one pixel row of the crown there.
        shape: (D, H, W).

    Returns:
        int32 `[H, W]`, D where there is no crown.
    """
    distances, height, width = shape
    nearer_top, nearer_base = np.zeros((2, distances + 1, width), np.int32).reshape(2, -1)
    nearer_top[sample + width], nearer_base[sample + width] = top, base
    covered_from, covered_to = nearer_top[sample], nearer_base[sample]
    alone = covered_from >= covered_to
    covered_from, covered_to = np.where(alone, base, covered_from), np.where(alone, base, covered_to)
    start = np.stack([top, np.maximum(top, covered_to)], axis=1)[::-1].ravel()
    stop = np.stack([np.minimum(base, covered_from), base], axis=1)[::-1].ravel()
    owner = np.repeat(sample[::-1], 2)
    length = np.maximum(stop - start, 0)
    row = _ranges(start, length)
    owner = np.repeat(owner, length)
    out = np.full(height * width, distances, np.int32)
    out[row * width + owner % width] = owner // width  # of repeated indices, numpy keeps the last: the nearest
    return out.reshape(height, width)


def _ranges(start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return start[k], start[k] + 1, ... (length[k] numbers) for every k, joined."""
    end = np.cumsum(length)
    if not len(end):
        return np.zeros(0, np.intp)
    return np.arange(end[-1]) + np.repeat(start - (end - length), length)
