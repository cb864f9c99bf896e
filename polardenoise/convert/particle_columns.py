"""The columns of the STAR file that the engine gets of a set: which ones, and the values of every particle.

All items of a set have the same attributes, but not all have values: SQL keeps NaN as NULL, and what an importer did
not find is NULL as well. So no item decides for the others. A column is written if any particle has a value. Where
another has none, that is an error only if the engine needs it to be right about this particle (CTF, halves, groups); in
all other columns it is `nan`, or `None`.
"""

import math
from itertools import compress

from pwem.constants import ALIGN_NONE
from pyworkflow.object import Scalar

from polardenoise.convert.alignment import ALIGNMENT_LABELS, get_relion_alignment
from polardenoise.convert.stacks import StackLocator
from polardenoise.convert.star_loops import BETWEEN_TOKENS, format_row

# The column that carries Scipion's id of a particle through the engine and back.
OBJECT_ID = "polardenoiseObjId"
# Attributes of items that are STAR columns: RELION's, and what the engine itself noted about images.
ENGINE_PREFIXES = ("_rln", "_polardenoise")
# The half of a particle, and the model that denoised it: by the latter a reconstruction knows that the
# FSC of its half maps is no resolution.
RANDOM_SUBSET = "_rlnRandomSubset"
DENOISED_BY = "_polardenoiseModel"
# What the engine must know of every particle where it knows it of any.
NEEDED = {
    "rlnDefocusU": "defocus",
    "rlnDefocusV": "defocus",
    "rlnDefocusAngle": "defocus angle",
    "rlnPhaseShift": "phase shift",
    RANDOM_SUBSET[1:]: "random half",
}
# While rows wait: what stands for a value that is not there, and what is between tokens, in none of them.
MISSING = "<missing>"
BETWEEN_WAITING = "\x1f"
COORDINATE_LABELS = ["rlnCoordinateX", "rlnCoordinateY", "rlnMicrographName"]


