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
