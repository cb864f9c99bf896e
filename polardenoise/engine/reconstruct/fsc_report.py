"""Write Fourier shell correlation curves for RELION and for people."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from polardenoise.engine.imaging.fsc import shell_frequencies
from polardenoise.engine.runtime.files import write_text_atomically
from polardenoise.engine.runtime.pictures import make_figure, save_figure

REFERENCE_LABEL = "polardenoiseFourierShellCorrelationToReference"
RESOLUTION_OF_SHELL_ZERO = 999.0  # RELION writes this where the wavelength is infinite


def write_fsc_star(
    path: Path | str,
    half_curve: np.ndarray,
    reference_curve: np.ndarray | None,
    pixel_size: float,
    resolution: float,
    label: str,
) -> None:
    """Write the curves as RELION's postprocessing does: tables `general` and `fsc`.

    Parameters
    ----------
    path : Path | str
        The STAR file; it appears complete or not at all.
    half_curve : ndarray
        `(N // 2 + 1,)` correlation between the half maps.
    reference_curve : ndarray | None
        `(N // 2 + 1,)` correlation of the full map with the reference, as an extra column that RELION skips.
    pixel_size : float
        Angstrom per pixel.
    resolution : float
        Angstrom, where the half maps' curve crosses 0.143.
    label : str
        What the half maps' curve may be called: a resolution or only a consistency.
    """
    frequencies = shell_frequencies(2 * (len(half_curve) - 1), pixel_size)
    labels = [
        "rlnSpectralIndex",
        "rlnResolution",
        "rlnAngstromResolution",
        "rlnFourierShellCorrelationUnmaskedMaps",
    ]
    columns = [half_curve]
    if reference_curve is not None:
        labels.append(REFERENCE_LABEL)
        columns.append(reference_curve)
    lines = [
        "",
        f"# polardenoise, half maps: {label}",
        "",
        "data_general",
        "",
        f"_rlnFinalResolution {resolution:.6f}",
        "",
        "",
        "data_fsc",
        "",
        "loop_",
        *(f"_{name} #{number}" for number, name in enumerate(labels, start=1)),
    ]
    for shell, frequency in enumerate(frequencies):
        wavelength = 1 / frequency if shell else RESOLUTION_OF_SHELL_ZERO
        values = [f"{shell:12d}", f"{frequency:12.6f}", f"{wavelength:12.6f}"]
        lines.append(" ".join([*values, *(f"{column[shell]:12.6f}" for column in columns)]))
    write_text_atomically(path, "\n".join([*lines, "", ""]))


def plot_fsc(
    path: Path | str,
    half_curve: np.ndarray,
    reference_curve: np.ndarray | None,
    pixel_size: float,
    label: str,
) -> None:
    """Draw the curves over spatial frequency.

    Parameters
    ----------
    path : Path | str
        The PNG; it appears complete or not at all.
    half_curve, reference_curve, pixel_size, label
        As in `write_fsc_star`.
    """
    frequencies = shell_frequencies(2 * (len(half_curve) - 1), pixel_size)
    figure = make_figure(6.4, 4.4)
    axes = figure.add_subplot()
    axes.plot(frequencies, half_curve, label=f"half maps ({label})")
    if reference_curve is not None:
        axes.plot(frequencies, reference_curve, label="full map against the reference")
    for threshold in (0.143, 0.5):
        axes.axhline(threshold, color="grey", linewidth=0.8, linestyle="--")
        axes.text(0, threshold + 0.01, f"{threshold}", color="grey", fontsize=8)
    axes.set(
        xlabel="spatial frequency (1/Å)",
        ylabel="Fourier shell correlation",
        xlim=(0, frequencies[-1]),
        ylim=(min(-0.05, float(half_curve.min())), 1.05),
    )
    axes.legend(fontsize=8)
    save_figure(figure, path)
