"""Figures for files: whatever display there is, and without harm to what they belong to."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

log = logging.getLogger("geodtr_plugin")


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of some inches that draws into files."""
    _import_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


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