class ParticleColumns:
    """The columns that a set's particles may have, and what of them has been seen so far.

    Parameters
    ----------
    particles : SetOfParticles
        The set: says the alignment and the pixel size.
    first : Particle
        Any of its items: says by its class, not by its values, what there may be.
    converted_folder : str
        For stacks that have to be converted.
    group_attribute : str or None
        Attribute to write as a column besides those that the particle brings.

    Attributes
    ----------
    labels : list of str
        All columns that there may be.
    missing : dict
        Label to the id of the first particle that has no value.
    """

    def __init__(self, particles, first, converted_folder, group_attribute):
        self.pixel_size = particles.getSamplingRate()
        # A STAR file without defocus says that the pixels carry no CTF, and corrected ones do not.
        self.has_ctf = (
            particles.hasCTF() and first.hasCTF() and not particles.isAmplitudeCorrected()
        )
        self.has_coordinate = first.hasCoordinate()
        # The importer of cryoSPARC's files says "projections" of particles without poses too.
        self.alignment = particles.getAlignment() if first.hasTransform() else ALIGN_NONE
        self.locate = StackLocator(converted_folder, self.pixel_size)
        self.needed = dict(NEEDED)

        self.labels = ["rlnImageName", OBJECT_ID]
        if self.has_ctf:
            self.labels += ["rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnPhaseShift"]
        self.labels += ALIGNMENT_LABELS.get(self.alignment, ())
        if self.has_coordinate:
            self.labels += COORDINATE_LABELS

        self.attributes = {"rlnClassNumber": "_classId"}
        for name, value in first.getAttributes():
            if name.startswith(ENGINE_PREFIXES) and isinstance(value, Scalar):
                self.attributes.setdefault(name[1:], name)
        if group_attribute:
            label = get_group_label(group_attribute)
            self.attributes.setdefault(label, group_attribute)
            self.needed[label] = group_attribute
        for label in [*self.labels, "rlnOpticsGroup"]:
            self.attributes.pop(label, None)
        self.labels += self.attributes
        self.missing, self._filled, self._texts, self._with_phase = {}, set(), set(), False

    def get_values(self, particle):
        """Return the values of one particle, in the order of `labels`."""
        number = particle.getObjId()
        index, path = self.locate(*particle.getLocation())
        values = [f"{index:06d}@{path}", number]
        if self.has_ctf:
            values += self.get_ctf(particle)
        if self.alignment in ALIGNMENT_LABELS:
            values += self.get_pose(particle)
        if self.has_coordinate:
            values += get_coordinate(particle)
        for label, name in self.attributes.items():
            value = particle.getAttributeValue(name)
            values.append(particle.getAttributeValue(f"_{label}") if value is None else value)
        return [self.note(*one, number) for one in zip(self.labels, values)]

    def note(self, label, value, number):
        """Note whether a particle has a value of a column; return the value, or what stands for none."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            self.missing.setdefault(label, number)
            return MISSING
        self._filled.add(label)
        if isinstance(value, str):
            self._texts.add(label)
        return value

    def get_ctf(self, particle):
        """Return defocus U, V, its angle and the phase shift, each None where it is not known."""
        ctf = particle.getCTF()
        if ctf is None:
            return [None] * 4
        shift = ctf.getPhaseShift()
        self._with_phase |= bool(shift)
        return [None if value is None else float(value) for value in (*ctf.getDefocus(), shift)]

    def get_pose(self, particle):
        """Return the angles and origins that RELION has for a particle's transform."""
        transform = particle.getTransform()
        if transform is None:
            return [None] * len(ALIGNMENT_LABELS[self.alignment])
        return get_relion_alignment(transform.getMatrix(), self.alignment, self.pixel_size)

    def list_filled(self):
        """List the columns in which any particle has a value, in their order.

        Raises
        ------
        ValueError
            If the engine needs one that not all have; names the first particle without.
        """
        if not self._with_phase:  # none, or zeros: there is no phase plate
            self._filled.discard("rlnPhaseShift")
        for label, what in self.needed.items():
            if label in self._filled and label in self.missing:
                raise ValueError(
                    f"Particle {self.missing[label]} has no {what}, while others of the set have: "
                    "correct it, or take the particle out of the set."
                )
        return [label for label in self.labels if label in self._filled]

    def fill_gaps(self, rows):
        """Yield rows of `format_waiting` as a loop has them, without empty columns and with `nan` or `None` in gaps."""
        keep = [label in self._filled for label in self.labels] + [True]
        gaps = ["None" if label in self._texts else "nan" for label in self.labels] + [""]
        gaps = list(compress(gaps, keep))
        for row in rows:
            tokens = compress(row.rstrip("\n").split(BETWEEN_WAITING), keep)
            filled = [gap if token == MISSING else token for token, gap in zip(tokens, gaps)]
            yield BETWEEN_TOKENS.join(filled) + "\n"


def format_waiting(values, number):
    """Write the values of particle `number` as a row that waits for `fill_gaps`: quoted, but not yet a loop's.

    Raises
    ------
    ValueError
        If a value has a character that would tear the row.
    """
    row = format_row(values, BETWEEN_WAITING)
    if row.count(BETWEEN_WAITING) >= len(values) or row.count("\n") > 1 or "\r" in row:
        raise ValueError(
            f"An attribute of particle {number} has a line break, which a STAR file cannot hold: correct "
            "it, or take the particle out of the set."
        )
    return row


def has_values(particles, attribute):
    """Tell whether any item of a set has a value of an attribute; the first one may have none."""
    first = particles.getFirstItem()
    if first is None or not hasattr(first, attribute.split(".")[0]):
        return False
    if first.getAttributeValue(attribute) is not None:
        return True
    return any(value is not None for value in particles.getUniqueValues(attribute))


def get_coordinate(particle):
    """Return x, y (pixels of the micrograph) and the micrograph's name, as RELION's plugin writes it."""
    coordinate = particle.getCoordinate()
    if coordinate is None:
        return [None] * 3
    name = coordinate.getMicName() or coordinate.getMicId() or particle.getMicId() or ""
    return [*coordinate.getPosition(), str(name).replace(" ", "")]


def get_group_label(attribute):
    """Name the STAR column of an attribute of the particles, for example `_classId`."""
    known = {"_classId": "rlnClassNumber", "_micId": "rlnMicrographId"}
    name = attribute.split(".")[-1].lstrip("_")
    return known.get(attribute, name if name.startswith("rln") else f"polardenoise_{name}")
