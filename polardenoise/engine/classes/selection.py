"""Selection: the rows of the raw particles whose classes and scores are good enough, every column kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polardenoise.counts import choose_verb
from polardenoise.engine.classes.proposal import find_why_not, propose_min_score
from polardenoise.engine.classes.raw_rows import (
    list_raw_files,
    read_raw_rows,
    refuse_other_files,
)
from polardenoise.engine.classes.scored_set import name_raw_file, read_run
from polardenoise.engine.particles.cryosparc.fields import CryosparcFiles
from polardenoise.engine.particles.particle_set import ParticleSet, read_particles
from polardenoise.engine.particles.star_columns import CLASS_LABEL, SCORE_LABEL
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.file_list import FileList

#: Of classes; what `--classes` can name.
MOST_CLASSES = 999_999


@dataclass(frozen=True)
class Selection:
    """What is asked for; a particle must meet all of it.

    Attributes
    ----------
    classes : tuple of int
        Its class is one of these; all where there are none.
    min_score : float or None
        The least score.
    top_fraction : float or None
        Of the particles in these classes, the share with the best scores.
    proposed : bool
        The least score is the one that is proposed for the particles of the file.
    """

    classes: tuple[int, ...] = ()
    min_score: float | None = None
    top_fraction: float | None = None
    proposed: bool = False


def select_particles(
    scored: Path,
    raw: Path,
    output: Path,
    selection: Selection,
    files: FileList,
    cryosparc: CryosparcFiles | None = None,
) -> dict[str, Any]:
    """Write the selected rows of the raw particles.

    Parameters
    ----------
    scored : Path
        STAR file of `denoise`, with scores and classes.
    raw : Path
        The particles that were denoised: a STAR file, of the same images or in the same order; or a data set of
        cryoSPARC, of the same uids.
    output : Path
        What to write: a STAR file or, of a data set, another one.
    selection : Selection
        What is asked for.
    files : FileList
        What the command writes besides.
    cryosparc : CryosparcFiles, optional
        What belongs to a .cs.

    Returns
    -------
    dict
        What went where.

    Raises
    ------
    InputError
        If the two are not of the same particles, scores or classes are not there, or nothing is left.
    """
    cryosparc = cryosparc or CryosparcFiles()
    refuse_other_files(scored, raw, output, cryosparc)
    inputs, outputs = list_raw_files(raw, output, cryosparc)
    files.read("OUT.star", scored, name_raw_file(scored))
    files.read("--particles", *inputs)
    for path, kind in outputs.items():
        files.write("-o", path, kind)
    files.check()
    denoised = read_particles(scored, "none")
    rows = read_raw_rows(denoised, raw, output, cryosparc)
    score = read_scores(denoised, selection)
    in_classes = choose_classes(denoised, selection.classes)
    best = choose_best(score, in_classes, selection.top_fraction)
    verdict = read_verdict(scored)
    if selection.proposed:
        refuse_nothing_proposed(scored, score, verdict)
    least = propose_min_score(score) if selection.proposed else selection.min_score
    good = np.ones(len(score), dtype=bool)
    if least is not None:
        good = score >= least
    kept = in_classes & best & good
    if not kept.any():
        raise InputError(word_nothing_left(scored, score, in_classes, least))
    rows.refuse_lost_stacks(output)
    doubts = rows.doubt_pixels(denoised)
    files.probe()
    halves = denoised.random_subset
    doubts += doubt_empty_half(halves, kept)
    rows.write(output, np.flatnonzero(kept), halves)
    return {
        "output": str(output),
        "files": [str(path) for path in outputs],
        "input": str(raw),
        "particles": len(score),
        "not_denoised": rows.not_denoised,
        "kept": int(kept.sum()),
        "in_other_classes": int((~in_classes).sum()),
        "below_min_score": int((in_classes & ~good).sum()),
        "below_top_fraction": int((in_classes & good & ~best).sum()),
        "lowest_score": float(score[kept].min()),
        "min_score": least,
        "proposed": selection.proposed,
        "halves": [] if halves is None else np.bincount(halves[kept], minlength=3)[1:].tolist(),
        "gains_halves": halves is not None and rows.gains_halves,
        "lacks_halves": halves is not None and rows.lacks_halves,
        "verdict": verdict,
        "doubts": doubts,
    }


def word_nothing_left(
    scored: Path, score: np.ndarray, in_classes: np.ndarray, least: float | None
) -> str:
    """Say that no particle scores as much as was asked for, and how much the best one does."""
    count, best = int(in_classes.sum()), float(score[in_classes].max())
    among = (
        "" if in_classes.all() else f"{count} {choose_verb(count, 'is', 'are')} in these classes, "
    )
    asked = "" if least is None else f", which is less than {least:g}"
    return (
        f"{scored}: no particle is left of {len(score)} ({among}the best score is {word_below(best, least)}{asked}); "
        "ask for less"
    )


def word_below(value: float, limit: float | None) -> str:
    """Write a score with so many digits, four at least, that it is seen to be below a limit.

    Examples
    --------
    >>> word_below(0.9987, 0.9999), word_below(0.99999, 1.0)
    ('0.9987', '0.99999')
    """
    digits = 4
    while limit is not None and value < limit <= float(f"{value:.{digits}f}"):
        digits += 1
    return f"{value:.{digits}f}"


def refuse_nothing_proposed(scored: Path, score: np.ndarray, verdict: Sequence[str]) -> None:
    """Refuse to take a proposal where `denoise` makes none."""
    why_not = find_why_not(score, verdict)
    if why_not:
        raise InputError(
            f"--proposed: nothing is proposed for {scored}, {why_not}; look at the classes, and choose some by "
            "--classes"
        )


def read_verdict(scored: Path) -> list[str]:
    """Read why `denoise` said not to trust its images; empty where it did not."""
    reasons = read_run(scored).get("verdict")
    return [str(reason) for reason in reasons] if isinstance(reasons, list) else []


def read_scores(denoised: ParticleSet, selection: Selection) -> np.ndarray:
    """Read the score of each particle, `(n,)`; zeros where there are none and nobody asks."""
    score = denoised.numbers(SCORE_LABEL)
    wanted = selection.min_score, selection.top_fraction
    asked = selection.proposed or any(one is not None for one in wanted)
    if score is None and not asked:
        return np.zeros(len(denoised))
    score = refuse_missing(denoised, score, SCORE_LABEL)
    refuse_rows(denoised, SCORE_LABEL, score, (score < 0) | (score > 1), "not from 0 to 1")
    return score


def refuse_missing(denoised: ParticleSet, values: np.ndarray | None, label: str) -> np.ndarray:
    """Give the numbers of a column; refuse a set without it, or where a row has none."""
    if values is None:
        raise InputError(
            f"{denoised.star_path}: has no _{label}; denoise again, by a polar transformer with --group-by neighbours "
            "and without --class-count 0"
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise InputError(
            f"{denoised.star_path}: row {bad[0] + 1}: _{label} is no number; denoise again"
        )
    return values


def doubt_empty_half(halves: np.ndarray | None, kept: np.ndarray) -> list[str]:
    """Word that one of two halves `(n,)` has nothing left among those kept `(n,)`: two half maps need both."""
    if halves is None:
        return []
    lost = set(np.unique(halves)) - set(np.unique(halves[kept]))
    return [
        f"nothing is left of half {half}: half maps need particles of both; keep more"
        for half in sorted(lost)
    ]


def refuse_rows(
    denoised: ParticleSet, label: str, values: np.ndarray, bad: np.ndarray, what: str
) -> None:
    """Refuse a set where a row has a number that `denoise` writes nowhere."""
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{denoised.star_path}: row {denoised.row_number(row)}: _{label} is {values[row]:g}, {what}; denoise again"
        )


def choose_classes(denoised: ParticleSet, classes: Sequence[int]) -> np.ndarray:
    """Tell which particles are in one of the classes, `(n,)` bool; all where none is named."""
    if not classes:
        return np.ones(len(denoised), dtype=bool)
    number = refuse_missing(denoised, denoised.numbers(CLASS_LABEL), CLASS_LABEL)
    no_class = (number < 1) | (number > MOST_CLASSES) | (number != np.floor(number))
    refuse_rows(denoised, CLASS_LABEL, number, no_class, "no number of a class")
    unknown = sorted(set(classes) - set(number.astype(int)))
    if unknown:
        raise InputError(
            f"--classes: there is no class {unknown[0]} in {denoised.star_path}, whose classes are "
            f"{int(number.min())} to {int(number.max())}"
        )
    return np.isin(number, classes)


def choose_best(score: np.ndarray, among: np.ndarray, fraction: float | None) -> np.ndarray:
    """Tell which particles are the best-scored fraction of some, `(n,)` bool; of equal scores the first rows."""
    if fraction is None:
        return np.ones(len(score), dtype=bool)
    places = np.flatnonzero(among)
    order = places[np.argsort(-score[places], kind="stable")]
    best = np.zeros(len(score), dtype=bool)
    best[order[: int(np.ceil(fraction * len(places)))]] = True
    return best
