"""Photos with known places, on which the first matches of an index are calibrated."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from ..datasets import facts_of, load_split
from ..utils.errors import UserError
from ..utils.geo import METRES_A_DEGREE, distances
from .calibration import FEWEST, Calibration, Evidence, fit_calibration
from .gallery import IndexGallery
from .index_folder import RELIABILITY, write_calibration
from .listing import list_images
from .locator import Locator
from .matches import DEPTH, NEIGHBOURS_WITHIN, RIGHT_WITHIN, Match, with_gaps
from .optics import Equirectangular, Optics
from .photo_reader import Source
from .photos import Photo, printable_name
from .reliability_picture import draw_reliability
from .vector_index import VectorIndex

RENDERED = "synth-"  # names that begin so are worlds that are rendered
RENDERED_COUNT = 300  # places; a minute with most models on one core
_BATCH = 32


@dataclass(frozen=True)
class HeldOut:
    """Photos with known places.

    Args:
        name: where they came from.
        photos: paths or decoded photos.
        places: latitude and longitude in degrees, float64 `[N, 2]`; NaN where the photo's own EXIF says it.
        tiles: of a rendered world, its references, uint8 `[3, S, S]` each, which join the gallery; else none.
        tile_places: where they lie, `[M, 2]`.
    """

    name: str
    photos: Sequence[Source]
    places: np.ndarray
    tiles: Sequence[Tensor] = ()
    tile_places: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))


def read_held_out(where: str | os.PathLike) -> HeldOut:
    """Return the photos of a folder or a table `file,lat,lon`, the queries of own data, or of a world by its name.

    Photos that no table names have the places that their own EXIF says.

    Raises:
        UserError: there are no such photos, or fewer than FEWEST.
    """
    name = os.fspath(where)
    if name.startswith(RENDERED) and not os.path.exists(name):
        return _rendered(name)
    photos = list_images(where, folder="queries")
    if len(photos.files) < FEWEST:
        raise UserError(
            f"{printable_name(where)} has {len(photos.files):,} photos; calibration needs {FEWEST} with places.",
            "Add rows file,lat,lon, or calibrate on rendered places: --calibrate synth-suburb.",
        )
    places = np.array([photos.positions.get(file, (np.nan, np.nan)) for file in photos.files], np.float64)
    files = [os.path.join(photos.root, file) for file in photos.files]
    return HeldOut(printable_name(Path(name).name), files, places)


def calibrate(locator: Locator, held_out: HeldOut, workers: int = 0) -> Calibration:
    """Fit the calibration of an index.

    Each photo counts twice: as it is, and with all references that are near its place taken out of the matches, as a
    photo of nowhere in the gallery. Places of a rendered world are looked for among its own tiles and the gallery.

    Args:
        locator: of the index.
        held_out: photos that the model was not trained on.
        workers: processes that decode photos.

    Raises:
        UserError: too few photos can be used.
    """
    beside = None if not held_out.tiles else _locator_of_tiles(locator, held_out)
    answers = list(locator.answers(held_out.photos, DEPTH, workers=workers))
    more = [()] * len(answers) if beside is None else [one.matches for one in beside.answers(held_out.photos, DEPTH)]
    evidence, kinds = [], []
    for pair, (answer, others, place) in enumerate(zip(answers, more, held_out.places)):
        matches = sorted([*answer.matches, *others], key=lambda match: -match.similarity)[:DEPTH]
        at = np.array(answer.position or (np.nan, np.nan)) if np.isnan(place).any() else place
        if matches and not np.isnan(at).any():
            evidence += evidence_of(matches, at, pair)
            kinds.append(answer.taken_as)
    return fit_calibration(evidence, held_out.name, locator.embedder.headings, kinds)


def calibrate_index(path: Path, locator: Locator, held_out: HeldOut, workers: int = 0) -> Calibration:
    """Calibrate the index in a folder, and keep curve and picture there; arguments as for `calibrate`."""
    found = calibrate(locator, held_out, workers)
    draw_reliability(found, path / RELIABILITY)
    write_calibration(path, found)
    return found


def evidence_of(matches: Sequence[Match], place: np.ndarray, pair: int) -> list[Evidence]:
    """Return what the matches of a photo say as they are, and without those near its true place.

    Args:
        matches: most similar first.
        place: latitude and longitude in degrees, `[2]`.
        pair: number of the photo.
    """
    found = np.array([(match.lat, match.lon) for match in matches], np.float64)
    metres = distances(np.broadcast_to(place, found.shape), found, "latlon")  # NaN where a place is not known
    first = with_gaps(matches, 1)[0]
    evidence = [Evidence(first.similarity, first.gap, bool(metres[0] <= RIGHT_WITHIN), False, pair)]
    far = [match for match, distance in zip(matches, metres) if not distance <= NEIGHBOURS_WITHIN]
    if far:
        wrong = with_gaps(far, 1)[0]
        evidence.append(Evidence(wrong.similarity, wrong.gap, False, True, pair))
    return evidence


def _rendered(name: str) -> HeldOut:
    """Return places of a rendered world that lie around 0, 0, where no gallery is."""
    world = load_split(name, "test", count=RENDERED_COUNT)
    elevations = facts_of(name).elevations
    optics = Optics(None if elevations is None else Equirectangular(360.0, *elevations))
    queries, tiles = ([images.read(row) for row in range(len(images))] for images in (world.queries, world.references))
    metres = [np.asarray(images.coordinates, np.float64) for images in (world.queries, world.references)]
    places, tile_places = ((each - metres[1].mean(0))[:, ::-1] / METRES_A_DEGREE for each in metres)
    return HeldOut(name, [Photo(pixels, optics=optics) for pixels in queries], places, tiles, tile_places)


def _locator_of_tiles(locator: Locator, held_out: HeldOut) -> Locator:
    """Return a search among the tiles of a rendered world."""
    embedder, vectors = locator.embedder, []
    for first in range(0, len(held_out.tiles), _BATCH):
        pixels = [embedder.on_load(tile, "reference") for tile in held_out.tiles[first : first + _BATCH]]
        vectors.append(embedder.embed(pixels, "reference"))
    references = [(f"{held_out.name} {row}", *place) for row, place in enumerate(held_out.tile_places.tolist())]
    gallery = IndexGallery(VectorIndex(np.concatenate(vectors)), references)
    return Locator(embedder, gallery, views=locator.views)
