"""A SetOfParticles to the engine's `particles.star`, and the engine's answer back to a set.

Nothing is copied on the way out: rows point into the stacks where they lie, relative to the project's
folder, unless a format is one that the engine does not read. On the way back every item is
the input's own, found by its `objId`; only where its pixels lie is new.
"""

import os

from polardenoise.convert.optics_groups import OpticsTable
from polardenoise.convert.particle_columns import OBJECT_ID, ParticleColumns, format_waiting
from polardenoise.convert.star_loops import format_loop_header, read_loop


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
        If no particle is enabled, or one lacks a value that the engine needs while others have it, or has a line
        break in one.
    """
    # Which columns there are, and the table of optics groups, are known when all particles have been seen: rows wait in
    # a file.
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
                rows.write(format_waiting(values, particle.getObjId()))
                count += 1
        if columns is None:
            raise ValueError("The input set has no enabled particle.")
        labels = [*columns.list_filled(), "rlnOpticsGroup"]
        with open(star_path, "w", encoding="utf-8") as star:
            star.write(optics.format_table())
            star.write(format_loop_header("particles", labels))
            with open(rows_path, encoding="utf-8") as rows:
                star.writelines(columns.fill_gaps(rows))
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
