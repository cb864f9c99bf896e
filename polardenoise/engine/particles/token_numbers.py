"""Tokens of STAR files as numbers: what they say, or which of them are equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def numbers_or_nan(values: list[str]) -> np.ndarray:
    """Turn text into numbers, float64, NaN where it is none."""
    joined = "".join(values)
    if joined.isascii() and "_" not in joined:  # Python also reads 1_000, and digits of any script
        try:
            return np.fromiter(map(float, values), dtype=np.float64, count=len(values))
        except ValueError:
            pass
    return np.array([number_or_nan(value) for value in values])


def number_or_nan(text: str) -> float:
    """Turn text into a number, NaN where it is none."""
    if "_" in text or not text.isascii():
        return float("nan")
    try:
        return float(text)
    except ValueError:
        return float("nan")


def number_tokens(tokens: Sequence[str]) -> np.ndarray:
    """Give equal tokens `(n,)` equal numbers, int64 from 0, in the order of the tokens.

    What `numpy.unique` does, in memory that does not grow with the longest token.
    """
    number = {token: place for place, token in enumerate(sorted(set(tokens)))}
    return np.fromiter((number[token] for token in tokens), dtype=np.int64, count=len(tokens))


def number_by_appearance(values: np.ndarray) -> np.ndarray:
    """Give equal values `(n,)` equal numbers from 0, the first value 0, the next new one 1."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[inverse.reshape(-1)]
