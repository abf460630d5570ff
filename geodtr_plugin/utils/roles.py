"""The two roles of an image in retrieval, and the two parts of a data set."""

from __future__ import annotations

from typing import Literal

Role = Literal["query", "reference"]
ROLES: tuple[Role, ...] = ("query", "reference")
ROLE_FOLDERS = ("queries", "references")  # the same in the plural: attributes of a Split, and folders of own data
SPLITS = ("train", "test")
