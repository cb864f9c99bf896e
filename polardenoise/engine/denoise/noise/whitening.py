"""Coloured noise made white before the network, half by half, and the estimates brought back.

Networks are at their best in white noise. Ice, carbon and the detector give noise of another spectrum: its power on the
rings of frequencies is measured in the corners of the images of a half, from that half alone, and where it is not flat
every image of the half is multiplied by its inverse square root `w`, ring by ring.

A network that learned from such images (`whitened_share` of its recipe) is *told*: it gets |CTF| times `w` as the CTF
rings of the image, and estimates the molecule as it is. To a network that did not, the image is that of another
molecule, whose frequencies have other strengths, and its estimate is divided by `w`. That serves only images that the
user says have no CTF (`--ctf-state none`): in those with one, whose coarse frequencies are faint already, such networks
lose by it (`docs/constants.rst`). Real particles of unknown defocus come without a word of their CTF, and are left as
they are by either. The noise of all is measured, and stated.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf_rings import average_over_transform, filter_by_rings
from polardenoise.engine.imaging.noise_spectrum import (
    divide_corners,
    measure_ring_powers,
    typical_ring_power,
)
from polardenoise.engine.particles.scratch_file import ScratchImages

#: Images of a half that are measured, evenly spread over it: their corners hold a million pixels.
MOST_MEASURED = 1_000
#: Images of a half that are needed: of 32 images of white noise the strongest ring has 1.2 times the power of the
#: weakest, of fewer soon as much as `FLAT`.
FEWEST_MEASURED = 32
#: Strongest over weakest ring power up to which noise is taken as white and images are left as they are.
FLAT = 1.4
#: Most corners of an image have at least this part of the deviation of all of it. Of a masked image they have less; and
#: where a particle is twice as strong as the noise, that hardly matters.
LEAST_IN_CORNERS = 0.6
#: Whether images have a CTF: a file that has no word of it leaves open whether they do, and only the user can say no.
Ctf = Literal["known", "unknown", "none"]
#: Why coloured noise is left as it is.
LEFT = {
    "known": "left so, since the images have a CTF and the model knows no whitened ones",
    "unknown": "left so, since the images may have a CTF (--ctf-state none says that they do not)",
}
#: Images that are whitened at once.
IMAGES_AT_ONCE = 256


@dataclass(frozen=True)
class NoiseColour:
    """The noise of a half.

    Attributes
    ----------
    images : int
        How many were measured; with fewer than `FEWEST_MEASURED`, the noise is taken as white.
    ring_power : Tensor
        `(box // 2,)` power on each ring of frequencies, 1 on average over all frequencies.
    ctf : Ctf
        Whether the images have a CTF.
    told : bool
        Whether the network is told of the whitening, having learned from whitened images.
    """

    images: int
    ring_power: Tensor
    ctf: Ctf
    told: bool = False

    @property
    def ratio(self) -> float:
        """Power of the strongest ring over that of the weakest."""
        return float(self.ring_power.max() / self.ring_power.min())

    @property
    def is_coloured(self) -> bool:
        """Whether the noise is stronger at low frequencies, as ice and the detector make it.

        Where power rises with frequency, nothing is known: masked images look so whose phases have been flipped, since
        what that spreads from under the mask is fine.
        """
        middle = len(self.ring_power) // 2
        falls = self.ring_power[:middle].mean() > self.ring_power[middle:].mean()
        return self.images >= FEWEST_MEASURED and self.ratio >= FLAT and bool(falls)

    @property
    def is_whitened(self) -> bool:
        """Whether the images are whitened, rather than left as they are."""
        return self.is_coloured and (self.ctf == "none" or (self.told and self.ctf == "known"))


class NoiseColours:
    """The noise of each half, and the way to white noise and back.

    Parameters
    ----------
    of_halves : dict
        Half -> `NoiseColour`.
    """

    def __init__(self, of_halves: dict[int, NoiseColour]):
        self.of_halves = of_halves

    def list_left(self) -> dict[int, Tensor]:
        """List the halves whose noise is coloured and left so, with its power on each ring, `(box // 2,)`."""
        return {
            half: colour.ring_power
            for half, colour in self.of_halves.items()
            if colour.is_coloured and not colour.is_whitened
        }

    def whiten(self, images: Tensor, halves: np.ndarray) -> Tensor:
        """Make the noise of images `(n, box, box)`, of `(n,)` halves, white, of standard deviation 1."""
        return self._multiply(images, halves, -0.5)

    def undo(self, images: Tensor, halves: np.ndarray) -> Tensor:
        """Give whitened images `(n, box, box)` the strengths that they had before."""
        return self._multiply(images, halves, 0.5)

    def bring_back(self, estimates: Tensor, halves: np.ndarray) -> Tensor:
        """Give estimates `(n, box, box)` made of whitened images the strengths of the molecule, if they lack them.

        They have them where the network, or whoever made them, knew the whitening from the CTF rings.
        """
        return self._multiply(estimates, halves, 0.5, told=False)

    def _multiply(
        self, images: Tensor, halves: np.ndarray, power: float, told: bool = True
    ) -> Tensor:
        """Multiply images by a power of the ring power of their half; others stay, bit for bit.

        With `told=False` those stay as well whose network is told.
        """
        concerned = {
            half: colour.is_whitened and (told or not colour.told)
            for half, colour in self.of_halves.items()
        }
        whitened = np.array([concerned[half] for half in halves.tolist()], bool)
        if not whitened.any():
            return images
        some = torch.from_numpy(np.flatnonzero(whitened)).to(images.device)
        ring_power = torch.stack(
            [self.of_halves[half].ring_power for half in halves[whitened].tolist()]
        )
        factors = ring_power.to(images) ** power
        return images.index_copy(0, some, filter_by_rings(images[some], factors))


class NoiseEvidence:
    """Measures the noise of each half while the images pass.

    Parameters
    ----------
    halves : ndarray
        `(n,)` the half of each row.
    counted : ndarray
        `(n,)` bool: rows that stand for pixels that are new to their half.
    box : int
        Of the images, pixels.
    ctf : Ctf
        Whether they have a CTF.
    told : bool
        Whether the network is told of a whitening.
    """

    def __init__(
        self, halves: np.ndarray, counted: np.ndarray, box: int, ctf: Ctf, told: bool = False
    ):
        self.halves, self.box, self.ctf, self.told = halves, box, ctf, told
        self._chosen = np.zeros(len(halves), dtype=bool)
        for half in np.unique(halves):
            rows = np.flatnonzero(counted & (halves == half))
            self._chosen[rows[:: -(-len(rows) // MOST_MEASURED) or 1]] = True
        self._ring_powers: dict[int, np.ndarray] = {}

    def add(self, rows: np.ndarray, images: Tensor) -> None:
        """Look at images `(m, box, box)`, flipped and normalised, of `(m,)` rows."""
        some = np.flatnonzero(self._chosen[rows])
        if not len(some):
            return
        pixels = images[torch.from_numpy(some).to(images.device)].cpu().numpy()
        own_rows = rows[some]
        noisy = find_noisy_corners(pixels)
        if not noisy.any():
            return
        powers = measure_ring_powers(pixels[noisy]).astype(np.float32)
        self._ring_powers |= dict(zip(own_rows[noisy].tolist(), powers, strict=True))

    def judge(self) -> NoiseColours:
        """Give the noise of each half, from its own images."""
        found = {}
        for half in np.unique(self.halves).tolist():
            powers = [
                self._ring_powers[row]
                for row in sorted(self._ring_powers)
                if self.halves[row] == half
            ]
            ring_power = torch.ones(self.box // 2)
            if len(powers) >= FEWEST_MEASURED:
                measured = torch.from_numpy(typical_ring_power(np.stack(powers))).float()
                ring_power = measured / average_over_transform(measured)
            found[half] = NoiseColour(len(powers), ring_power, self.ctf, self.told)
        return NoiseColours(found)


def find_noisy_corners(images: np.ndarray) -> np.ndarray:
    """Tell which images `(n, N, N)` show noise in most of their four corners, `(n,)` bool."""
    corners = divide_corners(images.shape[-1])
    deviations = np.stack([images[:, corner].std(1) for corner in corners], axis=1)
    return np.sort(deviations, axis=1)[:, 1] > LEAST_IN_CORNERS * images.std((1, 2))


def whiten_scratch(
    scratch: ScratchImages,
    colours: NoiseColours,
    rows: np.ndarray,
    halves: np.ndarray,
    device: torch.device,
) -> None:
    """Whiten the working images in their file; those of halves that are not whitened stay as they are.

    Parameters
    ----------
    scratch : ScratchImages
        Working images whose signs have not been set.
    colours : NoiseColours
        Of the halves.
    rows, halves : ndarray
        `(m,)` the rows that were written, ascending, and `(n,)` the half of each row.
    device : torch.device
        Where to compute.
    """
    for half, colour in colours.of_halves.items():
        own = rows[halves[rows] == half]
        if not colour.is_whitened:
            continue
        for some in np.split(own, range(IMAGES_AT_ONCE, len(own), IMAGES_AT_ONCE)):
            images, ctf_rings = scratch.read_with_ctf_rings(some)
            if colour.told:
                ctf_rings = ctf_rings * colour.ring_power.to(ctf_rings) ** -0.5
            scratch.write(some, colours.whiten(images.to(device), halves[some]).cpu(), ctf_rings)


def word_noise(colours: NoiseColours) -> str:
    """Say in one line what the noise of each half is."""
    found: dict[str, list[str]] = {}
    for half, colour in colours.of_halves.items():
        if colour.images < FEWEST_MEASURED:
            said = "too few images to tell, taken as white"
        elif colour.is_coloured:
            said = f"coloured (strongest over weakest frequency {colour.ratio:.1f}), "
            said += "whitened" if colour.is_whitened else LEFT[colour.ctf]
        else:
            said = "white"
        found.setdefault(said, []).append(str(half))
    return "; ".join(
        f"{'half' if len(halves) == 1 else 'halves'} {' and '.join(halves)} {said}"
        for said, halves in found.items()
    )


def state_noise(colours: NoiseColours) -> dict[str, Any]:
    """State the noise of each half for the provenance."""
    return {
        str(half): {
            "images": colour.images,
            "measured": colour.images >= FEWEST_MEASURED,
            "coloured": colour.is_coloured,
            "whitened": colour.is_whitened,
            "strongest_over_weakest": round(colour.ratio, 3),
            "power_by_ring": [round(float(power), 3) for power in colour.ring_power],
        }
        for half, colour in colours.of_halves.items()
    }
