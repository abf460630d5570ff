"""The looks of the synthetic worlds: how streets, land, houses, plants and light are drawn, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..utils.errors import UnknownNameError

Colour = tuple[float, float, float]  # red, green, blue in 0..255
Span = tuple[float, float]


@dataclass(frozen=True)
class StreetStyle:
    """The plan of the roads. Lengths in metres."""

    spacing: Span = (85.0, 65.0)  # between parallel roads, in the plan's two directions
    spacing_sd: float = 14.0  # how irregular that spacing is
    dropped: float = 0.2  # share of the minor road segments that are missing
    warp: float = 16.0  # by how much the plan is bent; 0 is a straight grid
    heading: Span = (0.0, 0.15)  # mean and spread of the plan's turn, radians
    half_width: Span = (3.6, 6.5)  # of minor and of main roads
    main: float = 0.3  # share of main roads: wider, marked lanes, never interrupted
    sidewalk: float = 2.0  # its width
    crosswalks: float = 0.5  # share of the crossings' arms that have one
    cars: float = 0.35  # share of the possible places at the kerb that are taken
    parked: float = 0.0  # share of the stalls of parking lots that are taken
    traffic: float = 0.0  # share of the possible places in the lanes with a car, which one camera sees
    poles: float = 0.0  # share of roads with poles along one side
    works: int = 0  # road works in a scene, which only the ground camera sees
    bend: float = 150.0  # wavelength of the bends
    strip: float = 0.0  # width of the grass between kerb and sidewalk
    shoulder: float = 0.0  # width of the ragged gravel beside the carriageway
    unpaved: float = 0.0  # share of minor roads of gravel or earth
    unmarked: float = 0.0  # share of roads without lines
    white: float = 0.0  # share of main roads whose middle line is white
    faded: float = 0.0  # share of the lines' paint that is worn off
    wear: float = 0.0  # contrast of wheel tracks, cracks and repaired patches
    median: Span = (0.0, 0.0)  # width of the grass along the middle of main roads
    day: int = 0  # of another one, other cars stand at the kerbs, drive and wait

    @property
    def margin(self) -> float:
        """Metres from a carriageway's edge to where lots begin."""
        return self.strip + self.sidewalk


@dataclass(frozen=True)
class LandStyle:
    """What lies between the roads."""

    blocks: tuple[float, ...] = (0.70, 0.15, 0.10, 0.05, 0.0)  # shares of lawn, park, paved, field, water
    grass: Colour = (95, 125, 60)
    dry: Colour = (150, 140, 95)
    dryness: float = 0.25  # mean share of `dry` in a block's grass
    asphalt: Colour = (95, 95, 98)
    walk: Colour = (175, 170, 160)
    paving: Colour = (140, 135, 128)
    roughness: float = 0.10  # contrast of the ground's texture
    parcels: float = 0.0  # contrast of neighbouring gardens
    rows: float = 0.16  # contrast of the rows of crops in fields
    gravel: Colour = (165, 150, 125)  # unpaved roads and shoulders


@dataclass(frozen=True)
class HouseStyle:
    """Buildings and the lots that they stand on. Lengths in metres, spans are drawn uniformly."""

    lot: Span = (15.0, 22.0)  # width of a lot along its road
    fill: float = 0.85  # share of the lots that are built on
    setback: Span = (4.0, 8.0)  # from the sidewalk
    width: Span = (9.0, 14.0)  # along the road
    depth: Span = (8.0, 12.0)
    storeys: tuple[int, int] = (1, 3)
    towers: float = 0.0  # share of buildings that are towers
    tower_storeys: tuple[int, int] = (7, 15)
    gabled: float = 0.9  # share of pitched roofs, towers aside
    halls: float = 1.0  # factor on the size of buildings in paved blocks; larger ones have flat roofs and stand back
    sheds: float = 0.0  # share of houses with a shed or a garage
    roofs: tuple[Colour, ...] = ((150, 75, 60), (110, 90, 80), (95, 95, 100), (170, 110, 85))
    facades: tuple[Colour, ...] = ((225, 215, 195), (200, 175, 150), (180, 90, 70), (235, 235, 230))


