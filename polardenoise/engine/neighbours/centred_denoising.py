"""Joint denoising of clusters and of sets of images, moved to the centre where they lie off it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.neighbours.centring import Centred, denoise_centred
from polardenoise.engine.neighbours.search import (
    Cell,
    DenoisedCell,
    denoise_among,
    denoise_described_cell,
    denoise_once_more,
    describe_cell,
)
from polardenoise.engine.networks.polar_transformer import Described, PolarTransformer
from polardenoise.engine.particles.shared_pixels import SharedPixels


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
    model: PolarTransformer,
    images: Tensor,
    profiles: Tensor,
    images_per_set: int,
    seed: int,
    shared: SharedPixels | None = None,
) -> CentredCell:
    """Denoise images `(n, box, box)` of one half with profiles `(n, box // 2)`, each among its neighbours.

    Particles that lie off the centre are moved there by what their neighbours show, and neighbours are looked for once
    more. `shared` says which of the images share pixels; the other parameters are those of `denoise_described_cell`.
    """
    cell = describe_cell(model, images, profiles, shared)
    denoised = denoise_described_cell(model, cell, images_per_set, seed)

    moved_cell = cell

    def denoise_moved(moved: Tensor) -> tuple[Described, Tensor]:
        nonlocal moved_cell
        moved_cell = describe_cell(model, moved[0], profiles, shared)
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


def denoise_sets(model: PolarTransformer, images: Tensor, profiles: Tensor) -> Centred:
    """Denoise sets `(sets, K, box, box)` with profiles `(sets, K, box // 2)`; sets do not see one another.

    Where no set lies off the centre the estimates are the network's, `model(images, profiles)`.
    """
    shape = images.shape[:2]

    def denoise(images: Tensor) -> tuple[Described, Tensor]:
        described = model.describe_for_attention(images.flatten(0, 1), profiles.flatten(0, 1))
        return described, model.look(described, images, profiles)[-1].float()

    others = list_others(*shape).to(images.device)
    return denoise_centred(model, images, profiles, others, denoise, denoise(images))


def list_others(sets: int, size: int) -> Tensor:
    """List for every image the others of its set, `(sets * size, size - 1)` int64, counted over all sets."""
    after = torch.arange(1, size)
    within = (torch.arange(size)[:, None] + after) % size
    return (torch.arange(sets)[:, None, None] * size + within).flatten(0, 1)
