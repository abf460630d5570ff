"""The real command on miniature data: what it trains, what it leaves alone, and what it reports."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from geodtr_plugin.comparison.compare import compare_command, parse_entries, parse_seeds
from geodtr_plugin.comparison.jobs import Variant, settings_of
from geodtr_plugin.harness import runner, settings
from geodtr_plugin.harness.run_folder import RunFolder
from geodtr_plugin.utils.claims import claimed
from geodtr_plugin.utils.errors import UserError

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "compare.py"
WORLDS = "--train synth-suburb --test synth-suburb synth-downtown".split()
SMALL = "--data.count 32 --batch-size 8 --epochs 2 --workers 0 --threads 1 --device cpu".split()
ENTRIES = ["geodtr_plus", "geodtr_plus:chsg=raw:model.descriptors=2"]
BROKEN = "geodtr_plus:model.descriptrs=4"


def words(out: Path, *methods: str, seeds: str = "2", more=()) -> list[str]:
    return ["--methods", *methods, *WORLDS, "--seeds", seeds, *SMALL, *more, "--out", str(out)]


@pytest.fixture(scope="module", autouse=True)
def _only_the_plot_is_drawn():
    """The pictures of each run take longer than a run on miniature data; tests of the runs look at them."""
    save = Figure.savefig

    def save_plots(figure: Figure, file: Path, **options) -> None:
        if file.name.startswith(".plot."):  # the name until it is complete
            save(figure, file, **options)
        else:
            file.touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save_plots)
        yield


@pytest.fixture(scope="module")
def matrix(tmp_path_factory) -> tuple[Path, int, str, str]:
    """Folder, exit code, output and errors of a comparison of two entries and one that cannot be built."""
    folder, out, error = tmp_path_factory.mktemp("compare") / "matrix", io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = compare_command(words(folder, f"{ENTRIES[0]},{BROKEN}", ENTRIES[1]))
    return folder, code, out.getvalue(), error.getvalue()


def results_of(root: Path, label: str, seed: int) -> dict:
    return json.loads((root / Variant.parse(label).folder / f"seed-{seed}" / "results.json").read_text())


@pytest.mark.slow
def test_every_entry_is_trained_with_its_own_options_and_every_seed(matrix):
    root = matrix[0]
    assert sorted(path.name for path in root.iterdir()) == [
        "geodtr_plus", "geodtr_plus,chsg=raw,model.descriptors=2", "plot.png", "report.html", "table.csv", "table.md",
    ]  # fmt: skip
    for label, chsg, size in zip(ENTRIES, ("l+s", "raw"), (768, 192)):
        for seed in (0, 1):
            found = results_of(root, label, seed)
            assert (found["seed"], found["recipe"]["augment"]["chsg"], found["embedding_size"]) == (seed, chsg, size)
            assert found["epochs"] == 2
    folder = root / "geodtr_plus" / "seed-1"
    assert "--method geodtr_plus --train synth-suburb" in (folder / "command.txt").read_text()
    assert "seed: 1" in (folder / "recipe.yaml").read_text()


@pytest.mark.slow
def test_an_entry_that_fails_is_reported_and_the_others_go_on(matrix):
    root, code, out, error = matrix
    assert code == 1 and error.count("Error: There is no option of geodtr_plus 'descriptrs'") == 2
    for text in (out, (root / "table.md").read_text()):
        assert f"Failed: {BROKEN}, seeds 0, 1: There is no option" in text


@pytest.mark.slow
def test_the_tables_say_what_the_results_files_say(matrix):
    root, _, out, _ = matrix
    lines = list(csv.DictReader((root / "table.csv").open()))
    assert {line["label"] for line in lines} == set(ENTRIES)
    for line in lines:
        files = [results_of(root, line["label"], seed) for seed in (0, 1)]
        values = [found["tests"][line["test"]][line["epoch"]][line["metric"]] for found in files]
        assert float(line["mean"]) == pytest.approx(statistics.mean(values))
        assert float(line["sd"]) == pytest.approx(statistics.stdev(values)) and line["n"] == "2"
        assert (int(line["parameters"]), line["chance"]) == (files[0]["parameters"], "3.125")
    markdown = (root / "table.md").read_text()
    for label in ENTRIES:
        values = [results_of(root, label, seed)["tests"]["synth-downtown"]["last"]["recall_at_10"] for seed in (0, 1)]
        number = f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"
        assert number in markdown and number in out
    assert f"{ENTRIES[1]} minus geodtr_plus" in markdown and (root / "plot.png").stat().st_size > 5000
    assert "augment.chsg: l+s (geodtr_plus); raw" in markdown


@pytest.mark.slow
def test_the_same_command_again_trains_nothing(matrix, tmp_path):
    root = shutil.copytree(matrix[0], tmp_path / "again")
    before = {path: path.stat().st_mtime_ns for path in root.glob("*/seed-*/*")}
    (root / "table.csv").unlink()
    done = subprocess.run([sys.executable, SCRIPT, *words(root, *ENTRIES)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "4 runs" in done.stdout and "4 done before" in done.stdout and "epoch 1/2" not in done.stdout
    assert {path: path.stat().st_mtime_ns for path in root.glob("*/seed-*/*")} == before
    assert (root / "table.csv").read_text() == (matrix[0] / "table.csv").read_text()


@pytest.mark.slow
def test_what_was_interrupted_goes_on_to_the_same_result(matrix, tmp_path, monkeypatch, capsys):
    save = runner.save_training_state

    def interrupted_after_the_first_epoch(path, trainer, epoch, *more):
        save(path, trainer, epoch, *more)
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runner, "save_training_state", interrupted_after_the_first_epoch)
        assert compare_command(words(tmp_path, ENTRIES[0], seeds="1,")) == 130
    folder = RunFolder(tmp_path / "geodtr_plus" / "seed-1")
    assert "same command goes on" in capsys.readouterr().err
    assert len(folder.metrics()) == 1 and not folder.results_file.exists()
    assert compare_command(words(tmp_path, ENTRIES[0], seeds="1,")) == 0
    out = capsys.readouterr().out
    assert "1 to resume" in out and "seed 1: resumed" in out and "resumed after epoch 1" in out
    assert results_of(tmp_path, ENTRIES[0], 1)["tests"] == results_of(matrix[0], ENTRIES[0], 1)["tests"]


@pytest.mark.slow
def test_runs_under_other_settings_are_not_mixed_in(matrix, capsys):
    root = matrix[0]
    assert compare_command(words(root, *ENTRIES, more=["--optim.lr", "0.5"])) == 1
    error = capsys.readouterr().err
    assert "optim.lr is 0.001 there and 0.5 now" in error and "Choose another --out, or remove" in error
    assert compare_command(words(root, *ENTRIES, more=["--threads", "2"])) == 0, "where it runs does not matter"
    (root / "geodtr_plus,chsg=ls" / "seed-0").mkdir(parents=True)
    (root / "geodtr_plus,chsg=ls" / "seed-0" / "config.json").write_text('{"run": {"recipe": {}}}')
    assert compare_command(words(root, "geodtr_plus:chsg=ls")) == 1
    assert "another version" in capsys.readouterr().err


def test_entries():
    entries = parse_entries(["safa,plus:chsg=ls:no-polar", "plus:model.query_size=[32,88],safa"])
    assert [entry.label for entry in entries] == ["safa", "plus:chsg=ls:no-polar", "plus:model.query_size=[32,88]"]
    assert entries[1].words == ("--chsg=ls", "--no-polar") and entries[1].folder == "plus,chsg=ls,no-polar"
    with pytest.raises(UserError, match="empty option"):
        parse_entries(["plus::chsg=ls"])


def test_seeds():
    assert [parse_seeds(text) for text in ("3", "4,7", "4,", "1,1")] == [[0, 1, 2], [4, 7], [4], [1]]
    for text in ("0", "-1", "some", ","):
        with pytest.raises(UserError, match="Give how many"):
            parse_seeds(text)


@pytest.mark.parametrize(
    "more, sentence",
    [
        (["--seed", "1"], "Name the seeds with --seeds"),
        (["--resume=x"], "resumes what was interrupted"),
        (["--epocs", "1"], "geodtr_plus: Unrecognized arguments: --epocs 1. Did you mean --epochs?"),
        (["--seeds"], "expected one argument"),
        (["--methods", "geodtr_plus:chgs=ls"], "Did you mean --chsg?"),
        (["--methods", "geodtr+"], "There is no method 'geodtr+'"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(more, sentence, tmp_path, capsys):
    assert compare_command([*words(tmp_path / "out", "geodtr_plus"), *more]) == 1
    assert sentence.lower() in capsys.readouterr().err.lower()
    assert not (tmp_path / "out").exists()


def test_without_entries_the_methods_are_named(capsys):
    assert compare_command([*WORLDS]) == 1
    assert "geodtr_plus" in capsys.readouterr().err


def test_help_comes_without_torch():
    code = (
        "import sys\nfrom geodtr_plugin.comparison.compare import compare_command\n"
        "from geodtr_plugin.comparison.paper.command import paper_command\n"
        "for command in (compare_command, paper_command):\n"
        "    try:\n        command(['--help'])\n    except SystemExit as e:\n        assert not e.code\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules, 'too much was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--methods" in done.stdout and "table8" in done.stdout


def test_settings_of_later_stages_count_too():
    config = settings("--train synth-suburb")
    second = config.recipe.replace(optim={"lr": 0.5})
    staged = replace(config, later_stages=(("second", second),), out="elsewhere", threads=7)
    alone, both = settings_of(config), settings_of(staged)
    assert both["later_stages.second.optim.lr"] == 0.5 and alone.items() <= both.items()
    assert all(name.startswith("later_stages.second.") for name in both if name not in alone)


def test_two_comparisons_do_not_share_a_folder(tmp_path, capsys):
    with claimed(tmp_path / "out" / ".lock", "The comparison"):
        assert compare_command(words(tmp_path / "out", ENTRIES[0])) == 1
    assert f"The comparison {tmp_path / 'out'} is in use by this process" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
