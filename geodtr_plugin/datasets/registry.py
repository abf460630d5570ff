"""Which data sets there are, and the facts about them.

Imports the standard library only: a command's help must not wait for torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..utils.roles import SPLITS

if TYPE_CHECKING:
    from .base import Split

@dataclass(frozen=True)
class DatasetFacts:
    """What a table of data sets says about one of them.

    Args:
        title: the name in print.
        loader: "module:function", imported when the data set is loaded.
        pairs: (train, test) pairs; in place recognition, queries. 0 where a set is for testing only.
        ground: (height, width) of the panoramas, or of the queries, as stored.
        aerial: (height, width) of the aerials, or of the references, as stored.
        paper: who made it, and where it was published.
        page: where its makers give it out; empty for a world that is rendered here.
        scale: which of a method's recipes fit: "paper", or "laptop" for what a CPU can train on.
        centred: cameras stand at the centres of their tiles.
        gallery: references of the test split; None where there are as many as test pairs.
        areas: where the train split and the test split come from; empty: both from an area of the data set's own.
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
    gallery: int | None = None
    areas: tuple[str, str] = ("", "")


_HERE = "geodtr_plugin.datasets"
_STYLES = ("suburb", "downtown", "country", "oldtown")
FOLDER = "folder:"  # the names of own data are this and a path

_CVUSA = DatasetFacts(
    title="CVUSA",
    loader=f"{_HERE}.cvusa:load_cvusa",
    pairs=(35_532, 8_884),
    ground=(224, 1232),
    aerial=(750, 750),
    paper="Workman et al., ICCV 2015; subset of Zhai et al., CVPR 2017",
    page="the MVRL request form at https://mvrl.cse.wustl.edu/datasets/cvusa/ ('CVPR subset')",
    areas=("USA", "USA"),
)
_CVACT = DatasetFacts(
    title="CVACT",
    loader=f"{_HERE}.cvact:load_cvact",
    pairs=(35_532, 8_884),
    ground=(832, 1664),
    aerial=(1200, 1200),
    paper="Liu and Li, CVPR 2019",
    page="the authors' repository https://github.com/Liumouliu/OriCNN",
    areas=("Canberra", "Canberra"),
)
_VIGOR = DatasetFacts(
    title="VIGOR same-area",
    loader=f"{_HERE}.vigor:load_vigor",
    pairs=(52_609, 52_605),
    ground=(1024, 2048),
    aerial=(640, 640),
    paper="Zhu et al., CVPR 2021",
    page="the authors' repository https://github.com/Jeff-Zilence/VIGOR",
    centred=False,
    gallery=90_618,
    areas=("four cities", "four cities"),
)
_TRAINED, _TESTED = "New York and Seattle", "Chicago and San Francisco"
_UNIVERSITY = DatasetFacts(
    title="University-1652 drone to satellite",
    loader=f"{_HERE}.university1652:load_university1652",
    pairs=(37_854, 37_855),
    ground=(512, 512),
    aerial=(512, 512),
    paper="Zheng et al., ACM MM 2020",
    page="the authors' repository https://github.com/layumi/University1652-Baseline",
    centred=False,
    gallery=951,
    areas=("72 universities", "72 universities"),
)
_NETVLAD_PAGE = "NetVLAD's authors, who give access to photos and lists: https://www.di.ens.fr/willow/research/netvlad/"
_PITTS = DatasetFacts(
    title="Pitts30k",
    loader=f"{_HERE}.pitts:load_pitts",
    pairs=(7_416, 6_816),
    ground=(480, 640),
    aerial=(480, 640),
    paper="Torii et al., CVPR 2013; lists of Arandjelovic et al., CVPR 2016",
    page=_NETVLAD_PAGE,
    centred=False,
    gallery=10_000,
    areas=("Pittsburgh", "Pittsburgh"),
)
_TOKYO = DatasetFacts(
    title="Tokyo 24/7",
    loader=f"{_HERE}.tokyo247:load_tokyo247",
    pairs=(0, 315),
    ground=None,
    aerial=(480, 640),
    paper="Torii et al., CVPR 2015",
    page=_NETVLAD_PAGE,
    centred=False,
    gallery=75_984,
    areas=("", "Tokyo"),
)
_MSLS = DatasetFacts(
    title="MSLS val",
    loader=f"{_HERE}.msls:load_msls",
    pairs=(0, 740),
    ground=None,
    aerial=None,
    paper="Warburg et al., CVPR 2020",
    page="https://www.mapillary.com/dataset/places",
    centred=False,
    gallery=18_871,
    areas=("", "Copenhagen and San Francisco"),
)
_SYNTHETIC = DatasetFacts(
    title="",
    loader=f"{_HERE}.synthetic:load_synthetic",
    pairs=None,
    ground=None,
    aerial=None,
    paper="rendered here",
    page="",
    scale="laptop",
)
_OWN = DatasetFacts(
    title="",
    loader=f"{_HERE}.folder:load_folder",
    pairs=None,
    ground=None,
    aerial=None,
    paper="your own data",
    page="",
    centred=False,
)

