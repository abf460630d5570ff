"""The base of all methods: two towers that turn query and reference images into unit vectors of one space."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from ..augmentations import COLOURS, IMAGENET_MEAN, IMAGENET_STD, ImageTransform, RoleTransform
from ..losses import Objective
from ..utils.errors import UserError
from ..utils.roles import Role
from .recipe import Recipe

if TYPE_CHECKING:
    from ..distances import HeadingDistance
    from ..trainers.own_step import OwnStep

# (function of normalised images [B, 3, H, W], number of images) -> its outputs on training images, joined, on the CPU
TrainingImages = Callable[[Callable[[Tensor], Tensor], int], Tensor]


class Embeddings(NamedTuple):
    """The result of a forward pass; a role without images, or a branch that was left out, is None."""

    query: Tensor | None  # [B, D], unit norm
    reference: Tensor | None  # [B, D], unit norm
    query_cf: Tensor | None = None  # [B, D], unit norm: the counterfactual of `query`
    reference_cf: Tensor | None = None
    extras: dict[str, Tensor] | None = None  # what heads say of the pairs, [B, ...] by name, for objectives


@dataclass(frozen=True)
class Paper:
    """The facts of a method: its paper, its code, its published numbers.

    Args:
        title: title of the paper.
        venue: where and when it appeared.
        url: the paper's page.
        code: the authors' repository.
        licence: licence of the authors' code ("none" forbids copying it).
        published: percent by (train, test, polar), named as our calculator names them; `test` is what
            `FieldOfView.test_name` makes of a data set's name.
        weights: where the authors keep trained weights; empty where none are known.
        mark: a word that tables add to the method's name, such as "re-derived".
        notes: what a reader of the numbers must know, by the beginning of the data sets' names that it concerns; under
            "" what concerns all.
    """

    title: str
    venue: str
    url: str
    code: str
    licence: str
    published: Mapping[tuple[str, str, bool], Mapping[str, float]] = field(default_factory=dict)
    weights: str = ""
    mark: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)

    def notes_on(self, data_sets: Iterable[str]) -> list[str]:
        """Return the notes that concern some of these data sets."""
        return [note for begin, note in self.notes.items() if any(name.startswith(begin) for name in data_sets)]


def published_row(
    recall_at_1: float, recall_at_5: float, recall_at_10: float, recall_at_1_percent: float
) -> dict[str, float]:
    """Return a row of a paper's table, in percent, under the names of `CrossViewAccuracyCalculator`."""
    return dict(
        recall_at_1=recall_at_1, recall_at_5=recall_at_5, recall_at_10=recall_at_10,
        recall_at_1_percent=recall_at_1_percent,
    )  # fmt: skip


