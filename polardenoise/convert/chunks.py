"""A particle set in chunks: which particles each step denoises, decided once and kept on the disk.

A chunk is a list of ids. Which ids is written down when it is cut, so that a run that is continued, or
whose input grows while it runs, finds the same chunks again. When an input that grew is complete and
its chunks are not those of a set that was there at once, all particles are cut once more into *final*
chunks: the first chunk that has a particle of an earlier one, and all that follow it.
"""

import hashlib
import os

import numpy as np

# Ids in one condition of SQL; sqlite takes no longer ones without asking.
IDS_AT_ONCE = 500


class Chunk:
    """Some particles of a set.

    Parameters
    ----------
    number : int
        From 1.
    ids : ndarray
        `(n,)` int64 ids of the particles, ascending.
    """

    def __init__(self, number, ids):
        self.number = number
        self.ids = ids

    @property
    def digest(self):
        """A short hash of the ids, for the arguments of the chunk's steps; hexadecimal."""
        return hashlib.sha256(self.ids.tobytes()).hexdigest()[:16]


def read_chunks(folder):
    """Read the chunks that were cut before, in the order of their numbers."""
    chunks = []
    while os.path.exists(get_ids_path(folder, len(chunks) + 1)):
        number = len(chunks) + 1
        chunks.append(Chunk(number, np.load(get_ids_path(folder, number))))
    return chunks


def write_chunk(folder, chunk):
    """Write down the ids of a chunk; the file is complete or not there."""
    path = get_ids_path(folder, chunk.number)
    with open(path + ".part", "wb") as file:
        np.save(file, chunk.ids)
    os.replace(path + ".part", path)


def get_ids_path(folder, number):
    """Return the file of a chunk's ids."""
    return os.path.join(folder, f"ids_{number:05d}.npy")


def cut_ids(ids, size, complete, least=1):
    """Cut the ids that are in no chunk yet.

    Parameters
    ----------
    ids : ndarray
        `(n,)` ascending.
    size : int
        Largest number in a chunk.
    complete : bool
        No more will come: all are cut, into chunks of about equal size. Otherwise a rest of fewer than
        `least` waits for more.
    least : int
        Fewest in a chunk while more may come.

    Returns
    -------
    list of ndarray
        Consecutive parts of `ids`.
    """
    if complete:
        count = -(-len(ids) // size)
        return np.array_split(ids, count) if count else []
    parts = [ids[start : start + size] for start in range(0, len(ids), size)]
    return [part for part in parts if len(part) >= min(least, size)]


def cut_final_ids(chunks, ids, size):
    """Cut a complete set as if all of it had been there at once, as far as that has not been done.

    Parameters
    ----------
    chunks : list of Chunk
        All that have been cut.
    ids : ndarray
        `(n,)` ascending, of all particles.
    size : int
        Largest number in a chunk.

    Returns
    -------
    list of ndarray
        What is to be cut now: nothing where the chunks that count are those of the whole set, the rest
        where they are its first ones, and otherwise all, once more.
    """
    parts = cut_ids(ids, size, True)
    known = [chunk.ids for chunk in chunks[find_first_final(chunks) :]]
    same = all(np.array_equal(one, part) for one, part in zip(known, parts))
    return parts[len(known) :] if same and len(known) <= len(parts) else parts


def find_first_final(chunks):
    """Find the place of the first final chunk; 0 where none was cut twice."""
    seen = np.zeros(0, dtype=np.int64)
    for place, chunk in enumerate(chunks):
        if np.isin(chunk.ids, seen).any():
            return place
        seen = np.concatenate([seen, chunk.ids])
    return 0


def list_enabled_ids(particles):
    """List the ids of a set's enabled particles, ascending.

    Parameters
    ----------
    particles : SetOfParticles
        Read from its file.

    Returns
    -------
    ndarray
        `(n,)` int64.
    """
    return np.sort(np.array(particles.getUniqueValues("id", where="enabled=1"), dtype=np.int64))


def iter_chunk(particles, ids):
    """Yield the particles of some ids, ascending; the set yields one object over and over.

    Parameters
    ----------
    particles : SetOfParticles
        The set.
    ids : ndarray
        `(n,)` ascending ids of particles in it.

    Yields
    ------
    Particle
        The same object each time.

    Raises
    ------
    ValueError
        If a particle is not there any more.
    """
    found = 0
    for start in range(0, len(ids), IDS_AT_ONCE):
        some = ids[start : start + IDS_AT_ONCE]
        if some[-1] - some[0] + 1 == len(some):
            where = f"id>={some[0]} AND id<={some[-1]}"
        else:
            where = f"id IN ({','.join(map(str, some))})"
        for particle in particles.iterItems(orderBy="id", direction="ASC", where=where):
            found += 1
            yield particle
    if found != len(ids):
        raise ValueError(
            f"{len(ids) - found} of the chunk's {len(ids)} particles are not in the input any more: "
            "run again."
        )


def open_fresh(particles):
    """Open a set once more, with a connection of its own and what its file holds by now.

    Parameters
    ----------
    particles : SetOfParticles
        As an input names it; perhaps another run still adds to its file.

    Returns
    -------
    SetOfParticles
        To be closed by the caller.
    """
    fresh = type(particles)(filename=particles.getFileName(), prefix=particles.getPrefix() or "")
    fresh.copyInfo(particles)
    fresh.setStreamState(particles.getStreamState())
    if fresh.hasProperty("_streamState"):
        fresh.loadProperty("_streamState")
    return fresh
