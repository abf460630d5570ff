"""How the figures of an index grow with the number of vectors: laws, fitted to what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import least_squares, nnls
from scipy.special import ndtr, ndtri

from geodtr_plugin.search.cells import cells_for

from .figures import Figures
from .planted import COSINES

# what a figure is a sum of, each times a coefficient that is not negative: names, and their values in a line
FLAT = (("1", lambda row: 1), ("vectors", lambda row: row.count))
SEARCH = (("1", lambda row: 1), ("cells", lambda row: row.cells), ("vectors scanned", lambda row: row.scanned))
TRAIN = (
    ("sample, 65,536 at most", lambda row: min(row.sample, 65_536)),  # of which faiss learns the codebook of ivfpq
    ("sample x cells", lambda row: row.sample * row.cells),
)
ADD = (("vectors", lambda row: row.count), ("vectors x cells", lambda row: row.count * row.cells))
_CODEBOOK = 256  # centres of the product quantizer, of as many numbers as a vector


class Laws:
    """What one kind of index will cost, from its measured lines.

    Times are sums of terms; coefficients come from least squares of the relative errors. Bytes follow from the format.
    Recall follows from the geometry of random directions, see `found`.

    Args:
        rows: of one kind, at two sizes or more.
    """

    def __init__(self, rows: Sequence[Figures]):
        self.example = rows[0]
        terms = {"one": SEARCH, "many": SEARCH, "train": TRAIN, "add": ADD}
        self.terms = {"one": FLAT, "many": FLAT} if self.example.kind == "flat" else terms
        self.coefficients = {what: _fit(rows, what, terms) for what, terms in self.terms.items()}
        self.kept, self.gain = (1.0, 1.0) if self.example.kind == "flat" else _fit_recall(rows)

    def at(self, count: int, one_in: int, parts: int = 1) -> Figures:
        """The line of so many vectors; of one of so many parts with the same cells, all of which search at once."""
        cells = cells_for(count) if self.example.cells else 0
        row = replace(self.example, count=count, cells=cells, one_in=one_in, train=0.0, add=0.0)
        whole = {what: self._sum(what, row) for what in self.terms if what in ("train", "add")}
        recall = self.kept * found(row, self.gain) if cells else self.example.recall
        row = replace(row, count=-(-count // parts))
        times = {what: self._sum(what, row) for what in ("one", "many")}
        return replace(row, memory=bytes_in_memory(row), recall=recall, **{**times, **whole})

    def sentences(self) -> list[str]:
        """The laws with their coefficients."""
        kind = self.example.kind
        lines = [f"{kind:6s} {what:6s} = {_told(self.coefficients[what], terms)}" for what, terms in self.terms.items()]
        if self.example.cells:
            geometry = f"geometry of random directions, cells {self.gain:.3f} as near as the nearest of random centres"
            lines.append(f"{kind:6s} recall = {self.kept:.3f} x {geometry}")
        return lines

    def unseen(self) -> list[str]:
        """Growth that the measured sizes are too small to show: what is extrapolated without it is too little."""
        last = {what: (self.coefficients[what][-1], terms[-1][0]) for what, terms in self.terms.items()}
        return [
            f"No growth of {self.example.kind} {what} with {name} can be seen at these sizes: what is extrapolated is "
            "too little. Measure larger ones."
            for what, (coefficient, name) in last.items() if coefficient == 0
        ]  # fmt: skip

    def _sum(self, what: str, row: Figures) -> float:
        return float(self.coefficients[what] @ [value(row) for _, value in self.terms[what]])


def bytes_in_memory(row: Figures) -> float:
    """Bytes: of the vectors; or of codes and row numbers in the cells, the cells' centres, and the codebook."""
    if not row.cells:
        return 4.0 * row.count * row.size
    codebook = 4 * _CODEBOOK * row.size if row.kind == "ivfpq" else 0
    return row.count * (row.code + 8) + row.cells * (4 * row.size + 8) + codebook


def found(row: Figures, gain: float = 1.0) -> float:
    """Probability that the cell of a planted neighbour is among those that are looked at.

    In units of the standard deviation of the cosine of random directions, a vector is as near to its cell's centre as
    the largest of so many normal numbers as there are cells, times `gain`. A query at the cosine c of it is c times as
    near, give or take sqrt(1 - c^2). It looks at the share of the cells that is nearest: at those beyond a quantile.
    """
    nearest = gain * -ndtri(0.625 / (row.cells + 0.25))  # Blom's approximation of the expectation
    quantile = -ndtri(row.probed / row.cells)
    return float(ndtr((COSINES * nearest - quantile) / np.sqrt(1 - COSINES**2)).mean())


def _fit(rows: Sequence[Figures], what: str, terms) -> np.ndarray:
    """Coefficients, none negative, with which the relative errors are smallest."""
    goal = np.array([getattr(row, what) for row in rows])
    values = np.array([[value(row) for _, value in terms] for row in rows], float) / goal[:, None]
    scale = values.max(axis=0)
    return nnls(values / scale, np.ones(len(rows)))[0] / scale


def _fit_recall(rows: Sequence[Figures]) -> tuple[float, float]:
    """The share that survives compression, and `gain`."""

    def errors(both):
        return [both[0] * found(row, both[1]) - row.recall for row in rows]

    kept, gain = least_squares(errors, (0.99, 1.0), bounds=([0, 0.5], [1, 2])).x
    return float(kept), float(gain)


def _told(coefficients: np.ndarray, terms) -> str:
    parts = [f"{c:.2g} s" + ("" if name == "1" else f" x {name}") for c, (name, _) in zip(coefficients, terms) if c]
    return " + ".join(parts) or "0"
