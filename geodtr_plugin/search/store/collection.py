"""The references of one model as a collection of a store: their fields, and how they get in and out.

id       number of the reference, made of source, name and cut: the same whoever writes it, and however often
vector   float32 `[D]`, of unit length
source   folder of the images, or what tiles were cut from
file     its name there
cut      how a tile was cut, as JSON; empty for a file
lat lon  degrees; NOWHERE where they are not known
cell     tile of Web Mercator that it lies in, such as 12/2179/1421: for filters and partitions of one's own
state    changes when the image, its place or its source does
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from ...utils.errors import UnknownNameError, UserError
from ...utils.reading import parse_json, understood
from ...utils.typed import typed
from ..area import Area
from ..embedder import RunRecord
from ..tile_sources.mercator import to_plane
from ..vector_index import cells_for
from .connection import Connection

FORMAT = 1
LARGEST = 32_768  # numbers in a vector
MOST_ANSWERS = 16_384  # that a store gives at once
NOWHERE = 999.0  # degrees: in no range that is asked for
CELL_ZOOM = 12  # about 6.5 km along a cell in the middle latitudes
AT_ONCE = 1000  # references that are asked for or deleted together
INDEX_TYPES = {"auto": "AUTOINDEX", "flat": "FLAT", "ivf": "IVF_FLAT", "ivfpq": "IVF_PQ"}
# what Milvus Lite 3 builds; of another kind it builds nothing, and only its log says so
LITE_TYPES = ("AUTOINDEX", "FLAT", "HNSW", "HNSW_SQ", "IVF_FLAT", "IVF_SQ8")
_PROPERTY = "geodtr"  # of the collection: what a search needs to know
_LINKS, _EXPLORED = 16, 200  # of a node of HNSW, and nodes in view while it is linked: what Milvus Lite chooses, too
_VECTOR_PARTS = 64  # of a compressed vector, at most: bytes, as in an index on disk


@dataclass(frozen=True)
class Reference:
    """What is stored of a reference besides its vector."""

    id: int
    source: str
    file: str
    cut: str
    lat: float
    lon: float
    state: int

    @classmethod
    def of(cls, source: str, file: str, cut: str, position: Sequence[float] | None, state: str) -> Reference:
        """Return a reference with its number; `state` is any text that changes when the reference does."""
        lat, lon = position or (NOWHERE, NOWHERE)
        return cls(reference_id(source, file, cut), source, file, cut, lat, lon, number_of(state))

    def row(self, vector: np.ndarray) -> dict[str, Any]:
        """Return it as the store wants it, with its vector float32 `[D]`."""
        return {**asdict(self), "cell": cell_of(self.lat, self.lon), "vector": vector}


class Collection:
    """A collection that this package has made.

    Args:
        connection: to the store.
        name: of the collection.

    Raises:
        UserError: there is no such collection, or somebody else's.
    """

    def __init__(self, connection: Connection, name: str):
        self.connection, self.name = connection, name
        self.where = f"Collection {name} of {connection.address.text}"
        if not connection.ask("has_collection", name):
            raise UserError(f"{connection.address.text} has no collection {name}.", "geodtr index build makes one.")
        properties = connection.ask("describe_collection", name)["properties"]
        if _PROPERTY not in properties:
            raise UserError(f"{self.where} was not made by geodtr index build.", "Choose another --collection.")
        known = parse_json(properties[_PROPERTY], f"What {self.where} says of itself", "Build it anew.")
        with understood(self.where, "Build it anew."):
            if known["format"] != FORMAT:
                raise ValueError(f"it has the format {known['format']}; this version reads {FORMAT}")
            self.record = typed(RunRecord, known["run"], "the run")
            self.kind, self.nlist, self.nprobe = str(known["kind"]), int(known["nlist"]), int(known["nprobe"])
        if not connection.ask("list_indexes", name):
            self._index(self.nlist, known["size"])
        connection.ask("load_collection", name)

    @classmethod
    def make(
        cls, connection: Connection, name: str, record: RunRecord, size: int, kind: str, count: int,
        nlist: int | None = None, nprobe: int | None = None,
    ) -> Collection:  # fmt: skip
        """Return the collection of that name, which is made if there is none.

        Args:
            connection: to the store.
            name: of the collection.
            record: of the run whose vectors it holds.
            size: numbers in a vector.
            kind: auto, flat, ivf or ivfpq, or the store's own name of a kind of index.
            count: references that are expected.
            nlist, nprobe: as for `VectorIndex.build`.

        Raises:
            UserError: the vectors are too large, or the store refuses.
        """
        if size > LARGEST:
            raise UserError(f"A vector in a store has {LARGEST:,} numbers at most, and the model's have {size:,}.")
        kind = INDEX_TYPES.get(kind, kind)
        if kind not in LITE_TYPES and connection.ask("get_server_version").startswith("milvus_lite"):
            raise UnknownNameError("index in Milvus Lite named", kind, LITE_TYPES)
        made = False
        if not connection.ask("has_collection", name):
            nlist = max(1, cells_for(count)) if nlist is None else nlist
            nprobe = max(1, nlist // 16) if nprobe is None else nprobe
            known = {"format": FORMAT, "run": asdict(record), "kind": kind}
            known |= {"size": size, "nlist": nlist, "nprobe": nprobe}
            properties = {_PROPERTY: json.dumps(known)}
            schema = _schema(connection, size)
            options = {"schema": schema, "properties": properties, "consistency_level": "Strong"}
            try:
                connection.ask("create_collection", name, **options)
                made = True
            except UserError:
                if not connection.ask("has_collection", name):  # else another process was faster
                    raise
        try:
            return cls(connection, name)
        except UserError:
            if made:  # just now and of no use: the store knows no such index
                connection.ask("drop_collection", name)
            raise

    def __len__(self) -> int:
        return self.connection.ask("query", self.name, filter="", output_fields=["count(*)"])[0]["count(*)"]

    def states(self, ids: Sequence[int]) -> dict[int, int]:
        """Return the states of those references that are there, by their numbers."""
        found: dict[int, int] = {}
        for some in _blocks(ids):
            rows = self.connection.ask("query", self.name, ids=some, output_fields=["state"])
            found.update((row["id"], row["state"]) for row in rows)
        return found

    def write(self, references: Sequence[Reference], vectors: np.ndarray) -> None:
        """Write references with their vectors float32 `[N, D]`, in place of those of equal numbers."""
        rows = [reference.row(vector) for reference, vector in zip(references, vectors)]
        self.connection.ask("upsert", self.name, rows)

    def finish(self) -> None:
        """Let the store write and index what it holds in memory."""
        self.connection.ask("flush", self.name)

    def delete(self, area: Area | None = None, source: str | None = None) -> int:
        """Delete the references that lie in an area, or come from a source, or both; return how many there were."""
        before = len(self)
        conditions = [] if area is None else [within(area)]
        conditions += [] if source is None else [f"source == {json.dumps(source, ensure_ascii=False)}"]
        ids = [row["id"] for row in self._rows(" and ".join(conditions)) if area is None or _holds(area, row)]
        for some in _blocks(ids):
            self.connection.ask("delete", self.name, ids=some)
        return before - len(self)

    def drop(self) -> None:
        """Delete everything."""
        self.connection.ask("drop_collection", self.name)

    def _rows(self, filter: str) -> Iterable[dict[str, Any]]:
        """Yield number, latitude and longitude of all references of a filter."""
        fields = {"filter": filter, "output_fields": ["lat", "lon"]}
        pages = self.connection.ask("query_iterator", self.name, MOST_ANSWERS, **fields)
        while rows := pages.next():
            yield from rows
        pages.close()

    def _index(self, nlist: int, size: int) -> None:
        """Let the store index vectors by its own means; a process that is late changes nothing."""
        of_kind = {"nlist": nlist} if self.kind.startswith("IVF") else {}
        if self.kind == "IVF_PQ":
            of_kind |= {"m": max(part for part in range(1, _VECTOR_PARTS + 1) if size % part == 0), "nbits": 8}
        if self.kind.startswith("HNSW"):
            of_kind = {"M": _LINKS, "efConstruction": _EXPLORED}
        params = self.connection.client.prepare_index_params()
        nested = {"params": of_kind} if of_kind else {}  # else pymilvus 3 flattens them, which Milvus Lite does not see
        params.add_index("vector", index_type=self.kind, metric_type="IP", params=nested)
        try:
            self.connection.ask("create_index", self.name, params)
        except UserError:
            if not self.connection.ask("list_indexes", self.name):
                raise


def within(area: Area) -> str:
    """Return the filter of a store for the box around an area; exact distances are for the caller to ask for."""
    south, north, ranges = area.box()
    around = " or ".join(f"(lon >= {west:.12f} and lon <= {east:.12f})" for west, east in ranges)
    return f"lat >= {south:.12f} and lat <= {north:.12f} and ({around})"


def reference_id(source: str, file: str, cut: str) -> int:
    """Return the number of a reference: 63 bits, of which two of 10^9 references share one with a chance of 5 %."""
    return number_of("\0".join((source, file, cut)))


def number_of(text: str) -> int:
    """Return a number of 63 bits that stands for a text."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big") >> 1


def cell_of(lat: float, lon: float) -> str:
    """Return zoom/column/row of the tile of Web Mercator that a place in degrees lies in; "" for nowhere."""
    if lat == NOWHERE:
        return ""
    across = 2**CELL_ZOOM
    x, y = to_plane(np.array([(lat, lon)]))[0]
    return f"{CELL_ZOOM}/{math.floor(x * across) % across}/{min(max(math.floor(y * across), 0), across - 1)}"


def _holds(area: Area, row: dict[str, Any]) -> bool:
    return bool(area.holds(np.array([(row["lat"], row["lon"])]))[0])


def _blocks(ids: Sequence[int]) -> Iterable[list[int]]:
    return (list(ids[start : start + AT_ONCE]) for start in range(0, len(ids), AT_ONCE))


def _schema(connection: Connection, size: int) -> Any:
    from pymilvus import DataType

    schema = connection.client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=size)
    for name, longest in (("source", 4096), ("file", 4096), ("cut", 1024), ("cell", 16)):
        schema.add_field(name, DataType.VARCHAR, max_length=longest)
    for name in ("lat", "lon"):
        schema.add_field(name, DataType.DOUBLE)
    schema.add_field("state", DataType.INT64)
    return schema
