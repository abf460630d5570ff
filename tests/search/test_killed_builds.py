"""An index build that is killed at any event can be repeated: nothing is lost, and nothing is left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="forks and kills as POSIX has it")]
SCRIPT = """
import os, shutil, sys
from pathlib import Path
import faiss, torch
from killing import every_kill, in_a_fork
from geodtr_plugin.search import build_index
from geodtr_plugin.search.index_folder import MANIFEST
from geodtr_plugin.utils.errors import UserError

run, tiles, root, kind, overwrite = *map(Path, sys.argv[1:4]), sys.argv[4], sys.argv[5] == "True"
torch.set_num_threads(1)
faiss.omp_set_num_threads(1)
base, out, options = root.parent, root / "city.index", {} if kind == "flat" else {"nlist": 2}


def build(out=out, overwrite=overwrite, kind=kind, **more):
    build_index(run, tiles, out, kind=kind, device="cpu", progress=False, overwrite=overwrite, batch_size=4,
                **{**options, **more})


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def prepare():
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    if overwrite:
        shutil.copytree(base / "old", out)


def again():
    if overwrite:  # the old index or the new one is there
        assert (out / MANIFEST).exists() or (root / "city.index.partial/replaced" / MANIFEST).exists()
    try:
        build()
    except UserError as error:
        assert "is there already" in str(error)


def check():
    assert os.listdir(root) == ["city.index"] and contents(out) == wanted


assert in_a_fork(lambda: build(base / "new", False)) == 0
assert in_a_fork(lambda: build(base / "old", False, dtype="float16")) == 0
wanted = contents(base / "new")
print(every_kill(root, prepare, build, again, check, step=int(sys.argv[6])))
"""


@pytest.mark.parametrize("kind, overwrite, step, events", [("ivf", True, 2, 12)])
def test_every_event(run, tiles, tmp_path, kind, overwrite, step, events):
    words = [sys.executable, "-c", SCRIPT, run, tiles, tmp_path / "out", kind, overwrite, step]
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) >= events
