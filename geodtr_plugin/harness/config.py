"""What one run is asked to do. No torch here: the command line builds on it before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..datasets.names import names_in
from ..methods import Recipe
from ..methods.recipe import MOST_COUNT, check_numbers
from ..utils.typed import typed


@dataclass(frozen=True)
class RunConfig:
    """One run of the harness: train on data sets (or on none), test on data sets.

    Args:
        method: name of the method.
        recipe: its settings.
        train: data sets to train on; none evaluates only.
        test: data sets to test on.
        shares: of the training, one for each set in `train`, in any unit; None: by their pairs.
        recipe_name: which of the method's recipes `recipe` started from.
        later_stages: recipes of the stages that follow, with their names; each goes on from the weights of the one
            before.
        imports: modules that were imported for methods, losses, samplers and data sets of one's own.
        data: further options of the data sets' loaders, for instance `count` of the synthetic worlds.
        data_root: folder that holds the data sets; None asks the environment variable GEODTR_DATA.
        limit: keep the first pairs of each data set only.
        train_limit: keep the first pairs of the training set only; tests stay whole.
        skip_corrupt: leave out images that cannot be decoded, and name them in the results, instead of stopping.
        cache: keep the images on disk at the network's size, for the epochs and runs to come.
        device: auto, cpu, cuda or mps.
        seed: of everything random.
        workers: processes that load images; None chooses by the machine.
        threads: of torch on the CPU; None leaves torch's choice.
        init_weights: weights to start from: a file of ours or of the authors, or a run folder.
        out: folder of the run; None makes one below `runs/`.
    """

    method: str
    recipe: Recipe
    train: tuple[str, ...]
    test: tuple[str, ...]
    shares: tuple[float, ...] | None = None
    recipe_name: str = "paper"
    later_stages: tuple[tuple[str, Recipe], ...] = ()
    imports: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    data_root: str | None = None
    limit: int | None = None
    train_limit: int | None = None
    skip_corrupt: bool = False
    cache: bool = False
    device: str = "auto"
    seed: int = 0
    workers: int | None = None
    threads: int | None = None
    init_weights: str | None = None
    out: str | None = None

    def __post_init__(self):
        check_numbers(self, "--", seed=(0, 2**32 - 1), workers=(0, 4096), threads=(0, 4096), limit=(1, MOST_COUNT),
                      train_limit=(1, MOST_COUNT))  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain nested dictionaries."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> RunConfig:
        """Return the run that `to_dict` described, also in an earlier version of this package.

        Raises:
            KeyError, ValueError, TypeError, UserError: it is no such description; see `utils.reading.understood`.
        """
        settings = dict(settings)
        later = settings.pop("later", None) or settings.get("later_stages", ())  # `later`: an earlier name
        config = typed(cls, {
            **settings,
            "train": names_in(settings["train"]),  # earlier: one name or null
            "recipe": Recipe.from_dict(settings["recipe"]),
            "later_stages": tuple((name, Recipe.from_dict(recipe)) for name, recipe in later),
        }, "run")  # fmt: skip
        shares = None if config.shares is None else tuple(config.shares)
        return replace(config, test=tuple(config.test), imports=tuple(config.imports), shares=shares)
