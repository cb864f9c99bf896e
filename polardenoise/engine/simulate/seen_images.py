"""What a microscope sees of some particles of a simulated set: projections, their CTFs, and neighbours."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf import apply_ctf, compute_ctf
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.projections import VolumeTransform, take_projections
from polardenoise.engine.simulate.overlapping_particles import Neighbours, project_neighbours
from polardenoise.engine.simulate.particle_table import SimulationTable


def project_rows(
    rows: slice, table: SimulationTable, transforms: list[VolumeTransform], pixel_size: float
) -> Tensor:
    """Project some particles and move them off the centre; `(k, N, N)`."""
    angles, source = torch.from_numpy(table.angles[rows]), table.source[rows]
    box = transforms[0].box
    images = torch.empty(len(angles), box, box)
    for number, transform in enumerate(transforms):
        chosen = torch.from_numpy(np.flatnonzero(source == number))
        if len(chosen):
            images[chosen] = take_projections(transform, angles[chosen])
    origins = table.origins[rows]
    if not origins.any():
        return images
    # RELION's origin says how to move the image so that the particle is centred: the particle lies opposite.
    return shift_images(images, torch.from_numpy(-origins / pixel_size))


def see_through_microscope(
    images: Tensor, rows: slice, table: SimulationTable, pixel_size: float
) -> Tensor:
    """Apply the CTFs of some particles, where the set has them."""
    parameters = table.ctf_parameters(rows)
    if parameters is None:
        return images
    return apply_ctf(images, compute_ctf(parameters, pixel_size, images.shape[-1]))


def show_neighbours(
    neighbours: Neighbours,
    rows: slice,
    table: SimulationTable,
    transforms: list[VolumeTransform],
    pixel_size: float,
) -> Tensor:
    """Make what is seen of the neighbours of some particles, copies of the same molecule; `(k, N, N)`."""
    present, source = neighbours.present[rows], table.source[rows]
    box = transforms[0].box
    images = torch.zeros(len(present), box, box)
    parameters = table.ctf_parameters(rows)
    for number, transform in enumerate(transforms):
        chosen = torch.from_numpy(np.flatnonzero(present & (source == number)))
        if len(chosen):
            images[chosen] = project_neighbours(
                transform,
                neighbours.angles[rows][chosen],
                neighbours.places[rows][chosen],
                None if parameters is None else parameters.select(chosen),
                pixel_size,
            )
    return images
