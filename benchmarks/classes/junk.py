"""Junk: what pickers bring besides particles, one function a kind.

Each gives images `(k, N, N)` as the microscope records them, CTF included, without the noise, in its units. What has no
strength of its own (ice, carbon) has 1 to 4 times the energy of a particle.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.classes.sets import Molecule
from polardenoise.engine.imaging.ctf import CtfParameters, apply_ctf, compute_ctf
from polardenoise.engine.imaging.euler_angles import draw_orientations
from polardenoise.engine.imaging.projections import prepare_volume, take_projections
from polardenoise.engine.simulate.overlapping_particles import measure_radius, move_beside

#: Of the energy of a particle, CTF included.
STRENGTHS = (1.0, 4.0)
#: Standard deviations of ice-like blobs, and how far from the centre they lie; shares of the box.
BLOBS, BLOB_PLACE = (0.05, 0.12), 1 / 6
#: How far the edge of a carbon film passes the centre, share of the box, and how soft it is, pixels.
EDGE_PLACE, EDGE_SOFT, TEXTURE = 0.25, 1.5, 0.5
#: Centres of two particles that touch, in radii of the sphere that holds 0.8 of the mass; copies in a clump.
TOUCHING, CLUMPED = (1.4, 2.0), (3, 4)
#: Share of the box that particles off the centre lie from it.
OFF_CENTRE = 1 / 3
#: Planes that particles are broken along.
PLANES = 10


@dataclass(frozen=True)
class Site:
    """Where junk is recorded.

    Attributes
    ----------
    molecule : Molecule
        Of the set.
    amplitude : float
        By which its projections are multiplied.
    energy : float
        Mean energy of a particle, CTF included.
    ctf : CtfParameters
        Of the `k` images of junk.
    generator : numpy.random.Generator
        Source of randomness.
    """

    molecule: Molecule
    amplitude: float
    energy: float
    ctf: CtfParameters
    generator: np.random.Generator


def draw_empty(site: Site) -> Tensor:
    """Draw boxes of noise and nothing else."""
    box = site.molecule.volume.shape[-1]
    return torch.zeros(len(site.ctf), box, box)


def draw_blobs(site: Site) -> Tensor:
    """Draw one to three smooth round spots a box, such as ice leaves."""
    box, count, generator = site.molecule.volume.shape[-1], len(site.ctf), site.generator
    x, y = measure_places(2 * box)
    images = torch.zeros(count, 2 * box, 2 * box)
    spots = generator.integers(1, 4, count)
    for number in range(3):
        width = torch.from_numpy(generator.uniform(*BLOBS, count) * box)[:, None, None]
        at = torch.from_numpy(generator.uniform(-BLOB_PLACE, BLOB_PLACE, (count, 2)) * box)
        squared = (x - at[:, :1, None]) ** 2 + (y - at[:, 1:, None]) ** 2
        strength = torch.from_numpy(generator.uniform(0.5, 1, count) * (spots > number))
        images += (strength[:, None, None] * (-squared / (2 * width**2)).exp()).float()
    return strengthen(see_wide(images, site), site)


def draw_carbon_edges(site: Site) -> Tensor:
    """Draw the edge of a carbon film: uneven on one side, nothing on the other."""
    box, count, generator = site.molecule.volume.shape[-1], len(site.ctf), site.generator
    x, y = measure_places(2 * box)
    towards = torch.from_numpy(generator.uniform(0, 2 * np.pi, count))[:, None, None]
    passes = torch.from_numpy(generator.uniform(-EDGE_PLACE, EDGE_PLACE, count) * box)
    distance = x * towards.cos() + y * towards.sin() - passes[:, None, None]
    grain = torch.from_numpy(generator.standard_normal((count, 2 * box, 2 * box)))
    film = (distance / EDGE_SOFT).sigmoid() * (1 + TEXTURE * grain)
    return strengthen(see_wide(film.float(), site), site)


def draw_clumps(site: Site) -> Tensor:
    """Draw two particles that touch, the box between them, or three and four about the centre."""
    count, generator = len(site.ctf), site.generator
    radius = measure_radius(site.molecule.volume)
    apart = generator.uniform(*TOUCHING, count) * radius
    copies = np.where(
        np.arange(count) % 2 == 0, 2, generator.integers(*CLUMPED, count, endpoint=True)
    )
    first = generator.uniform(0, 2 * np.pi, count)
    # Copies stand on a circle, each `apart` from the next.
    circle = apart / (2 * np.sin(np.pi / copies))
    images = torch.zeros(count, *site.molecule.volume.shape[1:])
    for number in range(max(CLUMPED)):
        angle = first + 2 * np.pi * number / copies
        places = circle[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        present = torch.from_numpy((number < copies).astype(np.float32))[:, None, None]
        images += present * project_at(site, torch.from_numpy(places))
    return images


def draw_off_centre(site: Site) -> Tensor:
    """Draw particles a third of the box off its centre."""
    angle = site.generator.uniform(0, 2 * np.pi, len(site.ctf))
    distance = OFF_CENTRE * site.molecule.volume.shape[-1]
    places = distance * np.stack([np.cos(angle), np.sin(angle)], 1)
    return project_at(site, torch.from_numpy(places))


def draw_broken(site: Site) -> Tensor:
    """Draw halves of particles, broken along planes through the centre of mass; each half is at the centre."""
    volume, generator = site.molecule.volume, site.generator
    size = volume.shape[-1]
    axis = torch.arange(size, dtype=torch.float32) - size // 2
    images = torch.zeros(len(site.ctf), size, size)
    which = generator.integers(PLANES, size=len(images))
    for plane in range(PLANES):
        rows = torch.from_numpy(np.flatnonzero(which == plane))
        normal = torch.from_numpy(generator.standard_normal(3)).float()
        normal /= normal.norm()
        beyond = axis * normal[0] + axis[:, None] * normal[1] + axis[:, None, None] * normal[2]
        half = centre_mass(volume * beyond.sigmoid())
        if len(rows):
            angles = draw_orientations(len(rows), generator)
            images[rows] = take_projections(prepare_volume(half), angles)
    nowhere = torch.zeros(len(images), 2, dtype=torch.float64)
    return site.amplitude * move_beside(images, nowhere, compute_wide_ctf(site))


#: All kinds that are drawn, by the name they have in tables.
KINDS: dict[str, Callable[[Site], Tensor]] = {
    "empty boxes": draw_empty,
    "ice-like blobs": draw_blobs,
    "edge of carbon": draw_carbon_edges,
    "pairs and clumps": draw_clumps,
    "off the centre": draw_off_centre,
    "broken": draw_broken,
}


def measure_places(box: int) -> tuple[Tensor, Tensor]:
    """Give x `(1, box)` and y `(box, 1)` of pixels from the centre."""
    axis = torch.arange(box, dtype=torch.float64) - box // 2
    return axis[None], axis[:, None]


def compute_wide_ctf(site: Site) -> Tensor:
    """Compute the CTFs in boxes twice as wide: fringes of what lies outside reach in."""
    return compute_ctf(site.ctf, site.molecule.pixel_size, 2 * site.molecule.volume.shape[-1])


def see_wide(images: Tensor, site: Site) -> Tensor:
    """Give images `(k, 2 N, 2 N)` their CTFs and cut the boxes out of them."""
    box = images.shape[-1] // 2
    seen = apply_ctf(images, compute_wide_ctf(site))
    return seen[:, box // 2 : box // 2 + box, box // 2 : box // 2 + box]


def strengthen(images: Tensor, site: Site) -> Tensor:
    """Give each of some images, means out, an energy drawn from `STRENGTHS`."""
    images = images - images.mean((1, 2), keepdim=True)
    wanted = torch.from_numpy(site.generator.uniform(*STRENGTHS, len(images))) * site.energy
    own = images.double().square().sum((1, 2)).clamp_min(1e-12)
    return images * (wanted / own).sqrt().float()[:, None, None]


def project_at(site: Site, places: Tensor) -> Tensor:
    """Project the molecule at random orientations and at places `(k, 2)`, pixels from the centre, as it is seen."""
    angles = draw_orientations(len(places), site.generator)
    projections = take_projections(site.molecule.transform, angles)
    return site.amplitude * move_beside(projections, places, compute_wide_ctf(site))


def centre_mass(volume: Tensor) -> Tensor:
    """Move a density `(N, N, N)` by whole voxels so that its centre of mass is at `N // 2`."""
    axis = torch.arange(volume.shape[-1], dtype=torch.float32) - volume.shape[-1] // 2
    weight = volume.clamp_min(0)
    others = ((1, 2), (0, 2), (0, 1))
    moves = [-round(float((weight.sum(two) * axis).sum() / weight.sum())) for two in others]
    return volume.roll(moves, (0, 1, 2))
