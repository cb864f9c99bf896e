"""Whether protein is bright or dark in the images of a half, told from that half alone.

A particle is, on average over its half, something round in the middle of the box. Each image, with the phases of its
CTF flipped, is correlated with Gaussian blobs at its centre that carry its own |CTF|: the blob of a bright particle
correlates positively, whatever the molecule looks like. One image says little (its noise has standard deviation 1, the
signal is a fraction of that), the mean over a half says it clearly.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.rings import ring_index

#: Widths of the blobs, standard deviation in parts of the box. Narrower ones mistake a hollow middle for dark protein.
BLOB_WIDTHS = (0.12, 0.17, 0.22)
#: Standard errors by which the mean correlation of a half must differ from 0, or it is too weak to tell.
CLEAR = 5.0


@dataclass(frozen=True)
class Contrast:
    """What a half shows.

    Attributes
    ----------
    sign : float
        1 for bright protein, -1 for dark; 1 where the half is too weak to tell.
    certainty : float
        Mean correlation over its standard error, of the blob that shows it best; its sign is that of the protein.
    """

    sign: float
    certainty: float

    @property
    def is_clear(self) -> bool:
        """Whether the half shows it, rather than being taken as bright."""
        return abs(self.certainty) >= CLEAR

    @property
    def name(self) -> str:
        """The word that `--contrast` has for it."""
        return "bright" if self.sign > 0 else "dark"


class ContrastEvidence:
    """Correlations with blobs, summed up half by half while the images pass.

    Parameters
    ----------
    halves : ndarray
        `(n,)` the half of each row.
    """

    def __init__(self, halves: np.ndarray):
        self.halves = halves
        self._sums = {
            int(half): torch.zeros(3, len(BLOB_WIDTHS), dtype=torch.float64)
            for half in np.unique(halves)
        }

    def add(self, rows: np.ndarray, images: Tensor, ctf_rings: Tensor) -> None:
        """Look at images `(m, N, N)`, flipped and normalised, with ctf_rings `(m, N // 2)`, of `(m,)` rows."""
        correlations = correlate_with_blobs(images, ctf_rings).double().cpu()  # (m, widths)
        for half, sums in self._sums.items():
            own = correlations[torch.from_numpy(self.halves[rows] == half)]
            sums += torch.stack([torch.ones_like(own), own, own.square()]).sum(1)

    def judge(self) -> dict[int, Contrast]:
        """Give the contrast of each half, from its own images."""
        return {half: judge_half(*sums.numpy()) for half, sums in self._sums.items()}


def judge_half(counts: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> Contrast:
    """Judge a half by its correlations with each blob: how many, their sum and sum of squares, `(widths,)` each.

    The spread of few images may come out small by chance: it counts as no less than that of white noise.
    """
    mean = sums / counts
    spread = np.sqrt(np.maximum(squares / counts - mean**2, 1.0))
    certainty = mean / spread * np.sqrt(counts)
    best = float(certainty[np.argmax(np.abs(certainty))])
    return Contrast(-1.0 if best <= -CLEAR else 1.0, best)


def correlate_with_blobs(images: Tensor, ctf_rings: Tensor) -> Tensor:
    """Correlate images with centred Gaussian blobs that carry the images' |CTF|.

    Parameters
    ----------
    images : Tensor
        `(m, N, N)`, phase-flipped, noise of standard deviation 1.
    ctf_rings : Tensor
        `(m, N // 2)` ring averages of |CTF|.

    Returns
    -------
    Tensor
        `(m, widths)`; white noise gives a standard deviation of 1. The mean of an image, which the normalisation has
        set, has no part in it.
    """
    box = images.shape[-1]
    spectrum = torch.fft.rfft2(torch.fft.ifftshift(images, dim=(-2, -1))).real  # of the even part
    member, blobs = (values.to(images) for values in describe_blobs(box))
    rings = spectrum.flatten(1) @ member  # (m, N // 2)
    templates = ctf_rings[:, None] * blobs  # (m, widths, N // 2)
    energy = (templates.square() * member.sum(0)).sum(-1)
    return (templates * rings[:, None]).sum(-1) / (box * energy.clamp(min=1e-12).sqrt())


@lru_cache(maxsize=4)
def describe_blobs(box: int) -> tuple[Tensor, Tensor]:
    """Give the weights that sum a half transform over rings, `(N (N / 2 + 1), N / 2)`, and the blobs there.

    The blobs, `(widths, N / 2)`, are the transforms of Gaussians, without ring 0.
    """
    multiplicity = torch.full((box // 2 + 1,), 2.0)
    multiplicity[0] = multiplicity[-1] = 1.0
    index = ring_index(box)
    weights = multiplicity.expand(box, -1).flatten()
    ring = torch.arange(box // 2)
    member = (index.flatten()[:, None] == ring) * weights[:, None]
    width = torch.tensor(BLOB_WIDTHS)[:, None]
    blobs = torch.exp(-2 * (torch.pi * width * ring) ** 2)
    blobs[:, 0] = 0
    return member, blobs


def word_contrasts(contrasts: dict[int, Contrast]) -> str:
    """Say in one line what each half shows."""
    parts = []
    for half, contrast in contrasts.items():
        seen = "" if contrast.is_clear else "too weak to tell, taken as "
        parts.append(f"half {half} {seen}{contrast.name} ({contrast.certainty:+.1f} sigma)")
    return ", ".join(parts)
