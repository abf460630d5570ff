"""A recipe: everything that decides what a training run computes, apart from the data and the seed.

This module imports no torch, so that the command line can show every option at once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ..utils.errors import UserError

Strength = Literal["strong", "weak", "none"]


@dataclass(frozen=True)
class Augment:
    """How a batch is varied before it reaches the network.

    Args:
        chsg: variant of the contrastive hard sample generator: l+s (the paper's), raw, ls, s, s+same-l, l, same-s+l
        layout: layout simulation: strong is flip and rotation, weak is flip only
        semantic: colour, blur and posterize of each image by itself; cutout is Sample4Geo's, which also drops patches
    """

    chsg: str = "l+s"
    layout: Strength = "strong"
    semantic: Literal["strong", "weak", "cutout", "none"] = "strong"


@dataclass(frozen=True)
class View:
    """What of a panorama the query shows.

    Args:
        fov: horizontal field of view of the queries in degrees, in training and test
        heading: where a limited field of view looks: random (unknown orientation), or fixed to the panorama's centre
    """

    fov: float = 360.0
    heading: Literal["random", "fixed"] = "random"

    def __post_init__(self):
        if not 0 < self.fov <= 360:
            raise UserError(f"--fov is {self.fov:g}; a field of view is above 0 and at most 360 degrees.")


@dataclass(frozen=True)
class Sampling:
    """Which pairs meet in a batch.

    Args:
        name: auto (what the data set needs), shuffle, geo (places near each other on the ground), hard (half of a batch
            at random, half from what the network confused with it), similar (groups of places that look alike to the
            network), geo+similar (geo until there are embeddings)
        every: epochs between two measurements of similarity, for similar
        pool: places among which hard looks for confusing ones
        top: most similar places from which hard draws one
        neighbours: neighbours that a hub brings into its batch, for geo and similar; null is half a batch
        neighbour_range: nearest places from which they are chosen; null is as many as a batch
    """

    name: Literal["auto", "shuffle", "geo", "hard", "similar", "geo+similar"] = "auto"
    every: int = 4
    pool: int = 40_000
    top: int = 100
    neighbours: int | None = None
    neighbour_range: int | None = None


@dataclass(frozen=True)
class Loss:
    """What is minimised.

    Args:
        name: soft_margin, info_nce, hinge (NetVLAD's), sare_ind, sare_joint, or one of pytorch-metric-learning's:
            triplet, contrastive, multi_similarity, circle
        miner: which triplets of a batch count: all, batch_hard, semihard, twin (negatives are the twins), twin+all
        alpha: slope of the soft margin, on squared distances
        hard_ratio: share of the hardest triplets that soft_margin keeps; 1 keeps all
        temperature: of info_nce, where learning starts if it is learned
        learn_temperature: let info_nce learn its temperature
        label_smoothing: of info_nce
        margin: of hinge, on squared distances
        kernel: of sare_ind and sare_joint
        counterfactual: weight of the counterfactual loss; 0 leaves the branch out
        beta: slope of the counterfactual loss, on squared distances
    """

    name: str = "soft_margin"
    miner: str = "all"
    alpha: float = 10.0
    hard_ratio: float = 1.0
    temperature: float = 0.07
    learn_temperature: bool = True
    label_smoothing: float = 0.1
    margin: float = 0.1
    kernel: Literal["gaussian", "exponential", "cauchy"] = "gaussian"
    counterfactual: float = 1.0
    beta: float = 5.0


@dataclass(frozen=True)
class Optim:
    """How the weights move.

    Args:
        name: adamw, adam, or sgd
        lr: peak learning rate
        weight_decay: on all parameters, as the authors do
        eps: the denominator term of adamw and adam
        momentum: of sgd
        sharpness: rho of adaptive sharpness-aware minimisation (ASAM), which doubles the work of a step; 0 is without
        epochs: passes over the training pairs
        batch_size: raw pairs in a batch, of all processes together; CHSG doubles the rows that the network sees
        micro_batch: pairs that the network holds in memory at once (gradient caching); null is all of a batch
        schedule: after the warm-up: cosine (half of one, down to zero), constant, or halving (every 5 epochs)
        schedule_step: the learning rate changes once an epoch, or with every step
        warmup_epochs: epochs until the peak
        zero_first_epoch: reproduce GeoDTR's schedule, whose first epoch has a learning rate of 0
        max_grad_norm: gradients are clipped to this norm; null leaves them alone
        max_grad_value: each entry of a gradient is clipped to this; null leaves them alone
        precision: bf16 runs the network in bfloat16 autocast; losses and ranks stay in fp32
        compile: torch.compile for the network in training: faster steps after a minute or more, mostly on GPUs; where
            it fails, training goes on without
    """

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = 1e-4
    weight_decay: float = 0.03
    eps: float = 1e-6
    momentum: float = 0.9
    sharpness: float = 0.0
    epochs: int = 200
    batch_size: int = 32
    micro_batch: int | None = None
    schedule: Literal["cosine", "constant", "halving"] = "cosine"
    schedule_step: Literal["epoch", "step"] = "epoch"
    warmup_epochs: float = 5
    zero_first_epoch: bool = False
    max_grad_norm: float | None = 1.0
    max_grad_value: float | None = None
    precision: Literal["fp32", "bf16"] = "bf16"
    compile: bool = False

    def __post_init__(self):
        if self.batch_size < 2:
            raise UserError(
                f"A batch of {self.batch_size} pair has no negatives to learn from. Set --batch-size to 2 or more."
            )
        if self.micro_batch is not None and self.micro_batch < 1:
            raise UserError(f"--micro-batch is {self.micro_batch}; it counts pairs and must be 1 or more.")
        if self.epochs < 0:
            raise UserError(f"--epochs is {self.epochs}; it must be 0 (evaluate only) or more.")


@dataclass(frozen=True)
class Evaluation:
    """When and how a model is measured.

    Args:
        every: evaluate each time this many epochs have passed, and after the last one
        batch_size: images embedded at once
        ties: pessimistic counts ties against the method; optimistic reproduces the authors' scripts
        embeddings: where they are kept: memory (of the device), or file (.npy in embeddings/ of the run folder), from
            where a gallery that is larger than memory can be ranked
        precision: of the network when it embeds to be measured: fp32, or bf16 (autocast); null is as in training
    """

    every: int = 5
    batch_size: int = 64
    ties: Literal["pessimistic", "optimistic"] = "pessimistic"
    embeddings: Literal["memory", "file"] = "memory"
    precision: Literal["fp32", "bf16"] | None = None


@dataclass(frozen=True)
class Recipe:
    """One method's settings.

    Args:
        model: what `create_model` gets beyond the defaults of the method's class.
        data: options that the data sets' loaders get where they know them, for instance `crop` of CVACT.
        then: name of the method's recipe that goes on from the weights of this one: a second stage.
    """

    model: dict[str, Any] = field(default_factory=dict)
    augment: Augment = Augment()
    view: View = View()
    sampling: Sampling = Sampling()
    loss: Loss = Loss()
    optim: Optim = Optim()
    evaluation: Evaluation = Evaluation()
    data: dict[str, Any] = field(default_factory=dict)
    then: str | None = None

    def __post_init__(self):
        # sizes come as lists from the command line and from JSON, as tuples from code
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in self.model.items()}
        object.__setattr__(self, "model", plain)

    def but(self, **parts: dict[str, Any]) -> Recipe:
        """A copy with some settings replaced: `recipe.but(optim={"lr": 1e-3}, model={"polar": False})`."""
        changed = {}
        for part, settings in parts.items():
            current = getattr(self, part)
            changed[part] = {**current, **settings} if isinstance(current, dict) else replace(current, **settings)
        return replace(self, **changed)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Recipe:
        parts = {name: part(**settings[name]) for name, part in PARTS.items()}
        return cls(**{**settings, **parts})


# the parts of a recipe that have options of their own, in the order in which --help shows them
PARTS = {"augment": Augment, "view": View, "sampling": Sampling, "loss": Loss, "optim": Optim, "evaluation": Evaluation}
