"""Which data sets there are. `register_dataset` adds one of your own, in one file outside the package.

Imports the standard library only: a command's help must not wait for torch.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..utils.errors import UnknownNameError
from ..utils.registry import Registry
from ..utils.roles import SPLITS

if TYPE_CHECKING:
    from .base import Split

Loader = TypeVar("Loader", bound=Callable[..., Any])
FOLDER = "folder:"  # the names of own data are this and a path
_STYLES = ("suburb", "downtown", "country", "oldtown")


@dataclass(frozen=True)
class DatasetFacts:
    """What tables and checks say about a data set.

    Args:
        title: the name in print.
        pairs: released (train, test) pairs; in place recognition, queries. 0 where a set is for testing only; None: any
            number of pairs is right.
        gallery: released references of the test split; None where there are as many as test pairs.
        other_pairs: further numbers of pairs that are right, and why: (split, pairs) -> reason.
        ground: (height, width) of the panoramas, or of the queries, as stored; None: any.
        aerial: (height, width) of the aerials, or of the references, as stored; None: any.
        paper: who made it, and where it was published.
        page: where its makers give it out; empty for what is rendered here and for own data.
        scale: which of a method's recipes fit: "paper", or "laptop" for what a CPU can train on.
        centred: cameras stand at the centres of their tiles.
        areas: where the train split and the test split come from; empty: both from an area of the data set's own.
        elevations: of the upper and the lower edge of the panoramas, in degrees; None: the whole sphere, or unknown.
    """

    title: str
    pairs: tuple[int, int] | None = None
    gallery: int | None = None
    other_pairs: Mapping[tuple[str, int], str] = field(default_factory=dict)
    ground: tuple[int, int] | None = None
    aerial: tuple[int, int] | None = None
    paper: str = ""
    page: str = ""
    scale: str = "paper"
    centred: bool = True
    areas: tuple[str, str] = ("", "")
    elevations: tuple[float, float] | None = None

    def released_pairs(self, split: str) -> int | None:
        """Return the released number of pairs of a split; 0 where there is no such split, None where any is right."""
        return None if self.pairs is None else self.pairs[SPLITS.index(split)]


class Dataset(NamedTuple):
    """An entry of the table.

    Args:
        load: `load(name, split, root=None, **options)` returns a `Split`.
        facts: about the data set.
    """

    load: Callable[..., Split]
    facts: DatasetFacts


DATASETS: Registry[Dataset] = Registry(
    "data set",
    __package__,
    {
        "cvusa": ("cvusa", "cvusa-cleaned"),
        "cvact": ("cvact", "cvact-val", "cvact-test"),
        "vigor": ("vigor-same", "vigor-cross", "vigor-cross-reverse"),
        "university1652": ("university1652", "university1652-drone-satellite", "university1652-satellite-drone"),
        "pitts": ("pitts30k", "pitts250k"),
        "tokyo247": ("tokyo247",),
        "msls": ("msls-val",),
        "synthetic": [
            *(f"synth-{style}{suffix}" for style in _STYLES for suffix in ("", "-offset", "-wide")),
            *(f"synth-{style}-ground" for style in _STYLES),
        ],
    },
)


def register_dataset(name: str, facts: DatasetFacts) -> Callable[[Loader], Loader]:
    """Make a data set known to `load_split`, `--train` and `--test` under `name`, as a decorator of its loader.

    The loader is called as `load(name, split, root=None, **options)` with split "train" or "test" and the folder of
    `--data-root`, and returns a `Split`. Its further parameters are the data set's options: `count` is set by
    `--data.count 100`. With an option `allow_partial` it leaves out, on request, what is missing on disk.

    Raises:
        UserError: it is the name of a built-in data set.
    """
    return DATASETS.register(name, wrap=lambda load: Dataset(load, facts))


def list_datasets() -> list[str]:
    """Return the names that `load_split` knows; `folder:PATH` stands for own data besides."""
    return list(DATASETS)


def dataset_of(name: str) -> Dataset:
    """Return the loader of a data set and the facts about it, own folders included.

    Raises:
        UnknownNameError: there is no such data set.
    """
    if name.startswith(FOLDER):
        from .folder import FACTS, load_folder

        return Dataset(load_folder, replace(FACTS, title=name))
    if name not in DATASETS:
        raise UnknownNameError("data set", name, [*DATASETS, f"{FOLDER}PATH"])
    return DATASETS[name]


def facts_of(name: str) -> DatasetFacts:
    """Return the facts about a data set, own folders included.

    Raises:
        UnknownNameError: there is no such data set.
    """
    return dataset_of(name).facts


def is_centred(name: str, root: str | os.PathLike[str] | None = None, **options: Any) -> bool:
    """Tell whether cameras stand at the centres of their tiles; of own data, as an option or its folder says.

    Args:
        name: the data set.
        root: as for `load_split`.
        options: as for `load_split`.

    Raises:
        UnknownNameError: there is no such data set.
        UserError: own data cannot be read in this.
    """
    if name.startswith(FOLDER):
        from .folder import is_folder_centred

        return is_folder_centred(name, root, options.get("centred"))
    return facts_of(name).centred


def options_of(name: str) -> set[str]:
    """Return the names of a data set's own options.

    Raises:
        UnknownNameError: there is no such data set.
    """
    return set(inspect.signature(dataset_of(name).load).parameters) - {"name", "split", "root"}


def same_area(train: str, test: str) -> bool:
    """Tell whether a model trained on one data set knows the area of another one's test split.

    Raises:
        UnknownNameError: there is no such data set.
    """
    return (facts_of(train).areas[0] or train) == (facts_of(test).areas[1] or test)


def title_of(name: str) -> str:
    """Return a data set's name in print; the name itself where it is not registered."""
    return DATASETS[name].facts.title if name in DATASETS else name


def load_split(name: str, split: str, root: str | os.PathLike[str] | None = None, **options: Any) -> Split:
    """Find a data set on disk (or render it) and read its lists.

    Args:
        name: one of `list_datasets()`, or `folder:PATH` for own data.
        split: "train" or "test".
        root: the folder to look in; without it, the environment variable GEODTR_DATA.
        options: of the data set's own loader.

    Raises:
        UnknownNameError: there is no such data set.
        DatasetNotFoundError: the data set, or a part of it, is not where it was looked for.
        DatasetCorruptError: its lists cannot be used.
        ValueError: there is no such split.
    """
    load = dataset_of(name).load
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    return load(name, split, root=root, **options)
