"""What a run refuses, each refusal a function: names before any data are read, the rest when its parts are built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import BatchSampler

from ..augmentations import Misalignment
from ..datasets import Split, facts_of
from ..datasets.registry import FOLDER
from ..losses import Objective, build_loss
from ..losses.schedule import check_schedule
from ..methods import METHODS, Recipe, TwoTower, create_model
from ..methods.recipe import MOST
from ..miners import CHSG, build_miner
from ..miners.chsg import variant_name
from ..samplers import SAMPLERS
from ..utils.distributed import launched
from ..utils.errors import UnknownNameError, UserError
from ..utils.pair_data import OFFSET
from ..utils.registry import takes
from ..utils.roles import ROLES, Role
from .config import RunConfig
from .log import log

_SAY_CENTRED = (
    ' If they do stand there, say so: --data.centred true, or {"centred": true} in the folder\'s dataset.json.'
)

LEFT_OUT: dict[Role, str] = {
    "query": "Leave it out: --augment.panoramas none.", "reference": "Leave it out: --augment.tiles none.",
}  # fmt: skip


def check_recipe(config: RunConfig) -> None:
    """Refuse names and arguments that nothing answers to, without looking at data.

    Raises:
        UserError: of the method, the CHSG variant, the loss, the miner or the sampler.
    """
    check_shares(config)
    for recipe in (config.recipe, *(recipe for _, recipe in config.later_stages)):
        check_arguments(f"option of {config.method}", METHODS[config.method], recipe.model, also=("pretrained",))
        variant_name(recipe.augment.chsg)
        build_loss(recipe.loss.name, recipe.loss.args)
        check_schedule(recipe.loss.name, recipe.loss.args, recipe.loss.schedule)
        build_miner(recipe.loss.miner, recipe.loss.miner_args, twins=True)
        build = SAMPLERS[recipe.sampling.name]
        check_arguments(f"argument of the sampler {recipe.sampling.name}", build, recipe.sampling.args)
        check_own_step(config.method, recipe)


def check_own_step(method: str, recipe: Recipe) -> None:
    """Raise UserError for what does not go with a method's own training step, see `trainers.own_step`."""
    if METHODS[method].own_step is TwoTower.own_step:
        return
    with torch.device("meta"):
        step = create_model(method, **{**recipe.model, "pretrained": False}).own_step()
    if step is None:
        return
    refused = {
        "--micro-batch": recipe.optim.micro_batch, "--optim.sharpness": recipe.optim.sharpness,
        "--optim.compile": recipe.optim.compile, "torchrun": launched(),
    }  # fmt: skip
    for option in (option for option, given in refused.items() if given):
        raise UserError(
            f"{method} trains {', '.join(step.parts())} in turns, which cannot be combined with {option}.",
            f"Leave that out, or train without: {step.without}.",
        )


def check_shares(config: RunConfig) -> None:
    """Raise UserError for shares that are not one positive number for each training set."""
    if config.shares is None:
        return
    words, sets = " ".join(f"{share:g}" for share in config.shares), len(config.train)
    if len(config.shares) != sets:
        raise UserError(
            f"--shares {words} came with {sets} training set{'' if sets == 1 else 's'}.", "Give one number for each."
        )
    if not all(0 < share < MOST for share in config.shares):
        raise UserError(f"--shares is {words}; a share is a number above 0.")


def check_arguments(
    kind: str, function: Callable[..., Any], args: Mapping[str, Any], also: tuple[str, ...] = ()
) -> None:
    """Raise UnknownNameError for an argument that a function does not take."""
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in args:
        if name not in parameters and name not in also:
            raise UnknownNameError(kind, name, parameters)


def check_polar(model: TwoTower, split: Split) -> None:
    """Raise UserError for a polar model on tiles around whose centre no camera stands."""
    if model.polar and not split.centred:
        raise UserError(
            f"{split.name} has cameras off the centre of their tiles, where the polar transform makes no sense.",
            "Use a model without it: --no-polar." + (_SAY_CENTRED if split.name.startswith(FOLDER) else ""),
        )


def check_training_sets(config: RunConfig, splits: Sequence[Split]) -> None:
    """Refuse training sets that hold the same images; warn of those whose images may show the same places.

    Raises:
        UserError: two sets share files of queries.
    """
    names = [split.name for split in splits]
    areas = [facts_of(name).areas[0] or name for name in names]
    files = [_query_files(split) if len(splits) > 1 else set() for split in splits]
    for one, other in combinations(range(len(splits)), 2):
        both = f"{names[one]} and {names[other]}"
        if shared := len(files[one] & files[other]):
            raise UserError(
                f"{both} share {shared:,} training images, which would be their own negatives.", "Name one of the two."
            )
        if areas[one] == areas[other] and config.recipe.sampling.sets == "mixed":
            log.warning(
                f"{both} are of one area: what shows the same place in both counts as a negative. "
                "--sampling.sets apart keeps them out of each other's batches."
            )


