"""Tokyo 24/7: phone photos by day, at sunset and at night, asked for among street views by day; for testing only.

Torii, Arandjelovic, Sivic, Okutomi, Pajdla: 24/7 Place Recognition by View Synthesis, CVPR 2015.
"""

from __future__ import annotations

import os
from dataclasses import replace

from .base import Split
from .photo_lists import NETVLAD_PAGE, PhotoLayout, read_photos
from .registry import DatasetFacts, facts_of, register_dataset
from .street_views import refuse_training, street_split

FACTS = DatasetFacts(
    title="Tokyo 24/7",
    pairs=(0, 315),  # the queries of version 2, the ones that papers report
    gallery=75_984,
    aerial=(480, 640),
    paper="Torii et al., CVPR 2015",
    page=NETVLAD_PAGE,
    centred=False,
    areas=("", "Tokyo"),
)
_LAYOUT = PhotoLayout(
    folders=frozenset({"tokyo", "tokyo247", "tokyo24-7", "raw", "raw_data", "datasets"}),
    lists=("tokyo247.mat", "datasets/tokyo247.mat"),
    homes=(
        (
            "tokyo247/query/{}",
            "query/{}",
            "tokyo247/247query_subset_v2/{}",
            "247query_subset_v2/{}",
            "tokyo247/queries/{}",
        ),
        ("tokyo247/images/{}", "tokyo247/{}", "images/{}", "{}"),
    ),
    photos=("tokyo247/images", "images/03814", "03814", "tokyo247/03814"),
    zones=frozenset({"54"}),
    view_of=lambda name: (name.rpartition("/")[0], ""),  # a folder a panorama
    extensions=((), (".png", ".jpg")),  # the list names .jpg where the references were released as .png
)


@register_dataset("tokyo247", FACTS)
def load_tokyo247(
    name: str, split: str, root: str | os.PathLike[str] | None = None, nms: bool = True, allow_partial: bool = False
) -> Split:
    """Read the list of Tokyo 24/7, or the names of files that say where they were taken.

    A panorama is released as twelve views. As the authors count, the twelve stand in a ranking once, at the place of
    the most similar one (they take the 12 K most similar views, and of these the first of each panorama).

    Args:
        name: "tokyo247".
        split: "test".
        root: its folder or one near it; without it, GEODTR_DATA.
        nms: count so; False counts every view for itself, as several later benchmarks do, and gives lower numbers.
        allow_partial: leave out photos that are not on disk.

    Raises:
        UserError: the train split was asked for.
        DatasetNotFoundError: the folder, the list or a photo is not there.
        DatasetCorruptError: the list, or a file's name, cannot be used.
    """
    refuse_training(name, split)
    facts = facts_of(name)
    released = (facts.released_pairs("test"), facts.gallery)
    folder, photos = read_photos(name, "test", root, _LAYOUT, released, allow_partial)
    photos = replace(photos, provenance=f"{photos.provenance}, {'panoramas' if nms else 'single views'} ranked")
    return street_split(name, split, folder, photos, allow_partial, nms)
