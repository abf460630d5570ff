"""Who may import whom, what is public, and what a start costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import geodtr_plugin

PACKAGE = Path(geodtr_plugin.__file__).parent
FLOORS = (  # a folder imports those below it, and of its own floor what BESIDE says
    {"commands"},
    {"comparison", "search"},
    {"harness"},
    {"trainers", "testers"},
    {"samplers", "datasets", "methods"},
    {"worlds", "layers", "losses", "miners"},
    {"augmentations", "distances", "evaluation"},
    {"utils"},
)
BESIDE = {("samplers", "datasets"), ("trainers", "testers"), ("distances", "evaluation")}
APART = {  # besides: what a folder must not know although it lies below
    "methods": {"worlds"},
    "datasets": {"layers", "losses", "miners"},
    "worlds": {"evaluation", "augmentations"},
    "samplers": {"methods", "worlds", "layers"},
    "testers": {"datasets", "methods", "samplers", "losses", "miners"},
    "trainers": {"datasets", "methods", "testers"},
    "search": {"harness", "trainers", "losses", "miners", "samplers"},
}
# PML keeps its calculator in `utils`, where its users look for ours
REEXPORTS = {("utils", "evaluation")}
FLOOR = {folder: number for number, floor in enumerate(FLOORS) for folder in floor}


def module_of(file: Path) -> str:
    """Return the dotted name of a file below the package."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: Path, on_loading: bool = False) -> set[str]:
    """Return the modules and names of the package that a file imports, type hints aside.

    Args:
        file: of the package.
        on_loading: leave out what is imported inside functions, and on first use by `lazy_imports`.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"))
    lazy = "lazy_imports(__name__)" in ast.unparse(tree)
    guards = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    left_out = {node for guard in guards for node in ast.walk(guard)} if on_loading or not lazy else set()
    if on_loading:
        functions = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
        left_out |= {node for function in functions for node in ast.walk(function)}
    package = [*file.relative_to(PACKAGE.parent).with_suffix("").parts][:-1]
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in left_out:
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            names += [module, *(f"{module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import) and node not in left_out:
            names += [alias.name for alias in node.names]
    return {name for name in names if name.startswith("geodtr_plugin.")}


def tables_of(file: Path) -> set[str]:
    """Return the modules that a table in the file names, such as Registry's and the console script's verbs."""
    text, package = file.read_text(encoding="utf-8"), module_of(file.parent / "__init__.py")
    known = {module_of(path) for path in PACKAGE.rglob("*.py")}
    strings = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)
               and isinstance(node.value, str)}  # fmt: skip
    absolute = set()
    for string in strings:
        if string.startswith("."):
            up = len(string) - len(string.lstrip("."))
            base = package.split(".")[: len(package.split(".")) - up + 1]
            absolute.add(".".join([*base, string.lstrip(".")]))
        absolute.add(f"{package}.{string}")
    return absolute & known


def folder_of(module: str) -> str:
    return module.split(".")[1]


def arrows() -> Iterator[tuple[Path, str, str]]:
    """Yield (file, folder of the file, folder that it imports)."""
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE).parts
        if len(parts) > 1:  # the top level re-exports what is public
            for name in imports_of(file) | tables_of(file):
                if folder_of(name) in FLOOR and folder_of(name) != parts[0]:
                    yield file, parts[0], folder_of(name)


def wrong(here: str, there: str) -> bool:
    """Tell whether a folder must not import another one."""
    if (here, there) in REEXPORTS:
        return False
    beside = FLOOR[here] == FLOOR[there] and (here, there) not in BESIDE
    return FLOOR[there] < FLOOR[here] or beside or there in APART.get(here, ())


def test_every_folder_has_a_floor():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(FLOOR)


def test_imports_go_down_only():
    found = {(file.relative_to(PACKAGE), there) for file, here, there in arrows() if wrong(here, there)}
    up = sorted(f"{file} imports {there}" for file, there in found)
    assert not up, "\n".join(up)


def test_modules_import_each_other_in_no_circle():
    modules = {module_of(path): path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE}
    left = {name: imports_of(path, on_loading=True) & modules.keys() for name, path in modules.items()}
    for name, wanted in left.items():  # a package is loaded before its modules, whose names it may be asked for
        wanted -= {name, *(parent for parent in modules if name.startswith(f"{parent}."))}
    while leaves := [name for name, wanted in left.items() if not wanted & left.keys()]:
        for name in leaves:
            del left[name]
    assert not left, f"a circle among {sorted(left)}"


def test_commands_are_imported_by_nothing_but_their_script():
    for file in PACKAGE.rglob("*.py"):
        if file.parent.name != "commands":
            assert not {name for name in imports_of(file) if name.startswith("geodtr_plugin.commands")}, file


@pytest.mark.parametrize(
    "here, there, refused",
    [
        ("utils", "evaluation", False), ("utils", "losses", True), ("methods", "datasets", True),
        ("harness", "commands", True), ("commands", "harness", False), ("evaluation", "datasets", True),
        ("trainers", "methods", True), ("datasets", "worlds", False), ("worlds", "datasets", True),
    ],
)  # fmt: skip
def test_the_rule_refuses_what_it_should(here, there, refused):
    assert wrong(here, there) is refused


def test_the_public_names():
    assert geodtr_plugin.__all__ == [
        "__version__", "CHSG", "CounterfactualLoss", "CrossViewAccuracyCalculator", "CrossViewTester",
        "CrossViewTrainer", "LayoutSimulation", "Locator", "PolarTransform", "SemanticAugmentation",
        "SoftMarginTripletLoss", "Truth", "TwinMiner", "create_model", "list_datasets", "list_methods",
        "load_author_weights", "load_index", "load_model", "load_split", "recall", "register_method",
    ]  # fmt: skip
    assert all(getattr(geodtr_plugin, name) for name in geodtr_plugin.__all__)
    assert geodtr_plugin.utils.recall is geodtr_plugin.recall
    assert geodtr_plugin.utils.CrossViewAccuracyCalculator is geodtr_plugin.CrossViewAccuracyCalculator


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


def test_text_files_name_their_encoding():
    """Without one, a locale decides, and a run folder with a name beyond ASCII cannot be read elsewhere."""
    guilty = []
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            modes = "".join(str(a.value) for a in call.args if isinstance(a, ast.Constant))
            text = method in ("read_text", "write_text") and len(call.args) < 2
            text |= name == "open" and "b" not in modes
            if text and not any(keyword.arg == "encoding" for keyword in call.keywords):
                guilty.append(f"{file.relative_to(PACKAGE)}:{call.lineno} {ast.unparse(call)[:60]}")
    assert guilty == []
