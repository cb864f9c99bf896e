"""A molecule of blobs without any symmetry, its projections, and how much of them a volume explains."""

import torch

from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.networks.template_evidence import pair_parts, score_templates
from polardenoise.engine.views.frames import draw_frames, spread_frames
from polardenoise.engine.views.poses import project_all

BOX = 32


def make_blobs(box=BOX, count=9, seed=1):
    """Make a volume of blobs `(box, box, box)`; their projections have a mean energy of 1 a pixel of the disk."""
    generator = torch.Generator().manual_seed(seed)
    centres = 0.22 * box * torch.randn(count, 3, generator=generator).clamp(-1.2, 1.2)
    widths = box * (0.04 + 0.05 * torch.rand(count, generator=generator))
    along = torch.arange(box, dtype=torch.float32) - box // 2
    grid = torch.stack(torch.meshgrid(along, along, along, indexing="ij"), -1)
    squares = (grid[None] - centres[:, None, None, None]).square().sum(-1)
    volume = torch.exp(-squares / (2 * widths[:, None, None, None].square())).sum(0)
    seen = project_all(volume, draw_frames(20, generator).float())
    return volume / (seen.square().sum() / (20 * disk_mask(box, box / 2 - 0.5).sum())).sqrt()


def make_images(volume, count, snr, seed=0):
    """Project at random frames, noise of variance 1: `(images, clean, frames)`."""
    generator = torch.Generator().manual_seed(seed)
    frames = draw_frames(count, generator).float()
    clean = project_all(volume, frames) * snr**0.5
    return clean + torch.randn(clean.shape, generator=generator), clean, frames


def measure_unexplained(volume, clean, views=600):
    """Tell what share of clean images the nearest views of a volume leave, at the best rotation and any scale."""
    rings = build_fourier_rings(clean.shape[-1])
    own = rings.to_harmonics(clean)
    frames = spread_frames(views, torch.Generator().manual_seed(7))
    shown = rings.append_mirrored(rings.to_harmonics(project_all(volume, frames)))
    energies = rings.ring_energies(shown)
    scores = score_templates(
        pair_parts(own),
        torch.cat([shown[0], shown[1]], -1),
        torch.ones(len(clean), rings.rings),
        torch.zeros_like(energies),
        rings,
        64,
    )
    seen = energies.sum(-1).clamp_min(1e-9)
    explained = (scores.amax(-1).clamp_min(0).square() / seen).amax(-1)
    return float(1 - explained.sum() / rings.ring_energies(own).sum())
