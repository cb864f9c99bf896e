"""Ab initio: the poses of estimates that are nearly free of noise, found with nothing to begin with.

Poses are drawn at random, a volume is made of the images there, and each image is moved to a pose drawn by how well it
fits the volume; so again and again, first by chance and coarse, then ever more by likelihood and finer: simulated
annealing of what cryoSPARC does by gradients (Punjani et al., Nat. Methods 14, 290, 2017). Of several beginnings the
one whose volume explains the images best is taken. Which of the two mirror images of the molecule comes out is left to
chance, and does not matter to its views.
"""

from dataclasses import replace

import torch
from torch import Tensor

from polardenoise.engine.imaging.fourier import fourier_crop
from polardenoise.engine.imaging.ring_harmonics import FourierRings, build_fourier_rings
from polardenoise.engine.networks.template_evidence import pair_parts, score_templates
from polardenoise.engine.views.frames import draw_frames, place_images, spread_frames
from polardenoise.engine.views.poses import draw_places, project_all
from polardenoise.engine.views.volume_sums import begin_sums, solve_volume

#: Side of the images that poses are found with, pixels, views, rotations, and images at once.
COARSE_BOX, VIEWS, ANGLES, AT_ONCE = 32, 150, 48, 256
#: Images, at most, beginnings, and steps of each.
MOST_IMAGES, BEGINNINGS, STEPS = 512, 2, 24
#: Log-likelihoods are scaled so that the mean image's energy is this, in the first step and in the last.
SHARPNESS = (80.0, 400.0)
#: Share of the rings that the first step compares.
FIRST_RINGS = 0.5


def find_frames(estimates: Tensor, generator: torch.Generator) -> Tensor:
    """Find the poses of estimates.

    Parameters
    ----------
    estimates : Tensor
        `(n, box, box)` of images in random views, at their centres, at most `MOST_IMAGES`.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    Tensor
        `(n, 3, 3)` in a volume of their own.
    """
    coarse = fourier_crop(estimates, min(COARSE_BOX, estimates.shape[-1]))
    found = [anneal_frames(coarse, generator) for _ in range(BEGINNINGS)]
    return max(found, key=lambda one: one[1])[0]


def anneal_frames(images: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
    """Find the poses of images `(n, box, box)` from one beginning, and how well their volume explains them."""
    box = images.shape[-1]
    every_ring = torch.ones(len(images), box // 2, device=images.device)
    rings = build_fourier_rings(box)
    harmonics = rings.to_harmonics(images)
    energy = rings.ring_energies(harmonics).sum(-1).mean().clamp_min(1e-9)
    frames, explained = draw_frames(len(images), generator).to(images), 0.0
    for step in range(STEPS):
        progress = step / (STEPS - 1)
        sharpness = SHARPNESS[0] * (SHARPNESS[1] / SHARPNESS[0]) ** progress
        compared = round(rings.rings * (FIRST_RINGS + (1 - FIRST_RINGS) * progress))
        sums = begin_sums(box, images.device)
        sums.add_images(images, every_ring, frames)
        views = spread_frames(VIEWS, generator).to(images)
        projections = rings.to_harmonics(project_all(solve_volume(sums), views))
        frames, explained = move_frames(
            harmonics,
            rings.append_mirrored(projections),
            limit_rings(rings, max(2, compared)),
            float(sharpness / energy),
            views,
            generator,
        )
    return frames, explained


def limit_rings(rings: FourierRings, count: int) -> FourierRings:
    """Leave the first `count` rings, and the modes that images show on these."""
    modes = min(rings.modes, 2 * count + 1)
    return replace(rings, rings=count, modes=modes)


def move_frames(
    images: Tensor,
    projections: Tensor,
    rings: FourierRings,
    sharpness: float,
    views: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, float]:
    """Move images to poses drawn by how well they fit projections.

    Parameters
    ----------
    images, projections : Tensor
        `(2, modes, n, rings)` and `(2, modes, 2 m, rings)` harmonics, mirrored projections last.
    rings : FourierRings
        Those that are compared.
    sharpness : float
        Log-likelihoods are multiplied by it.
    views : Tensor
        `(m, 3, 3)` frames of the projections.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    frames : Tensor
        `(n, 3, 3)`.
    explained : float
        Mean log-likelihood at the best poses.
    """
    own, shown = (one[:, : rings.modes, :, : rings.rings] for one in (images, projections))
    energies = rings.ring_energies(shown)
    keys = torch.cat([shown[0], shown[1]], -1)
    places, best = [], []
    for some in own.split(AT_ONCE, 2):
        full = torch.ones(some.shape[2], rings.rings, device=some.device)
        scores = score_templates(pair_parts(some), keys, full, energies, rings, ANGLES).flatten(1)
        best.append(scores.amax(1))
        places.append(draw_places(scores.mul_(sharpness), generator))
    place = torch.cat(places)
    frames = place_images(views, place // ANGLES, place % ANGLES, ANGLES)
    return frames, float(torch.cat(best).mean())
