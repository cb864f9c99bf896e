"""Options of a command as fields of its plan: each makes the parser, the plan and the fingerprint of a run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polardenoise.engine.runtime.errors import InputError

if TYPE_CHECKING:  # nothing here is slow to import
    from polardenoise.engine.runtime.file_list import FileList

#: By what a field of a plan keeps its option.
KEY = "option"


@dataclass(frozen=True)
class Option:
    """How a field of a plan is asked for on the command line.

    Attributes
    ----------
    flags : tuple of str
        As argparse takes them; empty for `--name-of-the-field`.
    words : dict
        Further words for argparse: help, type, choices, metavar.
    unset : object
        What the parser holds where nothing is given, if that is not the default of the field.
    read : callable, optional
        Checks what the parser has read and makes the field's value of it; raises an `InputError`.
    is_fact : bool
        Whether the result depends on it: a run goes on only with the same.
    one_of : tuple of str
        The options, this one among them, of which one at most is given; empty where it goes with all.
    """

    flags: tuple[str, ...]
    words: dict[str, Any]
    unset: object
    read: Callable[[Any], Any] | None
    is_fact: bool
    one_of: tuple[str, ...]


def option(
    *flags: str,
    default: Any = MISSING,
    default_factory: Any = MISSING,
    unset: object = MISSING,
    read: Callable[[Any], Any] | None = None,
    is_fact: bool = False,
    one_of: tuple[str, ...] = (),
    **words: Any,
) -> Any:
    """Make a field of a plan that is an option: the attributes of `Option`, and words as argparse takes them."""
    made = Option(flags, words, default if unset is MISSING else unset, read, is_fact, one_of)
    if default_factory is not MISSING:
        return field(default_factory=default_factory, metadata={KEY: made})
    return field(default=default, metadata={KEY: made})


def make_file_list() -> FileList:
    """Make a list of no files."""
    from polardenoise.engine.runtime.file_list import FileList

    return FileList()


def list_options(plan: Any) -> dict[str, Option]:
    """List the options of a plan, or of its class, by the names of their fields, in their order."""
    return {one.name: one.metadata[KEY] for one in fields(plan) if KEY in one.metadata}


def name_option(name: str) -> str:
    """Give the option of a field as it is typed."""
    return f"--{name.replace('_', '-')}"


def add_options(parser: argparse.ArgumentParser, plan: type) -> None:
    """Declare the options of a plan's class."""
    groups: dict[tuple[str, ...], argparse._ActionsContainer] = {(): parser}
    for name, one in list_options(plan).items():
        words = dict(one.words)
        if one.unset is not MISSING:
            words["default"] = one.unset
        flags = one.flags or (name_option(name),)
        if flags[0].startswith("-"):
            words["dest"] = name
        if one.one_of not in groups:
            groups[one.one_of] = parser.add_mutually_exclusive_group()
        groups[one.one_of].add_argument(*flags, **words)


def read_options(arguments: argparse.Namespace, plan: type) -> dict[str, Any]:
    """Give the values of a plan's fields as they were asked for.

    Raises
    ------
    InputError
        If one cannot be used.
    """
    values = {}
    for name, one in list_options(plan).items():
        value = getattr(arguments, name)
        values[name] = one.read(value) if one.read else value
    return values


def settle_plan(plan: Any) -> None:
    """Check what a program gives to a plan as if it had been typed; paths and numbers may be text.

    Of options that exclude one another one is taken at most.

    For `__post_init__` of a plan's frozen class; what the command line has read already stays as it is.

    Raises
    ------
    InputError
        If a value cannot be used, in the words of the command line.
    """
    given: dict[tuple[str, ...], str] = {}
    for name, one in list_options(plan).items():
        value = getattr(plan, name)
        settled = settle_value(name, one, value)
        if settled is not value:
            object.__setattr__(plan, name, settled)
        if one.one_of and settled != one.unset:
            if one.one_of in given:
                raise InputError(f"{given[one.one_of]}: leave it out, or {name_option(name)}")
            given[one.one_of] = name_option(name)


def settle_value(name: str, one: Option, value: Any) -> Any:
    """Give a value of a field as the plan is to hold it; refuse what the option refuses."""
    typed = one.flags[-1] if one.flags else name_option(name)
    flag = typed if typed.startswith("-") else one.words.get("metavar", typed)
    if "action" in one.words and value not in (True, False):
        raise InputError(f"{flag} {str(value)[:40]}: is on or off; give True or False")
    if "nargs" in one.words:
        return settle_values(flag, one, value)
    kind, choices = one.words.get("type"), one.words.get("choices")
    if isinstance(value, str) and kind is not None:
        value = read_word(flag, kind, value)
    if choices is not None and value not in choices and value != one.unset:
        raise InputError(f"{flag} {str(value)[:40]}: must be one of {', '.join(choices)}")
    if isinstance(value, Path) and kind is None:
        value = str(value)  # of an option that names a file or says something else
    if one.read is None or not isinstance(value, (str, Real)) or isinstance(value, bool):
        return value
    return one.read(str(value) if isinstance(one.unset, str) else value)


def settle_values(flag: str, one: Option, values: Any) -> Any:
    """Give the values of an option that takes several words; text alone is one of them."""
    if values is None:
        return None
    words = [values] if isinstance(values, (str, Path)) else list(values)
    kind, wanted = one.words.get("type", str), one.words["nargs"]
    words = [read_word(flag, kind, word) for word in words]
    if isinstance(wanted, int) and len(words) != wanted:
        raise InputError(f"{flag}: give {wanted} of them, not {len(words)}")
    if wanted == "+" and not words:
        raise InputError(f"{flag}: give at least one")
    return one.read(words) if one.read else words


def read_word(flag: str, kind: Callable[[Any], Any], word: Any) -> Any:
    """Make of a word what an option takes, which is text, a path or a number."""
    try:
        return kind(word)
    except ValueError as error:
        raise InputError(f"{flag} {str(word)[:40]}: give a number") from error


def list_given(arguments: argparse.Namespace, plan: type) -> list[str]:
    """List the names of the fields of a plan's class whose options were given another value than they have anyway."""
    return [
        name
        for name, one in list_options(plan).items()
        if one.unset is MISSING or getattr(arguments, name) != one.unset
    ]


def state_options(plan: Any) -> dict[str, Any]:
    """State what of a plan its result depends on, by the names of the options; of a slice both ends."""
    facts = {}
    for name, one in list_options(plan).items():
        if one.is_fact:
            value = getattr(plan, name)
            facts[name_option(name)] = (
                [value.start, value.stop] if isinstance(value, slice) else value
            )
    return facts
