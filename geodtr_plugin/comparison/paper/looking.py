"""The network and the images of a run, to look into."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ...harness.report.inside import Network, network_of
from ...harness.report.material import Material, add_data_and_network, read_run, rows_of
from ...harness.report.queries import choose_queries
from ...utils.errors import UserError
from ..jobs import Variant
from .runs import Workshop

if TYPE_CHECKING:
    from ...datasets import Split


class Look(NamedTuple):
    """A run's network in evaluation mode, and one of its test sets."""

    material: Material
    network: Network
    test: str
    split: Split

    def best_pair(self) -> tuple[int, int]:
        """Return rows of the query that did best, and of its reference."""
        ranks, rows = self.material.ranks(self.test), rows_of(self.split.queries.ids)
        chosen = next(iter(choose_queries(ranks, each=1).values()))
        query = rows[ranks.queries[int(chosen[0])]]
        return query, int(self.split.truth.positives[query][0])


@contextlib.contextmanager
def looking(shop: Workshop, made: tuple[str, str], variant: Variant) -> Iterator[Look]:
    """Yield the network of a variant's first run, and a test set.

    Args:
        shop: where the runs are.
        made: training set and test set.
        variant: of the runs.

    Raises:
        UserError: there is no such run, or its images or its network cannot be had.
    """
    from ...testers.embedding import modes_restored

    trained, test = made
    material = read_run(shop.finished(trained, variant)[0].path)
    add_data_and_network(material, shop.sets.root)
    if material.network is None or test not in material.tests:
        raise UserError(f"{variant.label}: {' '.join(material.missing) or f'{test} is no test set of its run.'}")
    network = network_of(material)
    with modes_restored(network.model):
        network.model.eval()
        yield Look(material, network, test, material.tests[test])
