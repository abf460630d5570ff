"""A DataLoader whose errors are sentences, and whose workers outlive the signals that end a job."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset, default_collate

from .errors import FEWER_PROCESSES, UserError, lost_worker

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE = 20  # seconds
HAS_MASK = hasattr(signal, "pthread_sigmask")  # as POSIX systems have


class ReportingLoader(DataLoader):
    """Raise a `UserError` of a worker as it is, where torch would raise one that holds the text of a traceback.

    A terminal and SLURM send their signals to every process of a job. A worker goes on for GRACE seconds, in which the
    main process can finish its step.

    Arguments are those of `DataLoader`.
    """

    def __init__(
        self, dataset: Dataset, *args: Any, collate_fn: Callable | None = None,
        worker_init_fn: Callable[[int], None] | None = None, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(
            _Reported(dataset), *args, collate_fn=_Collate(collate_fn or default_collate),
            worker_init_fn=_Start(worker_init_fn), **kwargs,
        )  # fmt: skip

    def __iter__(self) -> Iterator[Any]:
        with _signals_wait():  # in each worker until it has its handlers
            return _Raising(super().__iter__())


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    if not HAS_MASK:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Start:
    """What a worker does first."""

    def __init__(self, then: Callable[[int], None] | None):
        self.then = then

    def __call__(self, number: int) -> None:
        if HAS_MASK:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        if self.then is not None:
            self.then(number)


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
        except (RuntimeError, ConnectionError, EOFError) as error:
            lost, end_workers = lost_worker(error), getattr(self.batches, "_shutdown_workers", None)
            if lost is None and end_workers and not isinstance(error, RuntimeError):
                lost = UserError("A process that loads images has ended.", FEWER_PROCESSES)  # while it sent a batch
            if lost is None:
                raise
            if end_workers:
                with contextlib.suppress(RuntimeError):  # on their ends, which torch raises all over the program
                    end_workers()
            raise lost from error
        if isinstance(batch, UserError):
            raise batch
        return batch

    def __getattr__(self, name: str) -> Any:  # _shutdown_workers, by which the trainer ends the workers
        return getattr(self.batches, name)
