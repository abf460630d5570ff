"""A look into the network of a run: its layout descriptors on a pair, and what layout does to distances.

Source: figures 7 and 10 of Zhang et al., TPAMI 2024 (GeoDTR+).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...utils.errors import UserError
from .charts import Axis, axis_of, range_chart
from .html import Html, tag
from .material import Material, rows_of
from .pictures import heat_map, image_of
from .queries import choose_queries

if TYPE_CHECKING:
    from torch import Tensor

    from ...augmentations import RoleTransform
    from ...datasets import Split
    from ...methods import TwoTower
    from ...utils.roles import Role

LAYOUTS = {"as it is": 0, "flipped": 4, "turned by 90°": 1, "by 180°": 2, "by 270°": 3}  # of the aerial image alone
UNMATCHED = "of another place"
PAIRS, BATCH = 32, 4  # pairs of a test set that are measured at most, and at once
SECONDS = 8.0  # after which no further batch is begun, so that a large network on a CPU costs one or two
QUANTILES = (5, 25, 50, 75, 95)
SIDE = 320  # pixels of what the network sees


class Network:
    """The network of a run, in evaluation mode, on images as they are stored."""

    def __init__(self, model: TwoTower, transforms: Mapping[Role, RoleTransform]):
        self.model, self.device = model, next(model.parameters()).device
        self.transforms = {role: transform.to(self.device) for role, transform in transforms.items()}

    def input_of(self, role: Role, stored: Tensor) -> Tensor:
        """Return network input `[1, C, H, W]` of an image as stored, uint8 `[3, *, *]`."""
        transform = self.transforms[role]
        return transform(transform.image.on_load(stored)[None].to(self.device))

    def seen(self, role: Role, images: Tensor) -> Tensor:
        """Return the colours that the network sees in its input `[1, C, H, W]`, uint8 `[3, H, W]`."""
        transform = self.transforms[role]
        return ((images[0, :3] * transform.std + transform.mean).clamp(0, 1) * 255).round().byte()

    def similarities(self, query: Tensor, reference: Tensor) -> Tensor:
        """Return the similarity of row i of one and row i of the other, `[N, Dq]`, `[N, Dr]` -> `[N]`."""
        own = self.model.distance
        return (query * reference).sum(1) if own is None else own.pair_similarities(query, reference)


def network_of(material: Material) -> Network:
    """Return the network in evaluation mode.

    Raises:
        UserError: it cannot be had, or no test set.
    """
    if material.network is None or not material.tests:
        raise UserError("This needs the network and the images of a test set.")
    return Network(*material.network)


def descriptors_part(material: Material) -> Html | None:
    """Return the masks of the layout descriptors on the best and the worst query; None where the method has none."""
    if material.network and not hasattr(material.network[0].query_tower, "masks"):
        return None
    from ...testers.embedding import modes_restored

    network = network_of(material)
    name, split = next(iter(material.tests.items()))
    ranks, rows = material.ranks(name), rows_of(split.queries.ids)
    blocks = []
    with modes_restored(network.model):
        network.model.eval()
        for kind, chosen in choose_queries(ranks, each=1).items():
            query = rows.get(ranks.queries[chosen[0]]) if len(chosen) else None
            if kind != "Typical" and query is not None and len(split.truth.positives[query]):
                reference = int(split.truth.positives[query][0])
                blocks.append(tag("h3", f"{kind} query on {name}: {split.queries.ids[query]}"))
                blocks.append(_masks_of_pair(network, split, query, reference))
    words = (
        "Each descriptor sums the features of the trunk under a mask. Left: its mask on the query; right: on the "
        "reference of the same place. Yellow is the most of a mask, dark blue the least. Of unrolled references, a "
        "layout that both views share stands at the same place in both."
    )
    return tag("div", tag("p", words), blocks)


def pair_masks(
    network: Network, split: Split, query: int, reference: int
) -> tuple[dict[Role, Tensor], dict[Role, Tensor]]:
    """Return network inputs `[1, C, H, W]` and masks of the layout descriptors `[K, h, w]` of a pair, by role.

    Args:
        network: in evaluation mode; its towers have masks.
        split: whose images.
        query, reference: rows.
    """
    import torch

    images: dict[Role, Tensor] = {"query": network.input_of("query", split.queries.read(query)),
              "reference": network.input_of("reference", split.references.read(reference))}  # fmt: skip
    towers = {"query": network.model.query_tower, "reference": network.model.reference_tower}
    with torch.no_grad():
        return images, {role: towers[role].masks(images[role])[0].float().cpu() for role in images}


def _masks_of_pair(network: Network, split: Split, query: int, reference: int) -> Html:
    images, masks = pair_masks(network, split, query, reference)
    unrolled = unrolled_masks(masks["query"], masks["reference"]) if not network.model.polar else None
    pictures = [image_of(network.seen(role, image), f"the {role} as the network sees it", SIDE)
                for role, image in images.items()]  # fmt: skip
    cells = [tag("figure", tag("div", pictures, class_="pair"), tag("figcaption", "seen"), class_="seen")]
    for number in range(len(masks["query"])):
        left, right = (heat_map(masks[role][number].numpy(), f"mask {number + 1} on the {role}") for role in images)
        if unrolled is not None:
            below = heat_map(unrolled[number].numpy(), f"mask {number + 1} on the reference, unrolled")
            left = tag("div", left, below)
        caption = f"descriptor {number + 1}{'; left below: unrolled' if unrolled is not None else ''}"
        cells.append(tag("figure", tag("div", left, right, class_="pair"), tag("figcaption", caption)))
    return tag("div", cells, class_="masks")


def unrolled_masks(query: Tensor, reference: Tensor) -> Tensor | None:
    """Return masks of a tile `[K, S, S]` unrolled to the grid of the query's `[K, h, w]`; None of what is no square."""
    from ...augmentations import PolarTransform

    square = reference.shape[-1] == reference.shape[-2]
    return PolarTransform(*query.shape[-2:])(reference[None])[0] if square else None


