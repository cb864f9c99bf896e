"""What denoised images are measured against: the best radial filter, and the oracle that knows the true poses.

The oracle of sets of known views averages the images of a view in a set at their true rotations and shifts, weighted
by their CTFs, and filters the average radially with spectra from the truth. In the frame of the view, with images
``x_i = C_i s + n`` of noise power `N` and a signal of power `S` on a ring, the estimate of least error that knows
nothing else is

    s = S sum_i C_i x_i / (S sum_i C_i^2 + N)

which is Wiener's. It is the limit for whatever has no prior on molecules: no estimate that is linear in the images and
isotropic does better, because even the rotations are true.

Uniformly random views share no image exactly, and no such limit exists. Their oracle turns the K images of nearest true
viewing directions into the frame of each image, sums them by nearness (itself; the next; the next two; the next four;
...) and gives each of these sums, on each ring, the weight that comes closest to the truth.
"""

from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.images import SimulatedImages
from benchmarks.quality.points import NEIGHBOURS, ONE_VIEW, Point
from polardenoise.engine.imaging.ctf import CtfParameters, apply_ctf, compute_ctf, phase_flip
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.rings import best_radial_filter, ring_index, sum_rings
from polardenoise.engine.imaging.rotation import rotate_images
from polardenoise.engine.neighbours.grouping import form_sets


def filter_radially(images: Tensor, data: SimulatedImages, judged: int) -> Tensor:
    """Give the first images the best radial filter, on flipped images where there is a CTF.

    A radial filter of unflipped images would have to average over both signs of the CTF.

    Parameters
    ----------
    images : Tensor
        `(judged, N, N)`: the noisy images, or estimates of them, that carry their CTFs.
    data : SimulatedImages
        The truth.
    judged : int
        The filter's spectra are those of the first so many images.
    """
    truth, transfer = data.truth[:judged], data.compute_transfer()
    if transfer is None:
        return best_radial_filter(images, truth)
    transfer = transfer[:judged]
    filtered = best_radial_filter(phase_flip(images, transfer), phase_flip(truth, transfer))
    return phase_flip(filtered, transfer)


def ask_oracle(data: SimulatedImages, point: Point, seed: int) -> Tensor:
    """Estimate the judged images as the oracle does, `(judged, N, N)` with their CTFs.

    Parameters
    ----------
    data : SimulatedImages
        Images and truth.
    point : Point
        How they are grouped; random views are without CTF.
    seed : int
        Of the run that forms the sets: the oracle has the same.
    """
    if point.group_by == NEIGHBOURS:
        return combine_neighbours(data, point)
    average, weight = average_views(data, point, seed)
    rows = slice(0, point.judged)
    signal, noise = measure_spectra(data)
    transform = torch.fft.rfft2(average) * signal / (signal * weight + noise)
    estimate = torch.fft.irfft2(transform, s=average.shape[-2:])
    estimate = put_into_frames(estimate, data, rows)
    transfer = data.compute_transfer()
    if transfer is not None:
        estimate = apply_ctf(estimate, transfer[rows])
    # Interpolation and what differs from view to view are made good, as far as a radial filter can.
    return filter_radially(estimate, data, point.judged)


