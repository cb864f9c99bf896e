"""Denoise a cell of related images, moved to the centre where they lie off it."""

from dataclasses import dataclass

from torch import Tensor

from polardenoise.engine.centring import Centred, denoise_centred
from polardenoise.engine.neighbours import (
    Cell,
    DenoisedCell,
    denoise_among,
    denoise_described_cell,
    denoise_once_more,
    describe_cell,
)
from polardenoise.engine.polar_transformer import Described, PolarTransformer


@dataclass(frozen=True)
class CentredCell:
    """A denoised cell.

    Attributes
    ----------
    cell : Cell
        What is known of its images, moved to the centre.
    denoised : DenoisedCell
        Their estimates, at the centre, and their neighbours.
    displacements : Tensor
        `(n, 2)` pixels, `(x, y)`: how far each particle lay off the centre.
    """

    cell: Cell
    denoised: DenoisedCell
    displacements: Tensor

    def put_back(self) -> Tensor:
        """Move the estimates to where the particles lay, `(n, box, box)`."""
        estimates = self.denoised.estimates[None]
        return Centred(estimates, self.displacements[None]).put_back()[0]


def denoise_centred_cell(
    model: PolarTransformer, images: Tensor, profiles: Tensor, images_per_set: int, seed: int
) -> CentredCell:
    """Denoise images `(n, box, box)` of one half with profiles `(n, box // 2)`, each among its neighbours.

    Particles that lie off the centre are moved there by what their neighbours show, and neighbours are looked for once
    more. The other parameters are those of `denoise_described_cell`.
    """
    cell = describe_cell(model, images, profiles)
    denoised = denoise_described_cell(model, cell, images_per_set, seed)

    moved_cell = cell

    def denoise_moved(moved: Tensor) -> tuple[Described, Tensor]:
        nonlocal moved_cell
        moved_cell = describe_cell(model, moved[0], profiles)
        among = denoise_among(model, moved_cell, denoised.neighbours)
        return moved_cell.described, among.estimates[None]

    centred = denoise_centred(
        model,
        images[None],
        profiles[None],
        denoised.neighbours[:, 1:],
        denoise_moved,
        (cell.described, denoised.estimates[None]),
    )
    displacements = centred.displacements[0]
    if not displacements.any():
        return CentredCell(cell, denoised, displacements)
    denoised = denoise_once_more(model, moved_cell, centred.estimates[0], images_per_set)
    return CentredCell(moved_cell, denoised, displacements)
