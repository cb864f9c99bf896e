"""Training sets whose coloured noise was made white, as `denoise` does it, with the network told so.

An image of the transform `C X + N`, `|N|^2` of the power `P` on each ring of frequencies, becomes `C w X + w N` with
`w = P^-1/2`: white noise, and a molecule seen through `C w`. Told these rings instead of |CTF|, the network weighs
every frequency by what is known there, and its estimate is of `X`, as ever.
"""

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf_rings import average_over_transform, filter_by_rings
from polardenoise.engine.imaging.rings import average_rings
from polardenoise.engine.runtime.devices import send_to_device
from polardenoise.engine.train.recipe import Recipe

#: No ring is strengthened or weakened by more than this, as where a set's noise happens to have next to nothing.
LARGEST_FACTOR = 8.0
#: Over how many rings of frequencies the power of noise is taken for more than it is.
MISJUDGED_RINGS = (2.0, 8.0)
#: It is taken for less now and then, by up to this share of what it is taken for more.
UNDERRATED = 0.3


def measure_whitening(noise: Tensor) -> Tensor:
    """Find what makes the noise of sets white.

    Parameters
    ----------
    noise : Tensor
        `(sets, images, N, N)`.

    Returns
    -------
    Tensor
        `(sets, N // 2)`: one over the root of the power of each ring, which is 1 on average over all frequencies.
    """
    power = average_rings(torch.fft.rfft2(noise).abs().square().mean(1))  # (sets, N // 2)
    relative = (power / average_over_transform(power)[:, None]).clamp(
        LARGEST_FACTOR**-2, LARGEST_FACTOR**2
    )
    return relative.rsqrt()


def draw_whitening_errors(
    sets: int, box: int, recipe: Recipe, generator: np.random.Generator
) -> np.ndarray | None:
    """Draw by how much the power of noise is misjudged, `(sets, N // 2)` logarithms; None where it never is.

    Corners say what the noise is, and in crowded boxes they have neighbours: several times the power that the middle
    has at coarse frequencies (docs/training.rst). The generator is not touched where a recipe has no such error.
    """
    if not recipe.whitening_error:
        return None
    largest = recipe.whitening_error * generator.uniform(-UNDERRATED, 1.0, sets)
    width = generator.uniform(*MISJUDGED_RINGS, sets)
    rings = np.arange(box // 2)
    return largest[:, None] * np.exp(-((rings / width[:, None]) ** 2))


def whiten_sets(
    noisy: Tensor, noise: Tensor, whitened: np.ndarray, errors: np.ndarray | None = None
) -> tuple[Tensor, Tensor]:
    """Whiten some of the sets.

    Parameters
    ----------
    noisy, noise : Tensor
        `(sets, images, N, N)` normalised images, and the noise in them, up to its strength.
    whitened : ndarray
        `(sets,)` bool.
    errors : ndarray, optional
        From `draw_whitening_errors`.

    Returns
    -------
    tuple of Tensor
        The images, and `(sets, images, N // 2)` by what each ring of them was multiplied.
    """
    sets, images, box = noisy.shape[:3]
    factors = noisy.new_ones(sets, images, box // 2)
    rows = torch.from_numpy(np.flatnonzero(whitened)).to(noisy.device)
    if not len(rows):
        return noisy, factors
    own = measure_whitening(noise[rows])[:, None].expand(-1, images, -1)
    if errors is not None:
        misjudged = send_to_device(np.exp(-errors / 2).astype(np.float32), noisy.device)
        own = own * misjudged[rows][:, None]
    filtered = filter_by_rings(noisy[rows].flatten(0, 1), own.flatten(0, 1))
    changed = noisy.index_copy(0, rows, filtered.unflatten(0, (len(rows), images)))
    return changed, factors.index_copy(0, rows, own.contiguous())
