"""A SetOfParticles to the engine's `particles.star`, and the engine's answer back to a set.

Nothing is copied on the way out: rows point into the stacks where they lie, relative to the project's
folder, unless a format is one that the engine does not read. On the way back every item is
the input's own, found by its `objId`; only where its pixels lie is new.
"""

import logging
import os
import shutil

import numpy as np
from pwem.constants import ALIGN_NONE, NO_INDEX
from pyworkflow.object import Scalar

from polardenoise.convert.alignment import ALIGNMENT_LABELS, get_relion_alignment
from polardenoise.convert.optics_groups import OpticsTable
from polardenoise.convert.star_loops import format_loop_header, format_row, read_loop

logger = logging.getLogger(__name__)

# The column that carries Scipion's id of a particle through the engine and back.
OBJECT_ID = "polardenoiseObjId"
# Attributes of items that are STAR columns: RELION's, and what the engine itself noted about images.
ENGINE_PREFIXES = ("_rln", "_polardenoise")
# The half of a particle, and the model that denoised it: by the latter a reconstruction knows that the
# FSC of its half maps is no resolution.
RANDOM_SUBSET = "_rlnRandomSubset"
DENOISED_BY = "_polardenoiseModel"
# What the engine reads in place (MRC in its spellings); anything else is converted first.
ENGINE_FORMATS = (".mrc", ".mrcs", ".map", ".st")


def write_particles_star(particles, star_path, converted_folder, group_attribute=None, items=None):
    """Write particles of a set as the STAR file that the engine reads.

    Parameters
    ----------
    particles : SetOfParticles
        Any subset over any number of stacks; ids need not be 1..N, nor stacks in order.
    star_path : str
        The file to write, RELION 3.1 dialect, rows in the order of the ids.
    converted_folder : str
        Where stacks go whose format the engine does not read; not touched where there are none.
    group_attribute : str, optional
        Attribute of the particles to write as a column for grouping, for example `_classId`.
    items : iterable of Particle, optional
        Those to write, in this order; by default all enabled ones of the set.

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    ValueError
        If no particle is enabled, or one lacks the CTF, transform or attribute that the first has.
    """
    # Without the table of optics groups nothing can be written above the rows: they wait in a file.
    rows_path = star_path + ".rows"
    optics = OpticsTable(particles)
    columns, count = None, 0
    try:
        with open(rows_path, "w", encoding="utf-8") as rows:
            for particle in iter_enabled(particles) if items is None else items:
                if columns is None:
                    columns = ParticleColumns(
                        particles, particle, converted_folder, group_attribute
                    )
                values = columns.get_values(particle)
                values.append(optics.get_group(particle))
                rows.write(format_row(values))
                count += 1
        if columns is None:
            raise ValueError("The input set has no enabled particle.")
        with open(star_path, "w", encoding="utf-8") as star:
            star.write(optics.format_table())
            star.write(format_loop_header("particles", [*columns.labels, "rlnOpticsGroup"]))
            with open(rows_path, encoding="utf-8") as rows:
                shutil.copyfileobj(rows, star)
    finally:
        if os.path.exists(rows_path):
            os.remove(rows_path)
    return count


def iter_enabled(particles):
    """Yield the enabled particles by ascending id: those that `copyItems` copies, in its order.

    The set yields one object over and over: take from it what is needed before the next.
    """
    for particle in particles.iterItems(orderBy="id", direction="ASC"):
        if particle.isEnabled():
            yield particle


class ParticleColumns:
    """The columns that a set's particles have, decided on the first one, and their values.

    Parameters
    ----------
    particles : SetOfParticles
        The set: says the alignment and the pixel size.
    first : Particle
        Its first enabled item: the others must have what it has.
    converted_folder : str
        For stacks that have to be converted.
    group_attribute : str or None
        Attribute to write as a column besides those that the particle brings.
    """

    def __init__(self, particles, first, converted_folder, group_attribute):
        self.pixel_size = particles.getSamplingRate()
        # A STAR file without defocus says that the pixels carry no CTF, and corrected ones do not.
        self.has_ctf = (
            particles.hasCTF() and first.hasCTF() and not particles.isAmplitudeCorrected()
        )
        self.has_phase_shift = self.has_ctf and first.getCTF().hasPhaseShift()
        self.has_coordinate = first.hasCoordinate()
        # The importer of cryoSPARC's files says "projections" of particles without poses too.
        self.alignment = particles.getAlignment() if first.hasTransform() else ALIGN_NONE
        self.locate = StackLocator(converted_folder, self.pixel_size)

        self.labels = ["rlnImageName", OBJECT_ID]
        if self.has_ctf:
            self.labels += ["rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"]
        if self.has_phase_shift:
            self.labels.append("rlnPhaseShift")
        self.labels += ALIGNMENT_LABELS.get(self.alignment, ())
        if self.has_coordinate:
            self.labels += ["rlnCoordinateX", "rlnCoordinateY", "rlnMicrographName"]

        self.attributes = {}
        if first.hasClassId():
            self.attributes["rlnClassNumber"] = "_classId"
        for name, value in first.getAttributes():
            if name.startswith(ENGINE_PREFIXES) and isinstance(value, Scalar) and value.hasValue():
                self.attributes.setdefault(name[1:], name)
        if group_attribute:
            self.attributes.setdefault(get_group_label(group_attribute), group_attribute)
        for label in [*self.labels, "rlnOpticsGroup"]:
            self.attributes.pop(label, None)
        self.labels += self.attributes

    def get_values(self, particle):
        """Return the values of one particle, in the order of `labels`."""
        number = particle.getObjId()
        index, path = self.locate(*particle.getLocation())
        values = [f"{index:06d}@{path}", number]
        if self.has_ctf:
            ctf = particle.getCTF()
            if ctf is None:
                raise ValueError(
                    f"Particle {number} has no CTF, while the first of the set has one."
                )
            values += [float(value) for value in ctf.getDefocus()]
            if self.has_phase_shift:
                values.append(float(ctf.getPhaseShift() or 0.0))
        if self.alignment in ALIGNMENT_LABELS:
            transform = particle.getTransform()
            if transform is None:
                raise ValueError(f"Particle {number} has no transform, while its set is aligned.")
            matrix = transform.getMatrix()
            values += get_relion_alignment(matrix, self.alignment, self.pixel_size)
        if self.has_coordinate:
            values += get_coordinate(particle)
        for name in self.attributes.values():
            value = particle.getAttributeValue(name)
            if value is None:
                raise ValueError(f"Particle {number} has no value of {name}, while the first has.")
            values.append(value)
        return values


