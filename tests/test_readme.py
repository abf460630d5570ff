"""What the README shows, runs."""

from __future__ import annotations

import re

import pytest
from documents import ROOT, blocks, commands, run_example

README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = [block for block in blocks(ROOT / "README.md") if block.mark == "run"]
COMMANDS = commands(ROOT / "README.md")


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: block.name)
def test_examples_run(block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_example(block)
    assert "print(" not in block.text or capsys.readouterr().out.strip()


def test_the_readme_is_short_enough_to_be_read():
    assert len(README.splitlines()) <= 200 and len(EXAMPLES) >= 2


def test_ci_runs_the_second_command():
    (tests,) = [line for line in COMMANDS if "pytest" in line]
    assert tests in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_commands_of_the_main_job_can_be_parsed():
    from geodtr_plugin import list_methods
    from geodtr_plugin.harness import settings

    lines = [line for line in COMMANDS if "benchmarks/run.py --" in line and "--resume" not in line]
    lines = [line.replace("--init-weights runs/paper", "--allow-untrained") for line in lines]
    assert len(lines) >= 4
    for line in lines:
        assert settings(line.split("benchmarks/run.py", 1)[1].strip()).method in list_methods()


def test_the_tables_name_what_there_is():
    from geodtr_plugin import list_datasets
    from geodtr_plugin.methods import METHODS

    methods = {name for name, cls in METHODS.items() if cls.__module__.startswith("geodtr_plugin.")}
    rows = re.findall(r"^\| (`[^|]*) \|", README, re.M)
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert methods <= named
    families = {name.removesuffix("-offset").removesuffix("-ground") for name in list_datasets()}
    spelled = named | {f"synth{name}" for name in named} | {f"university1652{name}" for name in named}
    assert {name for name in families if not name.startswith("synth-")} <= spelled
