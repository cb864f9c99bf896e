"""Something that happens at a chosen moment of a run: at its n-th call of the system."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable

#: Calls that write, and `open`: what a run asks of the system.
WATCHED = ((os, "pwrite"), (os, "replace"), (os, "fsync"), (os, "mkdir"), (builtins, "open"))


class Moment:
    """Counts the calls of the system that a run makes, and does something at one of them.

    Parameters
    ----------
    patch : pytest.MonkeyPatch
        What replaces the calls.
    number : int
        Of the call, from 0; below 0 for none: the calls are only counted.
    act : callable
        What happens before that call, and before all later ones while `lasts`.
    lasts : bool
        Whether it goes on.
    """

    def __init__(self, patch, number: int = -1, act: Callable[[], None] | None = None, lasts=False):
        self.number, self.act, self.lasts = number, act, lasts
        self.count = 0
        for module, name in WATCHED:
            patch.setattr(module, name, self._watch(getattr(module, name)))

    def _watch(self, call):
        def watched(*arguments, **keywords):
            place, self.count = self.count, self.count + 1
            due = place == self.number or (self.lasts and place > self.number >= 0)
            if due and self.act is not None:
                self.act()
            return call(*arguments, **keywords)

        return watched


def fail(error: int) -> Callable[[], None]:
    """Give an act that fails as the system does, with an error number."""

    def raise_error() -> None:
        raise OSError(error, os.strerror(error))

    return raise_error


def spread(count: int, moments: int = 5) -> list[int]:
    """Choose moments evenly over a run of so many calls, near its beginning and its end among them."""
    return sorted({round(place * (count - 1) / (moments - 1)) for place in range(moments)})
