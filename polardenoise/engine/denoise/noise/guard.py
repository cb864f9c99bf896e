"""Images in which a network finds no more than it finds in pure noise: their raw image is returned, faint.

Whatever makes images smooth makes something smooth of noise as well, and what is smooth aligns to any reference
("Einstein from noise"). So each model's card says how much energy pure noise has come out with, and an image that comes
out with no more is not shown as a particle. It is not blank either, which would break the programs that divide by an
image's standard deviation: it is its own raw image, scaled down as the Wiener filter of so low an SNR scales it.

That is how an image is judged by itself: by what one noise image in a hundred exceeds. The others that were denoised
with it have a say as well (`chance`): each single frame of a microscope might be noise, and all of them together
are far from it.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polardenoise.engine.denoise.noise.chance import judge_together
from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.imaging.disk import disk_mask

#: Factor of the raw image: the Wiener filter of white noise at an SNR of 0.01.
FAINT = 0.01


def fade_faint_images(
    estimates: Tensor,
    images: Tensor,
    ctf_rings: Tensor,
    set_sizes: Sequence[int],
    noise_energy: Mapping[str, float],
) -> tuple[Tensor, Tensor]:
    """Replace estimates by faint raw images where they are taken for noise.

    Parameters
    ----------
    estimates, images : Tensor
        `(m, box, box)` CTF-free estimates and what they were made of, in units of the noise.
    ctf_rings : Tensor
        `(m, box // 2)` mean of |CTF| on each ring of frequencies; ones for images without a CTF.
    set_sizes : sequence of int
        How many images, one after another, were denoised together; `m` in all.
    noise_energy : mapping
        As `noise_energy.measure_noise_energy` gives it. Empty: nothing is known of the model, and nothing is replaced.

    Returns
    -------
    Tensor
        `(m, box, box)`. From once to twice the energy of noise the one fades into the other, unless the others say that
        less is enough; from there on an estimate is what it was, bit for bit.
    Tensor
        `(m,)` bool: where no part of the estimate is left.
    """
    if not noise_energy:
        return estimates, torch.zeros(len(estimates), dtype=torch.bool, device=estimates.device)
    energy = compare_with_noise(estimates, ctf_rings, noise_energy)
    together = torch.cat([judge_together(of_set) for of_set in energy.split(list(set_sizes))])
    share = torch.maximum((energy - 1).clamp(0, 1), together)[:, None, None]
    faded = share * estimates + (1 - share) * FAINT * images
    return torch.where(share < 1, faded, estimates), (share == 0)[:, 0, 0]


def compare_with_noise(
    estimates: Tensor, ctf_rings: Tensor, noise_energy: Mapping[str, float]
) -> Tensor:
    """Give the energy of each estimate in that which one noise image in a hundred exceeds, `(m,)`."""
    energy = measure_energy(estimates, ctf_rings)
    without, with_ctf = (energy.new_tensor(noise_energy[name]) for name in ("none", "ctf"))
    return energy / torch.where((ctf_rings == 1).all(-1), without, with_ctf)


def measure_energy(estimates: Tensor, ctf_rings: Tensor) -> Tensor:
    """Mean square of CTF-free estimates `(m, box, box)` on the disk, as they are seen through their CTFs: `(m,)`."""
    box = estimates.shape[-1]
    disk = disk_mask(box, box / 2 - 1, estimates.device)
    seen = filter_by_rings(estimates, ctf_rings) * disk
    return seen.square().sum((-2, -1)) / disk.sum()
