"""`polardenoise evaluate`: the error of denoised particles against their truth, or a model's answer to pure noise."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from polardenoise.counts import word_count
from polardenoise.engine.commands.cryosparc_options import (
    add_cryosparc_options,
    read_cryosparc_options,
    refuse_cryosparc_options,
)
from polardenoise.engine.runtime.errors import InputError

HELP = "compare denoised particles with their truth, or test a model on pure noise"
#: Images of the pure-noise test.
FEWEST_IMAGES, MOST_IMAGES = 16, 100_000
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
        "--images",
        type=int,
        default=400,
        metavar="N",
        help="images of the null test (default: 400)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the null test")
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="of the null test"
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
    if not FEWEST_IMAGES <= arguments.images <= MOST_IMAGES:
        raise InputError(
            f"--images {arguments.images}: give at least {FEWEST_IMAGES}, and at most {MOST_IMAGES}"
        )
    if arguments.null is not None:
        for option, value in (
            ("--truth", arguments.truth),
            ("--noisy", arguments.noisy),
            ("--mask-radius", arguments.mask_radius),
            ("--matches", arguments.matches),
            ("--symmetry", arguments.symmetry),
        ):
            if value is not None:
                raise InputError(f"{option}: noise has none; leave it out with --null")
        return run_null_test(arguments)
    if arguments.denoised is None or arguments.truth is None:
        missing = "DENOISED.star" if arguments.denoised is None else "--truth CLEAN.star"
        raise InputError(
            f"{missing} is missing; give DENOISED.star --truth CLEAN.star, or --null MODEL"
        )
    if arguments.symmetry is not None and arguments.matches is None:
        raise InputError("--symmetry: says how matches are judged; add --matches or leave it out")
    return compare_with_truth(arguments)


def run_null_test(arguments: argparse.Namespace) -> dict[str, Any]:
    """Test a model on noise; as `run`."""
    from polardenoise.engine.evaluate.noise_plot import plot_null
    from polardenoise.engine.evaluate.noise_test import measure_null
    from polardenoise.engine.networks.checkpoint import find_model
    from polardenoise.engine.particles.particle_set import read_particles
    from polardenoise.engine.runtime.file_list import list_model_files
    from polardenoise.engine.runtime.provenance import provenance

    files = arguments.files
    files.read("--null", *list_model_files(find_model(arguments.null)))
    like = None
    if arguments.denoised is not None:
        like = read_particles(arguments.denoised, cryosparc=read_cryosparc_options(arguments))
        files.read("PARTICLES.star", *like.inputs)
    else:
        refuse_cryosparc_options(arguments)
    check_plot(arguments)
    test = measure_null(arguments.null, like, arguments.images, arguments.seed, arguments.device)
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
        refuse_denoised(whole_noisy, "--noisy")
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
    summary = {
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
    if "energy" in summary:
        return summarise_null_test(summary)
    noisy = summary["relative_mse_noisy"]
    before = "" if noisy is None else f" (noisy input {noisy:.3g})"
    lines = [
        f"{word_count(summary['particles'], 'particle')}: relative MSE {summary['relative_mse']:.4g}{before}, "
        f"{summary['relative_mse_scaled']:.4g} after one global scale; "
        f"mean FRC 0.5 at {summary['frc_0.5_angstrom']:.2f} A (Nyquist {summary['nyquist_angstrom']:.2f} A)"
    ]
    if "truth_rows" in summary:
        first, end = summary["truth_rows"]
        lines.append(
            f"the truth was cut to what was denoised, its rows {first + 1} to {end} (counted from 1): the file beside "
            "the denoised particles says which"
        )
    return "\n".join([*lines, *summarise_matches(summary)])


def summarise_matches(summary: dict[str, Any]) -> list[str]:
    """Say how right the matches are, for people: a line for each thing that the truth tells."""
    lines = []
    if summary.get("neighbour_angle_median") is not None:
        lines.append(
            f"views of the {summary['neighbours_judged']} nearest: median {summary['neighbour_angle_median']:.1f} "
            f"degrees away (best possible {summary['neighbour_angle_best']:.1f}, random "
            f"{summary['neighbour_angle_random']:.1f}), {summary['neighbours_within_25_degrees']:.0%} within 25; "
            f"symmetry: {summary['symmetry']}"
        )
    if summary.get("in_plane_error_median") is not None:
        lines.append(
            f"in-plane rotations: median error {summary['in_plane_error_median']:.1f} degrees between views within 15"
        )
    if summary.get("class_ari") is not None:
        lines.append(
            f"classes: adjusted Rand index {summary['class_ari']:.3f} (1 perfect, 0 chance)"
        )
    if summary.get("score_auc") is not None:
        lines.append(
            f"scores: ROC AUC {summary['score_auc']:.3f} for "
            f"{word_count(summary['junk'], 'piece of junk', 'pieces of junk')}"
        )
    return lines


def summarise_null_test(summary: dict[str, Any]) -> str:
    """Say what the model made of noise, for people: whether it passed, then each check, then what came out."""
    lines = [
        f"{summary['model']} {summary['checks']} on pure noise "
        f"({word_count(summary['images'], 'image')}, {summary['box']} px)"
    ]
    for name, bar in summary["bars"].items():
        relation = "passed" if bar["met"] else "MISSED"
        lines.append(f"  {relation}: {name}: {bar['value']:.2g} (at most {bar['limit']:.2g})")
    lines.append(
        f"of noise comes {summary['energy_to_particle']:.2g} of a particle's energy at SNR 0.02, "
        f"{summary['energy_to_denoised_particle']:.2g} of that of such particles denoised"
    )
    lines.append(
        "the curves of denoised images tell consistency, never resolution; --json FILE has all of them"
    )
    return "\n".join(lines)