DATASETS: dict[str, DatasetFacts] = {
    "cvusa": _CVUSA,
    "cvusa-cleaned": replace(_CVUSA, title="CVUSA cleaned", pairs=(34_769, 8_841)),
    "cvact": _CVACT,
    "cvact-val": replace(_CVACT, title="CVACT val"),
    "cvact-test": replace(_CVACT, title="CVACT test", pairs=(35_532, 92_802)),
    "vigor-same": _VIGOR,
    "vigor-cross": replace(
        _VIGOR, title="VIGOR cross-area", pairs=(51_520, 53_694), gallery=46_563, areas=(_TRAINED, _TESTED)
    ),
    "vigor-cross-reverse": replace(
        _VIGOR, title="VIGOR cross-area reverse", pairs=(53_694, 51_520), gallery=44_055, areas=(_TESTED, _TRAINED)
    ),
    "university1652": _UNIVERSITY,
    "university1652-drone-satellite": _UNIVERSITY,
    "university1652-satellite-drone": replace(
        _UNIVERSITY, title="University-1652 satellite to drone", pairs=(37_854, 701), gallery=51_355
    ),
    "pitts30k": _PITTS,
    "pitts250k": replace(_PITTS, title="Pitts250k", pairs=(7_824, 8_280), gallery=83_952),
    "tokyo247": _TOKYO,
    "msls-val": _MSLS,
} | {
    f"synth-{style}{suffix}": replace(
        _SYNTHETIC, title=f"synth-{style}{suffix}", centred=not suffix, areas=(style, style)
    )
    for style in _STYLES
    for suffix in ("", "-offset")
} | {
    f"synth-{style}-ground": replace(
        _SYNTHETIC, title=f"synth-{style}-ground", loader=f"{_HERE}.synthetic_ground:load_ground", centred=False,
        areas=(style, style),
    )
    for style in _STYLES
}  # fmt: skip


def list_datasets() -> list[str]:
    """The names that `load_split` knows; `folder:PATH` stands for own data besides."""
    return list(DATASETS)


def facts_of(name: str) -> DatasetFacts:
    """The facts about a data set, own folders included.

    Raises:
        UnknownNameError: there is no such data set.
    """
    if name.startswith(FOLDER):
        return replace(_OWN, title=name)
    if name not in DATASETS:
        from ..utils.errors import UnknownNameError

        raise UnknownNameError("data set", name, [*DATASETS, f"{FOLDER}PATH"])
    return DATASETS[name]


def same_area(train: str, test: str) -> bool:
    """Whether a model trained on one data set knows the area of another one's test split."""
    return (facts_of(train).areas[0] or train) == (facts_of(test).areas[1] or test)


def title(name: str) -> str:
    """The data set's name in print; the name itself where it is not registered."""
    return DATASETS[name].title if name in DATASETS else name


def load_split(name: str, split: str, root: str | None = None, **options: Any) -> Split:
    """Finds a data set on disk (or renders it) and reads its lists.

    Args:
        name: one of `list_datasets()`, or `folder:PATH` for own data.
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


def loader_of(name: str) -> Callable[..., Split]:
    """The function behind a name; its further parameters are the data set's options.

    Raises:
        UnknownNameError: there is no such data set.
    """
    module, function = facts_of(name).loader.split(":")
    return getattr(importlib.import_module(module), function)
