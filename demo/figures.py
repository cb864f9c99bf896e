"""The pictures of the demo's report: a gallery of particles, FSC curves, slices through volumes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

# One colour for one kind of data in every figure; line style tells the program.
COLOURS = {"raw": "#7f7f7f", "denoised": "#1f6fb4"}


def draw_gallery(columns: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw the same particles side by side, one row a particle.

    Parameters
    ----------
    columns : mapping of str to ndarray
        Title to `(particles, N, N)` images, protein bright. Noisy images are shown between their own 1st
        and 99th percentiles, each image for itself.
    path : Path
        The PNG.
    """
    count = len(next(iter(columns.values())))
    figure, axes = plt.subplots(
        len(columns), count, figsize=(1.5 * count, 1.6 * len(columns)), squeeze=False
    )
    for row, (title, images) in zip(axes, columns.items(), strict=True):
        for axis, image in zip(row, images, strict=True):
            low, high = np.percentile(image, (1, 99))
            axis.imshow(image, cmap="gray", vmin=low, vmax=high, origin="lower")
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(title)
    save(figure, path)


def draw_fsc_curves(
    curves: Sequence[tuple[str, str, str, np.ndarray]],
    frequencies: np.ndarray,
    threshold: float,
    title: str,
    path: Path,
) -> None:
    """Draw FSC curves over spatial frequency.

    Parameters
    ----------
    curves : sequence of (label, kind, style, fsc)
        Kind is a key of `COLOURS`, style a matplotlib line style, fsc `(shells,)`.
    frequencies : ndarray
        `(shells,)`, 1/Angstrom.
    threshold : float
        Drawn as a line: 0.143 between half maps, 0.5 against a truth.
    title, path
        What is written above, and the PNG.
    """
    figure, axis = plt.subplots(figsize=(6.4, 4.2))
    for label, kind, style, fsc in curves:
        axis.plot(frequencies, fsc, style, color=COLOURS[kind], label=label)
    axis.axhline(threshold, color="black", linewidth=0.6)
    axis.text(
        frequencies[-1],
        threshold + 0.015,
        f"{threshold:g} ",
        fontsize=8,
        horizontalalignment="right",
    )
    axis.set(
        title=title,
        xlabel="spatial frequency (1/Å)",
        ylabel="Fourier shell correlation",
        ylim=(-0.1, 1.05),
        xlim=(0, frequencies[-1]),
    )
    axis.legend(fontsize=8, loc="lower left")
    save(figure, path)


def draw_slices(volumes: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw the three central slices of each volume.

    Parameters
    ----------
    volumes : mapping of str to ndarray
        Title to `(N, N, N)` volume, axes z, y, x; each is shown between its own 1st and 99.8th percentiles.
    path : Path
        The PNG.
    """
    figure, axes = plt.subplots(3, len(volumes), figsize=(1.9 * len(volumes), 6.0), squeeze=False)
    for column, (title, volume) in zip(axes.T, volumes.items(), strict=True):
        low, high = np.percentile(volume, (1, 99.8))
        middle = len(volume) // 2
        slices = (volume[middle], volume[:, middle], volume[:, :, middle])
        for axis, image in zip(column, slices, strict=True):
            axis.imshow(image, cmap="gray", vmin=low, vmax=high, origin="lower")
            axis.set(xticks=[], yticks=[])
        column[0].set_title(title, fontsize=8)
    for axis, name in zip(axes[:, 0], ("xy (z = 0)", "xz (y = 0)", "yz (x = 0)"), strict=True):
        axis.set_ylabel(name, fontsize=8)
    save(figure, path)


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure and let go of it."""
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
