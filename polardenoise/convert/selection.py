"""Raw particles whose denoised images score well, or are in good classes: each known by its id, never by its place."""

import math
from dataclasses import dataclass

import numpy as np
from pyworkflow.object import Integer

from polardenoise.convert.chunks import list_enabled_ids, open_fresh
from polardenoise.convert.convert import iter_enabled
from polardenoise.convert.denoised_set import SCORE
from polardenoise.convert.particle_columns import RANDOM_SUBSET
from polardenoise.convert.stacks import is_denoised_stack


@dataclass(frozen=True)
class ScoredParticles:
    """What a denoised set says of its enabled particles.

    Attributes
    ----------
    ids : ndarray
        `(n,)` int64, ascending.
    score : ndarray
        `(n,)` float64, 0 to 1; NaN where a particle has none.
    half : ndarray
        `(n,)` int64, random half 1 or 2; 0 where a particle is in none.
    """

    ids: np.ndarray
    score: np.ndarray
    half: np.ndarray


@dataclass(frozen=True)
class Choice:
    """Which particles are kept, and why the others are not: each is counted once.

    Attributes
    ----------
    kept : ndarray
        `(n,)` bool.
    in_other_classes, below_min_score, below_top_fraction : int
        How many each condition leaves out, of those that the ones before let through.
    """

    kept: np.ndarray
    in_other_classes: int
    below_min_score: int
    below_top_fraction: int


def read_scored_particles(denoised):
    """Read ids, scores and random halves of a set's enabled particles, as `ScoredParticles`."""
    ids, scores, halves = [], [], []
    fresh = open_fresh(denoised)
    for particle in iter_enabled(fresh):
        score = particle.getAttributeValue(SCORE)
        ids.append(particle.getObjId())
        scores.append(math.nan if score is None else score)
        halves.append(particle.getAttributeValue(RANDOM_SUBSET) or 0)
    fresh.close()
    return ScoredParticles(np.array(ids, int), np.array(scores, float), np.array(halves, int))


def choose_particles(scored, min_score=None, top_fraction=None, class_ids=None):
    """Choose particles that meet all that is asked for.

    Parameters
    ----------
    scored : ScoredParticles
        Of the denoised set.
    min_score : float, optional
        The least score.
    top_fraction : float, optional
        Of the particles in the classes, the share with the best scores; of equal ones the lowest ids.
    class_ids : ndarray, optional
        Ids of the particles in the picked classes.

    Returns
    -------
    Choice

    Raises
    ------
    ValueError
        If scores are asked for and a particle has none, or no particle is left.
    """
    if min_score is not None or top_fraction is not None:
        bad = scored.ids[~np.isfinite(scored.score)]
        if bad.size:
            raise ValueError(
                f"{bad.size} of {len(scored.ids)} denoised particles have no score (`{SCORE}`), the first is "
                f"particle {bad[0]}: denoise them again, with 2D classes and score."
            )
    all_of_them = np.ones(len(scored.ids), bool)
    in_classes = all_of_them if class_ids is None else np.isin(scored.ids, class_ids)
    good = all_of_them if min_score is None else scored.score >= min_score
    best = all_of_them
    if top_fraction is not None:
        places = np.flatnonzero(in_classes)
        order = places[np.argsort(-scored.score[places], kind="stable")]
        best = np.zeros(len(scored.ids), bool)
        best[order[: math.ceil(top_fraction * len(places))]] = True
    kept = in_classes & good & best
    if not kept.any():
        known = scored.score[np.isfinite(scored.score)]
        score = f", the best score is {known.max():.2f}" if known.size else ""
        raise ValueError(
            f"No particle is left of {len(kept)} ({in_classes.sum()} are in the picked classes{score}): ask for less."
        )
    return Choice(
        kept,
        int((~in_classes).sum()),
        int((in_classes & ~good).sum()),
        int((in_classes & good & ~best).sum()),
    )


