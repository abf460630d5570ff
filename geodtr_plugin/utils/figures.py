"""Figures for files: whatever display there is, and without harm to what they belong to."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UserError
from .outputs import check_output_file

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

log = logging.getLogger("geodtr_plugin")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".pdf", ".svg")  # what matplotlib writes without LaTeX


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of some inches that draws into files."""
    _import_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def check_picture(file: str | os.PathLike[str]) -> None:
    """Refuse the name of a picture that could not be written.

    Raises:
        UserError: its ending is that of no known format, or nothing can be written there.
    """
    if (ending := Path(file).suffix.lower()) not in PICTURES:
        what = f"the unknown ending {ending}" if ending else "no ending"
        raise UserError(f"The picture {file} has {what}.", f"Name one with {', '.join(PICTURES)}.")
    check_output_file(file)


def save_figure(figure: Figure, file: str | os.PathLike[str], dpi: int) -> None:
    """Write a figure into a file, whole or not at all; its ending is one of PICTURES.

    Raises:
        UserError: nothing can be written there.
    """
    from .files import atomic_path

    with atomic_path(file) as temporary:
        figure.savefig(temporary, dpi=dpi)


def widest(images: Iterable[np.ndarray], most: float) -> float:
    """Return width / height of the widest of some images `[h, w, 3]`, from 1 to `most`: how wide a column of them is.

    Images keep their own shapes: what would be wider than that is drawn less high.
    """
    return min(max(1.0, *(image.shape[1] / image.shape[0] for image in images)), most)


def _import_matplotlib() -> None:
    """Import matplotlib although MPLBACKEND may name a backend that is not installed, which fails its import."""
    if "matplotlib" in sys.modules or "MPLBACKEND" not in os.environ:
        return
    backend = os.environ.pop("MPLBACKEND")
    try:
        import matplotlib

        with contextlib.suppress(ValueError):  # else the backend of whoever imports this package
            matplotlib.rcParams["backend"] = backend
    finally:
        os.environ["MPLBACKEND"] = backend


@contextlib.contextmanager
def failing_with_a_warning(what: str) -> Iterator[None]:
    """Turn any error into a warning: what is drawn must never cost the results that it shows.

    Args:
        what: a noun phrase, for the message.
    """
    try:
        yield
    except Exception as error:
        log.warning(f"{what} could not be written ({type(error).__name__}: {error}). The results do not need it.")
