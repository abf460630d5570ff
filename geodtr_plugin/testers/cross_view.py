"""PML's tester for two kinds of images: queries and references, each with its own tower and its own data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning.testers import GlobalEmbeddingSpaceTester
from pytorch_metric_learning.utils import common_functions as c_f
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..evaluation.calculator import CrossViewAccuracyCalculator
from ..evaluation.truth import Truth
from ..utils.files import atomic_path
from ..utils.loading import ReportingLoader
from ..utils.npy_rows import new_rows, open_rows
from ..utils.precision import check_precision
from ..utils.roles import ROLES
from .embedding import embed_images, modes_restored

Splits = Sequence[tuple[str, Sequence[str]]]


class CrossViewTester(GlobalEmbeddingSpaceTester):
    """Embed query splits with `trunk.encode_query` and reference splits with `trunk.encode_reference`.

    A trunk without these two methods, as any PML trunk, embeds both. Every argument of PML's tester keeps working, and
    so does its HookContainer. Data sets give `(image, label)`; with query labels `[1 + S]` (the positive, then
    semi-positives, -1 for none) and one reference label, all columns go to the calculator as level 0.

    Args:
        *args: PML's positional arguments.
        batch_transform: per role, a function on the device batch that makes network input of it (`{"query": fn,
            "reference": fn}`); without one, images must be what the trunk takes. It is not moved to the device.
        precision: of the trunk, "fp32" or "bf16" (autocast). Embeddings come out as float32.
        truth: the right answers of query splits, `{"query": Truth}`, as indices into the joined reference splits; they
            replace the labels. A plain Truth is that of "query".
        pin_memory: of the loader; by default where there is a GPU.
        progress: show a progress bar.
        **kwargs: PML's keywords. `accuracy_calculator` defaults to a CrossViewAccuracyCalculator.

    Raises:
        ValueError: the batch transforms are of other roles, or there is a truth and a calculator that knows none.
    """

    data_device: torch.device
    accuracy_calculator: Any

    def __init__(
        self,
        *args: Any,
        batch_transform: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
        precision: str = "fp32",
        truth: Truth | Mapping[str, Truth] | None = None,
        pin_memory: bool | None = None,
        progress: bool = True,
        **kwargs: Any,
    ):
        self.batch_transform = dict(batch_transform or {})
        if not set(self.batch_transform) <= set(ROLES):
            raise ValueError(f"batch_transform has the keys {', '.join(ROLES)}, not {', '.join(self.batch_transform)}")
        self.precision, self.pin_memory, self.progress = check_precision(precision), pin_memory, progress
        self.truth = {"query": truth} if isinstance(truth, Truth) else dict(truth or {})
        self.split_roles: dict[str, str] = {}
        super().__init__(*args, **kwargs)
        self.data_device = torch.device(self.data_device)
        if self.truth and not isinstance(self.accuracy_calculator, CrossViewAccuracyCalculator):
            raise ValueError("a truth needs a CrossViewAccuracyCalculator: PML's own knows labels only")

    def initialize_accuracy_calculator(self) -> None:
        """Take our calculator by default; called by PML."""
        if self.accuracy_calculator is None:
            self.accuracy_calculator = CrossViewAccuracyCalculator(device=self.data_device)

    def test(
        self,
        dataset_dict: Mapping[str, Dataset],
        epoch: int,
        trunk_model: nn.Module,
        embedder_model: nn.Module | None = None,
        splits_to_eval: Splits | None = None,
        collate_fn: Callable | None = None,
    ) -> dict[str, dict[str, float]]:
        """Embed and evaluate; the modules leave in the mode (training or not) in which they came.

        Args:
            dataset_dict: data sets by split.
            epoch: number that the results carry.
            trunk_model, embedder_model: the model; a TwoTower needs no embedder.
            splits_to_eval: `[(query split, [reference splits])]`; by default `[("query", ["reference"])]` if there are
                such splits, otherwise PML's default, every split against itself.
            collate_fn: of the loaders.

        Returns:
            `result["query"]["recall_at_1_level0"]` and so on.
        """
        if splits_to_eval is None and set(ROLES) <= set(dataset_dict):
            splits_to_eval = [("query", ["reference"])]
        if splits_to_eval is not None:  # PML reorders the lists in place
            splits_to_eval = [(query, list(references)) for query, references in splits_to_eval]
        with modes_restored(trunk_model, embedder_model):
            return super().test(dataset_dict, epoch, trunk_model, embedder_model, splits_to_eval, collate_fn)

    def embed(
        self,
        dataset: Dataset,
        role: str,
        trunk_model: nn.Module,
        embedder_model: nn.Module | None = None,
        collate_fn: Callable | None = None,
        out: str | os.PathLike[str] | Tensor | np.ndarray | None = None,
    ) -> Tensor:
        """Return all embeddings of a data set in a role ("query" or "reference"), float32 `[N, D]`.

        Args:
            dataset, trunk_model, embedder_model, collate_fn: as for `test`.
            role: which tower embeds.
            out: where embeddings go, batch by batch: the name of a `.npy` file, which appears when it is complete; or
                rows `[N, D]` on the CPU, such as a part of a memory map. None: memory of `data_device`.

        Returns:
            On `data_device`; with `out`, on the CPU. A tensor over a file reads rows when they are asked for, so that
            it may be larger than memory; what is written into it is written into the file.

        Raises:
            UserError: the disk has no room for the file.
        """
        with modes_restored(trunk_model, embedder_model):
            if not isinstance(out, (str, os.PathLike)):
                return self.get_all_embeddings(dataset, trunk_model, embedder_model, collate_fn, role=role, out=out)[0]
            with atomic_path(out) as partial:
                self.get_all_embeddings(dataset, trunk_model, embedder_model, collate_fn, role=role, out=partial)
            return open_rows(out)

    def get_all_embeddings(
        self,
        dataset: Dataset,
        trunk_model: nn.Module,
        embedder_model: nn.Module | None = None,
        collate_fn: Callable | None = None,
        eval: bool = True,
        return_as_numpy: bool = False,
        role: str = "query",
        out: str | os.PathLike[str] | Tensor | np.ndarray | None = None,
    ) -> tuple:
        """Return embeddings `[N, D]` and labels `[N, columns]`, as PML does, with the tower of `role`.

        `out` is that of `embed`, but a file is written where it is, and may be left half written.

        Raises:
            ValueError: the role is unknown, there is no image, or `out` has another shape or comes with PML's pca.
        """
        if role not in ROLES:
            raise ValueError(f"role must be one of {', '.join(ROLES)}, not {role!r}")
        if self.pca and out is not None:
            raise ValueError("PML's pca needs all embeddings in memory at once: leave out=... or pca=... out")
        embedder_model = nn.Identity() if embedder_model is None else embedder_model
        if eval:
            trunk_model.eval()
            embedder_model.eval()
        pin = self.data_device.type == "cuda" if self.pin_memory is None else self.pin_memory
        loader = ReportingLoader(
            dataset,
            batch_size=self.batch_size,
            num_workers=self.dataloader_num_workers,
            collate_fn=collate_fn,
            pin_memory=pin,
        )
        embeddings, labels = self._embed_all(loader, role, trunk_model, embedder_model, out)
        if self.pca:  # else each batch has been normalised
            embeddings = self.maybe_normalize(embeddings)
        return (embeddings.cpu().numpy(), labels.cpu().numpy()) if return_as_numpy else (embeddings, labels)

    def get_splits_to_compute_embeddings(
        self, dataset_dict: Mapping[str, Dataset], splits_to_eval: Splits | None
    ) -> tuple[Splits, list[str]]:
        """Return the pairs of splits to evaluate and all their names, for PML, and note the role of every split."""
        splits_to_eval, names = super().get_splits_to_compute_embeddings(dataset_dict, splits_to_eval)
        queries = {query for query, _ in splits_to_eval}
        self.shared_splits = {name for _, references in splits_to_eval for name in references if name in queries}
        self.split_roles = {name: "query" if name in queries else "reference" for name in names}
        return splits_to_eval, sorted(names)

    def get_all_embeddings_for_all_splits(
        self,
        dataset_dict: Mapping[str, Dataset],
        trunk_model: nn.Module,
        embedder_model: nn.Module,
        splits_to_compute_embeddings: Sequence[str],
        collate_fn: Callable | None,
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return embeddings `[N, D]` and labels `[N, columns]` of every split in its role; called by PML.

        Raises:
            ValueError: a split would be queries and references of a model that embeds the two differently.
        """
        if self.shared_splits and _encoder(trunk_model, "reference") is not None:
            raise ValueError(
                f"{', '.join(sorted(self.shared_splits))} would be queries and references at once, but this model "
                'embeds the two differently: give splits_to_eval=[("query", ["reference"])]'
            )
        return {
            name: self.get_all_embeddings(
                dataset_dict[name], trunk_model, embedder_model, collate_fn, role=self.split_roles[name]
            )
            for name in splits_to_compute_embeddings
        }

    def maybe_combine_splits(
        self, embeddings_and_labels: Mapping[str, tuple[Tensor, Tensor]], splits: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """Join embeddings `[N, D]` and labels, for PML; a single split stays as it is, since joining copies."""
        if len(splits) == 1:
            return embeddings_and_labels[splits[0]]
        return super().maybe_combine_splits(embeddings_and_labels, splits)

    def do_knn_and_accuracies(
        self,
        accuracies: dict[str, float],
        embeddings_and_labels: Mapping[str, tuple[Tensor, Tensor]],
        query_split_name: str,
        reference_split_names: Sequence[str],
    ) -> None:
        """Add the accuracies of query `[N, D]` and reference splits `[M, D]`; called by PML.

        One reference label and several query labels, or a truth, make one level; all else has PML's levels.
        """
        query, query_labels, reference, reference_labels = self.set_reference_and_query(
            embeddings_and_labels, query_split_name, reference_split_names
        )
        truth = self.truth.get(query_split_name)
        if truth is None and (query_labels.shape[1] == 1 or reference_labels.shape[1] > 1):
            super().do_knn_and_accuracies(accuracies, embeddings_and_labels, query_split_name, reference_split_names)
            return
        self.label_levels = [0]
        same = self.ref_includes_query(query_split_name, reference_split_names)
        extra: dict[str, Any] = {} if truth is None else {"truth": truth}  # PML's own calculator takes none
        results = self.accuracy_calculator.get_accuracy(
            query, query_labels, reference, reference_labels[:, 0], same, **extra
        )
        accuracies.update({self.accuracies_keyname(name, 0): value for name, value in results.items()})

    def _embed_all(
        self, loader: DataLoader, role: str, trunk_model: nn.Module, embedder_model: nn.Module,
        out: str | os.PathLike[str] | Tensor | np.ndarray | None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        if len(loader) == 0:
            raise ValueError(f"there are no {role} images to embed")
        encode = _encoder(trunk_model, role) or trunk_model
        network = encode if self.use_trunk_output else lambda images: embedder_model(encode(images))
        embeddings: Any = None
        labels: Any = None
        count, done = len(loader.dataset), 0
        with torch.no_grad():
            for batch in tqdm(loader, desc=f"embedding {role}", disable=not self.progress, leave=False):
                images, label = self.data_and_label_getter(batch)
                label = c_f.process_label(label, "all", self.label_mapper)
                label = label.reshape(len(label), -1)
                some = embed_images(
                    images, network, self.batch_transform.get(role), device=self.data_device,
                    precision=self.precision, dtype=self.dtype,
                )  # fmt: skip
                some = some if self.pca else self.maybe_normalize(some)  # all at once, that would make a copy of all
                if embeddings is None:
                    # in place from the start: a list, joined at the end, would hold everything twice; and a list of
                    # labels would lie between the batches' memory in such a way that it could not be used again
                    embeddings, labels = _room(out, count, some), label.new_empty(count, label.shape[1])
                rows = slice(done, done + len(some))
                embeddings[rows], labels[rows], done = some, label, rows.stop
        return embeddings, labels.to(self.data_device)


def _encoder(trunk: nn.Module, role: str) -> Callable[[Tensor], Tensor] | None:
    """Return the tower of a role, also through the wrappers of data-parallel training; None for a plain trunk."""
    return getattr(getattr(trunk, "module", trunk), f"encode_{role}", None)


def _room(out: str | os.PathLike[str] | Tensor | np.ndarray | None, count: int, like: Tensor) -> Tensor:
    """Return the memory or file that `count` rows like these `[B, D]` go to."""
    shape = (count, like.shape[1])
    if out is None:
        return like.new_empty(shape)
    if isinstance(out, (str, os.PathLike)):
        with open(out, "w+b") as file:
            return new_rows(file, shape)
    if tuple(out.shape) != shape:
        raise ValueError(f"out is {list(out.shape)}, but the embeddings are {list(shape)}")
    return torch.as_tensor(out)
