"""From names of data sets to their splits, as a run wants them."""

from __future__ import annotations

import inspect
from dataclasses import replace

from ..datasets import Split, load_split
from ..datasets.check import quick_check
from ..datasets.readable import readable
from ..datasets.registry import loader_of
from ..utils.errors import UnknownNameError, UserError
from .config import RunConfig
from .log import log


def load_splits(config: RunConfig) -> tuple[Split | None, dict[str, Split]]:
    """Return the training split and the test splits of a run; lists are read (or worlds rendered), no images.

    Raises:
        UserError: an option of --data means nothing, or a data set is not there or not whole.
    """
    _check_options(config)
    train = _load(config, config.train, "train") if config.train and config.recipe.optim.epochs else None
    tests = {name: _load(config, name, "test") for name in dict.fromkeys(config.test)}
    return train, tests


def _load(config: RunConfig, name: str, split: str) -> Split:
    # the recipe's options are for the data sets that know them, those of the command line go before
    options = {key: value for key, value in {**config.recipe.data, **config.data}.items() if key in _accepted(name)}
    index = load_split(name, split, root=config.data_root, **options)
    if config.limit is not None:
        index = index.limit(config.limit)
    if config.skip_corrupt:
        index, corrupt = readable(index, workers=config.workers or 0)
        index = replace(index, notes=(*index.notes, *corrupt))
    log.info(f"{split:5s} {index}{f' ({index.layout})' if index.layout else ''}")
    for note in index.notes:
        log.info(f"      {note}")
    for finding in quick_check(index, config.seed).faults:  # told, not raised: a data set of one's own may be odd
        log.warning(f"      {finding.line} {finding.remedy}")
    return index


def _check_options(config: RunConfig) -> None:
    """Raise UserError for an option of --data that means nothing to any of the data sets."""
    names = [name for name in (config.train, *config.test) if name]
    known = set().union(*(_accepted(name) for name in names))
    for option in config.data:
        if option not in known:
            raise UnknownNameError(f"option of the data sets {', '.join(names)}", option, known)
    if config.limit is not None and config.limit < 2:
        raise UserError(f"--limit is {config.limit}; a batch needs at least 2 pairs.")


def _accepted(name: str) -> set[str]:
    return set(inspect.signature(loader_of(name)).parameters) - {"name", "split", "root"}