def _query_files(split: Split) -> set[Path]:
    return {path for i in range(len(split.queries)) if (path := split.queries.path(i)) is not None}


def check_square(chsg: CHSG, reference_size: Sequence[int]) -> None:
    """Raise UserError for layouts that turn aerial images (height, width) by quarters, where these are not square."""
    height, width = reference_size
    if chsg.turns and not chsg.polar and height != width:
        raise UserError(
            f"The CHSG variant {chsg.name} turns aerial images by quarters, and these are {height}x{width}.",
            f"Make them square (--model.reference_size [{height},{height}]), or choose a variant that does not: "
            "--chsg raw or s.",
        )


def check_offsets(objectives: Mapping[str, Objective], tiles: str) -> None:
    """Raise UserError for tiles that are cropped and turned by themselves, with objectives of where in them one is."""
    bound = [name for name, objective in objectives.items() if OFFSET in objective.needs]
    if bound and tiles != "none":
        raise UserError(
            f"--augment.tiles {tiles} moves the camera in its tile, which {', '.join(bound)} would not know.",
            "Leave one of them out; an objective by a weight of 0 in --loss.objectives.",
        )


def check_twins(model: TwoTower, chsg: CHSG) -> None:
    """Raise UserError for twins that differ by a turn, with a model to which all headings are alike."""
    if model.distance is not None and chsg.plan.layout == "distinct":
        raise UserError(
            f"The CHSG variant {chsg.name} makes twins that differ by a turn, and {model.method_name} compares all "
            "headings, so that these are the same to it.",
            "Choose --chsg s, ls or raw; or --model.aligned true, where queries look at the middle of their tiles.",
        )


def check_misalignment(misalign: Misalignment, chsg: CHSG, model: TwoTower) -> None:
    """Refuse to crop and turn what is no square tile; warn where turns without maps make twins look alike.

    Raises:
        UserError: aerial images are polar-transformed, or not square.
    """
    height, width = model.reference_size
    if misalign.tiles != "none" and (model.polar or height != width):
        kind = "polar-transformed" if model.polar else f"{height}x{width}"
        message = f"--augment.tiles {misalign.tiles} is for square tiles, and these are {kind}."
        raise UserError(message, LEFT_OUT["reference"])
    hidden: dict[Role, str] = {"query": misalign.panoramas, "reference": misalign.tiles}
    blind = [role for role in ROLES if hidden[role] != "none" and model.input_maps(role) is None]
    if chsg.plan.layout == "distinct" and blind:
        log.warning(
            f"CHSG {chsg.name} tells twins from their places by how they are turned, which {model.method_name} cannot "
            f"see where every {blind[-1]} is turned at random. {LEFT_OUT[blind[-1]]}"
        )


def check_counterfactual(model: TwoTower) -> None:
    """Raise UserError for a model without a counterfactual branch."""
    if not model.has_counterfactual:
        raise UserError(
            f"{model.method_name} has no counterfactual branch.", "Leave that loss out: --loss.counterfactual 0."
        )


def check_sampler(model: TwoTower, sampler: BatchSampler | None) -> None:
    """Raise UserError for a sampler that would compare the embeddings of a model with a distance of its own."""
    for own in getattr(sampler, "samplers", [sampler]):
        if model.distance is not None and hasattr(own, "update") and not takes(own.update, "distance"):
            raise UserError(
                f"{model.method_name} compares embeddings by a distance of its own, of which "
                f"{type(own).__name__} knows nothing.",
                "Give its update a parameter `distance`, or choose another --sampler.",
            )


def check_batches(config: RunConfig, model: TwoTower, train: Split) -> None:
    """Raise UserError for batches that the training pairs do not fill; warn of what a micro-batch changes."""
    optim = config.recipe.optim
    if len(train.pairs) < optim.batch_size:
        raise UserError(f"{train!r} does not fill one batch of {optim.batch_size}.", "Lower --batch-size.")
    if optim.micro_batch and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
        log.warning(
            f"{config.method} normalises over batches, now over {optim.micro_batch} pairs at a time: this is not the "
            "step of the whole batch. Backbones without batch normalisation, such as convnext_tiny, give just that."
        )
