"""Whether protein is bright or dark in the images of a half, told from that half alone, and in each optics group of it.

A particle is, on average over its half, something round in the middle of the box. Each image, with the phases of its
CTF flipped, is correlated with Gaussian blobs at its centre that carry its own |CTF|: the blob of a bright particle
correlates positively, whatever the molecule looks like. One image says little (its noise has standard deviation 1, the
signal is a fraction of that), the mean over a half says it clearly.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.denoise.wording import word_contrast
from polardenoise.engine.imaging.rings import count_columns, ring_index

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


@dataclass(frozen=True)
class Contrasts:
    """What was found in a set.

    Attributes
    ----------
    halves : dict
        Half -> `Contrast`.
    groups : dict
        `(half, optics group)` -> `Contrast`; empty where there is one group.
    """

    halves: dict[int, Contrast]
    groups: dict[tuple[int, int], Contrast]

    def choose_signs(self, halves: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Give rows `(n,)` of these halves and groups their signs: the group's where it is clear, else the half's."""
        signs = np.ones(len(halves))
        for half, found in self.halves.items():
            signs[halves == half] = found.sign
        for (half, group), found in self.groups.items():
            if found.is_clear:
                signs[(halves == half) & (groups == group)] = found.sign
        return signs

    def find_divided(self) -> list[int]:
        """List the halves in which optics groups are clearly of either contrast."""
        names: dict[int, set[str]] = {}
        for (half, _), found in self.groups.items():
            if found.is_clear:
                names.setdefault(half, set()).add(found.name)
        return [half for half, seen in names.items() if len(seen) > 1]


class ContrastEvidence:
    """Correlations with blobs, summed up half by half and group by group while the images pass.

    Parameters
    ----------
    halves : ndarray
        `(n,)` the half of each row.
    groups : ndarray, optional
        `(n,)` int64 the optics group of each row, from 0.
    """

    def __init__(self, halves: np.ndarray, groups: np.ndarray | None = None):
        groups = np.zeros(len(halves), dtype=np.int64) if groups is None else groups
        self._numbers, self._parts = np.unique(halves), int(groups.max(initial=0)) + 1
        self._part_of_row = np.searchsorted(self._numbers, halves) * self._parts + groups
        shape = (len(self._numbers) * self._parts, 3, len(BLOB_WIDTHS))
        self._sums = torch.zeros(shape, dtype=torch.float64)

    def add(self, rows: np.ndarray, images: Tensor, ctf_rings: Tensor) -> None:
        """Look at images `(m, N, N)`, flipped and normalised, with ctf_rings `(m, N // 2)`, of `(m,)` rows."""
        own = correlate_with_blobs(images, ctf_rings).double().cpu()  # (m, widths)
        part = torch.from_numpy(self._part_of_row[rows])
        self._sums.index_add_(0, part, torch.stack([torch.ones_like(own), own, own.square()], 1))

    def judge(self) -> Contrasts:
        """Give the contrast of each half, from its own images, and of each of its optics groups."""
        sums = self._sums.unflatten(0, (-1, self._parts))
        halves, groups = {}, {}
        for half, own in zip(self._numbers.tolist(), sums, strict=True):
            halves[int(half)] = judge_images(*own.sum(0).numpy())
            for group in own[:, 0, 0].nonzero()[:, 0].tolist() if self._parts > 1 else []:
                groups[int(half), group] = judge_images(*own[group].numpy())
        return Contrasts(halves, groups)


def judge_images(counts: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> Contrast:
    """Judge images by their correlations with each blob: how many, their sum and sum of squares, `(widths,)` each.

    The spread of few images may come out small by chance: it counts as no less than that of white noise.
    """
    if not counts.any():
        return Contrast(1.0, 0.0)
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
    index = ring_index(box)
    weights = count_columns(box).expand(box, -1).flatten()
    ring = torch.arange(box // 2)
    member = (index.flatten()[:, None] == ring) * weights[:, None]
    width = torch.tensor(BLOB_WIDTHS)[:, None]
    blobs = torch.exp(-2 * (torch.pi * width * ring) ** 2)
    blobs[:, 0] = 0
    return member, blobs


def state_contrast(found: Contrast) -> dict[str, Any]:
    """State a contrast for the provenance."""
    return {"contrast": found.name, "sigma": found.certainty, "clear": found.is_clear}


def word_contrasts(contrasts: Contrasts, setting: str) -> str:
    """Say in one line what each half shows, and what is done where `--contrast` says `setting`."""
    clear = {half for (half, _), found in contrasts.groups.items() if found.is_clear}
    halves = contrasts.halves.items()
    return ", ".join(
        word_contrast(half, state_contrast(found), setting, half in clear) for half, found in halves
    )


def doubt_contrasts(contrasts: Contrasts, setting: str, names: list[str]) -> list[str]:
    """Word what is wrong with the contrast of a set.

    Parameters
    ----------
    contrasts : Contrasts
        What was found.
    setting : str
        What `--contrast` says: "auto", "bright" or "dark".
    names : list of str
        Of the optics groups.
    """
    doubts = []
    for half in contrasts.find_divided():
        groups = {
            names[group]: found
            for (where, group), found in contrasts.groups.items()
            if where == half and found.is_clear
        }
        seen = "; ".join(
            f"{colour} in {', '.join(name for name, found in groups.items() if found.name == colour)}"
            for colour in ("bright", "dark")
        )
        doubts.append(
            f"contrast differs between the optics groups of half {half}: protein is {seen}; "
            + ("each was taken as it is" if setting == "auto" else f"all were taken as {setting}")
        )
    taken = {found.name for found in contrasts.halves.values()}
    if setting == "auto" and len(taken) > 1 and not doubts:
        weak = [str(half) for half, found in contrasts.halves.items() if not found.is_clear]
        why = f" (half {' and '.join(weak)} is too weak to tell and keeps its sign)" if weak else ""
        doubts.append(f"the halves differ in contrast{why}; say which it is with --contrast")
    if setting != "auto":
        doubts += [
            f"protein is {found.name} in half {half} ({found.certainty:+.1f} sigma), but --contrast {setting} was "
            "given: leave it out, or expect rings and holes"
            for half, found in contrasts.halves.items()
            if found.is_clear and found.name != setting
        ]
    return doubts
