"""Pittsburgh: views cut from street panoramas of two years, `pitts30k` and `pitts250k`.

Torii, Sivic, Okutomi, Pajdla: Visual Place Recognition with Repetitive Structures, CVPR 2013; the lists by
Arandjelovic et al.: NetVLAD, CVPR 2016.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import PurePosixPath

from ..utils.errors import UnknownNameError
from .base import Split
from .photo_lists import NETVLAD_PAGE, PhotoLayout, read_photos
from .registry import DatasetFacts, register_dataset
from .street_views import street_split

PARTS = ("test", "val")
# (queries, references) of each released list
RELEASED = {
    "pitts30k": {"train": (7_416, 10_000), "val": (7_608, 10_000), "test": (6_816, 10_000)},
    "pitts250k": {"train": (7_824, 91_464), "val": (7_608, 78_648), "test": (8_280, 83_952)},
}
_LAYOUT = PhotoLayout(
    folders=frozenset({"pitts", "pittsburgh", "pittsburgh250k", "raw", "raw_data", "datasets"}),
    lists=("{name}_{part}.mat", "datasets/{name}_{part}.mat"),
    # as the makers pack it, and as OpenIBL and those after it arrange it
    homes=(
        ("queries_real/{}", "Pittsburgh/queries/{}", "Pittsburgh/queries_real/{}", "queries/{}"),
        ("{}", "Pittsburgh/images/{}", "Pittsburgh/{}", "images/{}"),
    ),
    photos=("000", "Pittsburgh/images", "Pittsburgh/000", "images/000"),
    zones=frozenset({"17"}),
    # 000/000123_pitch1_yaw4.jpg: the number of the panorama, then the heading
    view_of=lambda name: (name.partition("_")[0], PurePosixPath(name).stem.partition("_")[2]),
)


def _facts(name: str, title: str) -> DatasetFacts:
    released = RELEASED[name]
    return DatasetFacts(
        title=title,
        pairs=(released["train"][0], released["test"][0]),
        other_pairs={("test", released["val"][0]): "the val list, which was asked for"},
        gallery=released["test"][1],
        ground=(480, 640),
        aerial=(480, 640),
        paper="Torii et al., CVPR 2013; lists of Arandjelovic et al., CVPR 2016",
        page=NETVLAD_PAGE,
        centred=False,
        areas=("Pittsburgh", "Pittsburgh"),
    )


@register_dataset("pitts30k", _facts("pitts30k", "Pitts30k"))
@register_dataset("pitts250k", _facts("pitts250k", "Pitts250k"))
def load_pitts(
    name: str, split: str, root: str | os.PathLike[str] | None = None, part: str = "test", allow_partial: bool = False
) -> Split:
    """Read the lists of Pittsburgh, or the names of files that say where they were taken.

    Args:
        name: "pitts30k" or "pitts250k", the same city with a gallery eight times as large.
        split: "train" or "test".
        root: its folder or one near it; without it, GEODTR_DATA.
        part: what is tested on, the "test" list or the "val" list, by which models are chosen.
        allow_partial: leave out photos that are not on disk.

    Raises:
        UnknownNameError: there is no such part.
        DatasetNotFoundError: the folder, a list or a photo is not there.
        DatasetCorruptError: a list, or a file's name, cannot be used.
    """
    if part not in PARTS:
        raise UnknownNameError("part of Pittsburgh to test on", part, PARTS)
    part = "train" if split == "train" else part
    folder, photos = read_photos(name, part, root, _LAYOUT, RELEASED[name][part], allow_partial)
    if part == "val":
        notes = ("the val list is tested on, not the test list", *photos.notes)
        photos = replace(photos, provenance=f"{photos.provenance}, val", notes=notes)
    return street_split(name, split, folder, photos, allow_partial)
