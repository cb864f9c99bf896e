"""In-plane rotation of images, by angles that need not be steps of a polar grid."""

import torch
from torch import Tensor
from torch.nn import functional as F

from polardenoise.engine.imaging.fourier import fourier_pad
from polardenoise.engine.imaging.rings import ring_index

#: Images are sampled so much more finely before they are interpolated: bicubic splines are then good to 1e-4.
FINER = 3
IMAGES_AT_ONCE = 256


def rotate_images(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn images about their centre.

    Parameters
    ----------
    images : Tensor
        `(n, N, N)`, centre at pixel `(N // 2, N // 2)`. What lies above the Nyquist frequency, in the corners of the
        transform, is left out: turned, it would fold back.
    degrees : Tensor
        `(n,)`. The projection of a molecule with RELION's psi becomes that with psi + degrees.

    Returns
    -------
    Tensor
        `(n, N, N)`; 0 is taken for what lies outside the image.
    """
    box = images.shape[-1]
    below_nyquist = ring_index(box).to(images.device) < box // 2
    position = torch.arange(box, dtype=images.dtype, device=images.device) - box // 2
    parts = []
    for some, angles in zip(
        images.split(IMAGES_AT_ONCE), degrees.split(IMAGES_AT_ONCE), strict=True
    ):
        band = torch.fft.irfft2(torch.fft.rfft2(some) * below_nyquist, s=(box, box))
        fine = fourier_pad(band, FINER * box)[:, None]
        radians = torch.deg2rad(angles.to(images))[:, None, None]
        cosine, sine = radians.cos(), radians.sin()
        # RELION's psi turns what lies at +x towards -y (rows count y): look where it has come from.
        x = cosine * position - sine * position[:, None]
        y = sine * position + cosine * position[:, None]
        places = torch.stack([x, y], -1) * FINER + FINER * box // 2
        last = FINER * box - 1
        grid = places * (2 / last) - 1
        turned = F.grid_sample(fine, grid, mode="bicubic", align_corners=True)
        parts.append(turned[:, 0])
    return torch.cat(parts)
