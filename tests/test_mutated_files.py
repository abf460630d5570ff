"""Whatever stands in a file that is read as text, the answer is a result or one of our own errors, never a traceback.

The suite tries 1,500 files, always the same; `GEODTR_MUTATIONS=10000 pytest tests/test_mutated_files.py` tries 10,000
new ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trees
import trees_places
import trees_vigor
from hypothesis import given
from mutations import mutated, share

from geodtr_plugin.commands.export import _training
from geodtr_plugin.comparison.jobs import Variant
from geodtr_plugin.comparison.report import as_csv, as_markdown, as_text
from geodtr_plugin.comparison.statistics import read_row
from geodtr_plugin.datasets import load_split
from geodtr_plugin.harness.build import build_image_transforms
from geodtr_plugin.harness.initial_weights import find_initial_weights
from geodtr_plugin.harness.options import parse_run
from geodtr_plugin.harness.run_folder import RunFolder
from geodtr_plugin.harness.settings_file import read_settings
from geodtr_plugin.methods import create_model
from geodtr_plugin.methods.weights import transforms_of
from geodtr_plugin.search.embedder import RunRecord
from geodtr_plugin.search.errors_in_metres import read_truth
from geodtr_plugin.search.index_folder import load_vectors, read_manifest, read_references
from geodtr_plugin.search.listing import list_images
from geodtr_plugin.search.unfinished import UnfinishedIndex
from geodtr_plugin.utils import files
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.files import write_json, write_safetensors
from geodtr_plugin.worlds import worker
from geodtr_plugin.worlds.world import WorldSpec

NAMES = [f"{i}.jpg" for i in range(6)]
POSITIONS = [(f"{role}/{name}", 48 + i / 100, 11) for role in ("queries", "references") for i, name in enumerate(NAMES)]


class Place:
    """A folder, the file in it that is mutated, and what reads it."""

    def __init__(self, root: Path, file: str | Path, read: Callable[[], object]):
        self.file, self.read = root / file, read
        self.content = self.file.read_bytes()


def cvusa(root, file):
    trees.write_cvusa(root / "CVUSA", locations=trees.cvusa_locations(9))
    return Place(root / "CVUSA", file, lambda: load_split("cvusa", "test", root, allow_partial=True))


def vigor(root, file):
    trees_vigor.write_vigor(root / "VIGOR")
    lists = root / "VIGOR/splits__corrected/Chicago"
    return Place(lists, file, lambda: load_split("vigor-same", "train", root, allow_partial=True))


def msls(root, file):
    trees_places.write_msls(root)
    return Place(root, f"train_val/cph/query/{file}", lambda: load_split("msls-val", "test", root, allow_partial=True))


def own(root, file="places.csv", rows=POSITIONS, header="file,lat,lon", read=None):
    trees.write_own(root, rows, NAMES, NAMES, header=header)
    (root / "dataset.json").write_text('{"centred": true}')
    return Place(root, file, read or (lambda: load_split(f"folder:{root}", "test")))


def run_folder(root):
    """A finished run of a tiny model, written by hand."""
    words = "--method geodtr_plus --train synth-suburb --model.backbone tiny --model.pretrained false".split()
    config, settings = parse_run([*words, "--out", str(root / "run")])
    with torch.device("meta"):
        model = create_model(config.method, **config.recipe.model)
    run = RunFolder(RunFolder.place(config))
    run.begin(config, settings)
    views = {role: view.to_config() for role, view in build_image_transforms(config, model).items()}
    run.write_config(config, model, views)
    write_json(run.stages_file, config.to_dict())
    write_safetensors(run.best_weights, {"x": torch.zeros(1)})
    scores = {"recall_at_1": 10.0, "recall_at_5": 20.0, "hit_rate": 11.0, "num_references": 32}
    for epoch in (1, 2):
        run.append_metrics({"epoch": epoch, "losses": {"total": 1.0}, "pairs_per_second": 9.0, "tests": {"a": scores}})
    test = {
        "kind": "same area", "last": {**scores, "subsets": {"part": scores}}, "best": {**scores, "epoch": 1},
        "published": {}, "chance_recall_at_1": 0.5, "data": {"fingerprint": "a"},
        "rules": {"ties": "pessimistic", "rank": "as it is"},
    }  # fmt: skip
    results = {
        "train": "a", "polar": True, "parameters": 9, "embedding_size": 8, "best_selected_on": "a",
        "tests": {"a": test}, "recipe": config.recipe.to_dict(),
        "train_data": {"pairs": 64, "fingerprint": "a", "provenance": ""},
    }  # fmt: skip
    run.results_file.write_text(json.dumps(results))
    return run


def read_run(run):
    def read():
        run.config(), run.initial_weights()
        RunRecord.read(run.path), transforms_of(run.path), find_initial_weights(f"{run.path}:best")

    return read


def read_results(run):
    def read():
        row = read_row(Variant("a", "geodtr_plus"), {0: run})
        as_markdown([row]), as_text([row]), as_csv([row]), _training(run, "best"), _training(run, "last")

    return read


def index(root, file):
    run = run_folder(root)
    record = vars(RunRecord.read(run.path))
    manifest = {"format": 1, "run": record, "root": "/", "kind": "flat", "nprobe": 1}
    (root / "manifest.json").write_text(json.dumps(manifest, indent=2))
    lines = [{"file": f"{i}.png", "lat": 48.0 if i else None, "lon": 11.0 if i else None} for i in range(4)]
    (root / "references.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    np.save(root / "vectors.npy", np.eye(4, dtype=np.float32))
    return Place(root, file, lambda: (read_manifest(root), read_references(root), load_vectors(root)))


def unfinished(root, file):
    run = run_folder(root)
    trees.save_jpeg(root / "tiles/1.jpg", trees.smooth_noise("aerial", 1, 16, 16))
    images = list_images(root / "tiles")
    made = (RunRecord.read(run.path), images, {"batch_size": 4})
    UnfinishedIndex(root / "i", *made).open(False)
    (root / "i.partial/images.jsonl").write_text('[[[48.0, 11.0], null, null]]\n')
    (root / "i.partial/index/vectors.npy").write_bytes(b"")
    return Place(root, f"i.partial/{file}", lambda: UnfinishedIndex(root / "i", *made).open(False))


def of_run(root, file, reader):
    run = run_folder(root)
    return Place(run.path, file, reader(run))


def settings_file(root, read):
    file = run_folder(root).path / "recipe.yaml"
    return Place(root, file, lambda: read(file))


def world(root):
    (root / "manifest.json").write_text(WorldSpec("suburb", "test", 4).manifest())
    return Place(root, "manifest.json", lambda: worker.read_spec(root))


def metrics(root):
    run = run_folder(root)
    return Place(run.path, "metrics.jsonl", lambda: (run.drop_metrics_after(1), run.metrics()))


READERS: dict[str, Callable[[Path], Place]] = {
    "split list of CVUSA": lambda root: cvusa(root, "splits/val-19zl.csv"),
    "all.csv of CVUSA": lambda root: cvusa(root, "split_locations/all.csv"),
    "tiles of VIGOR": lambda root: vigor(root, "satellite_list.txt"),
    "labels of VIGOR": lambda root: vigor(root, "same_area_balanced_train__corrected.txt"),
    "positions of MSLS": lambda root: msls(root, "postprocessed.csv"),
    "raw table of MSLS": lambda root: msls(root, "raw.csv"),
    "tasks of MSLS": lambda root: msls(root, "subtask_index.csv"),
    "own positions": own,
    "own pairs": lambda root: own(root, rows=list(zip(NAMES, NAMES)), header="query,reference"),
    "what own data say": lambda root: own(root, "dataset.json"),
    "table to be indexed": lambda root: own(root, read=lambda: list_images(root)),
    "truth": lambda root: own(root, read=lambda: read_truth(root / "places.csv", [str(root / "queries/1.jpg")])),
    "manifest of an index": lambda root: index(root, "manifest.json"),
    "references of an index": lambda root: index(root, "references.jsonl"),
    "plan of an index": lambda root: unfinished(root, "plan.json"),
    "log of an index": lambda root: unfinished(root, "images.jsonl"),
    "config.json": lambda root: of_run(root, "config.json", read_run),
    "stages.json": lambda root: of_run(root, "stages.json", lambda run: run.stages),
    "metrics.jsonl": metrics,
    "results.json": lambda root: of_run(root, "results.json", read_results),
    "recipe.yaml": lambda root: settings_file(root, read_settings),
    "recipe.yaml for a run": lambda root: settings_file(root, lambda file: parse_run(["--config", str(file)])),
    "manifest of a world": world,
}


SLOW = {"recipe.yaml for a run"}  # a third of a second each


@pytest.mark.parametrize("name", READERS)
def test_no_reader_breaks(name, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_flush_to_disk", lambda path: None)  # most of the time, and of no meaning here
    place = READERS[name](tmp_path)
    place.read()
    answered = 0

    @share((0.1 if name in SLOW else 1) / len(READERS))
    @given(mutated(place.content))
    def read(content: bytes) -> None:
        nonlocal answered
        place.file.write_bytes(content)
        try:
            place.read()
        except UserError as error:
            answered += 1
            assert str(error).strip() and "Traceback" not in str(error)

    read()
    assert answered, "not one of the mutations did any harm"
