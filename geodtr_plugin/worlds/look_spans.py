"""From which numbers the looks of wide scenes are drawn, all in one place."""

from __future__ import annotations

from dataclasses import dataclass

from .styles import Colour, Span

# what the materials of the real world look like; a scene draws some and strays from them
ROOFS: tuple[Colour, ...] = (
    (150, 75, 60), (185, 105, 75), (110, 90, 80), (95, 95, 100), (70, 68, 70), (130, 125, 120), (175, 172, 168),
    (205, 205, 200), (120, 80, 65), (95, 110, 100), (165, 150, 130),
)  # fmt: skip
FACADES: tuple[Colour, ...] = (
    (230, 228, 220), (225, 210, 185), (200, 175, 150), (165, 85, 65), (140, 95, 75), (175, 130, 105), (165, 175, 185),
    (190, 190, 185), (215, 200, 140), (120, 115, 110), (150, 165, 150),
)  # fmt: skip
GRAVELS: tuple[Colour, ...] = ((165, 150, 125), (150, 122, 96), (182, 118, 88), (190, 182, 165), (140, 135, 128))
GRASSES: tuple[Colour, ...] = (
    (95, 125, 60), (105, 118, 65), (80, 108, 52), (120, 128, 75), (142, 136, 85), (88, 112, 66),
)  # fmt: skip
LEAVES: tuple[Colour, ...] = (
    (55, 90, 40), (75, 100, 50), (45, 70, 40), (85, 100, 65), (95, 110, 60), (60, 80, 55), (100, 100, 70),
)  # fmt: skip


@dataclass(frozen=True)
class LookSpans:
    """Smallest and largest values of the fields of a `Style`, drawn uniformly if not said otherwise.

    A factor multiplies what the plain style has, and is drawn uniformly in its logarithm. A share is of the scenes.
    Lengths are in metres.
    """

    # colours
    tone: float = 0.16  # spread of the logarithm of a colour's brightness
    hue: float = 0.035  # and of each of its channels
    grey: Span = (0.0, 0.45)  # part of grey in the greens
    asphalt: Span = (58.0, 185.0)  # brightness: fresh to bleached, or concrete
    pale: Span = (95.0, 215.0)  # brightness of sidewalks and paved yards

    # streets
    spacing: Span = (0.75, 1.4)  # factor, drawn for each of the plan's directions
    irregular: Span = (0.5, 1.6)  # factor on how irregular that is
    dropped: Span = (0.05, 0.6)  # part of the minor segments that are missing
    bend: Span = (120.0, 330.0)  # wavelength of the bends
    steepness: Span = (0.02, 0.17)  # and by how much they bend, as a part of that
    straight: float = 0.25  # share without any bends
    minor: Span = (2.6, 4.6)  # half the width of minor
    main: Span = (3.6, 6.6)  # and of main roads, without median
    mains: Span = (0.05, 0.4)  # part of main roads
    no_sidewalk: float = 0.4  # share without sidewalks, cities aside
    sidewalk: Span = (1.0, 2.4)
    city_sidewalk: Span = (1.0, 3.5)
    stripped: float = 0.6  # share of those with sidewalks that have grass along the kerb
    strip: Span = (0.5, 4.0)  # its width
    shoulder: Span = (-1.0, 2.2)  # of roads without sidewalk; none below 0
    unpaved_country: float = 0.4  # share of country scenes with unpaved roads
    unpaved: float = 0.08  # and of others
    unpaved_roads: Span = (0.3, 1.0)  # part of the minor roads that are unpaved there
    plain_roads: float = 0.5  # share where most roads have no lines
    unmarked_most: Span = (0.7, 1.0)  # part of roads without lines there
    unmarked_few: Span = (0.0, 0.4)  # and elsewhere
    faded: Span = (0.0, 0.7)
    wear: Span = (0.0, 0.13)
    divided: float = 0.3  # share with medians
    median: Span = (1.5, 6.0)  # widest of them; the narrowest is half as wide
    crosswalks: Span = (0.0, 1.0)  # part of the plain style's
    cars: Span = (0.0, 1.3)  # parked at the kerb, relative to the plain style
    parked: Span = (0.0, 0.4)
    traffic: Span = (-0.06, 0.1)  # none below 0
    poles: Span = (0.0, 0.8)
    works: float = 0.15  # share with road works

    # land and houses
    blocks: float = 0.8  # spread of the logarithms of the uses' shares
    water: float = 0.5  # factor on the share of water
    dryness: Span = (0.0, 0.7)
    roughness: Span = (0.5, 1.8)  # factor
    rows: Span = (0.0, 0.1)
    parcels: Span = (0.0, 0.16)
    house: Span = (0.85, 1.3)  # on the width of houses and lots
    gap: Span = (0.95, 1.4)  # on the width of lots beyond that
    depth: Span = (0.9, 1.2)
    fill: Span = (0.45, 1.0)  # part of the plain style's
    near: Span = (0.6, 1.6)  # on the smallest and
    far: Span = (1.6, 2.2)  # the largest distance from the road
    lower: int = 2  # storeys by which the highest houses are lower, at most
    pitched: float = 0.7  # share with as many pitched roofs as the plain style; any number elsewhere
    sheds: Span = (0.0, 0.7)
    halls: Span = (0.5, 3.0)  # none below 1.3
    roof_colours: tuple[int, int] = (2, 5)
    wall_colours: tuple[int, int] = (2, 6)

    # plants
    trees: Span = (0.35, 3.0)  # factor
    wooded: float = 0.5  # share with woods
    woods: Span = (-0.5, 1.3)  # threshold: nearly everywhere to hardly any
    cover: Span = (0.4, 1.4)  # crowns above each place of a wood
    verge: Span = (0.0, 0.6)
    smallest: Span = (1.0, 2.2)  # radius of the smallest
    largest: Span = (2.8, 6.2)  # and of the largest crowns
    planted: float = 0.35  # share with avenues
    avenues: Span = (0.2, 1.0)
    conifers: float = 3.0  # power of a uniform number: few in most scenes
    hedges: Span = (0.0, 1.0)  # part of the plain style's
    fences: Span = (0.0, 1.0)
    clearance: Span = (3.6, 5.0)
    thin: Span = (0.0, 0.5)
    stems: float = 0.6
    lumpy: Span = (0.0, 0.3)
    stretch: Span = (0.65, 1.5)
    bushes: Span = (0.0, 0.012)
    leaf_colours: tuple[int, int] = (2, 4)

    changes: Span = (0.0, 0.12)


LOOKS = LookSpans()
