"""Reading and writing beside the computing: one thread each, a bounded number of pieces in flight."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Key = TypeVar("Key")
Piece = TypeVar("Piece")


@contextmanager
def reading_ahead(
    read: Callable[[Key], Piece], keys: Iterable[Key], ahead: int = 1
) -> Iterator[Iterator[Piece]]:
    """Read pieces in their order while the caller works on earlier ones.

    Parameters
    ----------
    read : callable
        From a key to its piece; runs in a thread of its own, one key at a time.
    keys : iterable
        What to read.
    ahead : int
        Pieces that may be ready before they are asked for: memory holds so many, and one.

    Yields
    ------
    iterator
        Of the pieces. An error of `read` comes out where its piece would. Leaving the block, by Ctrl-C too, waits for
        no more than the piece that is being read.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="reading")

    def pieces() -> Iterator[Piece]:
        coming: deque[Future[Piece]] = deque()
        for key in keys:
            coming.append(thread.submit(read, key))
            if len(coming) > ahead:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()

    try:
        yield pieces()
    finally:
        thread.shutdown(cancel_futures=True)


@contextmanager
def writing_behind(write: Callable[..., None], behind: int = 2) -> Iterator[Callable[..., None]]:
    """Write results in their order while the caller works on later ones.

    Parameters
    ----------
    write : callable
        Writes one result; runs in a thread of its own, one result at a time.
    behind : int
        Results that may wait; with more, the caller waits.

    Yields
    ------
    callable
        Takes what `write` takes. An error of `write` is raised by a later call, or at the end of the block, where all
        has been written. After an error of the caller what has not begun is dropped.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="writing")
    going: deque[Future[None]] = deque()

    def put(*result: object) -> None:
        going.append(thread.submit(write, *result))
        while len(going) > behind:
            going.popleft().result()

    try:
        yield put
        while going:
            going.popleft().result()
    finally:
        thread.shutdown(cancel_futures=True)
