"""The report of a run: one HTML page, complete in itself, readable without a network and without scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...utils.errors import UserError
from ...utils.figures import log
from ...utils.outputs import check_output_file
from ..run_folder import RunFolder
from .html import Content, Html, bullets, facts, page, tag
from .material import Material, add_data_and_network, read_run

if TYPE_CHECKING:
    from ...augmentations import RoleTransform
    from ...datasets import Split
    from ...methods import TwoTower
    from ...utils.roles import Role

NAME = "report.html"


def write_report(path: str | Path, data_root: str | None = None, file: str | Path | None = None) -> Path:
    """Write the report of a run, from its files, its data and its weights; return the file.

    Args:
        path: the run folder.
        data_root: folder that holds the data sets, if it has moved.
        file: where to write; None: report.html in the run folder.

    Raises:
        UserError: there is no run in the folder, it has no results yet, or nothing can be written there.
    """
    material, target = read_run(path), Path(path) / NAME if file is None else Path(file)
    check_output_file(target)
    add_data_and_network(material, data_root)
    return _write(material, target)


def report_on_run(
    folder: RunFolder, results: dict[str, Any], tests: Mapping[str, Split],
    network: tuple[TwoTower, Mapping[Role, RoleTransform]],
) -> Path:  # fmt: skip
    """Write report.html of a run that has just ended, whose results, test sets and network are at hand."""
    return _write(Material(folder, results, tests, network), folder.path / NAME)


def _write(material: Material, file: Path) -> Path:
    from ...utils.files import write_text

    write_text(file, run_page(material))
    return file


def run_page(material: Material) -> str:
    """Return the report of a run; what cannot be drawn is left out with a word."""
    from .curves import heading_part, learning_part, recall_part
    from .inside import descriptors_part, distances_part
    from .making import making_part, notes_part
    from .numbers import numbers_part
    from .places import map_part
    from .queries import queries_part

    parts: dict[str, Callable[[Material], Html | None]] = {
        "Numbers": numbers_part,
        "Notes": notes_part,
        "Learning": learning_part,
        "Ranks": recall_part,
        "Queries": queries_part,
        "Map": map_part,
        "Headings": heading_part,
        "Layout descriptors": descriptors_part,
        "Distances": distances_part,
        "How it was made": making_part,
    }
    drawn = {name: guarded_part(name, partial(part, material)) for name, part in parts.items()}
    missing = bullets(material.missing)
    warning = tag("div", missing, class_="warning") if missing else None
    sections = [(name, content) for name, content in drawn.items() if content is not None]
    return page(material.title, [_intro(material), warning], sections)


def guarded_part(name: str, draw: Callable[[], Html | None]) -> Html | None:
    """Return a part of a report, or a word on why it cannot be drawn: one must not cost the others."""
    try:
        return draw()
    except UserError as error:
        reason = str(error)
    except Exception as error:
        log.warning(f"The part {name!r} of a report could not be drawn ({type(error).__name__}: {error}).")
        reason = f"{type(error).__name__}: {error}"
    return tag("p", f"Left out. {reason}", class_="missing")


def _intro(material: Material) -> Content:
    results = material.results
    recipe = [("folder", str(material.folder.path)), ("seed", results.get("seed", "-")),
              ("aerial images", "polar-transformed" if results["polar"] else "square tiles, as they are")]  # fmt: skip
    return facts(recipe)