def get_coordinate(particle):
    """Return x, y (pixels of the micrograph) and the micrograph's name, as RELION's plugin writes it."""
    coordinate = particle.getCoordinate()
    if coordinate is None:
        raise ValueError(f"Particle {particle.getObjId()} has no coordinate, while the first has.")
    name = coordinate.getMicName() or coordinate.getMicId() or particle.getMicId() or ""
    return [*coordinate.getPosition(), str(name).replace(" ", "")]


def get_group_label(attribute):
    """Name the STAR column of an attribute of the particles, for example `_classId`."""
    known = {"_classId": "rlnClassNumber", "_micId": "rlnMicrographId"}
    name = attribute.split(".")[-1].lstrip("_")
    return known.get(attribute, name if name.startswith("rln") else f"polardenoise_{name}")


class StackLocator:
    """Say where the engine finds an image: where it lies, or in a converted stack.

    Parameters
    ----------
    folder : str
        For converted stacks; made when the first one comes.
    pixel_size : float
        Angstrom per pixel, for their headers.
    """

    def __init__(self, folder, pixel_size):
        self.folder = folder
        self.pixel_size = pixel_size
        self.known = {}

    def __call__(self, index, path):
        """Return the location `(number from 1, path)` of the image at `index` of `path`."""
        if path not in self.known:
            self.known[path] = self.find(path)
        return (1 if index == NO_INDEX else index), self.known[path]

    def find(self, path):
        """Return the path that the engine reads for a stack, after converting it where needed."""
        # Scipion may say a file's kind after a colon, as in particles.mrc:mrcs.
        plain, _, kind = path.partition(":")
        readable = plain.lower().endswith(ENGINE_FORMATS) or kind in ("mrc", "mrcs")
        if readable and not any(character.isspace() for character in plain):
            return plain
        os.makedirs(self.folder, exist_ok=True)
        stem = os.path.splitext(os.path.basename(plain))[0].replace(" ", "_")
        target = os.path.join(self.folder, f"{len(self.known) + 1:05d}_{stem}.mrcs")
        if readable:
            os.symlink(os.path.abspath(plain), target)
        else:
            convert_stack(plain, target, self.pixel_size)
        return target


def convert_stack(source, target, pixel_size):
    """Write a stack of another format as an MRC stack, image by image.

    Parameters
    ----------
    source : str
        Whatever Scipion's ImageHandler reads: SPIDER, HDF5, TIFF, IMAGIC...
    target : str
        `.mrcs`, float32.
    pixel_size : float
        Angstrom per pixel.
    """
    import mrcfile
    from pwem.emlib.image import ImageHandler

    handler = ImageHandler()
    columns, rows, sections, images = handler.getDimensions(source)
    count = max(sections, images)
    logger.info("Converting %s (%d images) to %s", source, count, target)
    with mrcfile.new_mmap(target, (count, rows, columns), mrc_mode=2, overwrite=True) as stack:
        for index in range(count):
            stack.data[index] = np.asarray(handler.read((index + 1, source)).getData())
        stack.set_image_stack()
        stack.voxel_size = pixel_size
        stack.update_header_stats()


def read_denoised_rows(star_path):
    """Read where the engine put each particle.

    Parameters
    ----------
    star_path : str
        The engine's output, made from `write_particles_star`'s.

    Returns
    -------
    dict
        `objId` to `(number from 1, path, random subset or None)`.
    """
    rows, paths = {}, {}
    for row in read_loop(star_path, "particles"):
        index, path = row["rlnImageName"].split("@", 1)
        subset = row.get("rlnRandomSubset")
        # A million rows name one stack: keep its name once.
        path = paths.setdefault(path, path)
        rows[int(row[OBJECT_ID])] = (int(index), path, None if subset is None else int(subset))
    return rows
