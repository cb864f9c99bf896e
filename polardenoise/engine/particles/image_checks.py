"""Images that cannot be denoised, gathered over a whole set so that one message names them all."""

from __future__ import annotations

import numpy as np

from polardenoise.engine.particles.particle_images import name_image, read_images_raw
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.runtime.errors import InputError

#: Rows of a fault that a message names; further ones are counted.
ROWS_NAMED = 8

BLANK = "blank, every pixel has one value"
NOT_FINITE = "not usable, with pixels that are not finite numbers"
OUT_OF_RANGE = "not usable, with pixels too large or too small to compute with"
CURES = {
    BLANK: "remove the row",
    NOT_FINITE: "remove the row or extract it again",
    OUT_OF_RANGE: "remove the row or extract it again",
}


class ImageFaults:
    """The rows of a set whose images cannot be denoised, by what is wrong with them.

    Parameters
    ----------
    particles : ParticleSet
        The set.
    """

    def __init__(self, particles: ParticleSet) -> None:
        self.particles = particles
        self._rows: dict[str, list[np.ndarray]] = {}

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._rows)

    def add(self, fault: str, rows: np.ndarray) -> None:
        """Note rows, of which there may be none, with a fault."""
        if len(rows):
            self._rows.setdefault(fault, []).append(np.asarray(rows))

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Read the images `(m, N, N)` of `(m,)` rows, float32, and note those that are blank or not finite."""
        images = read_images_raw(self.particles, rows)
        finite = np.isfinite(images).all(axis=(1, 2))
        blank = images.min(axis=(1, 2)) == images.max(axis=(1, 2))
        self.add(NOT_FINITE, rows[~finite])
        self.add(BLANK, rows[finite & blank])
        return images

    def refuse(self) -> None:
        """Raise an `InputError` that counts the images of each fault and names their rows, if there are any."""
        if self:
            said = [
                self._word(fault, np.sort(np.concatenate(r))) for fault, r in self._rows.items()
            ]
            raise InputError(f"{self.particles.star_path}: {'; '.join(said)}")

    def _word(self, fault: str, rows: np.ndarray) -> str:
        first = (
            f"row {self.particles.row_number(rows[0])}: {name_image(self.particles, int(rows[0]))}"
        )
        if len(rows) == 1:
            return f"{first} is {fault}; {CURES[fault]}"
        numbers = [str(self.particles.row_number(row)) for row in rows[:ROWS_NAMED]]
        more = f" and {len(rows) - ROWS_NAMED} more" if len(rows) > ROWS_NAMED else ""
        cure = CURES[fault].replace("the row", "the rows").replace("extract it", "extract them")
        return f"{len(rows)} images are {fault} (rows {', '.join(numbers)}{more}); {cure}"