@dataclass(frozen=True)
class PlantStyle:
    """Trees and hedges."""

    trees: float = 0.010  # scattered trees for each square metre
    forest: float = 0.15  # density of the woods, times 0.06 trees for each square metre
    verge: float = 0.35  # share of the places along the sidewalk that hold a tree
    radius: Span = (1.6, 4.2)  # of the crowns, metres
    colours: tuple[Colour, ...] = ((55, 90, 40), (70, 105, 45), (45, 75, 40))
    conifers: float = 0.2  # share of cone-shaped trees
    hedges: float = 0.3  # how much of the lots' fronts is hedged
    woods: float = 1.1  # threshold of the smooth noise above which a wood stands: 0 covers half of the land
    avenues: float = 0.0  # share of roads with rows of trees along both edges
    clearance: float = 0.0  # metres above a carriageway that crowns leave free
    thin: float = 0.0  # share of holes in every crown
    stems: float = 0.0  # share of the crowns' height that trunks rise into
    lumpy: float = 0.0  # bumps of the crowns, as a share of their height
    fences: float = 0.0  # share of blocks whose hedges are fences
    stretch: float = 1.0  # factor on the trees' height
    bushes: float = 0.0  # bushes for each square metre off the roads


@dataclass(frozen=True)
class LightStyle:
    """Sun, sky, haze, and the colours of the aerial camera."""

    sun_azimuth: float = 150.0  # degrees clockwise from north
    sun_height: float = 48.0  # degrees
    zenith: Colour = (90, 145, 220)
    horizon: Colour = (205, 222, 240)
    haze: Colour = (205, 215, 228)
    sight: float = 220.0  # metres at which haze hides all but 1/e of a colour
    clouds: float = 0.5  # 0 clear, 1 overcast
    cloud: Colour = (238, 239, 241)
    hills: float = 1.2  # mean height of the skyline, degrees
    treeline: float = 0.0  # mean height of the trees on the horizon, degrees
    aerial_gain: Colour = (1.0, 1.0, 1.0)
    aerial_gamma: float = 1.0
    shadow: float = 0.45  # share of the light that a shadow takes under a clear sky
    gain: Colour = (1.0, 1.0, 1.0)  # colour of the light, sky and haze aside


@dataclass(frozen=True)
class SeasonStyle:
    """What the time of the year makes of land, roads and trees."""

    land: Colour = (1.0, 1.0, 1.0)  # what the colours of grass and fields are multiplied by
    straw: float = 0.0  # share of straw in the grass
    leaves: Colour = (1.0, 1.0, 1.0)  # what the colours of leaves are multiplied by
    autumn: float = 0.0  # share of the broad-leaved trees that have turned red, brown or yellow
    bare: float = 0.0  # share of the broad-leaved trees without leaves
    snow: float = 0.0  # share of the land under snow
    cleared: float = 0.0  # share of that snow which is gone from roads and walks
    wet: float = 0.0  # how dark rain has made roads and walks: 0 dry, 1 soaked


@dataclass(frozen=True)
class Look:
    """Season and light of one picture."""

    season: SeasonStyle = SeasonStyle()
    light: LightStyle = LightStyle()


@dataclass(frozen=True)
class Style:
    """The look of one synthetic world."""

    name: str
    cameras: int = 96  # places taken from one scene
    streets: StreetStyle = field(default_factory=StreetStyle)
    land: LandStyle = field(default_factory=LandStyle)
    houses: HouseStyle = field(default_factory=HouseStyle)
    plants: PlantStyle = field(default_factory=PlantStyle)
    light: LightStyle = field(default_factory=LightStyle)
    season: SeasonStyle = field(default_factory=SeasonStyle)
    above: Look | None = None  # season and light of the aerial picture, if taken at another time
    changes: float = 0.0  # share of houses and trees that only the ground camera sees, and again the aerial camera

    @property
    def look(self) -> Look:
        """Season and light of the ground camera."""
        return Look(self.season, self.light)


SUBURB = Style("suburb")  # leafy, curved roads: the defaults above

# a number a line would hide which numbers belong together
# fmt: off
DOWNTOWN = Style(
    "downtown",  # a straight grey grid under haze, tall blocks with flat roofs
    streets=StreetStyle(
        spacing=(95.0, 70.0), spacing_sd=10.0, dropped=0.1, warp=0.0, heading=(0.35, 0.2), half_width=(5.0, 9.0),
        main=0.45, sidewalk=3.5, crosswalks=0.95, cars=0.6,
    ),
    land=LandStyle(
        blocks=(0.12, 0.15, 0.70, 0.0, 0.03), grass=(85, 105, 70), dry=(130, 125, 115), dryness=0.4,
        asphalt=(75, 76, 80), walk=(165, 162, 158), paving=(125, 123, 120), roughness=0.07,
    ),
    houses=HouseStyle(
        lot=(20.0, 34.0), fill=0.92, setback=(0.5, 2.5), width=(17.0, 30.0), depth=(14.0, 24.0), storeys=(2, 6),
        towers=0.2, gabled=0.08,
        roofs=((150, 148, 145), (115, 115, 118), (185, 182, 178), (90, 85, 85), (165, 150, 135)),
        facades=((170, 165, 160), (150, 110, 90), (120, 125, 135), (200, 195, 185), (105, 90, 85)),
    ),
    plants=PlantStyle(trees=0.0025, forest=0.0, verge=0.3, radius=(1.4, 3.0), conifers=0.0, hedges=0.03),
    light=LightStyle(
        sun_azimuth=215.0, sun_height=38.0, zenith=(150, 165, 185), horizon=(214, 214, 212), haze=(208, 208, 206),
        sight=110.0, clouds=0.9, hills=0.6, aerial_gain=(0.95, 0.97, 1.04), aerial_gamma=1.1,
    ),
)

