"""The embeddings of all training pairs as they were last seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..utils.roles import ROLES


class EmbeddingBank:
    """The last seen embedding of every row of both roles, so that batches can be chosen among all of them.

    Rows that were never written are NaN. Memory is taken when the size of the embeddings is known, at the first write:
    4 bytes times rows times their size for each role, 142 MB for 35,532 rows of 1,000 entries.

    Args:
        num_rows: rows of the queries, for training pairs their number.
        num_references: rows of the references, if there are not as many.
        device: where it is kept; None: where the embeddings come from.
    """

    def __init__(self, num_rows: int, num_references: int | None = None, device: torch.device | str | None = None):
        self.num_rows = {"query": num_rows, "reference": num_rows if num_references is None else num_references}
        self.device = None if device is None else torch.device(device)
        self._stored: dict[str, Tensor | None] = dict.fromkeys(ROLES)

    @property
    def query(self) -> Tensor | None:
        """float32 `[num_rows, D]`; None before the first write."""
        return self._stored["query"]

    @property
    def reference(self) -> Tensor | None:
        """float32 `[num_references, D]`; None before the first write."""
        return self._stored["reference"]

    def write(self, rows: Sequence[int] | Tensor, query: Tensor | None = None, reference: Tensor | None = None) -> None:
        """Replace some rows of one role or of both.

        Args:
            rows: distinct row numbers `[B]`.
            query: `[B, D]`; None leaves the queries as they are.
            reference: likewise.

        Raises:
            ValueError: sizes do not fit.
            IndexError: there is no such row.
        """
        rows = torch.as_tensor(rows, dtype=torch.long, device="cpu")
        for role, embeddings in zip(ROLES, (query, reference)):
            if embeddings is not None:
                self._write(role, rows, embeddings.detach())

    def _write(self, role: str, rows: Tensor, embeddings: Tensor) -> None:
        if embeddings.ndim != 2 or len(embeddings) != len(rows):
            raise ValueError(f"{len(rows)} rows came with {role} embeddings {list(embeddings.shape)}")
        num = self.num_rows[role]
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < num:
            raise IndexError(f"{role} rows are 0 to {num - 1}, not {int(rows.min())} to {int(rows.max())}")
        device = embeddings.device if self.device is None else self.device
        stored = self._stored[role]
        if stored is None:
            stored = torch.full((num, embeddings.shape[1]), torch.nan, device=device)
        if stored.shape[1] != embeddings.shape[1]:
            raise ValueError(f"{role} embeddings here have {stored.shape[1]} entries, not {embeddings.shape[1]}")
        self._stored[role] = stored = stored.to(device)  # a loaded state lies on the CPU
        stored[rows.to(device)] = embeddings.to(device, torch.float32)

    def state_dict(self) -> dict[str, Any]:
        """Return both tables; None for one that was never written."""
        return dict(self._stored)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state.

        Raises:
            ValueError: it has other numbers of rows.
        """
        for role in ROLES:
            if state[role] is not None and len(state[role]) != self.num_rows[role]:
                raise ValueError(f"the state has {len(state[role])} {role} rows, this bank {self.num_rows[role]}")
        self._stored = {role: None if state[role] is None else state[role].clone() for role in ROLES}
