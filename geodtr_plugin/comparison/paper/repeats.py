"""Figure 6: pairs that a data set holds more than once, found by the hash of their pixels and by their place."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...datasets import load_split
from ...utils.figures import new_figure, save_figure
from ...utils.files import write_text
from ..report import as_cells
from .parts import Part
from .runs import Workshop

if TYPE_CHECKING:
    from torch import Tensor

    from ...datasets import Split

DPI = 130
EXAMPLES = 4  # repeated pairs that are drawn
WIDTH, ROW = 12.5, 1.15  # inches of the figure, and the height of a row
SPLITS = ("train", "test")


class Pair(NamedTuple):
    """A pair of a split: its rows, and what tells it from others."""

    split: str
    query: int
    reference: int
    place: Hashable
    panorama: str  # hash of the pixels
    aerial: str


def draw_repeats(shop: Workshop, part: Part) -> list[Path]:
    """Draw some repeated pairs beside what they repeat, and list all of them as CSV."""
    made = shop.sets.of(part.columns[0])
    assert made is not None
    config = shop.config(made[0])
    options = {name: value for name, value in config.data.items() if name != "allow_partial" or shop.sets.real}
    splits = {name: load_split(made[0], name, shop.sets.root, **options) for name in SPLITS}
    if config.limit:
        splits = {name: split.limit(config.limit) for name, split in splits.items()}
    pairs = [pair for name, split in splits.items() for pair in pairs_of(name, split, shop.sets.real)]
    found = repeats_of(pairs)
    files = [shop.root / f"{part.name}.csv", shop.root / f"{part.name}.png"]
    write_text(files[0], as_cells(_lines(splits, found)))
    _draw(splits, found, _counted(made[0], pairs, found), files[1])
    return files


def pairs_of(name: str, split: Split, common_places: bool) -> Iterable[Pair]:
    """Yield the pairs of a split; every image is decoded once.

    Args:
        name: of the split.
        split: the split.
        common_places: train and test number their places alike.
    """
    for query, reference in split.pairs.tolist():
        label = int(split.query_places[query])
        panorama, aerial = pixel_hash(split.queries.read(query)), pixel_hash(split.references.read(reference))
        yield Pair(name, query, reference, label if common_places else (name, label), panorama, aerial)


def pixel_hash(image: Tensor) -> str:
    """Return the hash of an image's size and pixels, uint8 `[3, H, W]`, whatever file they came from."""
    digest = hashlib.sha256(str(tuple(image.shape)).encode())
    digest.update(image.contiguous().numpy().data)
    return digest.hexdigest()[:16]


def repeats_of(pairs: Iterable[Pair]) -> list[tuple[Pair, Pair, list[str]]]:
    """Return (first, later, by what) for every pair of which an earlier one has the pixels or the place.

    By what: "panorama" and "aerial", by their pixels; "place".
    """
    firsts: dict[tuple[str, Hashable], Pair] = {}
    found = []
    for pair in pairs:
        earlier = {
            what: firsts.setdefault((what, getattr(pair, what)), pair) for what in ("panorama", "aerial", "place")
        }
        by = [what for what, first in earlier.items() if first is not pair]
        if by:
            found.append((earlier[by[0]], pair, by))
    return found


def _counted(name: str, pairs: Sequence[Pair], found: Sequence[tuple[Pair, Pair, list[str]]]) -> str:
    """Return how many pairs are repeated, where, and by what."""
    where = {kind: 0 for kind in ("within train", "within test", "test repeats train")}
    for first, later, _ in found:
        where["test repeats train" if first.split != later.split else f"within {later.split}"] += 1
    by = {what: sum(what in by for *_, by in found) for what in ("panorama", "aerial", "place")}
    return (
        f"{name}: {len(found):,} of {len(pairs):,} pairs are there already ("
        + ", ".join(f"{kind}: {count:,}" for kind, count in where.items())
        + f"). By the pixels of the panorama: {by['panorama']:,}, of the aerial image: {by['aerial']:,}; by place: "
        f"{by['place']:,}."
    )


def _lines(splits: dict[str, Split], found: Iterable[tuple[Pair, Pair, list[str]]]) -> list[list[str]]:
    heads = ["first split", "first id", "later split", "later id", "alike in"]
    return [heads, *(
        [first.split, splits[first.split].queries.ids[first.query], later.split,
         splits[later.split].queries.ids[later.query], " ".join(by)]
        for first, later, by in found
    )]  # fmt: skip


def _draw(splits: dict[str, Split], found: Sequence[tuple[Pair, Pair, list[str]]], words: str, file: Path) -> None:
    shown = found[:: max(1, len(found) // EXAMPLES)][:EXAMPLES]
    figure = new_figure(WIDTH, 0.5 + ROW * len(shown))
    figure.suptitle(words, fontsize=9, x=0.01, ha="left")
    if shown:
        aerial_share = ROW / WIDTH  # of the width: tiles are squares
        widths = (0.5 - aerial_share, aerial_share) * 2
        panels = figure.subplots(len(shown), 4, squeeze=False, width_ratios=widths)
        for row, (first, later, by) in zip(panels, shown):
            for column, pair in enumerate((first, later)):
                split = splits[pair.split]
                ground, aerial = row[2 * column : 2 * column + 2]
                ground.imshow(split.queries.read(pair.query).permute(1, 2, 0).numpy())
                aerial.imshow(split.references.read(pair.reference).permute(1, 2, 0).numpy())
                what = f"; alike in {', '.join(by)}" if column else ""
                ground.set_title(f"{pair.split} {split.queries.ids[pair.query]}{what}", fontsize=8)
                for axes in (ground, aerial):
                    axes.set_axis_off()
    save_figure(figure, file, DPI)
