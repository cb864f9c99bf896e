"""What a run was begun with and what it is to go on with, side by side, where the two are not the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

#: Settings that a message names, sources of a kind that it names, characters of one value.
MOST_NAMED, MOST_SOURCES, LONGEST_VALUE = 4, 3, 60
#: A SHA-256 in hexadecimal, and so many of its digits as tell files apart.
HASH, DIGITS = re.compile(r"[0-9a-f]{64}"), 12


def word_changes(begun: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Word every setting that differs with both its values; empty where none does.

    Parameters
    ----------
    begun, asked : mapping
        Name of a setting, as a person gives it, -> its value as JSON has it. A name that one of them lacks is None.

    Examples
    --------
    >>> word_changes({"--seed": 0, "--rows": None}, {"--seed": 5, "--rows": None})
    '--seed 0 (now 5)'
    """
    names = [name for name in {**begun, **asked} if begun.get(name) != asked.get(name)]
    said = [word_change(name, begun.get(name), asked.get(name)) for name in names[:MOST_NAMED]]
    more = [f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    return ", ".join(said + more)


def word_change(name: str, before: Any, now: Any) -> str:
    """Word one setting with the value that a run was begun with and the one that is asked for now."""
    if name == "sources" and isinstance(before, list) and isinstance(now, list):
        return word_other_sources(before, now)
    if name == "--rows":
        return f"{word_rows(before)} (now {word_rows(now)})"
    if name == "--model":
        before, now = word_models(before, now)
    return f"{name} {word_value(before)} (now {word_value(now)})"


def word_rows(ends: Any) -> str:
    """Word the rows that a run takes, of which both ends are known, where there are any.

    Examples
    --------
    >>> word_rows([2, None]), word_rows([None, None])
    ('--rows 2:', 'all rows')
    """
    known = ["" if end is None else str(end) for end in ends] if isinstance(ends, list) else []
    return f"--rows {':'.join(known)}" if any(known) else "all rows"


def word_models(before: Any, now: Any) -> list[str]:
    """Word two models by their names; where these are the same, by the hashes of their weights as well."""
    models = [one if isinstance(one, dict) else {} for one in (before, now)]
    names = [str(one.get("name", "of another kind")) for one in models]
    if names[0] != names[1]:
        return names
    return [
        f"{name} (SHA-256 {str(one.get('sha256'))[:DIGITS]}...)"
        for name, one in zip(names, models, strict=True)
    ]


def word_other_sources(before: Sequence[str], now: Sequence[str]) -> str:
    """Word which molecules a training began with that are not asked for now, and the other way round."""
    gone, new = ([one for one in a if one not in b] for a, b in ((before, now), (now, before)))
    if not gone and not new:
        return "SOURCEs in another order"
    said = [f"SOURCE {list_some(gone)} (now without)"] if gone else []
    said += [f"without SOURCE {list_some(new)} (now with)"] if new else []
    return " and ".join(said)


def list_some(names: Sequence[str]) -> str:
    """List the first of some names, and how many more there are."""
    more = f" and {len(names) - MOST_SOURCES} more" if len(names) > MOST_SOURCES else ""
    return ", ".join(names[:MOST_SOURCES]) + more


def word_value(value: Any) -> str:
    """Word a value as a person would give it; of a file, of which only the hash is known, its first digits."""
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)):
        words = "[" + ", ".join(map(word_value, value)) + "]"
    elif isinstance(value, str) and HASH.fullmatch(value):
        words = f"a file of SHA-256 {value[:DIGITS]}..."
    else:
        words = (
            f"{value:g}" if isinstance(value, float) and f"{value:g}" == str(value) else str(value)
        )
    return words if len(words) <= LONGEST_VALUE else words[: LONGEST_VALUE - 3] + "..."
