"""Where a store is, as people write it: `milvus:city.db` or `http://host:19530`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ...utils.errors import UserError

COLLECTION = "geodtr"  # of a store, where none is named
_EMBEDDED, _SERVERS = "milvus:", ("http://", "https://")
FORMS = "Write milvus:city.db (Milvus Lite, in a folder here) or http://host:19530 (a server)."


def is_address(where: str | os.PathLike) -> bool:
    """Tell whether a path or an address is that of a store."""
    return isinstance(where, str) and where.startswith((_EMBEDDED, *_SERVERS))


@dataclass(frozen=True)
class Address:
    """The address of a store.

    Args:
        text: as it was written.
        uri: as pymilvus wants it.
        embedded: the folder of Milvus Lite; None for a server.
    """

    text: str
    uri: str
    embedded: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return the address that a text gives.

        Raises:
            UserError: it gives none, or the folder cannot be there.
        """
        if text.startswith(_SERVERS):
            return cls(text, text)
        if not text.startswith(_EMBEDDED):
            raise UserError(f"--store is {text!r}.", FORMS)
        folder = Path(text.removeprefix(_EMBEDDED)).expanduser().absolute()
        if folder.suffix != ".db":
            raise UserError(f"--store is {text!r}: the name of Milvus Lite's folder ends with .db.", FORMS)
        if not folder.parent.is_dir():
            raise UserError(f"{text} cannot be made: {folder.parent} is no folder.", FORMS)
        if os.path.lexists(folder) and not folder.is_dir():
            raise UserError(f"{text} is a file, and no folder of Milvus Lite.", "Choose another name.")
        return cls(text, str(folder), folder)
