"""The files of one role as lists name them, which of them are on disk, and the message about those that are not."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.errors import DatasetNotFoundError
from ..utils.paths import below, is_hidden, one_form, walk_files
from .images import ImageFiles

# From this part of the released images on, a folder without lists is a copy that lost some, and no own selection.
_NEARLY_ALL = 0.9


class MissingFilesError(DatasetNotFoundError):
    """Files that the lists of a data set name are not on disk.

    Args:
        message: what is wrong, a sentence.
        remedy: what to do, a sentence.
        missing: the files, those of the queries first.
    """

    def __init__(self, message: str, remedy: str = "", missing: Iterable[Path] = ()):
        super().__init__(message, remedy)
        self.missing = tuple(missing)


class DirectoryCache:
    """Which files a folder tree holds, from one listing a folder: asking for each of 185,604 files takes minutes.

    A name that a list has in one form of Unicode and the disk in another (NFC, NFD) is the same name.
    """

    def __init__(self, root: Path):
        self.root = root
        self._names: dict[str, frozenset[str]] = {}
        self._forms: dict[str, dict[str, str]] = {}  # of some folders: the name on disk by its composed form
        self._by_name: dict[str, list[str]] | None = None  # paths of all files by their last part, composed

    def __contains__(self, path: str) -> bool:
        return self.locate(path) is not None

    def locate(self, path: str) -> str | None:
        """Return the path on disk of a file that a list names with forward slashes; None: it is not there.

        Raises:
            DatasetCorruptError: the path leaves the folder.
            DatasetNotFoundError: a folder may not be read.
        """
        folder, slash, name = path.rpartition("/")
        if slash and not folder:
            below(path, f"A list of {self.root}")
        names = self._listing(folder)
        if name in names:
            return path
        if path.isascii():
            return None
        if folder and not names:
            located = self.locate(folder)
            return None if located in (None, folder) else self.locate(f"{located}/{name}")
        if folder not in self._forms:
            self._forms[folder] = {one_form(other): other for other in names}
        on_disk = self._forms[folder].get(one_form(name))
        return None if on_disk is None else f"{folder}{slash}{on_disk}"

    def match(self, name: str) -> list[str]:
        """Return what a name in somebody's table may mean: the file of that path, else all files of its last part.

        The last part is looked for in the whole tree, hidden files aside, but not where the tree has the name's folder:
        then the file is missing there.
        """
        located = self.locate(name)
        if located is not None:
            return [located]
        folder = name.rpartition("/")[0]
        return [] if folder and self.locate(folder) is not None else self.of_name(name)

    def of_name(self, name: str) -> list[str]:
        """Return the paths of all files in the tree with the last part of a name, sorted; hidden ones are none."""
        if self._by_name is None:
            self._by_name = {}
            for path in sorted(path for path in walk_files(self.root) if not is_hidden(path)):
                self._by_name.setdefault(one_form(path.rpartition("/")[2]), []).append(path)
        return self._by_name.get(one_form(name.rpartition("/")[2]), [])

    def _listing(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            below(folder, f"A list of {self.root}")
            self._names[folder] = self._list(folder)
        return self._names[folder]

    def _list(self, folder: str) -> frozenset[str]:
        try:
            with os.scandir(self.root / folder) as entries:
                return frozenset(entry.name for entry in entries)
        except PermissionError as error:
            raise DatasetNotFoundError(f"{self.root / folder} cannot be read ({error.strerror}).") from error
        except (OSError, ValueError):  # not there, no folder, or a name that no system has
            return frozenset()

    def find(self, names: Sequence[str], patterns: Sequence[str]) -> tuple[list[str], np.ndarray]:
        """Look for files by name.

        Args:
            names: of the files.
            patterns: where they may lie, with {} for the name, the best place first.

        Returns:
            A path for each file, and whether it is there, bool `[N]`. A file that is nowhere gets a path like those of
            the others, so that messages name it where they lie.

        Raises:
            DatasetCorruptError: a name leads out of the folder.
        """
        sample = names[:: len(names) // 8 + 1]

        def rarity(pattern: str) -> tuple[bool, bool]:
            unused = not any(pattern.format(name) in self for name in sample)
            return unused, not (self.root / pattern).parent.is_dir()

        usual = min(patterns, key=rarity)
        found = [
            next((path for pattern in patterns if (path := self.locate(pattern.format(name))) is not None), None)
            for name in names
        ]
        paths = [usual.format(name) if path is None else path for name, path in zip(names, found)]
        return paths, np.array([path is not None for path in found], bool)


@dataclass(frozen=True, eq=False)
class RoleFiles:
    """The files of one role, in the order of the lists.

    Args:
        noun: what messages call them, such as "panoramas".
        images: all of them, whether they are on disk or not.
        present: whether each is on disk, bool `[N]`.
        panoramas: of photos that were cut from panoramas, the name of the panorama; None where that is not known.
        headings: the name of the direction within the panorama; None where that is not known.
    """

    noun: str
    images: ImageFiles
    present: np.ndarray
    panoramas: Sequence[str] | None = None
    headings: Sequence[str] | None = None

    @classmethod
    def find(
        cls, files: DirectoryCache, noun: str, names: Sequence[str], patterns: Sequence[str], **fields: Any
    ) -> RoleFiles:
        """Look for files by name, see `DirectoryCache.find`; `fields` are those of `ImageFiles`."""
        paths, present = files.find(names, patterns)
        return cls(noun, ImageFiles(files.root, paths, **fields), present)

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: np.ndarray) -> RoleFiles:
        """Return some rows, int `[n]`, in that order."""
        panoramas, headings = (names and [names[i] for i in rows] for names in (self.panoramas, self.headings))
        return RoleFiles(self.noun, self.images.take(rows), self.present[rows], panoramas, headings)

    def missing(self) -> list[str]:
        """Return the paths that are not on disk, relative to the data set's folder."""
        return [self.images.paths[i] for i in np.flatnonzero(~self.present)]


def missing_notes(
    what: str, folder: Path, queries: RoleFiles, references: RoleFiles, allowed: bool, complete: int | None = None
) -> tuple[str, ...]:
    """Return a note on the files that are not on disk; none where all are.

    Args:
        what: the data set and its split, such as "CVUSA train".
        folder: the data set's folder.
        queries: as the lists name them.
        references: as the lists name them.
        allowed: the user allows a partial data set, and something is left of it.
        complete: how many of the pairs that the lists name are there; None where lists name no pairs.

    Raises:
        MissingFilesError: files are missing, and that is not allowed.
    """
    roles = (queries, references)
    missing = [path for role in roles for path in role.missing()]
    if not missing:
        return ()
    pairs = "" if complete is None else f"{complete:,} of {len(queries):,} pairs are there; "
    counts = " and ".join(f"{len(role.missing()):,} of {len(role):,} {role.noun}" for role in roles)
    note = f"{what} in {folder} is not complete: {pairs}{counts} are missing, the first is {missing[0]}."
    if not allowed:
        remedy = "Extract or copy the rest, or add --allow-partial to go on without it."
        raise MissingFilesError(note, remedy, [folder / path for path in missing])
    return (note,)


def lost_some(count: int, released: int) -> bool:
    """Tell whether a folder of `count` images is a copy of a released one that lost a few, and no own selection."""
    return _NEARLY_ALL * released <= count < released
