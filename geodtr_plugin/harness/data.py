"""From names of data sets to their splits, as a run wants them."""

from __future__ import annotations

from dataclasses import replace

from ..datasets import Split, load_split
from ..datasets.check import quick_check
from ..datasets.joined import join_splits
from ..datasets.readable import readable
from ..datasets.registry import options_of
from ..utils.errors import UnknownNameError, UserError
from .checks import check_training_sets
from .config import RunConfig
from .log import log


def load_splits(config: RunConfig) -> tuple[Split | None, dict[str, Split]]:
    """Return the training split and the test splits of a run; lists are read (or worlds rendered), no images.

    Several training sets come as one, a `JoinedSplit`.

    Raises:
        UserError: an option of --data means nothing, or a data set is not there or not whole.
    """
    _check_options(config)
    names = config.train if config.recipe.optim.epochs else ()
    sets = [_load(config, name, "train") for name in names]
    check_training_sets(config, sets)
    train = join_splits(sets) if sets else None
    tests = {name: _load(config, name, "test") for name in dict.fromkeys(config.test)}
    return train, tests


def load_as_asked(config: RunConfig, name: str, part: str) -> Split:
    """Return one split of a data set with the run's options and limits; no image is opened."""
    # the recipe's options are for the data sets that know them, those of the command line go before
    known = options_of(name)
    options = {key: value for key, value in {**config.recipe.data, **config.data}.items() if key in known}
    split = load_split(name, part, root=config.data_root, **options)
    limits = [config.limit, config.train_limit if part == "train" else None]
    if (limit := min((limit for limit in limits if limit is not None), default=None)) is not None:
        split = split.limit(limit)
    return split


def _load(config: RunConfig, name: str, part: str) -> Split:
    split = load_as_asked(config, name, part)
    if config.skip_corrupt:
        split, left_out = readable(split, workers=config.workers or 0)
        split = replace(split, notes=(*split.notes, *left_out))
    log.info(f"{part:5s} {split}{f' ({split.layout})' if split.layout else ''}")
    for note in split.notes:
        log.info(f"      {note}")
    for fault in quick_check(split, config.seed).faults:  # a warning, no error: a data set of one's own may be odd
        log.warning(f"      {fault.line} {fault.remedy}")
    return split


def _check_options(config: RunConfig) -> None:
    """Raise UserError for an option of --data that means nothing to any of the data sets."""
    names = list(dict.fromkeys([*config.train, *config.test]))
    known = set().union(*(options_of(name) for name in names))
    for option in config.data:
        if option not in known:
            raise UnknownNameError(f"option of the data sets {', '.join(names)}", option, known)
    for option, limit in (("--limit", config.limit), ("--train-limit", config.train_limit)):
        if limit is not None and limit < 2:
            raise UserError(f"{option} is {limit}; a batch needs at least 2 pairs.")
