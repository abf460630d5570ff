"""Several runs, or the entries of a comparison, side by side on one HTML page."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..harness.report import NAME
from ..harness.run_folder import RunFolder
from ..utils.errors import UserError
from ..utils.files import write_text
from ..utils.outputs import check_output_file
from ..utils.reading import read_text, understood
from ..utils.visible import from_csv_cell
from .comparison_page import Entry, Runs, comparison_page
from .jobs import Failure, Variant
from .statistics import read_row


def is_comparison(path: str | Path) -> bool:
    """Tell whether a folder holds the runs of a comparison, and is no run itself."""
    folder = RunFolder(path)
    own = folder.config_file.is_file() or folder.stages_file.is_file()
    return not own and any(Path(path).glob("*/seed-*/results.json"))


def write_side_by_side(paths: Sequence[str | Path], file: str | Path) -> Path:
    """Write a page about several runs, in their order; return its file.

    Raises:
        UserError: a folder holds no finished run, is named twice, or the file cannot be written.
    """
    check_output_file(file)
    if len({os.path.realpath(path) for path in paths}) < len(paths):
        raise UserError("A run is named twice.", "Name each run once.")
    names = [_name(Path(path)) for path in paths]
    names = names if len(set(names)) == len(names) else list(map(str, paths))
    entries = []
    for name, path in zip(names, paths):
        folder = RunFolder.existing(path)
        if not folder.results_file.is_file():
            raise UserError(f"{path} holds no results yet.", f"Let the run end: run.py --resume {path}.")
        seed = folder.config().seed
        row = read_row(Variant(name, folder.config().method), {seed: folder})
        assert row is not None
        entries.append(Entry(row, {seed: folder}))
    return _written(Path(file), f"{len(entries)} runs side by side", entries)


def write_comparison_report(root: str | Path, file: str | Path | None = None) -> Path:
    """Write a page about the finished runs of a comparison; return its file, report.html in the folder if None.

    Raises:
        UserError: nothing can be read or written there.
    """
    target = Path(root) / NAME if file is None else Path(file)
    check_output_file(target)
    runs = {
        label: {int(f.name.removeprefix("seed-")): RunFolder(f) for f in sorted((Path(root) / folder).glob("seed-*"))}
        for folder, label in _labels(Path(root)).items()
    }  # fmt: skip
    return write_report_of({Variant.parse(label): own for label, own in runs.items()}, target)


def write_report_of(
    runs: Mapping[Variant, Runs], file: Path, failures: Sequence[Failure] = (),
    published: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
) -> Path:  # fmt: skip
    """Write a page about the finished ones of some runs, by entry and seed; return its file.

    Args:
        runs: folders.
        file: where to write.
        failures: what went wrong.
        published: percent by label and test set, instead of the methods' own numbers.
    """
    papers = {entry: None if published is None else published.get(entry.label, {}) for entry in runs}
    rows = {entry: read_row(entry, own, papers[entry]) for entry, own in runs.items()}
    entries = [Entry(row, runs[entry]) for entry, row in rows.items() if row is not None]
    return _written(file, f"Comparison {file.resolve().parent.name}", entries, failures)


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}" if path.name.startswith("seed-") else path.resolve().name


def _labels(root: Path) -> dict[str, str]:
    """Return the entries of a comparison by folder: in the order of table.csv, else of their names."""
    file = root / "table.csv"
    if not file.is_file():
        return {path.parents[1].name: path.parents[1].name for path in sorted(root.glob("*/seed-*/results.json"))}
    with understood(file):
        labels = [from_csv_cell(line["label"]) for line in csv.DictReader(io.StringIO(read_text(file)))]
    return {Variant(label, "").folder: label for label in labels}


def _written(file: Path, title: str, entries: Sequence[Entry], failures: Sequence[Failure] = ()) -> Path:
    if not entries:
        raise UserError("There is no finished run to report on.")
    write_text(file, comparison_page(title, entries, failures, file.parent))
    return file
