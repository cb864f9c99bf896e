"""The engine's answer as a SetOfParticles: the input's own items with denoised pixels, chunk by chunk."""

import os

from pwem.objects import SetOfParticles
from pyworkflow.object import Float, Integer, String

from polardenoise.convert.chunks import iter_chunk
from polardenoise.convert.particle_columns import DENOISED_BY, RANDOM_SUBSET

# How consistent an image is with those that it matches, 0 to 1: junk is low.
SCORE = "_polardenoiseScore"


class PixelsReplaced:
    """What changes in a particle when its pixels are denoised; called with each item that is copied.

    Parameters
    ----------
    rows : dict
        Of `convert.read_denoised_rows`.
    model : str
        Name of the model, noted with every item.
    scores : dict, optional
        Score of each particle by its id.
    pixel_size : float, optional
        Angstrom per pixel of the output, where it is another than the input's.
    """

    def __init__(self, rows, model, scores=None, pixel_size=None):
        self.rows = rows
        self.model = model
        self.scores = scores
        self.pixel_size = pixel_size

    def __call__(self, particle, _):
        """Give one item, a copy of the input's, its denoised pixels."""
        number = particle.getObjId()
        if number not in self.rows:
            raise ValueError(f"Particle {number} is missing from the engine's output.")
        index, path, subset = self.rows[number]
        particle.setLocation(index, path)
        setattr(particle, DENOISED_BY, String(self.model))
        # Halves that the engine drew travel on, so that what follows splits as it did.
        if subset is not None and particle.getAttributeValue(RANDOM_SUBSET) is None:
            setattr(particle, RANDOM_SUBSET, Integer(subset))
        if self.scores is not None:
            setattr(particle, SCORE, Float(self.scores[number]))
        if self.pixel_size is not None:
            change_pixel_size(particle, self.pixel_size)


def change_pixel_size(particle, pixel_size):
    """Give a particle another pixel size: what is counted in its pixels is counted in the new ones.

    Parameters
    ----------
    particle : Particle
        Changed in place: coordinate in the micrograph, shifts, pixel size.
    pixel_size : float
        Angstrom per pixel.
    """
    factor = particle.getSamplingRate() / pixel_size
    if particle.hasCoordinate():
        particle.scaleCoordinate(factor)
    if particle.hasTransform():
        particle.getTransform().scaleShifts(factor)
    particle.setSamplingRate(pixel_size)


def add_denoised_chunk(denoised, particles, ids, replace_pixels):
    """Add the items of one chunk to the output; those that are there already are left alone.

    Parameters
    ----------
    denoised : SetOfParticles
        From `open_denoised_set`.
    particles : SetOfParticles
        The input.
    ids : ndarray
        `(n,)` of the chunk, ascending.
    replace_pixels : PixelsReplaced
        What changes.

    Raises
    ------
    ValueError
        If the engine's answer and the chunk are not the same particles.
    """
    if len(ids) != len(replace_pixels.rows):
        raise ValueError(
            f"The engine gave {len(replace_pixels.rows)} images for {len(ids)} particles."
        )
    # Items of a chunk are stored together or not at all, so one of them speaks for all.
    if denoised.getSize() and int(ids[0]) in denoised:
        return
    denoised.copyItems(iter_chunk(particles, ids), updateItemCallback=replace_pixels)


def open_denoised_set(path, particles, create, ctf_corrected, pixel_size=None):
    """Open the output set to add to it, or begin it.

    Parameters
    ----------
    path : str
        Its file.
    particles : SetOfParticles
        The input.
    create : callable
        Makes the empty set where there is none yet.
    ctf_corrected : bool
        The pixels carry no CTF any more: the set's flags say so. The items keep their CTF.
    pixel_size : float, optional
        Angstrom per pixel of the output, where it is another than the input's.

    Returns
    -------
    SetOfParticles
        Open for adding, its stream too.
    """
    if os.path.exists(path):
        denoised = SetOfParticles(filename=path)
        denoised.enableAppend()
    else:
        denoised = create()
    denoised.copyInfo(particles)
    if pixel_size is not None:
        denoised.setSamplingRate(pixel_size)
    if ctf_corrected:
        denoised.setIsPhaseFlipped(True)
        denoised.setIsAmplitudeCorrected(True)
    return denoised
