"""How a run is stopped: at once, leaving what can be resumed, or between two steps of a training."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

EXIT_TERMINATED = 128 + signal.SIGTERM


class Terminated(SystemExit):
    """The run was told to end: a stop button, a wall time."""

    def __init__(self) -> None:
        super().__init__(EXIT_TERMINATED)


@contextmanager
def unwinding_when_terminated() -> Iterator[None]:
    """Turn SIGTERM into an exit that removes unfinished files and keeps what can be resumed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(_number: int, _frame: object) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stopping_between_steps() -> Iterator[Callable[[], None]]:
    """Put Ctrl-C and SIGTERM off until they are asked for; a second one of them counts at once.

    Yields
    ------
    callable
        Raises `KeyboardInterrupt` or `Terminated` if the run has been told to stop.
    """
    told: list[int] = []

    def check() -> None:
        if told:
            raise KeyboardInterrupt if told[0] == signal.SIGINT else Terminated

    def note(number: int, _frame: object) -> None:
        told.append(number)
        if len(told) > 1:
            check()

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) not in (
            signal.SIG_IGN,
            None,
        ):  # jobs in the background are deaf to Ctrl-C
            before[number] = signal.signal(number, note)
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