class TwoTower(nn.Module):
    """Base class of all methods.

    A subclass builds `query_tower` and `reference_tower` (one module twice, if the weights are shared) and declares its
    `paper` and `recipes`. A tower maps images `[B, 3, H, W]`, or of more channels where the method has `input_maps`, to
    unit vectors `[B, D]`, and keeps its backbone as `trunk`; one that has a counterfactual branch takes
    `counterfactual=True` and returns two such tensors.

    Embeddings are compared by their cosine, unless the model has a `distance` of its own, one of `distances`: what
    ranks, mines or trains goes through it. Embeddings of queries may then be of another size than the references',
    which `embedding_size` is; see `embedding_size_of`.

    Args:
        query_size, reference_size: height and width of the images that the towers get.
        polar: whether reference images reach the network polar-transformed.
    """

    method_name: ClassVar[str]  # set by register_method
    paper: ClassVar[Paper]
    recipes: ClassVar[dict[str, Recipe]]  # "paper", "paper_offset", "laptop", "laptop_offset"
    # lowest and highest value of options that are numbers; of others, see `ranges.check_options`
    option_ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"dropout": (0.0, 1.0)}
    has_counterfactual: ClassVar[bool] = False  # whether the towers take `counterfactual=True`
    author_framework: ClassVar[Literal["pytorch", "tensorflow"]] = "pytorch"  # whose layout the authors' weights have
    author_extras: ClassVar[frozenset[str]] = frozenset()  # tensors of the authors' files that are no part of ours
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    normalised_as_trunk: bool = False  # whether `mean` and `std` are the trunk's; set by create_model
    predicts_offset: bool = False  # whether `extras` holds utils.pair_data.OFFSET of the pairs, as `datasets.Offsets`
    tile_size: int | None = None  # pixels that square tiles are reduced to before they are unrolled; None: as stored
    embedding_size: int
    config: dict[str, Any]  # what create_model was called with; set by it

    def __init__(self, query_size: tuple[int, int], reference_size: tuple[int, int], polar: bool):
        super().__init__()
        self.query_size, self.reference_size = [(height, width) for height, width in (query_size, reference_size)]
        self.polar = polar
        self.distance: HeadingDistance | None = None  # no class attribute: that would hide a module of this name
        self.query_tower: nn.Module
        self.reference_tower: nn.Module

    @property
    def mark(self) -> str:
        """A word that tables add to the method's name, of the method or of this model's options; "" adds none."""
        return self.paper.mark

    def forward(
        self, query: Tensor | None = None, reference: Tensor | None = None, counterfactual: bool = False
    ) -> Embeddings:
        """Embed both views in one call, as data-parallel training needs it.

        Args:
            query: `[B, *input_shape("query")]`, its colours normalised by `mean` and `std`.
            reference: `[R, *input_shape("reference")]`, likewise; the first B are the queries' partners, more may
                follow.
            counterfactual: also return the counterfactual embeddings.
        """
        q, q_cf = self._embed(self.query_tower, query, counterfactual)
        r, r_cf = self._embed(self.reference_tower, reference, counterfactual)
        return Embeddings(q, r, q_cf, r_cf)

    def encode_query(self, images: Tensor) -> Tensor:
        """Map `[B, *input_shape("query")]` to `[B, D]` of unit norm."""
        return self.query_tower(images)

    def encode_reference(self, images: Tensor) -> Tensor:
        """Map `[B, *input_shape("reference")]` to `[B, D]` of unit norm."""
        return self.reference_tower(images)

    def embedding_size_of(self, role: Role) -> int:
        """Return the length of an embedding of a role."""
        return self.embedding_size

    def input_maps(self, role: Role, size: tuple[int, int] | None = None) -> Tensor | None:
        """Return channels `[M, *size]` that the network gets behind an image's colours; None, as here: none.

        They are the same for all images of a role, and follow their pixels: see `RoleTransform`.

        Args:
            role: whose images.
            size: (height, width) of an aerial image, or of a whole panorama, of which the network may see a part; None:
                those of the network's input.
        """
        return None

    def input_shape(self, role: Role) -> tuple[int, int, int]:
        """Return (channels, height, width) of the network's input: three colours and `input_maps`."""
        maps = self.input_maps(role)
        return (COLOURS + (0 if maps is None else len(maps)), *self.size_of(role))

    def size_of(self, role: Role) -> tuple[int, int]:
        """Return (height, width) of the network's input."""
        return self.query_size if role == "query" else self.reference_size

    def role_transform(self, role: Role, image: ImageTransform) -> RoleTransform:
        """Return how stored images of a role, given the network's size by `image`, become its input."""
        return RoleTransform(image, self.mean, self.std, self.input_maps(role, image.size))

    @staticmethod
    def _embed(tower: nn.Module, images: Tensor | None, counterfactual: bool):
        if images is None:
            return None, None
        return tower(images, counterfactual=True) if counterfactual else (tower(images), None)

    def normalise_as_trunk(self) -> None:
        """Take `mean` and `std` from the trunk, where it says them and the method has none of its own."""
        trunk = getattr(self.query_tower, "trunk", None)
        mean, std = getattr(trunk, "mean", None), getattr(trunk, "std", None)
        if self.mean is TwoTower.mean and self.std is TwoTower.std and mean and std:
            self.mean, self.std, self.normalised_as_trunk = tuple(mean), tuple(std), True

    def restore_normalisation(self, stated: Mapping[str, Sequence[float]] | None) -> None:
        """Normalise as the weights were trained.

        Args:
            stated: `mean` and `std`, as the config.json of the weights has them; None: it has none, being of a version
                that normalised for ImageNet whatever the trunk.

        Raises:
            KeyError, TypeError, ValueError: it states something else.
        """
        if stated is not None:
            self.mean, self.std = ((float(r), float(g), float(b)) for r, g, b in (stated["mean"], stated["std"]))
        elif self.normalised_as_trunk:
            self.mean, self.std = IMAGENET_MEAN, IMAGENET_STD

    def before_training(self, images: TrainingImages) -> None:
        """Use training images before the first step of a new run that starts without weights.

        Args:
            images: calls a function on random training images, half of them of either role, in batches.
        """

    def build_objectives(self) -> dict[str, Objective]:
        """Return what training minimises beside the recipe's loss, by the names of `--loss.objectives`."""
        return {}

    def own_step(self) -> OwnStep | None:
        """Return how this method does a training step with several optimizers; None: the trainer's, with one."""
        return None

    def pictures(self, query: Tensor, reference: Tensor) -> dict[str, Tensor]:
        """Return what the method makes of pairs, to be looked at after a training; by default nothing.

        Args:
            query, reference: as the towers take them; row i of one belongs to row i of the other.

        Returns:
            Images `[B, 3, *, *]` in [0, 1] by what they show, in the order of the columns of a sheet.
        """
        return {}

    def configure_trainer(self, trainer: Any) -> None:
        """Change the trainer of a run, a `CrossViewTrainer`, once it is built: add losses, optimizers, hooks."""

    def after_training(self, images: TrainingImages) -> bool:
        """Use training images after the last step; return whether the embeddings have changed."""
        return False

    def author_key(self, key: str) -> str | None:
        """Return the name of one of our tensors in the authors' checkpoints; None: they do not hold it, and it stays.

        Raises:
            UserError: the method does not define it, as its authors published no weights that are known.
        """
        message = f"These weights are none of {self.method_name}, and no checkpoint layout of its authors is known."
        raise UserError(message, "Check --method and the model's options against those that the weights come from.")

    def author_tensors(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the authors' tensors, of any shapes, under names that `author_key` knows.

        Those of TensorFlow come and go in its layout, without what belongs to an optimizer.
        """
        return tensors

    def adapt(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return a state dict of ours, tensors of any shapes, as this model takes it: a first stage's for a second."""
        return tensors


def count_parameters(*modules: nn.Module, trained: bool = False) -> int:
    """Return how many numbers the parameters of modules hold, each once; `trained`: those that training moves."""
    unique = {id(p): p.numel() for module in modules for p in module.parameters() if p.requires_grad or not trained}
    return sum(unique.values())
