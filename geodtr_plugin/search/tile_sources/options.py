"""What tiles are to be cut, as `geodtr index build` is asked and an index remembers it."""

from __future__ import annotations

from dataclasses import dataclass

from ...utils.errors import UserError
from ..area import Area

SMALLEST, LARGEST = 5.0, 5000.0  # metres: below, a picture shows no place; above, a tile is no flat square any more
MOST_OVERLAP = 0.95  # from there on there are 400 tiles and more where one would do
NEAR = 0.15  # of a side: so near to a centre, a polar model still knows a place
ADVISED = 0.85  # overlap for such models
DEEPEST = 24  # zoom: 9 mm a pixel


@dataclass(frozen=True)
class TileOptions:
    """Which tiles are cut from a picture of the ground.

    Args:
        metres: along a tile, on the ground.
        overlap: share of a tile's side that the next one shows again; 0.5 has a centre within 0.35 of a side anywhere.
        zoom: of a tree or MBTiles; None takes the coarsest that is as fine as the network's input.
        area: "LAT,LON,5km": only tiles whose centres lie so near; None takes all.
        crs: of pictures that do not say theirs, such as "EPSG:25832".
        tms: the rows of a tree count from the south.

    Raises:
        UserError: an option has no such value.
    """

    metres: float
    overlap: float = 0.5
    zoom: int | None = None
    area: str | None = None
    crs: str | None = None
    tms: bool = False

    def __post_init__(self) -> None:
        if not SMALLEST <= self.metres <= LARGEST:
            raise UserError(f"--tile-metres is {self.metres:g}; it must be from {SMALLEST:g} to {LARGEST:g}.")
        if not 0 <= self.overlap <= MOST_OVERLAP:
            raise UserError(f"--overlap is {self.overlap:g}; it must be from 0 to {MOST_OVERLAP:g}.")
        if self.zoom is not None and not 0 <= self.zoom <= DEEPEST:
            raise UserError(f"--zoom is {self.zoom}; it must be from 0 to {DEEPEST}.")
        if self.area is not None:
            Area.parse(self.area)

    @property
    def step(self) -> float:
        """Metres from a tile's centre to the next one's."""
        return self.metres * (1 - self.overlap)

    def polar_notes(self) -> tuple[str, ...]:
        """Return a note for a polar model, if photos may stand far from the nearest centre."""
        farthest = self.step / 2**0.5
        if farthest <= NEAR * self.metres:
            return ()
        return (
            f"The model sees tiles as from their centres (polar transform), and photos may stand {farthest:.0f} m from "
            f"the nearest. If it was trained with photos at the centres, --overlap {ADVISED} finds more.",
        )
