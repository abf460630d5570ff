"""The reliability curve of a calibration as a picture."""

from __future__ import annotations

import os

from ..utils.figures import new_figure, save_figure
from .calibration import Calibration
from .matches import RIGHT_WITHIN


def draw_reliability(calibration: Calibration, file: str | os.PathLike) -> None:
    """Draw how often first matches were right against how probable they were called, and how many were called so."""
    found = calibration.reliability
    figure = new_figure(4.6, 4.9)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    said, right, weight = zip(*found.bins)
    upper.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="perfect")
    upper.plot(said, right, color="#1f5fa8", linewidth=1)
    sizes = [12 + 300 * share for share in weight]
    upper.scatter(said, right, s=sizes, color="#1f5fa8", label="bins, by their weight", clip_on=False)
    upper.set(xlim=(-0.02, 1.02), ylim=(-0.04, 1.04), ylabel=f"share within {RIGHT_WITHIN:g} m")
    name = calibration.pairs if len(calibration.pairs) <= 40 else f"...{calibration.pairs[-37:]}"
    lines = [f"{calibration.count:,} photos of {name}", f"calibration error {found.error:.3f} (cross-validated)"]
    if found.nowhere is not None:
        lines.append(f"place in the gallery: {found.probability:.2f} on average, taken out of it: {found.nowhere:.2f}")
    upper.set_title("\n".join(lines), fontsize=8.5, parse_math=False)
    upper.legend(loc="upper left", fontsize=8, frameon=False)
    lower.bar(said, weight, width=0.06, color="#1f5fa8")
    lower.set(ylim=(0, None), xlabel="probability", ylabel="weight")
    save_figure(figure, file, dpi=110)
