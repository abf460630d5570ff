"""A DataLoader whose errors, and the end of whose workers, are sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset, default_collate

from .errors import UserError, lost_worker


class ReportingLoader(DataLoader):
    """Raise a `UserError` of a worker as it is, where torch would raise one that holds the text of a traceback.

    Arguments are those of `DataLoader`.
    """

    def __init__(self, dataset: Dataset, *args: Any, collate_fn: Callable | None = None, **kwargs: Any):
        super().__init__(_Reported(dataset), *args, collate_fn=_Collate(collate_fn or default_collate), **kwargs)

    def __iter__(self) -> Iterator[Any]:
        return _Raising(super().__iter__())


class _Reported(Dataset):
    """The items of a data set; in place of one that cannot be read, its error."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset
        if hasattr(dataset, "__getitems__"):  # torch asks for whole batches where it finds this
            self.__getitems__ = self._whole_batch

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: Any) -> Any:
        try:
            return self.dataset[index]
        except UserError as error:
            return error

    def _whole_batch(self, indices: Sequence[Any]) -> Any:
        try:
            return self.dataset.__getitems__(indices)  # type: ignore[attr-defined]
        except UserError as error:
            return [error]


class _Collate:
    """Hand on the first error of a batch, or collate its items; images that cannot be stacked are an error too."""

    def __init__(self, collate: Callable):
        self.collate = collate

    def __call__(self, items: Any) -> Any:
        errors = (item for item in items if isinstance(item, UserError))
        try:
            return next(errors, None) or self.collate(items)
        except RuntimeError as error:
            sizes = str(error).partition("equal size, but got ")[2]
            if not sizes:
                raise
            return UserError(
                f"The images of a batch have different sizes: {sizes}.",
                "Make them of one size; the polar transform keeps tiles as they are stored, --no-polar does not.",
            )


class _Raising:
    """An iterator of a DataLoader that raises the errors that it meets."""

    def __init__(self, batches: Iterator[Any]):
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            batch = next(self.batches)
        except RuntimeError as error:
            if lost := lost_worker(error):
                raise lost from error
            raise
        if isinstance(batch, UserError):
            raise batch
        return batch

    def __getattr__(self, name: str) -> Any:  # _shutdown_workers, by which the trainer ends the workers
        return getattr(self.batches, name)
