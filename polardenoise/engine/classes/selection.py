"""Selection: the rows of the raw particles whose classes and scores are good enough, every column kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polardenoise.engine.classes.proposal import propose_min_score
from polardenoise.engine.particles.cryosparc.fields import is_cryosparc
from polardenoise.engine.particles.image_names import is_there
from polardenoise.engine.particles.particle_set import ParticleSet, read_particles, select_rows
from polardenoise.engine.particles.set_checks import refuse_other_order
from polardenoise.engine.particles.set_document import is_bare_stack
from polardenoise.engine.particles.star import keep_rows, parse_star
from polardenoise.engine.particles.star_columns import CLASS_LABEL, SCORE_LABEL
from polardenoise.engine.particles.star_tables import find_particle_table
from polardenoise.engine.particles.star_writing import find_line_end, write_star
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.file_list import FileList
from polardenoise.engine.runtime.provenance import read_provenance

#: Says at the head of the output what made it: the rows are the input's, and say nothing.
COMMENT = "# raw particles, selected by polardenoise"
BYTE_ORDER_MARK = "\ufeff"


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
    scored: Path, raw: Path, output: Path, selection: Selection, files: FileList
) -> dict[str, Any]:
    """Write the selected rows of the raw particles.

    Parameters
    ----------
    scored : Path
        STAR file of `denoise`, with scores and classes.
    raw : Path
        STAR file of the particles that were denoised: same rows, same order.
    output : Path
        The STAR file to write.
    selection : Selection
        What is asked for.
    files : FileList
        What the command writes besides.

    Returns
    -------
    dict
        What went where.

    Raises
    ------
    InputError
        If the two are not of the same particles, scores or classes are not there, or nothing is left.
    """
    if output.suffix != ".star":
        raise InputError(f"-o {output}: must end in .star")
    if is_bare_stack(raw) or is_cryosparc(raw):
        raise InputError(
            f"--particles {raw}: has no rows of a STAR file to keep; give the _2d_data.star that lies beside {scored}, "
            "which names the same images"
        )
    files.read("OUT.star", scored)
    files.read("--particles", raw)
    files.write("-o", output, "star")
    files.check()
    denoised, particles = read_pair(scored, raw)
    score = read_scores(denoised, selection)
    in_classes = choose_classes(denoised, selection.classes)
    best = choose_best(score, in_classes, selection.top_fraction)
    least = propose_min_score(score) if selection.proposed else selection.min_score
    good = np.ones(len(score), dtype=bool)
    if least is not None:
        good = score >= least
    kept = in_classes & best & good
    if not kept.any():
        raise InputError(
            f"{scored}: no particle is left of {len(score)} ({int(in_classes.sum())} are in these classes, the best "
            f"score is {score.max():.2f}); ask for less"
        )
    refuse_lost_stacks(particles, output)
    files.probe()
    gains_halves = write_rows(particles, denoised, np.flatnonzero(kept), output)
    halves = denoised.random_subset
    return {
        "output": str(output),
        "input": str(raw),
        "particles": len(score),
        "kept": int(kept.sum()),
        "in_other_classes": int((~in_classes).sum()),
        "below_min_score": int((in_classes & ~good).sum()),
        "below_top_fraction": int((in_classes & good & ~best).sum()),
        "lowest_score": float(score[kept].min()),
        "min_score": least,
        "proposed": selection.proposed,
        "halves": [] if halves is None else np.bincount(halves[kept], minlength=3)[1:].tolist(),
        "gains_halves": gains_halves,
        "verdict": read_verdict(scored),
    }


def read_verdict(scored: Path) -> list[str]:
    """Read why `denoise` said not to trust its images; empty where it did not."""
    reasons = read_provenance(scored).get("verdict")
    return [str(reason) for reason in reasons] if isinstance(reasons, list) else []


def read_pair(scored: Path, raw: Path) -> tuple[ParticleSet, ParticleSet]:
    """Read both sets, and refuse sets that are not the same particles in the same order.

    Where a part of the rows was denoised, the provenance beside the result says which.
    """
    denoised, particles = read_particles(scored, "none"), read_particles(raw, "none")
    first, count = read_provenance(scored).get("first_row"), len(denoised)
    if count < len(particles) and isinstance(first, int) and 0 <= first <= len(particles) - count:
        particles = select_rows(particles, slice(first, first + count))
    if count != len(particles):
        raise InputError(
            f"--particles {raw}: has {len(particles)} rows, but {scored} has {count}; give the particles "
            "that were denoised"
        )
    refuse_other_order(denoised, particles)
    return denoised, particles


def read_scores(denoised: ParticleSet, selection: Selection) -> np.ndarray:
    """Read the score of each particle, `(n,)`; zeros where there are none and nobody asks."""
    score = denoised.numbers(SCORE_LABEL)
    wanted = selection.min_score, selection.top_fraction
    asked = selection.proposed or any(one is not None for one in wanted)
    if score is None and not asked:
        return np.zeros(len(denoised))
    return refuse_missing(denoised, score, SCORE_LABEL)


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


def choose_classes(denoised: ParticleSet, classes: Sequence[int]) -> np.ndarray:
    """Tell which particles are in one of the classes, `(n,)` bool; all where none is named."""
    if not classes:
        return np.ones(len(denoised), dtype=bool)
    number = refuse_missing(denoised, denoised.numbers(CLASS_LABEL), CLASS_LABEL)
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


def refuse_lost_stacks(particles: ParticleSet, output: Path) -> None:
    """Refuse an output in a folder from which its stacks would not be found: names are kept as they are."""
    for name in particles.column("rlnImageName") or []:
        file = Path(name.partition("@")[2])
        if not is_there(file) and not is_there(output.parent / file):
            raise InputError(
                f"-o {output}: {file} lies beside {particles.star_path} and would not be found from there; write the "
                "output into that folder, or run in the project's folder"
            )


def write_rows(
    particles: ParticleSet, denoised: ParticleSet, rows: np.ndarray, output: Path
) -> bool:
    """Write some rows as they are; tell whether they got the random halves that were drawn for denoising.

    Reconstructing with other halves than images were denoised, and aligned, in would mix them.
    """
    kept = keep_rows(particles.document, particles.table, rows.tolist()).lines
    place = 1 if kept[0].startswith(BYTE_ORDER_MARK) else 0
    comment = COMMENT + find_line_end(kept[0])
    document = parse_star(output, [*kept[:place], comment, *kept[place:]])
    halves = denoised.random_subset
    gains = halves is not None and not particles.has("rlnRandomSubset")
    columns = {}
    if halves is not None and gains:
        columns["rlnRandomSubset"] = [str(half) for half in halves[rows]]
    write_star(document, output, [(find_particle_table(document), columns)])
    return gains
