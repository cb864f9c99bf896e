"""Checks of whole particle sets: one pixel size, an even box, denoised or not, two sets that match."""

from __future__ import annotations

import numpy as np

from polardenoise.counts import word_count
from polardenoise.engine.particles.cryosparc.column_names import name_column
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.particles.set_document import is_bare_stack
from polardenoise.engine.particles.star_columns import CTF_STATE_LABEL
from polardenoise.engine.particles.token_numbers import number_by_appearance, number_tokens
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.input_files import shorten
from polardenoise.engine.runtime.provenance import read_provenance

CTF_FREE_STATES = ("none", "corrected")
#: What Scipion's sets say of the model that denoised them.
MODEL_LABEL = "polardenoiseModel"
#: Files that the JSON of a denoised set speaks of, by their endings: another of its name may be the input.
ENDINGS_OF_DENOISED_SETS = (".star", ".mrcs", ".cs")

#: Columns that say which particle a row is, and columns that say what somebody found about it.
#: With what rounding may do (pixels, Angstrom, degrees).
PLACES = {"rlnMicrographName": 0.0, "rlnCoordinateX": 1.0, "rlnCoordinateY": 1.0}
ESTIMATES = {
    "rlnDefocusU": 0.1,
    "rlnDefocusV": 0.1,
    "rlnAngleRot": 0.1,
    "rlnAngleTilt": 0.1,
    "rlnAnglePsi": 0.1,
}

#: Sorted columns that differ by no more hold the same values.
SAME_VALUE = 1e-3

#: Pixel sizes that differ by less, relatively, are one; and are near enough for images to be compared.
SAME_PIXEL_SIZE, COMMON_PIXEL_SIZE = 1e-4, 1e-2

#: Defoci that differ by no more, Angstrom, are one: then there is no astigmatism, and its angle says nothing.
SAME_DEFOCUS = 1.0

#: More astigmatism, and a defocus further from 0, than particles have, Angstrom: phase plates, high tilts and overfocus
#: stay far below. And defoci none of which is as far from 0 are in other units, or were never measured.
MUCH_ASTIGMATISM, MUCH_DEFOCUS, LITTLE_DEFOCUS = 1e4, 1.5e5, 50.0

#: The header of a stack may differ so much from the STAR file: many programs round there.
HEADER_TOLERANCE = 2e-2


def common_pixel_size(particles: ParticleSet) -> float:
    """Give the one pixel size of a set, Angstrom.

    Raises
    ------
    InputError
        If optics groups differ by more than a part in a thousand: their images cannot share one grid.
    """
    first = float(particles.pixel_size[0])
    different = np.flatnonzero(np.abs(particles.pixel_size - first) > 1e-3 * first)
    if len(different):
        row = int(different[0])
        raise InputError(
            f"{particles.star_path}: row {row + 1}: pixel size {particles.pixel_size[row]:g} A, but "
            f"{first:g} A in row 1; rescale the particles to one pixel size first"
        )
    return first


def most_common_pixel_size(particles: ParticleSet) -> float:
    """Give the pixel size that most particles of a set have, Angstrom: where they differ, a mean would be nobody's."""
    return max(list_pixel_sizes(particles), key=lambda size: size[1])[0]


def list_pixel_sizes(particles: ParticleSet) -> list[tuple[float, int]]:
    """List the pixel sizes of a set, Angstrom, with how many particles have each; what is equal to 1e-4 is one."""
    sizes, counts = np.unique(particles.pixel_size, return_counts=True)
    listed: list[tuple[float, int]] = []
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        if listed and size - listed[-1][0] <= SAME_PIXEL_SIZE * size:
            listed[-1] = (listed[-1][0], listed[-1][1] + count)
        else:
            listed.append((size, count))
    return listed


def doubt_pixel_sizes(particles: ParticleSet) -> list[str]:
    """Word what is wrong with pixel sizes: images of several are compared as if of one, or a stack says another."""
    doubts = []
    sizes = list_pixel_sizes(particles)
    if sizes[-1][0] > (1 + COMMON_PIXEL_SIZE) * sizes[0][0]:
        listed = " and ".join(
            f"{size:g} A ({word_count(count, 'particle')})" for size, count in sizes
        )
        doubts.append(
            f"pixel sizes differ: {listed}; images are compared pixel by pixel, so that one molecule looks like "
            "several: rescale the particles to one pixel size"
        )
    first_rows = np.unique(particles.stack_of_row, return_index=True)[1]
    for header, row in zip(particles.headers, np.sort(first_rows).tolist(), strict=False):
        size = float(particles.pixel_size[row])
        # 0 and 1 are what programs write that do not know.
        if header.pixel_size in (0.0, 1.0) or abs(header.pixel_size / size - 1) < HEADER_TOLERANCE:
            continue
        said = f"{particles.star_path} {size:.4g} A (row {particles.row_number(row)})"
        if is_bare_stack(particles.star_path):
            said = f"--pixel-size {size:.4g} A"
        doubts.append(
            f"{header.path}: its header says {header.pixel_size:.4g} A a pixel, {said}, which was taken; correct the "
            "one that is wrong"
        )
        break
    return doubts


