"""Tables of named parts (methods, losses, miners, samplers, data sets), to which any module may add its own."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from .errors import UnknownNameError, UserError

Part = TypeVar("Part")
ENTRY_POINTS = "geodtr_plugin"  # the group in which an installed package names a module that registers its parts


class Registry(Mapping[str, Part]):
    """Map names to parts; the module of a built-in part is imported when the part is asked for.

    Args:
        kind: what a part is called in messages, such as "loss".
        package: the package of the built-in parts.
        modules: for each module of `package`, the names that it registers.
    """

    def __init__(self, kind: str, package: str, modules: Mapping[str, Iterable[str]]):
        self.kind = kind
        self._homes = {name: f"{package}.{module}" for module, names in modules.items() for name in names}
        self._parts: dict[str, Part] = {}

    def register(self, name: str, wrap: Callable[[Any], Part] = lambda part: part) -> Callable[[Any], Any]:
        """Return a decorator that makes a class or function known under a name, and leaves it as it is.

        Args:
            name: the name; one that is registered again, as in a notebook, stands for the newer part.
            wrap: makes the entry of the table from what is decorated.

        Raises:
            UserError: it is the name of a built-in part.
        """

        def decorate(part: Any) -> Any:
            if self._homes.get(name, part.__module__) != part.__module__:
                raise UserError(f"{name!r} is the name of a {self.kind} of geodtr_plugin.", "Choose another name.")
            self._parts[name] = wrap(part)
            return part

        return decorate

    def __getitem__(self, name: str) -> Part:
        if name not in self:
            raise UnknownNameError(self.kind, name, self)
        if name not in self._parts:
            importlib.import_module(self._homes[name])
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._homes and name not in self._parts:
            import_installed()
        return name in self._homes or name in self._parts

    def __iter__(self) -> Iterator[str]:
        import_installed()
        return iter(dict.fromkeys([*self._homes, *self._parts]))

    def __len__(self) -> int:
        return len(list(iter(self)))


@cache
def import_installed() -> None:
    """Import, once, the modules that installed packages name in the entry-point group `geodtr_plugin`."""
    for entry in metadata.entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:  # another package's fault must not stop what does not need it
            warnings.warn(f"The plugin {entry.name} ({entry.value}) cannot be imported: {error!r}.", stacklevel=2)


def import_modules(names: Iterable[str]) -> None:
    """Import modules that register parts of one's own, by dotted name or as a file.

    Args:
        names: such as `my_package.my_method`, looked for in the working folder too, or `my_method.py`.

    Raises:
        UserError: a module cannot be imported.
    """
    for name in names:
        try:
            if name.endswith(".py"):
                _import_file(Path(name))
            else:
                if "" not in sys.path and str(Path.cwd()) not in sys.path:
                    sys.path.append(str(Path.cwd()))
                importlib.import_module(name)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"--import {name} failed: {type(error).__name__}: {error}.",
                "Name a module that Python can import, or a .py file.",
            ) from error


def _import_file(path: Path) -> None:
    """Import a file under the name of its stem, so that its classes can be pickled; once."""
    path = path.expanduser().resolve()
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return
    if known is not None:
        raise UserError(f"--import {path}: a module {path.stem!r} is imported already.", "Rename the file.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # the name ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise


def takes(factory: Callable[..., Any], argument: str) -> bool:
    """Tell whether a function or class takes an argument of this name."""
    parameters = inspect.signature(factory).parameters
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def built(kind: str, name: str, factory: Callable[..., Part], args: Mapping[str, Any]) -> Part:
    """Return `factory(**args)`, and say what is wrong with the arguments where it cannot be built.

    Raises:
        UserError: the factory does not take an argument, or refuses its value.
    """
    try:
        return factory(**args)
    except UserError:
        raise
    except (AssertionError, TypeError, ValueError) as error:  # PML asserts that a distance is of the right type
        parameters = ", ".join(inspect.signature(factory).parameters)
        raise UserError(
            f"The {kind} {name} cannot be built: {str(error).rstrip('.')}.", f"It takes: {parameters}."
        ) from error
