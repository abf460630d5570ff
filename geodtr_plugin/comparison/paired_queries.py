"""Two runs on the same queries: who found what the other did not, and whether that can be chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..harness.report.material import RankTable, rows_of

LEVEL = 0.95  # of intervals


@dataclass(frozen=True)
class PairedHits:
    """How often two runs had a right reference in the first place, on the queries that both were asked.

    Args:
        both, only_first, only_second, neither: numbers of queries.
    """

    both: int
    only_first: int
    only_second: int
    neither: int

    @property
    def queries(self) -> int:
        """How many queries both were asked."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def difference(self) -> float:
        """R@1 of the second minus that of the first, in points of percent."""
        return 100 * (self.only_second - self.only_first) / self.queries

    @property
    def p_value(self) -> float:
        """The exact McNemar test: how often chance alone divides the queries that one found at least as unevenly."""
        from scipy.special import bdtr

        fewer, differing = min(self.only_first, self.only_second), self.only_first + self.only_second
        return min(1.0, 2 * float(bdtr(fewer, differing, 0.5)))

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the difference, in points; it holds 0 exactly where the p-value is above 0.05.

        It is Clopper and Pearson's of the second's share among the queries that one of the two found, whose number is
        taken as given; None where there is none.
        """
        from scipy.special import betaincinv

        a, b = self.only_second, self.only_first
        if not a + b:
            return None
        tail = (1 - LEVEL) / 2
        low = float(betaincinv(a, b + 1, tail)) if a else 0.0
        high = float(betaincinv(a + 1, b, 1 - tail)) if b else 1.0
        share = 100 * (a + b) / self.queries
        return share * (2 * low - 1), share * (2 * high - 1)


def compare_hits(first: RankTable, second: RankTable) -> PairedHits | None:
    """Compare two runs query by query, matched by id; None where they share no query."""
    if first.queries == second.queries:  # also where an id stands twice
        hits = first.rank == 1, second.rank == 1
    else:
        there, here = rows_of(first.queries), rows_of(second.queries)
        shared = [name for name in there if name in here]
        hits = first.rank[[there[name] for name in shared]] == 1, second.rank[[here[name] for name in shared]] == 1
    if not len(hits[0]):
        return None
    one, other = hits
    counts = one & other, one & ~other, ~one & other, ~one & ~other
    return PairedHits(*(int(np.sum(count)) for count in counts))
