"""Sources as users write them, words of a command, and commas inside a word; what micrographs of them are called."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

#: Before the seed of an invented molecule.
PHANTOM_PREFIX = "phantom:"
#: Digits that tell the sources of two simulations apart.
DIGITS = 8


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


def name_micrographs(sources: Iterable[str]) -> str:
    """Name the micrographs of a simulation, but for their numbers: those of other molecules are called otherwise.

    Files are told by what is in them, wherever they lie.
    """
    digest = hashlib.sha256()
    for source in sources:
        is_phantom = source.startswith(PHANTOM_PREFIX)
        content = source.encode() if is_phantom else Path(source).read_bytes()
        digest.update(hashlib.sha256(content).digest())
    return f"micrograph_{digest.hexdigest()[:DIGITS]}"