def doubt_astigmatism(particles: ParticleSet) -> list[str]:
    """Word that there is astigmatism and no angle of it: 0 degrees are taken then, as RELION does."""
    ctf = particles.ctf
    if ctf is None or particles.ctf_state == "none" or particles.has("rlnDefocusAngle"):
        return []
    astigmatic = (ctf.defocus_u - ctf.defocus_v).abs().numpy() > SAME_DEFOCUS
    if not astigmatic.any():
        return []
    row = particles.row_number(int(np.flatnonzero(astigmatic)[0]))
    return [
        f"{particles.star_path}: rlnDefocusU and rlnDefocusV differ (the first time in row {row}), but there is no "
        "rlnDefocusAngle: 0 degrees were taken, which is wrong for nearly all particles; add the column"
    ]


def doubt_ctf(particles: ParticleSet) -> list[str]:
    """Word what is wrong with the defoci of a set: astigmatism, or a defocus, that particles do not have."""
    ctf = particles.ctf
    if ctf is None or particles.ctf_state == "none":
        return []
    first, second = (one.numpy() for one in (ctf.defocus_u, ctf.defocus_v))
    furthest = np.maximum(np.abs(first), np.abs(second))
    doubts = doubt_astigmatism(particles)
    defoci = [name_column(particles.star_path, f"rlnDefocus{one}") for one in "UV"]
    for bad, said in (
        (
            np.abs(first - second) > MUCH_ASTIGMATISM,
            f"{' and '.join(defoci)} differ by more than {MUCH_ASTIGMATISM:g} A",
        ),
        (
            furthest > MUCH_DEFOCUS,
            f"{' or '.join(defoci)} is further from 0 than {MUCH_DEFOCUS:g} A",
        ),
    ):
        rows = np.flatnonzero(bad)
        if len(rows):
            doubts.append(
                f"{particles.star_path}: row {particles.row_number(int(rows[0]))}: {said}, as in "
                f"{word_count(len(rows), 'row')} of {len(particles)}: no fit of a CTF should give that; correct it, or "
                "remove these rows"
            )
    if 0 < furthest.max() < LITTLE_DEFOCUS:
        doubts.append(
            f"{particles.star_path}: row {particles.row_number(int(furthest.argmax()))}: no defocus is further from 0 "
            f"than that of {furthest.max():g} A: if {' and '.join(defoci)} are in micrometres, multiply them by "
            "10000"
        )
    return doubts


def refuse_odd_box(particles: ParticleSet) -> None:
    """Raise an `InputError` if the box is odd, for commands whose Fourier transforms need an even one."""
    if particles.box % 2:
        raise InputError(
            f"{particles.star_path}: images are {particles.box} px; extract them in a box of even size"
        )


def find_denoised_mark(particles: ParticleSet) -> str | None:
    """Find what says that images of a set come from `polardenoise denoise`; None for raw ones.

    The label of a stack goes with the pixels, into whatever STAR file names them. Columns tell sets that come through
    Scipion, and the JSON beside `OUT.star` those that were written before stacks had the label.
    """
    for header in particles.headers:
        if header.is_denoised:
            return f"the header of {header.path}"
    if particles.has(MODEL_LABEL):
        return f"its column _{MODEL_LABEL}"
    # Any other state may be the word of somebody who knows the raw images.
    if "corrected" in (particles.column(CTF_STATE_LABEL) or []):
        return f"its column _{CTF_STATE_LABEL}"
    facts = read_provenance(particles.star_path)
    beside = particles.star_path.suffix in ENDINGS_OF_DENOISED_SETS
    if beside and "model" in facts and "denoise" in facts.get("command", []):
        return str(particles.star_path.with_suffix(".json"))
    return None


def refuse_denoised(particles: ParticleSet, option: str = "") -> None:
    """Refuse denoised images where raw ones are wanted.

    Parameters
    ----------
    particles : ParticleSet
        What was given.
    option : str
        By which option.

    Raises
    ------
    InputError
        Names the file and what says that its images are denoised.
    """
    mark = find_denoised_mark(particles)
    if mark is not None:
        given = f"{option} {particles.star_path}".lstrip()
        raise InputError(
            f"{given}: holds denoised images ({mark} says so), estimates and not data; give the raw particles that "
            "they came from"
        )


