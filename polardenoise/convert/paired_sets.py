"""Two sets of the same particles, written row by row in the same order: matched by id, never by place."""

from pyworkflow.object import Integer

from polardenoise.convert.chunks import open_fresh
from polardenoise.convert.convert import write_particles_star
from polardenoise.convert.particle_columns import RANDOM_SUBSET


def write_matching_star(particles, star_path, converted_folder, ids, poses=None):
    """Write some particles of a set, in the order of the ids given.

    Parameters
    ----------
    particles : SetOfParticles
        The set: its pixels, CTF and flags are written.
    star_path, converted_folder : str
        As for `write_particles_star`.
    ids : list of int
        Ids, ascending.
    poses : SetOfParticles, optional
        Transforms and random halves are taken from the particles of the same ids of this set instead.

    Raises
    ------
    ValueError
        If an id is not in the set.
    """
    fresh = open_fresh(particles)
    try:
        if poses is not None:
            fresh.setAlignment(poses.getAlignment())
        items = iter_by_ids(fresh, ids, poses)
        write_particles_star(fresh, star_path, converted_folder, items=items)
    finally:
        fresh.close()


def iter_by_ids(particles, ids, poses=None):
    """Yield the particles of some ids, in ascending order; the same object over and over.

    Parameters
    ----------
    particles, ids, poses
        As for `write_matching_star`.

    Yields
    ------
    Particle
        With the pose of the other set, where one is given.

    Raises
    ------
    ValueError
        If an id is not in the set.
    """
    wanted = set(ids)
    posed = open_fresh(poses) if poses is not None else None
    others = posed.iterItems(orderBy="id", direction="ASC") if posed is not None else None
    found = 0
    for particle in particles.iterItems(orderBy="id", direction="ASC"):
        number = particle.getObjId()
        if number not in wanted:
            continue
        found += 1
        if others is not None:
            other = next(item for item in others if item.getObjId() == number)
            particle.setTransform(other.getTransform())
            half = other.getAttributeValue(RANDOM_SUBSET)
            if half is not None:
                setattr(particle, RANDOM_SUBSET, Integer(half))
        yield particle
    if posed is not None:
        posed.close()
    if found != len(wanted):
        raise ValueError(
            f"{len(wanted) - found} of {len(wanted)} particles are not in the other set: the same "
            "particles (ids) are needed in both."
        )
