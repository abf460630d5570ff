"""Search in a store: its own index gives candidates, which are ranked again by their stored vectors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...utils.errors import UserError
from ..area import Area
from ..gallery import Found
from ..gallery import Reference as Placed
from ..vector_index import check_queries, sorted_best
from .address import Address
from .collection import MOST_ANSWERS, NOWHERE, Collection, within
from .connection import Connection

if TYPE_CHECKING:
    from ...distances import HeadingDistance

EXPLORED = 128  # nodes of a graph such as HNSW that a search keeps in view; fewer miss neighbours
MORE = 50  # candidates than answers: what an index that compresses has ranked too low
HARDER = 8  # times, if a filter leaves an approximate index too little of what it looks at
ANSWER_BYTES = 64 * 2**20  # of candidates' vectors in one answer of the store; gRPC stops at 256 MiB
MARGIN = 1000.0  # metres around the matches of a map in which references are drawn
Row = dict[str, Any]
_FIELDS = ["source", "file", "cut", "lat", "lon", "vector"]


class StoreGallery:
    """The gallery in a collection of a store; its keys are the numbers of references, of which it knows those found.

    Args:
        collection: the references.

    Raises:
        UserError: it holds nothing.
    """

    root = Path()  # paths are whole

    def __init__(self, collection: Collection):
        self.collection, self.record = collection, collection.record
        self._count = len(collection)
        if not self._count:
            raise UserError(f"{collection.where} holds nothing yet.", "geodtr index build fills it.")
        self._known: dict[int, Placed] = {}
        self._shares: dict[Area, float] = {}
        self._cuts: dict[str, tuple[Path, Mapping[str, Any]]] = {}

    @classmethod
    def open(cls, address: str, collection: str) -> StoreGallery:
        """Return the gallery at an address.

        Raises:
            UserError: nobody answers there, or there is no such collection.
        """
        return cls(Collection(Connection(Address.parse(address)), collection))

    def __len__(self) -> int:
        return self._count

    def search(
        self, queries: np.ndarray, k: int = 5, *, exact: bool = False, nprobe: int | None = None,
        distance: HeadingDistance | None = None, area: Area | None = None,
    ) -> Found:  # fmt: skip
        """Find the k most similar references of each query, float32 `[Q, D]`, see `Gallery.search`.

        Args:
            queries: of unit length.
            k: references for each.
            exact: refused, unless the store compares all.
            nprobe: cells of an IVF index to look at; by default as built.
            distance: refused: a store compares by inner products.
            area: where the references must lie: the store looks at its box, exact distances are taken here.

        Raises:
            UserError: as said above, or k or nprobe is below 1, or a query is not finite, or the store refuses.
        """
        queries = check_queries(queries, k, nprobe)
        if distance is not None or (exact and self.collection.kind != "FLAT"):
            what = "compares by its index" if distance is None else "knows no distance but the inner product"
            raise UserError(f"A store {what}.", "Build with --kind flat, or an index on disk, to compare with all.")
        most = max(k, min(MOST_ANSWERS, ANSWER_BYTES // (4 * queries.shape[1])))
        share = 1.0 if area is None or self.collection.kind == "FLAT" else self._share(area)
        cells = int((nprobe or self.collection.nprobe) / share)
        graph = int(max(EXPLORED, k + MORE) / share)
        found = [self._ranked(query, k, self._candidates(query, k, most, area, cells, graph)) for query in queries]
        return np.stack([one for one, _ in found]), np.stack([one for _, one in found])

    def reference(self, key: int) -> Placed:
        """Return a reference that a search has found; raise IndexError for others."""
        if key not in self._known:
            raise IndexError(f"no search has found a reference {key}")
        return self._known[key]

    def take(self, keys: np.ndarray) -> np.ndarray:
        """Return the vectors of references, int64 `[n]`: float32 `[n, D]`."""
        ids = keys.tolist()
        rows = self.collection.connection.ask("query", self.collection.name, ids=ids, output_fields=["vector"])
        vectors = {row["id"]: row["vector"] for row in rows}
        return np.array([vectors[key] for key in ids], np.float32)

    def places(self, around: np.ndarray) -> np.ndarray:
        """Return where references lie near places in degrees, `[M, 2]`: `[N, 2]`, as many as a store gives at once."""
        if not len(around):
            return around
        box = within(Area.around(around, MARGIN))
        fields = {"output_fields": ["lat", "lon"], "limit": MOST_ANSWERS}
        rows = self.collection.connection.ask("query", self.collection.name, filter=box, **fields)
        return np.array([(row["lat"], row["lon"]) for row in rows], np.float64).reshape(-1, 2)

    def cut_of(self, path: str) -> tuple[Path, Mapping[str, Any]] | None:
        """Return from what and how the tile of this path was cut; None of a file."""
        return self._cuts.get(path)

    def _share(self, area: Area) -> float:
        """Return which share of all references lies in an area, as far as a store counts; of more than that, 1.

        Graphs and cells lose neighbours where a filter leaves little of what they look at: they must look at more by
        that share. It is asked for once: Milvus Lite reads all vectors for it.
        """
        if area not in self._shares:
            fields = {"output_fields": ["id"], "limit": MOST_ANSWERS}
            rows = self.collection.connection.ask("query", self.collection.name, filter=within(area), **fields)
            self._shares[area] = max(1, len(rows)) / self._count if len(rows) < MOST_ANSWERS else 1.0
        return self._shares[area]

    def _candidates(
        self, query: np.ndarray, k: int, most: int, area: Area | None, cells: int, graph: int
    ) -> list[Row]:  # fmt: skip
        """Return the rows that the store finds for a query `[D]`, k of them in the area at least if it holds so many.

        Too few answers show that the index looked at too little; it looks at more, until it has seen all that it can.
        """
        limit = min(most, k + MORE)
        while True:
            graph, cells = min(MOST_ANSWERS, max(limit, graph)), min(self.collection.nlist, cells)
            rows = self._answers(query, limit, area, {"nprobe": cells, "ef": graph})
            all_seen = self.collection.kind == "FLAT" or (graph == MOST_ANSWERS and cells == self.collection.nlist)
            inside = _inside(area, rows)
            if area is None or (len(rows) < limit and all_seen) or limit == most:
                return inside
            if len(rows) < limit:
                graph, cells = HARDER * graph, HARDER * cells
            elif len(inside) < k:  # the box has corners
                limit = min(most, HARDER * limit)
            else:
                return inside

    def _answers(self, query: np.ndarray, limit: int, area: Area | None, params: dict[str, int]) -> list[Row]:
        """Return what the store answers for a query `[D]` in the box of an area."""
        (hits,) = self.collection.connection.ask(
            "search", self.collection.name, data=[query], limit=limit, output_fields=_FIELDS,
            filter="" if area is None else within(area), search_params={"metric_type": "IP", "params": params},
        )  # fmt: skip
        return [{"id": hit["id"], **hit["entity"]} for hit in hits]

    def _ranked(self, query: np.ndarray, k: int, rows: list[Row]) -> tuple[np.ndarray, np.ndarray]:
        """Return similarities and keys `[k]` of the rows whose vectors are most similar to a query `[D]`."""
        ids = np.full(max(k, len(rows)), -1, np.int64)
        similarities = np.full(len(ids), -np.inf, np.float32)
        if rows:
            ids[: len(rows)] = [row["id"] for row in rows]
            similarities[: len(rows)] = np.array([row["vector"] for row in rows], np.float32) @ query
        best, keys = (column[0] for column in sorted_best(similarities[None], ids[None], k))
        self._remember(rows, set(keys.tolist()))
        return best, keys

    def _remember(self, rows: list[Row], keys: set[int]) -> None:
        """Keep what is to be said of the references that were found."""
        for row in rows:
            if row["id"] in keys:
                path = os.path.join(row["source"], row["file"])
                place = (None, None) if row["lat"] == NOWHERE else (row["lat"], row["lon"])
                self._known[row["id"]] = (path, *place)
                if row["cut"]:
                    self._cuts[path] = Path(row["source"]), json.loads(row["cut"])


def _inside(area: Area | None, rows: list[Row]) -> list[Row]:
    """Return the rows of a box that lie in its area."""
    if area is None or not rows:
        return rows
    inside = area.holds(np.array([(row["lat"], row["lon"]) for row in rows], np.float64))
    return [row for row, inner in zip(rows, inside) if inner]
