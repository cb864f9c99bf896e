"""`polardenoise evaluate`: the error of denoised particles against their truth, or a model's answer to pure noise."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from polardenoise.engine.commands.cryosparc_options import (
    add_cryosparc_options,
    read_cryosparc_options,
    refuse_cryosparc_options,
)
from polardenoise.engine.runtime.errors import InputError

HELP = "compare denoised particles with their truth, or test a model on pure noise"
#: Images of the pure-noise test.
IMAGES, FEWEST_IMAGES, MOST_IMAGES = 400, 16, 100_000
PLOT_FORMATS = (".png", ".pdf", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "denoised",
        metavar="DENOISED.star",
        type=Path,
        nargs="?",
        help="denoised particles (.star, or cryoSPARC's .cs); with --null, particles whose CTFs and field of view the "
        "noise gets",
    )
    parser.add_argument(
        "--truth",
        metavar="CLEAN.star",
        type=Path,
        help="the same particles without noise, same order",
    )
    parser.add_argument(
        "--noisy",
        metavar="NOISY.star",
        type=Path,
        help="the particles before they were denoised, same order, to be compared beside (default: those that the "
        "provenance beside DENOISED.star names)",
    )
    parser.add_argument(
        "--mask-radius",
        type=float,
        metavar="PIXELS",
        help="compare inside this distance from the centre (default: half the box less one)",
    )
    parser.add_argument(
        "--matches",
        type=Path,
        metavar="FILE.npz",
        help="what `denoise --matches` wrote: neighbours, in-plane rotations, classes and scores are held against the "
        "angles, classes and junk of the truth",
    )
    parser.add_argument(
        "--symmetry",
        metavar="GROUP",
        help="with --matches: the molecule's point group (default: c1)",
    )
    add_cryosparc_options(parser)
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw curve and gallery (PNG)")
    parser.add_argument(
        "--null",
        metavar="MODEL",
        help="pure-noise test of a shipped model or a model folder: what comes out of images without a particle",
    )
    parser.add_argument(
        "--images", type=int, metavar="N", help=f"images of the null test (default: {IMAGES})"
    )
    parser.add_argument("--seed", type=int, help="of the null test (default: 0)")
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda"],
        help="of the null test (default: auto)",
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare or test, and draw if asked.

    Returns
    -------
    dict[str, Any]
        Against a truth: relative errors (null for the noisy input where it is not known), the resolution at which
        the mean ring correlation crosses 0.5, the curves, and the number of particles. Of noise: what
        `noise_test.measure_null` gives.

    Raises
    ------
    InputError
        If the sets cannot be compared, or the model not be tested.
    """
    if arguments.plot is not None and arguments.plot.suffix.lower() not in PLOT_FORMATS:
        raise InputError(
            f"--plot {arguments.plot}: name a file that ends in {', '.join(PLOT_FORMATS)}"
        )
    of_comparison = ("truth", "noisy", "mask_radius", "matches", "symmetry")
    of_null_test = ("images", "seed", "device")
    if arguments.null is not None:
        refuse_options(arguments, of_comparison, "noise has none; leave it out with --null")
        return run_null_test(arguments)
    refuse_options(
        arguments, of_null_test, "is of the null test; leave it out, or add --null MODEL"
    )
    if arguments.denoised is None or arguments.truth is None:
        missing = "DENOISED.star" if arguments.denoised is None else "--truth CLEAN.star"
        raise InputError(
            f"{missing} is missing; give DENOISED.star --truth CLEAN.star, or --null MODEL"
        )
    if arguments.symmetry is not None and arguments.matches is None:
        raise InputError("--symmetry: says how matches are judged; add --matches or leave it out")
    return compare_with_truth(arguments)