def refuse_computed(particles: ParticleSet, option: str = "") -> None:
    """Refuse denoised images, and the truth of a simulation, where recorded ones are wanted; as `refuse_denoised`."""
    refuse_denoised(particles, option)
    for header in particles.headers:
        if header.is_truth:
            given = f"{option} {particles.star_path}".lstrip()
            raise InputError(
                f"{given}: holds simulated images without their noise (the header of {header.path} says so); give the "
                "noisy particles, which simulate writes beside them"
            )


def check_match(particles: ParticleSet, truth: ParticleSet) -> None:
    """Refuse two sets that cannot be the same particles in the same order.

    Raises
    ------
    InputError
        If their counts, boxes or pixel sizes differ, or what they say of their particles: see `refuse_other_order`.
    """
    counts = len(particles), len(truth)
    if counts[0] != counts[1]:
        raise InputError(
            f"{truth.star_path}: {word_count(counts[1], 'row')}, but {particles.star_path} has {counts[0]}; "
            "give the truth of the same particles in the same order"
        )
    if particles.box != truth.box:
        raise InputError(
            f"{truth.star_path}: box {truth.box} px, but {particles.star_path} has "
            f"{particles.box} px; denoise with --output-box original"
        )
    off = np.abs(particles.pixel_size - truth.pixel_size) > 1e-3 * truth.pixel_size
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise InputError(
            f"{truth.star_path}: row {row + 1}: pixel size {truth.pixel_size[row]:g} A, but "
            f"{particles.pixel_size[row]:g} A in {particles.star_path}; give the matching truth"
        )
    refuse_other_order(particles, truth)


def refuse_other_order(
    particles: ParticleSet, truth: ParticleSet, of_row: np.ndarray | None = None
) -> None:
    """Refuse two sets whose rows are not the same particles; `of_row` `(n,)` are rows of the second, as they stand.

    A particle is where it is: micrographs and coordinates must agree wherever both sets have them (micrographs may have
    other names). Poses and defoci may have been refined since. But where the rows of one set have the very values of
    the other's in another order, the rows are in another order.

    Raises
    ------
    InputError
        Names the first row and column that differ.
    """
    of_row = np.arange(len(particles)) if of_row is None else of_row
    for label, rounding in (*PLACES.items(), *ESTIMATES.items()):
        if label == "rlnMicrographName":
            first, second = number_micrographs(particles, truth, of_row)
        else:
            first, second = find_values(particles, label), find_values(truth, label)
            second = None if second is None else second[of_row]
        if first is None or second is None:
            continue
        differ = np.flatnonzero(np.abs(first - second) > rounding)
        moved = bool((np.abs(np.sort(first) - np.sort(second)) <= SAME_VALUE).all())
        if not differ.size or (label in ESTIMATES and not moved):
            continue
        row = int(differ[0])
        places = (truth, int(of_row[row])), (particles, row)
        texts = [shorten((one.column(label) or [])[place]) for one, place in places]
        named = name_column(truth.star_path, label)
        raise InputError(
            f"{truth.star_path}: row {of_row[row] + 1}: {named} is {texts[0]} there and {texts[1]} in "
            f"{particles.star_path}{', whose rows are in another order' if moved else ''}; give the same particles in "
            "the same order"
        )


def find_values(particles: ParticleSet, label: str) -> np.ndarray | None:
    """Find a column of numbers to compare, `(n,)`; None without it, or where it says nothing: one value, or none."""
    values = particles.numbers(label)
    if values is None or not np.isfinite(values).all() or (values == values[0]).all():
        return None
    return values


def number_micrographs(
    particles: ParticleSet, truth: ParticleSet, of_row: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Give the micrographs of two sets numbers, `(n,)` each: by their names or, where these differ, as they come.

    `of_row` `(n,)` is the row of the second for each of the first.
    """
    first, whole = (one.column("rlnMicrographName") for one in (particles, truth))
    if first is None or whole is None:
        return None, None
    second = [whole[row] for row in of_row]
    if min(len(set(first)), len(set(second))) < 2:
        return None, None
    if set(first) == set(second):
        numbers = number_tokens([*first, *second]).astype(np.float64)
        return numbers[: len(first)], numbers[len(first) :]
    by_appearance = (number_by_appearance(number_tokens(names)) for names in (first, second))
    one, other = (numbers.astype(np.float64) for numbers in by_appearance)
    return one, other
