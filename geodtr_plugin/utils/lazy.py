"""Import the public names of a package on first use, so that importing the package costs next to nothing."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from typing import Any


def lazy_imports(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Make importable on first use what a package imports under `if TYPE_CHECKING:`, its one table of public names.

        __getattr__, __dir__, __all__ = lazy_imports(__name__)

    Type checkers and editors read the same table. Names must come as `from .module import Name`.

    Args:
        package: `__name__` of the package's `__init__.py`.

    Returns:
        The package's `__getattr__`, `__dir__` and `__all__`.
    """
    homes = _homes(package)

    def get_attribute(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, original = homes[name]
        return getattr(importlib.import_module(module, package), original)

    return get_attribute, lambda: sorted(homes), sorted(homes)


def _homes(package: str) -> dict[str, tuple[str, str]]:
    """Map each name under TYPE_CHECKING to its module (relative, as `.module`) and its name there."""
    spec: Any = sys.modules[package].__spec__
    tree = ast.parse(spec.loader.get_source(package))
    guards = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for guard in guards for node in guard.body if isinstance(node, ast.ImportFrom)]
    return {
        alias.asname or alias.name: ("." * node.level + (node.module or ""), alias.name)
        for node in imports
        for alias in node.names
    }