def refuse_options(arguments: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    """Refuse the first of some options that was given, as nothing would come of it."""
    for name in names:
        if getattr(arguments, name) is not None:
            raise InputError(f"--{name.replace('_', '-')}: {why}")


def run_null_test(arguments: argparse.Namespace) -> dict[str, Any]:
    """Test a model on noise; as `run`."""
    from polardenoise.engine.evaluate.noise_plot import plot_null
    from polardenoise.engine.evaluate.noise_test import measure_null
    from polardenoise.engine.networks.checkpoint import find_model
    from polardenoise.engine.particles.particle_set import read_particles
    from polardenoise.engine.runtime.file_list import list_model_files
    from polardenoise.engine.runtime.provenance import provenance

    count = IMAGES if arguments.images is None else arguments.images
    if not FEWEST_IMAGES <= count <= MOST_IMAGES:
        raise InputError(
            f"--images {count}: give at least {FEWEST_IMAGES}, and at most {MOST_IMAGES}"
        )
    files = arguments.files
    files.read("--null", *list_model_files(find_model(arguments.null)))
    like = None
    if arguments.denoised is not None:
        like = read_particles(arguments.denoised, cryosparc=read_cryosparc_options(arguments))
        files.read("PARTICLES.star", *like.inputs)
    else:
        refuse_cryosparc_options(arguments)
    check_plot(arguments)
    test = measure_null(
        arguments.null, like, count, arguments.seed or 0, arguments.device or "auto"
    )
    summary = dict(test.summary)
    if arguments.plot is not None:
        plot_null(arguments.plot, test)
        summary["plot"] = str(arguments.plot)
    summary["provenance"] = provenance(arguments.command_line)
    return summary


def compare_with_truth(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare a set with its truth; as `run`."""
    from polardenoise.engine.evaluate import against_truth as evaluate
    from polardenoise.engine.evaluate.denoised_rows import (
        cut_to_denoised,
        find_input,
        match_input,
    )
    from polardenoise.engine.evaluate.matches_against_truth import evaluate_matches, read_matches
    from polardenoise.engine.evaluate.truth_checks import (
        refuse_noisy_truth,
        refuse_truth_as_noisy,
    )
    from polardenoise.engine.evaluate.truth_plot import plot_evaluation
    from polardenoise.engine.imaging.fsc import resolution_at
    from polardenoise.engine.imaging.symmetry import symmetry_matrices
    from polardenoise.engine.particles.particle_set import read_particles
    from polardenoise.engine.particles.set_checks import (
        check_match,
        common_pixel_size,
        refuse_computed,
        refuse_denoised,
    )

    symmetry = symmetry_matrices(arguments.symmetry or "c1")
    denoised = read_particles(arguments.denoised, cryosparc=read_cryosparc_options(arguments))
    whole_truth = read_particles(arguments.truth)
    refuse_denoised(whole_truth, "--truth")
    source = find_input(denoised)
    truth = cut_to_denoised(whole_truth, denoised, source)
    pixel_size = common_pixel_size(denoised)
    check_match(denoised, truth)
    matches = None
    if arguments.matches is not None:
        matches = read_matches(arguments.matches, len(denoised))
    found = match_input(source, denoised)
    noisy = found
    if arguments.noisy is not None:
        whole_noisy = read_particles(arguments.noisy)
        refuse_computed(whole_noisy, "--noisy")
        noisy = cut_to_denoised(whole_noisy, denoised, source)
        check_match(noisy, denoised)
    radius = check_radius(arguments.mask_radius, denoised.box)
    for particles in (denoised, truth, noisy):
        if particles is not None:
            provenance = particles.star_path.with_suffix(".json")
            arguments.files.read("the input", *particles.inputs, provenance)
    arguments.files.read("--matches", arguments.matches)
    check_plot(arguments)
    refuse_noisy_truth(truth, found, denoised)
    if arguments.noisy is not None and noisy is not None:
        refuse_truth_as_noisy(truth, noisy)
    result = evaluate.compare_particles(denoised, truth, "evaluate", radius)
    noisy_result = None
    if noisy is not None:
        noisy_result = evaluate.compare_particles(noisy, truth, "evaluate noisy input", radius)
    curve = result.mean_ring_correlation()
    noisy_curve = None if noisy_result is None else noisy_result.mean_ring_correlation()
    summary: dict[str, Any] = {
        "relative_mse": result.relative_mse(),
        "relative_mse_scaled": result.relative_mse_scaled(),
        "relative_mse_noisy": None if noisy_result is None else noisy_result.relative_mse(),
        "frc_0.5_angstrom": resolution_at(curve, 0.5, pixel_size, denoised.box),
        "particles": result.count,
        "nyquist_angstrom": 2 * pixel_size,
        "ctf_state": denoised.ctf_state,
        "box": denoised.box,
        "mask_radius": radius,
        "pixel_size": pixel_size,
        "frc": curve,
        "frc_noisy": noisy_curve,
    }
    if len(truth) < len(whole_truth):
        summary["truth_rows"] = [truth.first_row, truth.first_row + len(truth)]
    if matches is not None:
        summary["symmetry"] = (arguments.symmetry or "c1").strip().lower()
        summary |= evaluate_matches(matches, truth, symmetry)
    if arguments.plot is not None:
        plot_evaluation(arguments.plot, denoised, truth, noisy, curve, noisy_curve)
        summary["plot"] = str(arguments.plot)
    return summary


def check_plot(arguments: argparse.Namespace) -> None:
    """Refuse a picture, or a summary, that would replace an input or cannot be written."""
    arguments.files.write("--plot", arguments.plot, "picture")
    arguments.files.check()
    arguments.files.probe()


def check_radius(radius: float | None, box: int) -> float:
    """Return the radius of the disk that is compared, pixels; refuse one outside the box."""
    largest = box / 2 - 1
    if radius is not None and not 0 < radius <= largest:
        raise InputError(f"--mask-radius {radius:g}: give a number from 1 to {largest:g}")
    return largest if radius is None else radius


def summarise(summary: dict[str, Any]) -> str:
    """Say how close the images are, or what noise became, for people."""
    from polardenoise.engine.evaluate.wording import summarise_comparison, summarise_null_test

    return summarise_null_test(summary) if "energy" in summary else summarise_comparison(summary)