def distances_part(material: Material) -> Html | None:
    """Return how far aerial images lie from their panoramas: as they are, in other layouts, and of other places."""
    network = network_of(material)
    from ...testers.embedding import modes_restored

    until, late = time.monotonic() + SECONDS, []
    charts: list[Html] = []
    with modes_restored(network.model):
        network.model.eval()
        for name, split in material.tests.items():
            if charts and time.monotonic() > until:
                late.append(name)
            elif (found := measure_distances(network, split, until)) is not None:
                charts.append(_distances_chart(name, found))
    if not charts:
        raise UserError("No test set has square tiles, which can be turned.")
    words = (
        "Distance of unit embeddings, from 0 to 2, between a query and the aerial image of its place: as it is, "
        "flipped and turned (the query stays), and of another place. A network that sees the layout tells the copies "
        "from the original; one that goes by colours alone does not."
    )
    left_out = tag("p", f"Not measured, to save time: {', '.join(late)}.", class_="missing") if late else None
    return tag("div", tag("p", words), tag("div", charts, class_="charts"), left_out)


def measure_distances(
    network: Network, split: Split, until: float = math.inf, most: int = PAIRS
) -> dict[str, np.ndarray] | None:
    """Return distances `[n]` by what was done to the aerial image, of pairs spread over a test set.

    None where tiles are no squares.

    Args:
        network: what embeds.
        split: the test set.
        until: time.monotonic() after which no further batch is begun.
        most: pairs that are measured.
    """
    pairs = [(i, int(split.truth.positives[i][0])) for i in range(len(split.queries)) if len(split.truth.positives[i])]
    pairs = [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, most).astype(int))] if pairs else []
    found: list[dict[str, np.ndarray]] = []
    for start in range(0, len(pairs), BATCH):
        if found and time.monotonic() > until:
            break
        batch = _distances_of(network, split, pairs[start : start + BATCH])
        if batch is None:
            return None
        found.append(batch)
    return {name: np.concatenate([batch[name] for batch in found]) for name in found[0]} if found else None


def _distances_of(network: Network, split: Split, pairs: list[tuple[int, int]]) -> dict[str, np.ndarray] | None:
    import torch

    from ...augmentations.layout import turn_tiles

    tiles = [split.references.read(reference) for _, reference in pairs]
    if any(tile.shape[-1] != tile.shape[-2] for tile in tiles):
        return None
    with torch.no_grad():
        queries = torch.cat([network.input_of("query", split.queries.read(query)) for query, _ in pairs])
        asked = network.model.encode_query(queries)
        found, layouts = {}, {}
        for name, layout in LAYOUTS.items():
            turned = [turn_tiles(tile[None], torch.tensor([layout]))[0] for tile in tiles]
            images = torch.cat([network.input_of("reference", tile) for tile in turned])
            layouts[name] = network.model.encode_reference(images)
            found[name] = network.similarities(asked, layouts[name])
        other = [i for i, (query, _) in enumerate(pairs) if pairs[i - 1][1] not in split.truth.positives[query]]
        found[UNMATCHED] = network.similarities(asked[other], layouts["as it is"][[i - 1 for i in other]])
    return {name: np.sqrt(np.maximum(2 - 2 * values.double().cpu().numpy(), 0)) for name, values in found.items()}


def _distances_chart(name: str, found: Mapping[str, np.ndarray]) -> Html:
    rows = [(label, np.percentile(values, QUANTILES).tolist()) for label, values in found.items() if len(values)]
    ends = axis_of("distance (0: alike, 2: opposite)", [value for _, row in rows for value in row])
    room = 0.05 * (ends.high - ends.low)
    axis = Axis(ends.label, max(ends.low - room, 0), ends.high + room)
    count = len(found["as it is"])
    nearest = np.min([values for label, values in found.items() if label in LAYOUTS and LAYOUTS[label]], axis=0)
    first = 100 * float(np.mean(found["as it is"] < nearest))
    title = f"{name}, {count} pairs: 5 to 95 % (thin), the middle half (thick), the median (ring)"
    told = f"In {first:.0f} % of the pairs, the aerial image as it is lies nearer than all its copies."
    return tag("div", range_chart(title, rows, axis, "5 %, 25 %, median, 75 %, 95 %"), tag("p", told))