def list_class_ids(classes):
    """List the ids of the enabled particles in the enabled classes of a SetOfClasses2D, `(n,)` int64."""
    fresh = open_fresh(classes)
    ids = [particle.getObjId() for particle in fresh.iterClassItems()]
    fresh.close()
    return np.array(ids, int)


def find_unmatched_ids(particles, raw):
    """Find the ids of a set's enabled particles that the raw set has not, or has disabled; `(n,)` ascending."""
    listed = []
    for one in (particles, raw):
        fresh = open_fresh(one)
        listed.append(list_enabled_ids(fresh))
        fresh.close()
    return np.setdiff1d(*listed)


def check_same_particles(denoised, raw):
    """Refuse a raw set that is denoised, or whose particles of the same ids are others: of two imports, from 1 each.

    Parameters
    ----------
    denoised, raw : SetOfParticles
        The raw one may have more particles.

    Raises
    ------
    ValueError
        With the first particle that differs, and in what; or the stack that says that it is denoised.
    """
    denoised, raw = open_fresh(denoised), open_fresh(raw)
    stacks = set()
    others = iter_enabled(raw)
    for particle in iter_enabled(denoised):
        number = particle.getObjId()
        other = next((one for one in others if one.getObjId() == number), None)
        fault = "is missing" if other is None else word_difference(particle, other)
        if fault:
            raise ValueError(
                f"Particle {number} {fault} in the raw set: choose the set that was denoised."
            )
        stacks.add(other.getFileName())
    denoised.close()
    raw.close()
    # A set that was imported from the STAR file of a denoised one has no other mark.
    for stack in sorted(stacks):
        if is_denoised_stack(stack):
            raise ValueError(
                f"The raw particles are denoised images, as {stack} says: choose the particles before denoising."
            )


def word_difference(particle, other):
    """Say in what two particles differ that is the same in an image before and after denoising; or nothing."""
    halves = [one.getAttributeValue(RANDOM_SUBSET) for one in (particle, other)]
    if None not in halves and halves[0] != halves[1]:
        return "is in another random half"
    if particle.hasMicId() and other.hasMicId() and particle.getMicId() != other.getMicId():
        return "is of another micrograph"
    if particle.hasCoordinate() and other.hasCoordinate():
        one, two = particle.getCoordinate(), other.getCoordinate()
        if one.getMicName() != two.getMicName():
            return "is of another micrograph"
        # Of a smaller output box, coordinates are counted in larger pixels, and whole ones.
        pixel_sizes = [particle.getSamplingRate(), other.getSamplingRate()]
        first, second = (
            [None if place is None else place * size for place in coordinate.getPosition()]
            for coordinate, size in zip((one, two), pixel_sizes)
        )
        if None not in first + second and math.dist(first, second) > 2 * max(pixel_sizes):
            return "lies elsewhere"
    return ""


def fill_selection(selected, raw, ids, halves=None):
    """Copy particles of the raw set into a new set, every attribute as it is.

    Parameters
    ----------
    selected : SetOfParticles
        New and empty.
    raw : SetOfParticles
        Copied from.
    ids : ndarray
        `(n,)` of the particles to copy.
    halves : ndarray, optional
        `(n,)` random halves that were drawn for denoising, for a raw set without its own: who aligns in other halves
        than images were denoised in mixes them.
    """
    half_of = {} if halves is None else dict(zip(ids.tolist(), halves.tolist()))
    wanted = set(ids.tolist())

    def give_half(particle, _):
        half = half_of.get(particle.getObjId())
        if half:
            setattr(particle, RANDOM_SUBSET, Integer(half))

    fresh = open_fresh(raw)
    selected.copyInfo(raw)
    selected.copyItems(
        fresh,
        updateItemCallback=give_half,
        itemSelectedCallback=lambda item: item.isEnabled() and item.getObjId() in wanted,
    )
    fresh.close()