COUNTRY = Style(
    "country",  # dry and open: fields, ponds, a house here and there, yellow light
    cameras=56,
    streets=StreetStyle(
        spacing=(150.0, 120.0), spacing_sd=35.0, dropped=0.3, warp=28.0, heading=(0.8, 0.3), half_width=(3.0, 4.5),
        main=0.35, sidewalk=0.6, crosswalks=0.1, cars=0.12,
    ),
    land=LandStyle(
        blocks=(0.30, 0.05, 0.05, 0.52, 0.08), grass=(150, 140, 80), dry=(195, 165, 115), dryness=0.5,
        asphalt=(125, 118, 110), walk=(190, 165, 125), paving=(185, 165, 135), roughness=0.16,
    ),
    houses=HouseStyle(
        lot=(30.0, 60.0), fill=0.5, setback=(8.0, 18.0), width=(10.0, 20.0), depth=(8.0, 13.0), storeys=(1, 2),
        gabled=0.75, roofs=((190, 120, 85), (175, 165, 150), (140, 135, 130), (205, 195, 180)),
        facades=((230, 215, 180), (215, 190, 150), (240, 235, 225)),
    ),
    plants=PlantStyle(
        trees=0.0022, forest=0.12, verge=0.08, radius=(1.2, 3.2), conifers=0.1, hedges=0.15,
        colours=((95, 105, 60), (80, 95, 55), (115, 115, 70)),
    ),
    light=LightStyle(
        sun_azimuth=250.0, sun_height=55.0, zenith=(70, 130, 215), horizon=(225, 225, 215), haze=(228, 220, 200),
        sight=260.0, clouds=0.25, hills=2.0, aerial_gain=(1.06, 1.0, 0.92),
    ),
)

OLDTOWN = Style(
    "oldtown",  # terraces along narrow crooked roads, autumn trees, overcast
    streets=StreetStyle(
        spacing=(70.0, 60.0), spacing_sd=16.0, dropped=0.15, warp=24.0, heading=(-0.3, 0.4), half_width=(3.0, 5.0),
        main=0.25, sidewalk=1.8, cars=0.5,
    ),
    land=LandStyle(
        blocks=(0.50, 0.20, 0.25, 0.0, 0.05), grass=(110, 115, 60), dry=(140, 120, 70), asphalt=(110, 108, 105),
        walk=(150, 145, 140), roughness=0.12,
    ),
    houses=HouseStyle(
        lot=(8.0, 12.0), fill=0.93, setback=(0.5, 3.0), width=(7.5, 11.0), depth=(9.0, 12.0), storeys=(2, 4),
        gabled=0.95, roofs=((165, 85, 60), (140, 70, 55), (120, 80, 70), (90, 85, 90)),
        facades=((225, 200, 150), (205, 150, 110), (235, 225, 205), (170, 100, 80), (160, 180, 190)),
    ),
    plants=PlantStyle(
        trees=0.006, forest=0.08, verge=0.3,
        colours=((170, 105, 40), (190, 140, 50), (130, 85, 45), (95, 100, 45)),
    ),
    light=LightStyle(
        sun_azimuth=190.0, sun_height=28.0, zenith=(175, 180, 188), horizon=(222, 222, 222), haze=(220, 220, 220),
        sight=160.0, clouds=1.0, aerial_gain=(1.03, 0.98, 0.95), aerial_gamma=0.95,
    ),
)
# fmt: on

_STYLES = {style.name: style for style in (SUBURB, DOWNTOWN, COUNTRY, OLDTOWN)}


def list_worlds() -> list[str]:
    """Return the names of the synthetic worlds."""
    return list(_STYLES)


def get_style(name: str) -> Style:
    """Return the style of a world.

    Raises:
        UnknownNameError: there is no world of that name.
    """
    if name not in _STYLES:
        raise UnknownNameError("synthetic world", name, _STYLES)
    return _STYLES[name]
