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
        num_rows: rows of each role: the number of training pairs.
    """

    def __init__(self, num_rows: int):
        self.num_rows = num_rows
        self._stored: dict[str, Tensor | None] = dict.fromkeys(ROLES)

    @property
    def query(self) -> Tensor | None:
        """float32 `[num_rows, D]`; None before the first write."""
        return self._stored["query"]

    @property
    def reference(self) -> Tensor | None:
        """float32 `[num_rows, D]`; None before the first write."""
        return self._stored["reference"]

    def write(self, rows: Sequence[int] | Tensor, query: Tensor, reference: Tensor) -> None:
        """Replace some rows of both roles; the bank lies on the device of what was written last.

        Args:
            rows: distinct row numbers `[B]`.
            query: `[B, D]`.
            reference: `[B, D]`.

        Raises:
            ValueError: sizes do not fit.
            IndexError: there is no such row.
        """
        rows = torch.as_tensor(rows, dtype=torch.long, device="cpu")
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < self.num_rows:
            raise IndexError(f"rows are 0 to {self.num_rows - 1}, not {int(rows.min())} to {int(rows.max())}")
        for role, embeddings in zip(ROLES, (query.detach(), reference.detach())):
            if embeddings.ndim != 2 or len(embeddings) != len(rows):
                raise ValueError(f"{len(rows)} rows came with {role} embeddings {list(embeddings.shape)}")
            stored, device = self._stored[role], embeddings.device
            if stored is None:
                stored = torch.full((self.num_rows, embeddings.shape[1]), torch.nan, device=device)
            if stored.shape[1] != embeddings.shape[1]:
                raise ValueError(f"{role} embeddings here have {stored.shape[1]} entries, not {embeddings.shape[1]}")
            self._stored[role] = stored = stored.to(device)  # a loaded state lies on the CPU
            stored[rows.to(device)] = embeddings.float()

    def state_dict(self) -> dict[str, Any]:
        """Return both tables; None for one that was never written."""
        return dict(self._stored)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state.

        Raises:
            ValueError: it has another number of rows.
        """
        for role in ROLES:
            if state[role] is not None and len(state[role]) != self.num_rows:
                raise ValueError(f"the state has {len(state[role])} {role} rows, this bank {self.num_rows}")
        self._stored = {role: None if state[role] is None else state[role].clone() for role in ROLES}