def average_views(data: SimulatedImages, point: Point, seed: int) -> tuple[Tensor, Tensor]:
    """Sum the images of each judged image's view and set in the frame of the view.

    Returns
    -------
    Tensor
        `(judged, N, N)`: the sum of CTF times image, centred, at psi = 0.
    Tensor
        `(judged, N, N // 2 + 1)`: the sum of CTF^2 there; without CTF, the number of images.
    """
    psi = data.particles.angles[:, 2]  # type: ignore[index]
    transfer = data.compute_transfer()
    images = data.noisy if transfer is None else apply_ctf(data.noisy, transfer)
    images = shift_images(images, data.origins)
    turned = rotate_images(images, torch.from_numpy(-psi))
    box = data.particles.box
    weights = torch.ones(len(images), box, box // 2 + 1)
    if data.particles.ctf is not None:
        pixel_size = torch.from_numpy(data.particles.pixel_size)
        ctf = turn_ctf(data.particles.ctf, torch.from_numpy(-psi))
        weights = compute_ctf(ctf, pixel_size, box).square()
    average, weight = torch.empty(point.judged, box, box), weights[: point.judged].clone()
    for members, wanted in list_companions(data, point, seed):
        average[wanted] = turned[members].sum(0)
        weight[wanted] = weights[members].sum(0)
    return average, weight


def list_companions(
    data: SimulatedImages, point: Point, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """List the images that are averaged together, and which judged ones take their estimate from each average."""
    count = point.denoised
    views = np.array(data.particles.column("rlnClassNumber"))[:count]
    groups = views if point.group_by == ONE_VIEW else np.zeros(count, dtype=np.int64)
    companions = []
    for one in form_sets(np.ones(count, dtype=np.int64), groups, point.set_size, seed):
        kept = one.rows[: one.kept]
        for view in np.unique(views[one.rows]):
            wanted = kept[(views[kept] == view) & (kept < point.judged)]
            if len(wanted):
                companions.append((one.rows[views[one.rows] == view], wanted))
    return companions


def put_into_frames(views: Tensor, data: SimulatedImages, rows: slice) -> Tensor:
    """Turn and shift `(n, N, N)` images, centred at psi = 0, to where the particles of some rows lie."""
    psi = torch.from_numpy(data.particles.angles[rows, 2])  # type: ignore[index]
    return shift_images(rotate_images(views, psi), -data.origins[rows])


def turn_ctf(parameters: CtfParameters, degrees: Tensor) -> CtfParameters:
    """Turn the astigmatism as `rotate_images` turns images."""
    values = {field.name: getattr(parameters, field.name) for field in fields(CtfParameters)}
    return CtfParameters(**values | {"defocus_angle": values["defocus_angle"] - degrees})


def measure_spectra(data: SimulatedImages) -> tuple[Tensor, Tensor]:
    """Measure the power of the clean images and of the noise on each ring, `(N, N // 2 + 1)` both."""
    rings = ring_index(data.particles.box)

    def average(images: Tensor) -> Tensor:
        power = torch.fft.rfft2(images).abs().square().mean(0)
        count = torch.bincount(rings.flatten())
        return (torch.bincount(rings.flatten(), power.flatten()) / count)[rings].float()

    return average(data.clean), average(data.noisy - data.truth)


def combine_neighbours(data: SimulatedImages, point: Point) -> Tensor:
    """Combine the images of nearest true directions, `(judged, N, N)`; images without CTF and shifts."""
    frames = data.orientations
    directions = frames[:, :, 2]
    nearness = directions[: point.judged] @ directions.T
    nearness.fill_diagonal_(2.0)  # itself comes first
    near = nearness.topk(point.set_size, dim=1).indices
    edges = [0, *(2**power for power in range(20) if 2**power < point.set_size)]
    sums = [
        sum_in_frames(data.noisy, frames, near[:, start:end])
        for start, end in zip(edges, [*edges[1:], point.set_size], strict=True)
    ]
    return combine_on_rings(torch.stack(sums), data.truth[: point.judged])


def sum_in_frames(images: Tensor, frames: Tensor, chosen: Tensor) -> Tensor:
    """Sum the images `chosen`, `(judged, k)`, in the frames of the judged ones, which are the first."""
    judged, count = chosen.shape
    own = torch.arange(judged)[:, None].expand(-1, count)
    # Between neighbouring directions the rotation that takes one image to the other is nearly in the plane.
    between = frames[chosen].transpose(-1, -2) @ frames[own]
    angle = torch.atan2(
        between[..., 1, 0] - between[..., 0, 1], between[..., 0, 0] + between[..., 1, 1]
    )
    turned = rotate_images(images[chosen.flatten()], torch.rad2deg(angle).flatten())
    return turned.unflatten(0, (judged, count)).sum(1)


def combine_on_rings(parts: Tensor, truth: Tensor) -> Tensor:
    """Add up `(p, n, N, N)` parts with the weights, one a part and ring, that come closest to `(n, N, N)` images."""
    box = truth.shape[-1]
    rings = ring_index(box)
    transforms = torch.fft.rfft2(parts.double())
    wanted = torch.fft.rfft2(truth.double())
    products = [[sum_rings(one, other) for other in [*transforms, wanted]] for one in transforms]
    found = torch.stack([torch.stack(row, -1) for row in products], 1)  # (rings, p, p + 1)
    normal, right = found[..., :-1], found[..., -1:]
    # Rings beyond Nyquist have been emptied: their weights are 0.
    weights = torch.linalg.pinv(normal, rtol=1e-9, hermitian=True) @ right
    combined = (transforms * weights[rings][..., 0].permute(2, 0, 1)[:, None]).sum(0)
    return torch.fft.irfft2(combined, s=(box, box)).float()
