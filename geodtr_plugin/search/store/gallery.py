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

FEWEST = 64  # candidates: fewer make the graph of HNSW miss neighbours
REFINED = 10  # candidates for each answer
ANSWER_BYTES = 64 * 2**20  # of candidates' vectors in one answer of the store; gRPC stops at 256 MiB
MARGIN = 0.01  # degrees around the matches of a map in which references are drawn
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
            area: where the references must lie: its box is for the store, the rest for here.

        Raises:
            UserError: as said above, or k or nprobe is below 1, or a query is not finite, or the store refuses.
        """
        queries = check_queries(queries, k, nprobe)
        if distance is not None or (exact and self.collection.kind != "FLAT"):
            what = "compares by its index" if distance is None else "knows no distance but the inner product"
            raise UserError(f"A store {what}.", "Build with --kind flat, or an index on disk, to compare with all.")
        size = queries.shape[1]
        most = max(k, min(MOST_ANSWERS, ANSWER_BYTES // (4 * size)))
        limit = min(most, max(FEWEST, REFINED * k))
        results = []
        for query in queries:
            results.append(self._nearest(query, k, limit, most, area, nprobe or self.collection.nprobe))
        return tuple(np.stack(column) for column in zip(*results))  # type: ignore[return-value]

    def reference(self, key: int) -> Placed:
        """Return a reference that a search has found."""
        return self._known[key]

    def take(self, keys: np.ndarray) -> np.ndarray:
        """Return the vectors of references, int64 `[n]`: float32 `[n, D]`."""
        ids = keys.tolist()
        rows = self.collection.connection.ask("query", self.collection.name, ids=ids, output_fields=["vector"])
        vectors = {row["id"]: row["vector"] for row in rows}
        return np.array([vectors[key] for key in ids], np.float32)

    def places(self, around: np.ndarray) -> np.ndarray:
        """Return where references lie near some places, degrees `[M, 2]`: `[N, 2]`, as many as a store gives at once.

        Across the date line, those of all longitudes.
        """
        (south, west), (north, east) = around.min(axis=0) - MARGIN, around.max(axis=0) + MARGIN
        west, east = (west, east) if east - west < 180 else (-180.0, 180.0)
        filter = f"lat >= {south:.12f} and lat <= {north:.12f} and lon >= {west:.12f} and lon <= {east:.12f}"
        fields = {"output_fields": ["lat", "lon"], "limit": MOST_ANSWERS}
        rows = self.collection.connection.ask("query", self.collection.name, filter=filter, **fields)
        return np.array([(row["lat"], row["lon"]) for row in rows], np.float64).reshape(-1, 2)

    def cut_of(self, path: str) -> tuple[Path, Mapping[str, Any]] | None:
        """Return from what and how the tile of this path was cut; None of a file."""
        return self._cuts.get(path)

    def _nearest(
        self, query: np.ndarray, k: int, limit: int, most: int, area: Area | None, nprobe: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return similarities and keys `[k]` for one query `[D]`, with more candidates while the area holds too few."""
        while True:
            rows = self._candidates(query, limit, area, nprobe)
            asked = len(rows)
            if area is not None and rows:
                inside = area.holds(np.array([(row["lat"], row["lon"]) for row in rows]))
                rows = [row for row, inner in zip(rows, inside) if inner]
            if len(rows) >= k or asked < limit or limit == most:
                break
            limit = min(most, 4 * limit)
        ids = np.full(max(k, len(rows)), -1, np.int64)
        similarities = np.full(len(ids), -np.inf, np.float32)
        if rows:
            ids[: len(rows)] = [row["id"] for row in rows]
            similarities[: len(rows)] = np.array([row["vector"] for row in rows], np.float32) @ query
        similarities, ids = (column[0] for column in sorted_best(similarities[None], ids[None], k))
        self._remember(rows, set(ids.tolist()))
        return similarities, ids

    def _candidates(self, query: np.ndarray, limit: int, area: Area | None, nprobe: int) -> list[dict[str, Any]]:
        """Return the rows that the store finds for a query `[D]` in the box of an area."""
        params = {"metric_type": "IP", "params": {"ef": limit, "nprobe": nprobe}}
        (hits,) = self.collection.connection.ask(
            "search", self.collection.name, data=[query], limit=limit, filter="" if area is None else within(area),
            output_fields=_FIELDS, search_params=params,
        )  # fmt: skip
        return [{"id": hit["id"], **hit["entity"]} for hit in hits]

    def _remember(self, rows: list[dict[str, Any]], keys: set[int]) -> None:
        """Keep what is to be said of the references that were found."""
        for row in rows:
            if row["id"] in keys:
                path = os.path.join(row["source"], row["file"])
                place = (None, None) if row["lat"] == NOWHERE else (row["lat"], row["lon"])
                self._known[row["id"]] = (path, *place)
                if row["cut"]:
                    self._cuts[path] = Path(row["source"]), json.loads(row["cut"])
