"""What the documentation shows, runs; what is public, it describes."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest
from documents import ROOT, blocks, commands, run_example
from trees import save_jpeg, smooth_noise

from geodtr_plugin.commands.main import VERBS, main
from geodtr_plugin.commands.real_pairs import real_pairs_parser
from geodtr_plugin.commands.run import resume_parser
from geodtr_plugin.comparison.compare import compare_parser, parse_compare, parse_entries
from geodtr_plugin.comparison.fine_tuning import REFUSED, fine_tuning_parser
from geodtr_plugin.comparison.jobs import Variant, plan
from geodtr_plugin.comparison.paper.command import REFUSED as REFUSED_BY_PAPER
from geodtr_plugin.comparison.paper.command import chosen_parts, paper_parser
from geodtr_plugin.comparison.robustness import REFUSED as REFUSED_OF_ROBUSTNESS
from geodtr_plugin.comparison.robustness import robustness_parser
from geodtr_plugin.datasets import DATASETS
from geodtr_plugin.harness.options import parse_run
from geodtr_plugin.losses import LOSSES
from geodtr_plugin.methods import METHODS
from geodtr_plugin.miners import MINERS
from geodtr_plugin.samplers import SAMPLERS
from geodtr_plugin.utils.console import parse

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
PACKAGES = (
    "augmentations", "datasets", "distances", "evaluation", "harness", "layers", "losses", "methods", "miners",
    "samplers", "search", "testers", "trainers", "utils", "worlds",
)  # fmt: skip
EXAMPLES = [block for block in blocks(*PAGES) if block.mark == "run"]
PLACEHOLDERS = r"--(init-weights|config) \S+"  # files that a reader has and a test has not


@pytest.mark.slow
@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: block.name)
def test_examples_run(block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_example(block)
    assert "print(" not in block.text or capsys.readouterr().out.strip()


@pytest.fixture
def tables_restored(monkeypatch):
    """Forget what an example registers, so that other tests find the tables as they were."""
    for table in (DATASETS, LOSSES, METHODS, MINERS, SAMPLERS):
        monkeypatch.setattr(table, "_parts", dict(table._parts))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted((DOCS / "extend").glob("*.md")), ids=lambda page: page.stem)
def test_parts_of_ones_own_run_as_shown(page, tmp_path, monkeypatch, tables_restored):
    monkeypatch.chdir(tmp_path)
    for number in range(32):
        save_jpeg(tmp_path / f"my_images/ground/{number}.jpg", smooth_noise("ground", number, 32, 88))
        save_jpeg(tmp_path / f"my_images/aerial/{number}.jpg", smooth_noise("aerial", number, 32, 32))
    done = 0
    for block in blocks(page):
        if block.mark.startswith("file "):
            (tmp_path / block.mark.removeprefix("file ")).write_text(block.text, encoding="utf-8")
        elif block.mark == "command":
            words = shlex.split(block.text.replace("python benchmarks/run.py", "run").removeprefix("geodtr "))
            if words[0] == "run":
                words += ["--device", "cpu", "--workers", "0", "--threads", "1"]
            assert main(words) == 0, block.text
            done += 1
    assert done


def test_commands_name_options_that_exist(tmp_path, monkeypatch, capsys):
    from geodtr_plugin.harness import settings

    monkeypatch.chdir(tmp_path)
    lines = [line for line in commands(*PAGES) if "--import" not in line]
    runs = [line.split("benchmarks/run.py", 1)[1] for line in lines if "benchmarks/run.py --" in line]
    for line in runs:
        if "--resume" in line:
            parse(resume_parser(), shlex.split(line))
        elif "--help" not in line:
            words = re.sub(PLACEHOLDERS, "", line.replace("--epochs 0", "--epochs 0 --allow-untrained")).strip()
            settings(words or "--train synth-suburb")
    verbs = [line.split("geodtr ", 1)[1] for line in lines if line.startswith("geodtr ")]
    assert len(runs) >= 15 and len(verbs) >= 8
    for line in verbs:
        verb = shlex.split(line)[: 2 if line.split()[0] in ("data", "index") else 1]
        assert verb[0] in VERBS
        with pytest.raises(SystemExit):
            main([*verb, "--help"])
        known = capsys.readouterr().out
        for option in re.findall(r"(?<!\S)(--[a-z-]+|-o)(?!\S)", line):
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", known), f"{line}: {option}"


def test_comparisons_name_options_that_exist():
    comparisons = [line for line in commands(*PAGES) if "benchmarks/compare.py" in line]
    tables = [line for line in commands(*PAGES) if "benchmarks/paper.py" in line]
    assert comparisons and tables
    for line in comparisons:
        options, shared = parse_compare(compare_parser(), shlex.split(line.split("compare.py", 1)[1]))
        for entry in parse_entries(options.methods):
            plan(entry, 0, shared, Path("nowhere"))
    for line in tables:
        parts, words = chosen_parts(shlex.split(line.split("paper.py", 1)[1], comments=True))
        _, shared = parse_compare(paper_parser(), words, REFUSED_BY_PAPER)
        assert parts
        parse_run(["--train", "synth-suburb", *shared])


def test_measurements_on_real_pairs_name_options_that_exist():
    lines = [line for line in commands(*PAGES) if "benchmarks/real_pairs.py" in line]
    assert len(lines) >= 3
    for line in lines:
        parse(real_pairs_parser(), shlex.split(line.split("real_pairs.py", 1)[1]))


def test_fine_tuning_names_options_that_exist():
    lines = [line for line in commands(*PAGES) if "benchmarks/fine_tuning.py" in line]
    assert lines
    for line in lines:
        words = shlex.split(line.split("fine_tuning.py", 1)[1])
        options, shared = parse_compare(fine_tuning_parser(), words, REFUSED)
        plan(Variant.parse("geodtr_plus"), 0, ["--train", options.train, *shared], Path("nowhere"))


def test_measurements_of_robustness_name_options_that_exist():
    from geodtr_plugin.comparison.conditions import conditions
    from geodtr_plugin.harness import settings

    lines = [line for line in commands(*PAGES) if "benchmarks/robustness.py" in line]
    assert lines
    for line in lines:
        words = shlex.split(line.split("robustness.py", 1)[1])
        options, others = parse_compare(robustness_parser(), words, REFUSED_OF_ROBUSTNESS)
        list(conditions(options.kinds or [], options.severities))
        settings(shlex.join(["--epochs", "0", "--allow-untrained", "--test", options.test, *others]))


def test_every_public_name_is_described():
    text = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    described = set(re.findall(r"^::: (\S+)$", text, re.M))
    objects = {id(_resolved(name)) for name in described}
    for package in ("", *PACKAGES):
        module = importlib.import_module(f"geodtr_plugin.{package}".rstrip("."))
        missing = [
            name for name in module.__all__
            if f"geodtr_plugin.{package}.{name}" not in described and id(getattr(module, name)) not in objects
        ]  # fmt: skip
        assert [name for name in missing if name not in ("__version__", "load_index")] == [], package


def _resolved(name: str):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def test_every_page_is_in_the_navigation_and_every_link_leads_somewhere():
    navigation = set(re.findall(r"([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    assert navigation == {str(page.relative_to(DOCS)) for page in PAGES}
    for page in [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page}: {target}"


def test_paths_of_the_repository_exist():
    for page in [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        text = page.read_text(encoding="utf-8")
        for path in re.findall(r"`((?:geodtr_plugin|tests|docs|benchmarks)/[\w/.]+)`", text):
            assert Path(ROOT / path).exists() or path == "benchmarks/gallery.py", f"{page}: {path}"


def test_contributing_is_short():
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) < 120
