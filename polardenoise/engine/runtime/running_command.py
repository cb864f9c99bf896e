"""The command that is at work: what it writes says so, it replaces nothing of others, and warns once of each thing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_command: ContextVar[str] = ContextVar("command", default="")
#: What the command at work has warned of; None where there is none.
_warned: ContextVar[list[str] | None] = ContextVar("warned", default=None)


@contextmanager
def running_command(name: str) -> Iterator[None]:
    """Have a command, such as "simulate", be the one at work within a block."""
    token, warned = _command.set(name), _warned.set([])
    try:
        yield
    finally:
        _warned.reset(warned)
        _command.reset(token)


def warn(doubt: str) -> None:
    """Print a warning as soon as it is known: whoever reads it may stop the run."""
    print(f"WARNING: {doubt}", flush=True)
    warned = _warned.get()
    if warned is not None:
        warned.append(doubt)


def word_warnings(doubts: Iterable[str]) -> list[str]:
    """Word, for a summary, the warnings that the command at work has not printed yet, a line each."""
    warned = _warned.get() or []
    return [f"WARNING: {doubt}" for doubt in doubts if doubt not in warned]


def name_running_command() -> str:
    """Name the command at work; empty where Python calls the engine without one."""
    return _command.get()


def name_maker() -> str:
    """Name what makes a file: program, version, and the command at work where there is one.

    There is no time in it: the same command makes the same bytes.
    """
    from polardenoise import __version__

    return f"polardenoise {__version__} {name_running_command()}".rstrip()


def comment_maker(what: str) -> str:
    """Write the line, without its end, that says at the head of a text file what made it, and what it is."""
    return f"# {name_maker()}: {what}"
