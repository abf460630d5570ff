"""What the README shows, runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"<!-- test: run -->\n```python\n(.*?)```", README, re.S)
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.splitlines()]


@pytest.mark.parametrize("code", EXAMPLES, ids=lambda code: code.strip().splitlines()[-1][:40])
def test_examples_run(code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert "print(" not in code or capsys.readouterr().out.strip()


def test_there_are_examples_of_all_users():
    text = "\n".join(EXAMPLES)
    assert len(EXAMPLES) >= 5
    for name in ("run(", "CHSG().as_getter()", "recall(", "load_split(", "register_method"):
        assert name in text


def test_ci_runs_the_second_command():
    (tests,) = [line for line in COMMANDS if "pytest" in line]
    assert tests in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_commands_of_the_main_job_can_be_parsed(tmp_path, monkeypatch):
    from geodtr_plugin import list_methods
    from geodtr_plugin.harness import settings

    lines = [line.split("#")[0] for line in COMMANDS if "benchmarks/run.py --" in line and "--resume" not in line]
    assert len(lines) >= 3
    for line in lines:
        words = line.split("benchmarks/run.py", 1)[1].strip()
        assert settings(words).method in list_methods()
