"""The proposal: which particles, and which classes, look good enough; for people to see, and to change.

Scores of particles make a hump whose place depends on how noisy the images are; junk lies below it, and reaches into
its foot. The proposal stands well below the hump, so that what is rare or looks a little different stays: it takes away
what is surely junk.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polardenoise.counts import choose_verb, word_count

#: Scores are looked at as `log(s / (1 - s))`, kept in these bounds: there the hump is about as wide on either side.
LEAST, MOST = 0.01, 0.995
#: Of images below this nobody asks where their hump lies: they show next to nothing of their neighbours.
NOTHING = 0.05
#: Width and step of the curve that the hump is looked for in; a lesser hump, of so much of its height, counts as well.
WIDTH, STEP, LESSER_HUMP = 0.3, 0.05, 0.25
#: Share of a normal distribution within one standard deviation.
WITHIN_ONE = 0.6827
#: The proposal is so many standard deviations below the hump, at most this share of the hump's score, and not less than
#: `NOTHING`.
BELOW, SHARE = 4.0, 0.6
#: Of fewer particles nothing is proposed: a hump of some tens lies where chance has it.
FEWEST = 50
#: A class is proposed where at least this share of its images are.
MEMBERS = 0.5


@dataclass(frozen=True)
class Proposal:
    """What looks good enough.

    Attributes
    ----------
    min_score : float
        Of its particles, four digits as in the STAR files; 0 where there is nothing to go by.
    classes : tuple of int
        Numbers, ascending.
    particles : int
        Rows that score as much.
    """

    min_score: float
    classes: tuple[int, ...]
    particles: int


def find_why_not(score: NDArray[np.floating], verdict: Sequence[str]) -> str:
    """Say why nothing is proposed for particles of these scores `(n,)`; empty where something is.

    `verdict` is what `denoise` said against their images, see `denoise.verdict`.
    """
    if verdict:
        return f"`denoise` said not to trust these images ({verdict[0]}), and scores say as little"
    if len(score) < FEWEST:
        few = word_count(len(score), "particle")
        return f"{few} {choose_verb(len(score), 'is', 'are')} too few to tell good ones by their scores"
    if not (score > NOTHING).any():
        return "no image shows what its neighbours show"
    return ""


def propose(score: NDArray[np.float32], number: NDArray[np.int64] | None) -> Proposal:
    """Propose particles by their scores `(n,)`, and classes by those of their images.

    Parameters
    ----------
    score : ndarray
        `(n,)` from 0 to 1.
    number : ndarray or None
        `(n,)` class of each, from 1; None where there are none.
    """
    rounded = score.astype(np.float64).round(4)
    least = propose_min_score(rounded)
    good = rounded >= least
    if number is None:
        return Proposal(least, (), int(good.sum()))
    sizes, those = np.bincount(number), np.bincount(number[good], minlength=number.max() + 1)
    classes = np.flatnonzero((sizes > 0) & (those >= MEMBERS * sizes))
    return Proposal(least, tuple(classes.tolist()), int(good.sum()))


def propose_min_score(score: NDArray[np.float64]) -> float:
    """Propose the least score of particles to keep, four digits; 0 where no image shows what its neighbours show.

    Examples
    --------
    >>> good, junk = np.linspace(0.88, 0.97, 700), np.linspace(0.0, 0.3, 300)
    >>> 0.3 < propose_min_score(np.concatenate([good, junk])) < 0.88
    True
    """
    showing = score[score > NOTHING]
    if not showing.size:
        return 0.0
    place = stretch(showing)
    # It is found on a grid that may end beyond the last of them.
    hump = min(find_hump(place), float(place.max()))
    above = place[place >= hump] - hump
    deviation = float(np.quantile(above, WITHIN_ONE))
    foot = 1 / (1 + np.exp(BELOW * deviation - hump))
    return round(max(NOTHING, min(float(foot), SHARE / float(1 + np.exp(-hump)))), 4)


def stretch(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stretch scores at both ends, `log(s / (1 - s))`."""
    kept = score.clip(LEAST, MOST)
    return np.log(kept / (1 - kept))


def find_hump(place: NDArray[np.float64]) -> float:
    """Find the hump of the best, among those that are not too small, of stretched scores `(n,)`."""
    x = np.arange(place.min(), place.max() + STEP, STEP)
    edges = np.append(x, x[-1] + STEP) - STEP / 2
    counts = np.histogram(place, edges)[0]
    kernel = np.exp(-((x[:, None] - x) ** 2) / (2 * WIDTH**2))
    height = kernel @ counts
    beside = np.pad(height, 1)
    peaks = (height >= beside[:-2]) & (height > beside[2:]) & (height >= LESSER_HUMP * height.max())
    return float(x[np.flatnonzero(peaks)[-1]])
