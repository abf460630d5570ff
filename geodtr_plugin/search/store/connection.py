"""The client of a store; what goes wrong on the way to it, or in it, becomes a sentence."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from ...utils.errors import NO_ROOM, UserError
from .address import Address

PATIENCE = 10.0  # seconds until a server must have answered
LONGEST = 120.0  # seconds of one call, with all attempts: a busy cluster delays writers
SHARED = (
    "One process at a time opens it. For several, let it serve: milvus-lite server --data-dir {folder} "
    "--host 127.0.0.1 --max-workers 1, and --store http://127.0.0.1:19530."
)


class Connection:
    """A client of a store, as a context manager.

    A server that wants a name gets `user:password`, or a token, from the environment variable MILVUS_TOKEN.

    Args:
        address: of the store; an embedded one is made.

    Raises:
        UserError: the packages are missing, nobody answers there, or an embedded store cannot be opened.
    """

    def __init__(self, address: Address):
        self.address = address
        self.client = _connected(address)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Leave the store; an embedded one finishes its files and can be opened by others."""
        self.client.close()
        if self.address.embedded is not None:
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self.address.uri)

    def ask(self, call: str, *arguments: Any, **options: Any) -> Any:
        """Return what a method of the client returns.

        Raises:
            UserError: the store has gone, is full, or refuses.
        """
        from pymilvus import MilvusException

        try:
            return getattr(self.client, call)(*arguments, timeout=LONGEST, **options)
        except MilvusException as error:
            raise _sentence(self.address, error) from error


def _connected(address: Address) -> Any:
    try:
        import pymilvus

        if address.embedded is not None:
            import milvus_lite  # noqa: F401

            _let_search_take_parameters()
    except ImportError as error:
        raise UserError(
            f"{address.text} needs the package {error.name}.", 'pip install "geodtr_plugin[milvus]"'
        ) from error
    # its errors come as exceptions, and need no second report with a traceback
    for name in ("pymilvus", "grpc"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with _reasons() as reasons:
        try:
            return pymilvus.MilvusClient(address.uri, token=os.environ.get("MILVUS_TOKEN", ""), timeout=PATIENCE)
        except (pymilvus.MilvusException, ValueError) as error:
            raise _unreachable(address, error, reasons) from error


def _unreachable(address: Address, error: Exception, reasons: list[BaseException]) -> UserError:
    if address.embedded is None:
        reason = getattr(error, "message", "") or str(error)
        hint = "Is that the right host and port, and the server running?"
        return UserError(f"No Milvus answers at {address.text} ({reason}).", hint)
    reason = str(reasons[-1]) if reasons else str(error)
    remedy = SHARED.format(folder=address.embedded) if "lock" in reason else ""
    return UserError(f"{address.text} cannot be opened: {reason.rstrip('.')}.", remedy)


def _sentence(address: Address, error: Exception) -> UserError:
    said = getattr(error, "message", "") or str(error)
    if any(os.strerror(number) in said for number in NO_ROOM) or "quota" in said:
        what = f"{address.text} cannot be written: its disk is full ({said.rstrip('.')})."
        return UserError(what, "Free some space, and repeat the command: it goes on where it was.")
    if getattr(error, "code", None) == 2 or "UNAVAILABLE" in said or "DEADLINE" in said:
        return UserError(f"{address.text} answers no longer.", "Repeat the command: it goes on where it was.")
    return UserError(f"{address.text} refuses: {said.rstrip('.')}.")


@contextlib.contextmanager
def _reasons() -> Iterator[list[BaseException]]:
    """Collect the errors that Milvus Lite logs instead of raising them, and keep them from the screen from then on."""
    reasons: list[BaseException] = []
    log, handler = logging.getLogger("milvus_lite"), logging.Handler()
    handler.emit = lambda record: reasons.append(record.exc_info[1]) if record.exc_info else None  # type: ignore
    log.addHandler(handler)
    log.propagate = False
    try:
        yield reasons
    finally:
        log.removeHandler(handler)
        log.addHandler(logging.NullHandler())


def _let_search_take_parameters() -> None:
    """Let the indexes of faiss take search parameters, which Milvus Lite gives them in this process.

    pytorch-metric-learning imports faiss's replacements for tensors, which take none; they stay for all other calls.
    """
    import faiss
    import faiss.contrib.torch_utils  # now, so that no later import undoes this

    kinds: list[Any] = [kind for kind in vars(faiss).values() if isinstance(kind, type)]
    for kind in kinds:
        if "search_numpy" in vars(kind) and not hasattr(kind.search, "__wrapped__"):
            kind.search = _with_parameters(kind.search, kind.search_numpy)


def _with_parameters(replacement: Callable, plain: Callable) -> Callable:
    @functools.wraps(replacement)
    def search(self: Any, *arguments: Any, params: Any = None, **more: Any) -> Any:
        if params is None:
            return replacement(self, *arguments, **more)
        return plain(self, *arguments, params=params, **more)

    return search
