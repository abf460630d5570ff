"""A recipe: everything that decides what a training run computes, apart from the data and the seed.

Each method's file spells out the values of its recipes. `Recipe()` is plain training: no augmentation, no
counterfactual loss, a constant learning rate. This module imports no torch, so that the command line can show every
option at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ..losses.schedule import plain_schedule
from ..utils.errors import UserError
from ..utils.typed import typed
from .earlier_names import with_current_names
from .field_of_view import FieldOfView
from .ranges import ABOVE_ZERO, MOST, MOST_COUNT, check_numbers

Strength = Literal["strong", "weak", "none"]


@dataclass(frozen=True)
class Augment:
    """How a batch is varied before it reaches the network.

    Args:
        chsg: variant of the contrastive hard sample generator: l+s (the paper's), raw (nothing), ls, s, s+same-l, l,
            same-s+l
        layout: layout simulation, for variants that use it: strong is flip and rotation, weak is flip only
        semantic: colour, blur and posterize of each image by itself, for variants that use it; cutout is Sample4Geo's,
            which also drops patches
        tiles: crop+turn crops some aerial tiles around their centre and turns all by quarters, without their panoramas
        panoramas: roll lets panoramas begin anywhere, without their tiles; input maps of the network are rolled with
            them
    """

    chsg: str = "raw"
    layout: Strength = "strong"
    semantic: Literal["strong", "weak", "cutout", "none"] = "strong"
    tiles: Literal["none", "crop+turn"] = "none"
    panoramas: Literal["none", "roll"] = "none"


@dataclass(frozen=True)
class Sampling:
    """Which pairs meet in a batch.

    Args:
        name: auto (what the data set needs), shuffle, geo (places near each other on the ground), hard (half of a batch
            at random, half from what the network confused with it), similar (groups of places that look alike to the
            network), geo+similar (geo until there are embeddings), or a sampler of one's own
        args: arguments of the sampler: pool and top of hard; neighbours and neighbour_range of geo and similar
        every: epochs between two measurements of similarity, for samplers that need them; 0 never measures
        sets: of several training sets, mixed fills every batch with pairs of all of them, apart with pairs of one
    """

    name: str = "auto"
    args: dict[str, Any] = field(default_factory=dict)
    every: int = 4
    sets: Literal["mixed", "apart"] = "mixed"

    def __post_init__(self):
        check_numbers(self, "--sampling.", every=(0, MOST_COUNT))


@dataclass(frozen=True)
class Loss:
    """What is minimised.

    Args:
        name: soft_margin, info_nce, her, hinge (NetVLAD's), sare_ind, sare_joint; triplet, contrastive,
            multi_similarity, circle (pytorch-metric-learning's, on cosine similarity); any other loss of
            pytorch-metric-learning by its class name, as NTXentLoss; or a loss of one's own
        args: arguments of the loss: alpha and hard_ratio of soft_margin; temperature, learn_temperature and
            label_smoothing of info_nce; alpha, margin, theta, symmetric and detach of her; margin of hinge; kernel of
            sare_ind and sare_joint
        schedule: arguments that change, each as [[epoch, value], ...]: from which epoch on, counted from 0, which value
            holds, as {"hard_ratio": [[0, 1.0], [20, 0.1]]}
        miner: which triplets of a batch count: all, batch_hard, semihard, twin (negatives are the twins), twin+all, or
            a miner of pytorch-metric-learning by its class name
        miner_args: arguments of the miner
        counterfactual: weight of the counterfactual loss; 0 leaves the branch out
        beta: slope of the counterfactual loss, on squared distances
        objectives: weights of the method's own objectives by name, as --loss.objectives.offset 0.5; 0 leaves one out,
            and those not named keep their own
    """

    name: str = "soft_margin"
    args: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    miner: str = "all"
    miner_args: dict[str, Any] = field(default_factory=dict)
    counterfactual: float = 0.0
    beta: float = 5.0
    objectives: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        check_numbers(self, "--loss.", counterfactual=(0, MOST), beta=(ABOVE_ZERO, MOST))
        object.__setattr__(self, "schedule", plain_schedule(self.schedule, "--loss.schedule"))
        for name, weight in self.objectives.items():
            if not 0 <= weight <= MOST:
                raise UserError(f"--loss.objectives.{name} is {weight}.", "It must be 0 or more.")


@dataclass(frozen=True)
class Optim:
    """How the weights move.

    Args:
        name: adamw, adam, or sgd
        lr: peak learning rate
        trunk_lr_scale: that of the trunks in parts of it, as 0.1 for trunks that are trained already
        freeze: parts of the network that stay as they are, by the names of their parameters, as trunk or
            query_tower.trunk.[0-3],*.layout; they run in evaluation mode. Empty: everything moves
        weight_decay: on all parameters, as the authors do
        eps: the denominator term of adamw and adam
        momentum: of sgd, and beta1 of adamw and adam: how much of the running mean of gradients stays at a step
        sharpness: rho of adaptive sharpness-aware minimisation (ASAM), which doubles the work of a step; 0 is without
        epochs: passes over the training pairs
        batch_size: raw pairs in a batch, of all processes together; CHSG doubles the rows that the network sees
        micro_batch: pairs that the network holds in memory at once (gradient caching); null is all of a batch
        schedule: after the warm-up: cosine (half of one, down to zero), linear (down to zero), constant, halving (every
            5 epochs), or exponential (down to `decay`)
        schedule_step: the learning rate changes once an epoch, or with every step
        decay: what exponential has come to at the end, in parts of the peak
        warmup_epochs: epochs until the peak
        zero_first_epoch: reproduce GeoDTR's schedule, whose first epoch has a learning rate of 0
        max_grad_norm: gradients are clipped to this norm; null or 0 leaves them alone
        max_grad_value: each entry of a gradient is clipped to this; null or 0 leaves them alone
        ema: decay of a moving average of the weights, as 0.999, which is then what is evaluated and saved; null or 0
            is without
        precision: bf16 runs the network in bfloat16 autocast; losses and ranks stay in fp32
        compile: torch.compile for the network in training, meant for GPUs: compiling takes minutes; where it fails,
            training goes on without
    """

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = 1e-4
    trunk_lr_scale: float = 1.0
    freeze: str = ""
    weight_decay: float = 0.0
    eps: float = 1e-8
    momentum: float = 0.9
    sharpness: float = 0.0
    epochs: int = 10
    batch_size: int = 32
    micro_batch: int | None = None
    schedule: Literal["cosine", "linear", "constant", "halving", "exponential"] = "constant"
    schedule_step: Literal["epoch", "step"] = "epoch"
    decay: float = 0.1
    warmup_epochs: float = 0
    zero_first_epoch: bool = False
    max_grad_norm: float | None = None
    max_grad_value: float | None = None
    ema: float | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False

    def __post_init__(self):
        if self.batch_size < 2:
            raise UserError(
                f"A batch of {self.batch_size} pair has no negatives to learn from.", "Set --batch-size to 2 or more."
            )
        if self.micro_batch is not None and self.micro_batch < 1:
            raise UserError(f"--micro-batch is {self.micro_batch}; it counts pairs and must be 1 or more.")
        if self.epochs < 0:
            raise UserError(f"--epochs is {self.epochs}; it must be 0 (evaluate only) or more.")
        check_numbers(
            self, "--optim.", lr=(0, MOST), trunk_lr_scale=(0, MOST), weight_decay=(0, MOST), eps=(0, MOST),
            momentum=(0, 0.999999), sharpness=(0, MOST), epochs=(0, MOST_COUNT), batch_size=(2, MOST_COUNT),
            warmup_epochs=(0, MOST), max_grad_norm=(0, MOST), max_grad_value=(0, MOST),
            ema=(0, 0.999999), decay=(ABOVE_ZERO, 1),
        )  # fmt: skip
        for name in ("max_grad_norm", "max_grad_value", "ema"):
            object.__setattr__(self, name, getattr(self, name) or None)


@dataclass(frozen=True)
class Evaluation:
    """When and how a model is measured.

    Args:
        every: evaluate each time this many epochs have passed, and after the last one; 0 is after the last one alone
        batch_size: images embedded at once
        ties: pessimistic counts ties against the method; optimistic reproduces the authors' scripts
        embeddings: where they are kept: memory (of the device), or file (.npy in embeddings/ of the run folder), from
            where a gallery that is larger than memory can be ranked
        precision: of the network when it embeds to be measured: fp32, or bf16 (autocast); null is as in training
        examples: queries in the picture of examples of each test set; 0 draws none
    """

    every: int = 5
    batch_size: int = 64
    ties: Literal["pessimistic", "optimistic"] = "pessimistic"
    embeddings: Literal["memory", "file"] = "memory"
    precision: Literal["fp32", "bf16"] | None = None
    examples: int = 4

    def __post_init__(self):
        check_numbers(
            self, "--evaluation.", every=(0, MOST_COUNT), batch_size=(1, MOST_COUNT), examples=(0, MOST_COUNT)
        )


@dataclass(frozen=True)
class Recipe:
    """One method's settings.

    Args:
        model: what `create_model` gets beyond the defaults of the method's class.
        augment, view, sampling, loss, optim, evaluation: the parts; see their classes.
        data: options that the data sets' loaders get where they know them, for instance `crop` of CVACT.
        next_stage: name of the method's recipe that goes on from the weights of this one: a second stage.
    """

    model: dict[str, Any] = field(default_factory=dict)
    augment: Augment = Augment()
    view: FieldOfView = FieldOfView()
    sampling: Sampling = Sampling()
    loss: Loss = Loss()
    optim: Optim = Optim()
    evaluation: Evaluation = Evaluation()
    data: dict[str, Any] = field(default_factory=dict)
    next_stage: str | None = None

    def __post_init__(self):
        # sizes come as lists from the command line and from JSON, as tuples from code
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in self.model.items()}
        object.__setattr__(self, "model", plain)

    def replace(self, **parts: Mapping[str, Any]) -> Recipe:
        """Return a copy with some settings replaced: `recipe.replace(optim={"lr": 1e-3}, model={"polar": False})`."""
        changed: dict[str, Any] = {}
        for part, settings in parts.items():
            current = getattr(self, part)
            changed[part] = {**current, **settings} if isinstance(current, dict) else replace(current, **settings)
        return replace(self, **changed)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain nested dictionaries."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Recipe:
        """Return the recipe that `to_dict` described, also in an earlier version of this package.

        Raises:
            KeyError, ValueError, TypeError, UserError: it is no such description; see `utils.reading.understood`.
        """
        settings = with_current_names(settings)
        parts: dict[str, Any] = {name: typed(part, settings[name], name) for name, part in PARTS.items()}
        return typed(cls, {**settings, **parts}, "recipe")


# the parts of a recipe that have options of their own, in the order in which --help shows them
PARTS = {
    "augment": Augment, "view": FieldOfView, "sampling": Sampling, "loss": Loss, "optim": Optim,
    "evaluation": Evaluation,
}  # fmt: skip
