"""Which files of own data a name in its table means: one meaning each, or a sentence that lists the candidates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..utils.roles import ROLE_FOLDERS
from .role_files import DirectoryCache

_MOST_CANDIDATES = 4  # that a sentence lists
REMEDY = (
    "Names are case-sensitive: put the file there, write its path below queries or references, or take the line out."
)


class UnmatchedName(ValueError):
    """A name in a table that means no file, or several. Its text is a part of a sentence that follows the name."""


class OwnFiles:
    """The files of own data by the names that its table gives them.

    A path lies below the folder of a role: `queries/a.jpg`, or `a.jpg` for the files of that path in either role. Where
    there is none, the one file of that last part is meant, wherever it lies below its role's folder; see
    `DirectoryCache.match`.

    Args:
        folder: holds the folders `queries` and `references`.
    """

    def __init__(self, folder: Path):
        self._directories = {role: DirectoryCache(folder / role) for role in ROLE_FOLDERS}

    def of(self, name: str) -> list[tuple[str, str]]:
        """Return role and path, below the role's folder, of the files that a name stands for: one a role.

        Raises:
            UnmatchedName: it stands for none, or may stand for several.
        """
        role, _, path = name.partition("/")
        if role in ROLE_FOLDERS and path:
            return [(role, self._in_role(role, path))]
        located = [(role, directory.locate(name)) for role, directory in self._directories.items()]
        if exact := [(role, path) for role, path in located if path is not None]:
            return exact
        alike = [(role, path) for role, directory in self._directories.items() for path in directory.match(name)]
        if len(alike) == 1:
            return alike
        raise unmatched("neither in queries nor in references", [f"{role}/{path}" for role, path in alike])

    def _in_role(self, role: str, name: str) -> str:
        directory = self._directories[role]
        if name.partition("/")[0] in ROLE_FOLDERS:  # which says where it lies, and is no folder of another layout
            matches = [path] if (path := directory.locate(name)) is not None else []
        else:
            matches = directory.match(name)
        if len(matches) == 1:
            return matches[0]
        alike = matches or directory.of_name(name)
        raise unmatched("not there", [f"{role}/{path}" for path in alike])


def unmatched(where: str, alike: Sequence[str]) -> UnmatchedName:
    """Return the error for a name that is nowhere, or of which it is not known where: `where`, and what is like it."""
    more = f" and {len(alike) - _MOST_CANDIDATES:,} more" if len(alike) > _MOST_CANDIDATES else ""
    others = f"; of that name there are {', '.join(alike[:_MOST_CANDIDATES])}{more}" if alike else ""
    return UnmatchedName(f"is {where}{others}")
