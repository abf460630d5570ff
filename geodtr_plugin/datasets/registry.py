"""Which data sets there are, and the facts about them.

Imports the standard library only: a command's help must not wait for torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Index

SPLITS = ("train", "test")


@dataclass(frozen=True)
class DatasetFacts:
    """What a table of data sets says about one of them.

    Args:
        title: the name in print.
        loader: "module:function", imported when the data set is loaded.
        pairs: (train, test) pairs.
        ground: (height, width) of the panoramas as stored.
        aerial: (height, width) of the aerials as stored.
        paper: who made it, and where it was published.
        page: where its makers give it out; empty for a world that is rendered here.
        scale: which of a method's recipes fit: "paper", or "laptop" for what a CPU can train on.
        centred: cameras stand at the centres of their tiles.
    """

    title: str
    loader: str
    pairs: tuple[int, int] | None
    ground: tuple[int, int] | None
    aerial: tuple[int, int] | None
    paper: str
    page: str
    scale: str = "paper"
    centred: bool = True


_SYNTHETIC = "geodtr_plugin.datasets.synthetic:load_synthetic"
_STYLES = ("suburb", "downtown", "country", "oldtown")

DATASETS: dict[str, DatasetFacts] = {
    "cvusa": DatasetFacts(
        title="CVUSA",
        loader="geodtr_plugin.datasets.cvusa:load_cvusa",
        pairs=(35_532, 8_884),
        ground=(224, 1232),
        aerial=(750, 750),
        paper="Workman et al., ICCV 2015; subset of Zhai et al., CVPR 2017",
        page="the MVRL request form at https://mvrl.cse.wustl.edu/datasets/cvusa/ ('CVPR subset')",
    ),
    "cvact": DatasetFacts(
        title="CVACT",
        loader="geodtr_plugin.datasets.cvact:load_cvact",
        pairs=(35_532, 8_884),
        ground=(832, 1664),
        aerial=(1200, 1200),
        paper="Liu and Li, CVPR 2019",
        page="the authors' repository https://github.com/Liumouliu/OriCNN",
    ),
} | {
    f"synth-{style}{suffix}": DatasetFacts(
        title=f"synth-{style}{suffix}",
        loader=_SYNTHETIC,
        pairs=None,
        ground=None,
        aerial=None,
        paper="rendered here",
        page="",
        scale="laptop",
        centred=not suffix,
    )
    for style in _STYLES
    for suffix in ("", "-offset")
}


def list_datasets() -> list[str]:
    """The names that `load_index` knows."""
    return list(DATASETS)


def title(name: str) -> str:
    """The data set's name in print; the name itself where it is not registered."""
    return DATASETS[name].title if name in DATASETS else name


def load_index(name: str, split: str, root: str | None = None, **options: Any) -> Index:
    """Finds a data set on disk (or renders it) and reads its lists.

    Args:
        name: one of `list_datasets()`.
        split: "train" or "test".
        root: the folder to look in; without it, the environment variable GEODTR_DATA.
        options: what the data set's own loader takes besides.

    Raises:
        UnknownNameError: there is no such data set.
        DatasetNotFoundError: it is not where it was looked for.
        DatasetCorruptError: its lists cannot be used.
    """
    loader = loader_of(name)
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    return loader(name, split, root=root, **options)


def loader_of(name: str) -> Callable[..., Index]:
    """The function behind a name; its further parameters are the data set's options.

    Raises:
        UnknownNameError: there is no such data set.
    """
    if name not in DATASETS:
        from ..utils.errors import UnknownNameError

        raise UnknownNameError("data set", name, DATASETS)
    module, function = DATASETS[name].loader.split(":")
    return getattr(importlib.import_module(module), function)
