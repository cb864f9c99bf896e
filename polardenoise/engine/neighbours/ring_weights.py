"""Ring weights: what estimates of one image are multiplied by, ring by ring, before they are added up.

Several estimates `f_j` of an image `x` are at hand. The weights `w_j` of a ring that bring `sum_j w_j f_j` nearest to
`x`, seen through the CTF `C`, over many images, solve

    sum_k <C f_j, C f_k> w_k = <C f_j, C x>.

`x` is not known, but `y = C x + n` is, and for noise of variance 1 Stein's identity gives what is wanted without bias,
although the estimates are made from `y` themselves:

    <C f_j, C x> = <C f_j, y> - <C f_j, n>,        E <C f_j, n> = E <C (f_j(y + e z) - f_j(y)), z> / e,

with white noise `z` and a small `e`: an estimate that follows the noise of its own image loses what it gains by it.
(Stein, Ann. Statist. 9, 1135 (1981); by random probes: Ramani et al., IEEE Trans. Image Process. 17, 1540 (2008).)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.rings import sum_rings

#: Standard deviation of the noise that is added as a probe, in units of the images' own.
PROBE = 0.5
#: Weights are drawn to those given beforehand as if that many units of an estimate's energy on the ring spoke for them.
PRIOR_ENERGY = 2.0


@dataclass(frozen=True)
class RingProducts:
    """The two sides of the equations of ring weights.

    Attributes
    ----------
    gram : Tensor
        `(rings, kinds, kinds)` float64.
    target : Tensor
        `(rings, kinds)` float64.
    """

    gram: Tensor
    target: Tensor

    def select(self, kinds: int) -> "RingProducts":
        """Leave the first kinds."""
        return RingProducts(self.gram[:, :kinds, :kinds], self.target[:, :kinds])


def measure_ring_products(
    images: Tensor, ctf_rings: Tensor, estimates: Tensor, probed: Tensor, probe: Tensor
) -> RingProducts:
    """Measure the equations of ring weights.

    Parameters
    ----------
    images : Tensor
        `(n, box, box)`, phases flipped, noise of variance 1.
    ctf_rings : Tensor
        `(n, box // 2)` |CTF| by ring.
    estimates : Tensor
        `(kinds, n, box, box)` of the images.
    probed : Tensor
        `(kinds, n, box, box)` of the images with `PROBE * probe` added.
    probe : Tensor
        `(n, box, box)` white noise of variance 1.
    """
    box = images.shape[-1]
    disk = disk_mask(box, box / 2 - 0.5, images.device)
    seen = [filter_by_rings(one, ctf_rings) * disk for one in estimates]
    moved = [filter_by_rings(one, ctf_rings) * disk for one in probed]
    gram = torch.stack([torch.stack([sum_by_rings(a, b) for b in seen], -1) for a in seen], -1)
    target = torch.stack(
        [
            sum_by_rings(before, images * disk) - sum_by_rings(after - before, probe * disk) / PROBE
            for before, after in zip(seen, moved, strict=True)
        ],
        -1,
    )
    return RingProducts(gram, target)


def sum_by_rings(first: Tensor, second: Tensor) -> Tensor:
    """Inner product of images `(n, box, box)` on each ring of frequencies, summed over images: `(box // 2,)`.

    Frequencies in the corners count with the last ring, as `filter_by_rings` has it; the sum over rings is that of the
    pixels' products.
    """
    box = first.shape[-1]
    sums = sum_rings(torch.fft.rfft2(first), torch.fft.rfft2(second)) / box**2
    inner, corners = sums[: box // 2], sums[box // 2 :]
    inner[-1] += corners.sum()
    return inner


def solve_ring_weights(products: RingProducts, prior: Sequence[float]) -> Tensor:
    """Solve for the weights, `(kinds, rings)` float32; where there is next to no signal they are those of `prior`.

    None is negative: each estimate is one of the molecule, and where two differ by what only noise has put there, one
    would be taken from the other many times over.
    """
    kinds = products.gram.shape[-1]
    gram = products.gram.cpu().numpy() + PRIOR_ENERGY * np.eye(kinds)
    target = products.target.cpu().numpy() + PRIOR_ENERGY * np.asarray(prior)
    weights = np.stack([solve_ring(*ring) for ring in zip(gram, target, strict=True)], axis=1)
    return torch.from_numpy(weights).to(products.target.device).float()


def solve_ring(gram: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Solve the equations `(kinds, kinds)`, `(kinds,)` of one ring for weights of at least 0, `(kinds,)`."""
    # Least squares with a root of the matrix, upper times its transpose, has these equations.
    root = np.linalg.cholesky(gram)
    weights: np.ndarray = nnls(root.T, np.linalg.solve(root, target))[0]
    return weights


def estimate_risk(products: RingProducts, weights: Tensor) -> float:
    """Estimate the squared error of the sum by weights `(kinds, rings)`, up to what is the same for all weights."""
    given = weights.T.to(products.gram)
    squares = torch.einsum("rk,rkl,rl->r", given, products.gram, given)
    return float((squares - 2 * (given * products.target).sum(-1)).sum())


def add_by_rings(estimates: Tensor, weights: Tensor) -> Tensor:
    """Add up estimates `(kinds, n, box, box)`, each times its ring weights `(kinds, box // 2)`: `(n, box, box)`."""
    parts = zip(estimates, weights, strict=True)
    return torch.stack([filter_by_rings(one, own[None]) for one, own in parts]).sum(0)
