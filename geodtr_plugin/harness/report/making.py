"""How a run was made, and what a reader must know to trust it: notes, command, recipe, machine, data, time."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ...utils.errors import DamagedFileError
from ...utils.reading import read_json, read_text
from ...utils.tables import duration
from ..initial_weights import InitialWeights
from ..results import training_lines
from ..run_folder import RunFolder
from .html import Content, Html, bullets, facts, folded, table, tag
from .material import Material


def notes_part(material: Material) -> Html:
    """Return what is known against the numbers, or beside them: leaks, choices, what the data say of themselves."""
    results = material.results
    initial = results.get("initial_weights")
    notes = [InitialWeights.from_dict(initial).sentence()] if initial else []
    if not results.get("epochs", 1) and not initial:
        notes.append("UNTRAINED weights.")
    notes += training_lines(dict(results)) + list(results.get("notes", ()))
    for name, entry in results["tests"].items():
        notes += [f"{name}: {note}" for note in entry["data"].get("notes", ())]
        notes += [f"{name}, {part}: {what}" for part, what in entry["data"].get("subsets", {}).items()]
        if entry["kind"] == "area unknown":
            notes.append(f"{name}: nothing tells whether its area was trained on.")
    notes += [f"Training set: {note}" for note in results.get("train_data", {}).get("notes", ())]
    notes.append("Intervals are of the choice of queries alone: another seed gives other numbers, by more than that.")
    return bullets(dict.fromkeys(notes))


def making_part(material: Material) -> Html:
    """Return command, how to go on, time, memory, data, machine and recipe."""
    folder, results = material.folder, material.results
    return tag(
        "div", tag("h3", "Command"), _text(folder, "command.txt"),
        tag("h3", "How to go on"), _going_on(folder, bool(results.get("epochs", 1))),
        tag("h3", "Time and size"), facts(_sizes(material)),
        _data_table(results),
        tag("h3", "Machine"), facts(_machine(folder)),
        folded("Recipe (recipe.yaml)", _text(folder, "recipe.yaml")),
    )  # fmt: skip


def _going_on(folder: RunFolder, trained: bool) -> Html:
    run = shlex.quote(str(folder.resume_folder))
    lines = [f"python benchmarks/run.py --resume {run} --epochs N    # train on, to N epochs in all"] if trained else []
    if trained:
        lines.append(f"python benchmarks/run.py --test SET --epochs 0 --init-weights {run}    # test elsewhere")
        lines.append(f"geodtr export {run} -o FOLDER    # weights that anyone can load")
    lines.append(f"python benchmarks/run.py --config {shlex.quote(str(folder.path / 'recipe.yaml'))}    # do it again")
    return tag("pre", "\n".join(lines), class_="wrap")


def _sizes(material: Material) -> list[tuple[Content, Content]]:
    results, epochs = material.results, material.folder.metrics()
    found: list[tuple[Content, Content]] = [("parameters", f"{results['parameters']:,}")]
    found.append(("numbers in an embedding", f"{results['embedding_size']:,}"))
    if "seconds" in results:
        found.append(("time of the last session", duration(results["seconds"])))
    if epochs and all("seconds" in epoch for epoch in epochs):
        found.append(("time of all epochs", duration(sum(epoch["seconds"] for epoch in epochs))))
        waited = sum(e.get("data_wait_share", 0) * e["seconds"] for e in epochs) / sum(e["seconds"] for e in epochs)
        found.append(("waiting for data", f"{waited:.0%} of the training"))
        found.append(("speed", f"{epochs[-1]['pairs_per_second']:,.1f} pairs a second in the last epoch"))
    for name in ("seed", "epochs", "processes"):
        if name in results:
            found.append((name, f"{results[name]}"))
    return [*found, *_memory(material.folder)]


def _memory(folder: RunFolder) -> list[tuple[Content, Content]]:
    peaks = _environment(folder).get("peak_memory") or {}
    return [(f"most memory of the {what}", f"{size / 2**20:,.0f} MiB") for what, size in peaks.items()]


def _data_table(results: Mapping[str, Any]) -> Html:
    sets = {f"{name} (test)": entry["data"] for name, entry in results["tests"].items()}
    if "train_data" in results:
        trained = results["train_data"]
        sets = {"training": trained, **trained.get("sets", {}), **sets}
    heads = ["set", "fingerprint", "lists", "queries", "references", "pairs"]
    rows = [
        [name, tag("code", data["fingerprint"]), data.get("provenance") or data.get("layout") or "-",
         *(f"{data[count]:,}" if count in data else "-" for count in heads[3:])]
        for name, data in sets.items()
    ]  # fmt: skip
    return table("Data; a fingerprint changes with names, places or truth", heads, rows, text_columns=3)


def _environment(folder: RunFolder) -> dict[str, Any]:
    try:
        return read_json(folder.path / "environment.json")
    except DamagedFileError:
        return {}


def _machine(folder: RunFolder) -> list[tuple[Content, Content]]:
    known = {name: value for name, value in _environment(folder).items() if name != "peak_memory"}
    packages = known.pop("packages", {})
    versions = packages.items() if isinstance(packages, dict) else ()
    return [(name, "none" if value is None else value) for name, value in [*known.items(), *versions]]


def _text(folder: RunFolder, name: str) -> Html:
    try:
        return tag("pre", read_text(folder.path / name).strip(), class_="wrap", tabindex=0)
    except DamagedFileError:
        return tag("p", f"{name} is not there.", class_="missing")
