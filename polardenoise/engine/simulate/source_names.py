"""Lists of sources as users write them: words of a command, and commas inside a word."""

from collections.abc import Iterable
from pathlib import Path

#: Before the seed of an invented molecule.
PHANTOM_PREFIX = "phantom:"


def split_sources(words: Iterable[str]) -> tuple[str, ...]:
    """Split words at their commas into single sources.

    Parameters
    ----------
    words : iterable of str
        For example ``phantom:1-20,35`` or ``a.pdb,b.mrc``. A file that has commas in its name is one source.

    Returns
    -------
    tuple of str
        For example ``phantom:1-20`` and ``phantom:35``: numbers that follow a phantom are phantoms.

    Examples
    --------
    >>> split_sources(["phantom:1-20,35", "a.pdb,b.mrc"])
    ('phantom:1-20', 'phantom:35', 'a.pdb', 'b.mrc')
    """
    sources = []
    for word in words:
        if "," not in word or Path(word).exists():
            sources.append(word)
            continue
        prefix = PHANTOM_PREFIX if word.strip().startswith(PHANTOM_PREFIX) else ""
        for part in filter(None, (part.strip() for part in word.split(","))):
            sources.append(prefix + part if part[0].isdecimal() else part)
    return tuple(sources)
