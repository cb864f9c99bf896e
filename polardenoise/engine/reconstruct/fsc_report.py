"""Write Fourier shell correlation curves for RELION and for people."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from polardenoise.engine.imaging.fsc import shell_frequencies
from polardenoise.engine.particles.star import write_loop
from polardenoise.engine.runtime.files import write_text_atomically
from polardenoise.engine.runtime.pictures import make_figure, save_figure
from polardenoise.engine.runtime.running_command import comment_maker

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
    wavelengths = [RESOLUTION_OF_SHELL_ZERO, *(1 / frequencies[1:]).tolist()]
    columns = {
        "rlnSpectralIndex": [f"{shell:12d}" for shell in range(len(frequencies))],
        "rlnResolution": _word(frequencies),
        "rlnAngstromResolution": _word(wavelengths),
        "rlnFourierShellCorrelationUnmaskedMaps": _word(half_curve),
    }
    if reference_curve is not None:
        columns[REFERENCE_LABEL] = _word(reference_curve)
    general = (
        f"\n{comment_maker(f'half maps, {label}')}\n\n"
        f"data_general\n\n_rlnFinalResolution {resolution:.6f}\n\n\n"
    )
    write_text_atomically(path, "".join([general, *write_loop("fsc", columns), "\n"]))


def _word(values: Iterable[float]) -> list[str]:
    return [f"{value:12.6f}" for value in values]


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
