"""What a search answers: references, and what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..utils.geo import distances
from .geotags import Heading

RIGHT_WITHIN = 25.0  # metres; what place recognition counts as right
# Two references within it can both be right about one photo: each at RIGHT_WITHIN of it, on either side.
NEIGHBOURS_WITHIN = 2 * RIGHT_WITHIN
# Matches that are looked at for one that is no neighbour. Tiles of 72 m that overlap by 85 % have 67 neighbours.
DEPTH = 100


@dataclass(frozen=True)
class Match:
    """A reference that a query resembles.

    Args:
        path: its file, below the index's folder of references; in a store, the whole path.
        similarity: cosine of the two embeddings, -1 to 1; of several photos together, their mean.
        lat: latitude in degrees, or None where it is not known.
        lon: longitude in degrees, or None.
        heading: where the middle of the query (of several, of the first) looks if it was taken here, in degrees
            clockwise from north, 0 to 360; None where neither the search nor the model tries headings.
        gap: its similarity less that of the most similar place that is farther than NEIGHBOURS_WITHIN from it: above 0
            where no such place is more similar. Where the DEPTH most similar references are all neighbours, the gap is
            larger than this, which counts to the last of them; None beside a single reference.
        number: its number among the references of the index, from 0; None for a match that no search made.
    """

    path: str
    similarity: float
    lat: float | None
    lon: float | None
    heading: float | None = None
    gap: float | None = None
    number: int | None = None


@dataclass(frozen=True)
class Answer:
    """What became of one query, or of several photos of one spot.

    Args:
        query: its path, or "image N" for a tensor; of several photos, the first that could be used.
        matches: the references, most similar first; none with a fault.
        fault: why the query could not be used, as a part of a sentence after its name; else None.
        position: latitude and longitude in degrees from the query's own EXIF, which the search does not look at.
        note: why there is no position although the EXIF has one, as a part of a sentence after the query's name.
        looks: where the middle of the query looks by its own EXIF or XMP, which the search does not look at unless it
            is told to; None where they do not say.
        taken_as: what the query was taken for: a panorama, a part of one, or a photo.
        unsure: what else must be known of how it was taken, as a part of a sentence after the query's name, or None.
        probability: that the first match is within RIGHT_WITHIN metres, 0 to 1; None where that is not calibrated.
        uncalibrated: why there is no probability, as a part of a sentence after "not calibrated: "; else None.
        together: of several photos, the answers that lack matches: what became of each as it was read.
    """

    query: str
    matches: tuple[Match, ...] = ()
    fault: str | None = None
    position: tuple[float, float] | None = None
    note: str | None = None
    looks: Heading | None = None
    taken_as: str = ""
    unsure: str | None = None
    probability: float | None = None
    uncalibrated: str | None = None
    together: tuple[Answer, ...] = ()


def with_gaps(matches: Sequence[Match], count: int, turned: float = 0.0) -> tuple[Match, ...]:
    """Return the first matches with the gap between each and the most similar place that is not its neighbour.

    References without coordinates have no neighbours.

    Args:
        matches: most similar first, DEPTH of them or all that there are.
        count: how many are returned.
        turned: degrees by which the query was turned back before it was searched for, which headings get added.
    """
    if not matches:
        return ()
    places = np.array([(match.lat, match.lon) for match in matches], np.float64)  # None becomes NaN
    first = places[:count]
    metres = distances(first.repeat(len(places), axis=0), np.tile(places, (len(first), 1)), "latlon")
    others = ~(metres.reshape(len(first), -1) <= NEIGHBOURS_WITHIN)
    np.fill_diagonal(others, False)
    found = []
    for match, other in zip(matches, others):
        nearest = int(np.argmax(other)) if other.any() else len(matches) - 1
        gap = match.similarity - matches[nearest].similarity if len(matches) > 1 else None
        heading = None if match.heading is None else (match.heading + turned) % 360
        found.append(replace(match, gap=gap, heading=heading))
    return tuple(found)
