"""The command that is at work: what it writes says so, and it replaces nothing that another command wrote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_command: ContextVar[str] = ContextVar("command", default="")


@contextmanager
def running_command(name: str) -> Iterator[None]:
    """Have a command, such as "simulate", be the one at work within a block."""
    token = _command.set(name)
    try:
        yield
    finally:
        _command.reset(token)


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
