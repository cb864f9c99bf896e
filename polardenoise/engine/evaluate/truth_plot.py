"""The picture of an evaluation: ring correlation, and a few images beside their truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from polardenoise.engine.evaluate.against_truth import truth_as_observed
from polardenoise.engine.imaging.fsc import shell_frequencies
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.report.figures import choose_grey_range
from polardenoise.engine.runtime.pictures import make_figure, save_figure

IMAGES_SHOWN = 6


def plot_evaluation(
    path: Path | str,
    denoised: ParticleSet,
    truth: ParticleSet,
    noisy: ParticleSet | None,
    curve: np.ndarray,
    noisy_curve: np.ndarray | None,
) -> None:
    """Draw the mean ring correlation and the first images: noisy where known, denoised, residual, truth.

    The residual is noisy less denoised, the latter with the CTF that the noisy images carry, in the greys of the noisy
    images: a particle that can be seen in it was taken away.

    Parameters
    ----------
    path : Path | str
        The picture; its ending chooses the format. It appears complete or not at all.
    denoised, truth, noisy : ParticleSet
        Matching sets; the truth is shown with the CTF that the denoised images carry.
    curve, noisy_curve : ndarray
        `(N // 2 + 1,)` mean ring correlations with the truth.
    """
    rows = np.arange(min(IMAGES_SHOWN, len(denoised)))
    lots, greys = [("denoised", read_images(denoised, rows))], {}
    if noisy is not None:
        before = read_images(noisy, rows)
        residual = before - truth_as_observed(noisy, denoised, rows).numpy()
        lots = [("noisy", before), *lots, ("residual", residual)]
        greys = dict.fromkeys(("noisy", "residual"), choose_grey_range(before))
    lots.append(("truth", truth_as_observed(denoised, truth, rows).numpy()))

    figure = make_figure(11, 1.3 * len(lots) + 0.4)
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.4))
    axes = left.add_subplot()
    frequencies = shell_frequencies(denoised.box, float(denoised.pixel_size[0]))
    axes.plot(frequencies, curve, label="denoised against truth")
    if noisy_curve is not None:
        axes.plot(frequencies, noisy_curve, label="noisy against truth", color="grey")
    axes.axhline(0.5, color="grey", linewidth=0.8, linestyle="--")
    axes.set(
        xlabel="spatial frequency (1/Å)",
        ylabel="mean Fourier ring correlation",
        xlim=(0, frequencies[-1]),
        ylim=(-0.05, 1.05),
    )
    axes.legend(fontsize=8)
    cells = right.subplots(len(lots), len(rows), squeeze=False)
    for (name, images), line in zip(lots, cells, strict=True):
        for image, cell in zip(images, line, strict=True):
            black, white = greys.get(name, choose_grey_range(image))
            cell.imshow(image, cmap="gray", origin="lower", vmin=black, vmax=white)
            cell.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    save_figure(figure, path)
