"""Who may import whom, what is public, and what a start costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import geodtr_plugin

PACKAGE = Path(geodtr_plugin.__file__).parent
FORBIDDEN = {
    "methods": {"datasets", "worlds", "harness", "trainers", "testers"},
    "datasets": {"methods", "layers", "harness", "trainers", "testers", "losses", "miners"},
    "worlds": {"methods", "layers", "harness", "trainers", "testers", "losses", "miners", "datasets", "augmentations"},
    **{
        part: {"methods", "datasets", "worlds", "harness", "trainers", "testers", "layers"}
        for part in ("losses", "miners", "augmentations", "utils", "layers")
    },
    "trainers": {"methods", "datasets", "worlds", "harness"},
    "testers": {"methods", "datasets", "worlds", "harness", "trainers"},
    "search": {"harness", "trainers"},
}
FORBIDDEN["layers"] -= {"layers"}


def imported_parts(file: Path) -> set[str]:
    """Subpackages of ours that a file imports, type hints aside."""
    tree = ast.parse(file.read_text())
    guards = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    hints = {node for guard in guards for node in ast.walk(guard)}
    here = file.relative_to(PACKAGE.parent).with_suffix("").parts
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in hints:
            base = list(here[: len(here) - node.level]) if node.level else []
            module = [*base, *(node.module or "").split(".")] if node.level else (node.module or "").split(".")
            names += [[*module, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import) and node not in hints:
            names += [alias.name.split(".") for alias in node.names]
    paths = [[part for part in name if part] for name in names]
    return {path[1] for path in paths if path[0] == "geodtr_plugin" and len(path) > 1}


@pytest.mark.parametrize("part", sorted(FORBIDDEN))
def test_imports_go_one_way(part):
    for file in (PACKAGE / part).rglob("*.py"):
        wrong = imported_parts(file) & FORBIDDEN[part]
        assert not wrong, f"{file.relative_to(PACKAGE)} imports {', '.join(sorted(wrong))}"


def test_the_public_names():
    assert geodtr_plugin.__all__ == [
        "__version__", "CHSG", "CounterfactualLoss", "CrossViewAccuracyCalculator", "CrossViewTester",
        "CrossViewTrainer", "LayoutSimulation", "Locator", "PolarTransform", "SemanticAugmentation",
        "SoftMarginTripletLoss", "Truth", "TwinMiner", "create_model", "list_datasets", "list_methods",
        "load_author_weights", "load_split", "load_model", "recall", "register_method",
    ]  # fmt: skip
    assert all(getattr(geodtr_plugin, name) for name in geodtr_plugin.__all__)


def test_names_can_be_listed_and_help_be_read_without_torch():
    code = (
        "import sys, geodtr_plugin as g; g.list_methods(), g.list_datasets()\n"
        "from geodtr_plugin.commands.run import run_command\n"
        "try:\n    run_command(['--help'])\nexcept SystemExit as e:\n    assert not e.code\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules, 'too much was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--train" in done.stdout and "geodtr_plus" in done.stdout and "synth-suburb" in done.stdout
