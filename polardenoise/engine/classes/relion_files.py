"""Classes in the layout of a RELION Class2D job: NAME_data.star, NAME_classes.mrcs and NAME_model.star.

The data are the raw images, with class, psi and origins as relion_refine writes them: the average, turned by psi and
moved against the origin, lies as the image does. Class selection, class viewers and converters take the three as they
take RELION's own; what is ours stands in columns of its own.
"""

from pathlib import Path

import numpy as np
import torch

from polardenoise.engine.classes.joined_classes import JoinedClasses
from polardenoise.engine.classes.proposal import Proposal
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.particles.image_names import name_in_star
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.particles.preprocessing import resample
from polardenoise.engine.particles.set_checks import most_common_pixel_size
from polardenoise.engine.particles.star import write_loop
from polardenoise.engine.particles.star_columns import CLASS_LABEL, SCORE_LABEL
from polardenoise.engine.particles.star_writing import write_particles
from polardenoise.engine.runtime.files import write_text_atomically
from polardenoise.engine.runtime.running_command import comment_maker

#: Averages that are brought to the box of the particles at once.
AVERAGES_AT_ONCE = 64
#: Columns of angles that a 2D classification knows nothing of: relion_refine writes zeros.
OUT_OF_PLANE = ("rlnAngleRot", "rlnAngleTilt")


def write_data(
    path: Path,
    particles: ParticleSet,
    classes: JoinedClasses,
    score: np.ndarray,
    halves: np.ndarray | None,
    working_box: int,
) -> None:
    """Write the particles, raw images, with their classes and where they lie in them.

    Parameters
    ----------
    path : Path
        NAME_data.star.
    particles : ParticleSet
        The input.
    classes : JoinedClasses
        Of its rows.
    score : ndarray
        `(n,)`.
    halves : ndarray or None
        `(n,)` half of each row where it is to be written: it was drawn.
    working_box : int
        Side of the images that displacements were found in, pixels.
    """
    columns = {
        "rlnClassNumber": [str(number) for number in classes.shown_number],
        # RELION's psi runs clockwise, where y points down the rows.
        "rlnAnglePsi": [f"{-degrees:.6f}" for degrees in classes.shown_degrees],
    }
    growth = particles.box / working_box
    in_pixels = -classes.shown_displacements.astype(np.float64) * growth
    # RELION 3.0 counts origins in pixels, in a table without optics groups; a column that is there says what we say.
    for axis, name in enumerate(("rlnOriginX", "rlnOriginY")):
        if particles.optics is not None or f"{name}Angst" in particles.table.labels:
            in_angstrom = in_pixels[:, axis] * particles.pixel_size
            columns[f"{name}Angst"] = [f"{value:.6f}" for value in in_angstrom]
        if particles.optics is None or name in particles.table.labels:
            columns[name] = [f"{value:.6f}" for value in in_pixels[:, axis]]
    for label in OUT_OF_PLANE:
        if label in particles.table.labels:
            columns[label] = ["0.000000"] * len(particles)
    if halves is not None:
        columns["rlnRandomSubset"] = [str(half) for half in halves]
    columns |= word_scores(classes, score)
    stacks = [name_in_star(stack) for stack in particles.stacks]
    names = [
        f"{index + 1:06d}@{stacks[stack]}"
        for index, stack in zip(particles.index_in_stack, particles.stack_of_row, strict=True)
    ]
    what = "raw particles with scores and classes"
    write_particles(particles, path, names, columns, {}, what)


def word_scores(classes: JoinedClasses | None, score: np.ndarray) -> dict[str, list[str]]:
    """Word the columns of scores `(n,)`, and of classes where there are any."""
    columns = {SCORE_LABEL: [f"{value:.4f}" for value in score]}
    if classes is not None:
        columns[CLASS_LABEL] = [str(number) for number in classes.shown_number]
    return columns


def write_averages(path: Path, particles: ParticleSet, classes: JoinedClasses) -> None:
    """Write the class averages in the box of the particles; nothing finer than the network's Nyquist is in them."""
    averages = torch.from_numpy(classes.shown_averages)
    box = averages.shape[-1]
    disk = disk_mask(box, box / 2 - 0.5)
    parts = [resample(some * disk, particles.box) for some in averages.split(AVERAGES_AT_ONCE)]
    write_stack(path, torch.cat(parts).numpy(), most_common_pixel_size(particles))


def write_model(
    path: Path,
    averages: Path,
    particles: ParticleSet,
    classes: JoinedClasses,
    proposal: Proposal | None,
    working_box: int,
) -> None:
    """Write what is known of the classes: RELION's words for all that it has words for, then ours.

    `averages` is the final name of the stack of averages. Which classes look good enough is a column to be seen,
    none of them where nothing is proposed.
    """
    proposed = () if proposal is None else proposal.classes
    count = len(classes.shown_averages)
    sizes, pixel_size = classes.shown_sizes, most_common_pixel_size(particles)
    general = {
        "rlnReferenceDimensionality": "2",
        "rlnDataDimensionality": "2",
        "rlnOriginalImageSize": str(particles.box),
        "rlnCurrentImageSize": str(min(working_box, particles.box)),
        "rlnCurrentResolution": f"{classes.shown_resolution.min():.6f}",
        "rlnPaddingFactor": "2.000000",
        "rlnIsHelix": "0",
        "rlnFourierSpaceInterpolator": "1",
        "rlnMinRadiusNnInterpolation": "10",
        "rlnPixelSize": f"{pixel_size:.6f}",
        "rlnNrClasses": str(count),
        "rlnNrBodies": "1",
        "rlnNrGroups": "1",
        "rlnTau2FudgeFactor": "1.000000",
        "rlnNormCorrectionAverage": "1.000000",
        "rlnSigmaOffsetsAngst": f"{measure_spread(classes, particles, working_box):.6f}",
        "rlnOrientationalPriorMode": "0",
        "rlnLogLikelihood": "0.000000",
        "rlnAveragePmax": "1.000000",
    }
    stack = name_in_star(averages)
    of_classes = {
        "rlnReferenceImage": [f"{number:06d}@{stack}" for number in range(1, count + 1)],
        "rlnClassDistribution": [f"{share:.6f}" for share in sizes.sum(1) / sizes.sum()],
        "rlnEstimatedResolution": [f"{value:.6f}" for value in classes.shown_resolution],
        "polardenoiseClassScore": [f"{value:.4f}" for value in classes.shown_score],
        "polardenoiseClassImages": [str(value) for value in sizes.sum(1)],
        "polardenoiseClassProposed": [
            str(int(number in proposed)) for number in range(1, count + 1)
        ],
        "polardenoiseImagesHalf1": [str(value) for value in sizes[:, 0]],
        "polardenoiseImagesHalf2": [str(value) for value in sizes[:, 1]],
        "polardenoiseTwinCorrelation": [f"{value:.4f}" for value in classes.shown_correlation],
    }
    comment = comment_maker("2D classes of the raw particles")
    lines = [f"{comment}\n", "\n", "# version 30001\n", "\n", "data_model_general\n", "\n"]
    lines += [f"_{label:<40} {value}\n" for label, value in general.items()]
    lines += ["\n", "\n", "# version 30001\n", "\n", *write_loop("model_classes", of_classes), "\n"]
    write_text_atomically(path, "".join(lines))


def measure_spread(classes: JoinedClasses, particles: ParticleSet, working_box: int) -> float:
    """Measure the standard deviation of the origins, Angstrom, either coordinate."""
    growth = most_common_pixel_size(particles) * particles.box / working_box
    return float(np.sqrt(np.square(classes.shown_displacements * growth).mean()))
