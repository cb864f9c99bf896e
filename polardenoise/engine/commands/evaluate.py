"""`polardenoise evaluate`: the error of denoised particles against their truth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from polardenoise.engine.errors import InputError

HELP = "compare denoised particles with their truth"
PLOT_FORMATS = (".png", ".pdf", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("denoised", metavar="DENOISED.star", type=Path, nargs="?")
    parser.add_argument(
        "--truth",
        metavar="CLEAN.star",
        type=Path,
        help="the same particles without noise, same order",
    )
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw curve and gallery (PNG)")
    parser.add_argument(
        "--null", metavar="MODEL", help="pure-noise test of a model (not available yet)"
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare, and draw if asked.

    Returns
    -------
    dict[str, Any]
        Relative errors (null for the noisy input where it is not known), the resolution at which the mean
        ring correlation crosses 0.5, and the number of particles.

    Raises
    ------
    InputError
        If the sets cannot be compared.
    """
    if arguments.null is not None:
        raise InputError(
            "--null is not available yet in this version; give DENOISED.star --truth CLEAN.star"
        )
    if arguments.denoised is None or arguments.truth is None:
        missing = "DENOISED.star" if arguments.denoised is None else "--truth CLEAN.star"
        raise InputError(f"{missing} is missing; give DENOISED.star --truth CLEAN.star")

    if arguments.plot is not None and arguments.plot.suffix.lower() not in PLOT_FORMATS:
        raise InputError(
            f"--plot {arguments.plot}: name a file that ends in {', '.join(PLOT_FORMATS)}"
        )

    from polardenoise.engine import evaluate
    from polardenoise.engine.evaluate_plot import plot_evaluation
    from polardenoise.engine.fsc import resolution_at
    from polardenoise.engine.particle_facts import common_pixel_size
    from polardenoise.engine.particles import read_particles

    denoised, truth = read_particles(arguments.denoised), read_particles(arguments.truth)
    pixel_size = common_pixel_size(denoised)
    evaluate.check_match(denoised, truth)
    noisy = evaluate.find_noisy_input(denoised)
    result = evaluate.compare_particles(denoised, truth, "evaluate")
    noisy_result = None
    if noisy is not None:
        noisy_result = evaluate.compare_particles(noisy, truth, "evaluate noisy input")
    curve = result.mean_ring_correlation()
    summary = {
        "relative_mse": result.relative_mse(),
        "relative_mse_scaled": result.relative_mse_scaled(),
        "relative_mse_noisy": None if noisy_result is None else noisy_result.relative_mse(),
        "frc_0.5_angstrom": resolution_at(curve, 0.5, pixel_size, denoised.box),
        "particles": result.count,
        "nyquist_angstrom": 2 * pixel_size,
        "ctf_state": denoised.ctf_state,
    }
    if arguments.plot is not None:
        noisy_curve = None if noisy_result is None else noisy_result.mean_ring_correlation()
        plot_evaluation(arguments.plot, denoised, truth, noisy, curve, noisy_curve)
        summary["plot"] = str(arguments.plot)
    return summary


def summarise(summary: dict[str, Any]) -> str:
    """Say how close the images are, for people."""
    noisy = summary["relative_mse_noisy"]
    before = "" if noisy is None else f" (noisy input {noisy:.3g})"
    return (
        f"{summary['particles']} particles: relative MSE {summary['relative_mse']:.4g}{before}, "
        f"{summary['relative_mse_scaled']:.4g} after one global scale; "
        f"mean FRC 0.5 at {summary['frc_0.5_angstrom']:.2f} A (Nyquist {summary['nyquist_angstrom']:.2f} A)"
    )
