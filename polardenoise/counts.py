"""Counts in words, for both wings: one particle, two particles."""

from __future__ import annotations


def word_count(count: int, one: str, many: str | None = None) -> str:
    """Put a count before the word for what is counted.

    Parameters
    ----------
    count : int
        How many.
    one : str
        The word for one of them; a few words, the last of which is counted, will do.
    many : str, optional
        The word for several, where it is not that for one with an `s` (`es` after a hissing sound).

    Examples
    --------
    >>> word_count(1, "particle"), word_count(0, "raw image"), word_count(2, "class")
    ('1 particle', '0 raw images', '2 classes')
    >>> word_count(3, "piece of junk", "pieces of junk")
    '3 pieces of junk'
    """
    if count == 1:
        return f"1 {one}"
    return f"{count} {many or add_plural(one)}"


def add_plural(word: str) -> str:
    """Make the plural of a word that has an ordinary one."""
    return word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")


def choose_verb(count: int, one: str, many: str) -> str:
    """Choose the verb that goes with a count.

    Examples
    --------
    >>> choose_verb(1, "shows", "show"), choose_verb(0, "shows", "show")
    ('shows', 'show')
    """
    return one if count == 1 else many
