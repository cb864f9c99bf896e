"""`polardenoise reconstruct`: half maps, the whole map and their Fourier shell correlation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polardenoise.counts import word_count
from polardenoise.engine.commands.cryosparc_options import (
    add_cryosparc_options,
    read_cryosparc_options,
)

if TYPE_CHECKING:  # what is heavy is imported when it is needed
    import numpy as np

    from polardenoise.engine.particles.particle_set import ParticleSet
    from polardenoise.engine.reconstruct.pipeline import HalfMaps
    from polardenoise.engine.reconstruct.preparation import PosedParticles
    from polardenoise.engine.reconstruct.view_coverage import MeasuredShares

HELP = "reconstruct two half maps and the whole map from particles with known poses"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "particles",
        metavar="PARTICLES.star",
        type=Path,
        help="with angles; .star, or cryoSPARC's .cs",
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, required=True, help="folder of the results"
    )
    parser.add_argument(
        "--symmetry",
        default="c1",
        metavar="GROUP",
        help="c1, cN, dN, t, o, i1 or i2; RELION's axes",
    )
    parser.add_argument(
        "--ctf",
        choices=["auto", "on", "off"],
        default="auto",
        help="weight by the CTF; auto follows what the STAR states about the images (default)",
    )
    parser.add_argument(
        "--reference",
        metavar="MAP",
        type=Path,
        help="a map to compare with, same box and pixel size",
    )
    add_cryosparc_options(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Reconstruct, compare, write; everything is computed before the first file is written.

    Returns
    -------
    dict[str, Any]
        What `summary.json` holds.

    Raises
    ------
    InputError
        If the particles, the symmetry or the reference cannot be used.
    """
    from polardenoise.engine.imaging.fsc import fourier_shell_correlation
    from polardenoise.engine.imaging.symmetry import symmetry_matrices
    from polardenoise.engine.particles.particle_set import read_particles
    from polardenoise.engine.reconstruct.pipeline import reconstruct_halves
    from polardenoise.engine.reconstruct.preparation import prepare_reconstruction
    from polardenoise.engine.reconstruct.reference import read_reference

    symmetry = symmetry_matrices(arguments.symmetry)
    particles = read_particles(arguments.particles, cryosparc=read_cryosparc_options(arguments))
    posed = prepare_reconstruction(particles, arguments.ctf)
    reference = None
    if arguments.reference is not None:
        reference = read_reference(arguments.reference, particles.box, posed.pixel_size)
    check_files(arguments, particles)
    maps = reconstruct_halves(particles, posed.rows1, posed.rows2, posed.ctf, symmetry)
    half_curve = fourier_shell_correlation(maps.half1, maps.half2)
    reference_curve = None
    if reference is not None:
        reference_curve = fourier_shell_correlation(maps.volume, reference)
    summary = {
        **state_run(arguments, posed),
        **state_resolutions(posed, half_curve, reference_curve, arguments.symmetry),
    }
    write_results(arguments.output, posed, maps, half_curve, reference_curve, summary)
    return summary


def check_files(arguments: argparse.Namespace, particles: ParticleSet) -> None:
    """Name the files that are read and written, and see that they can be."""
    folder, files = arguments.output, arguments.files
    files.read("PARTICLES.star", *particles.inputs, arguments.particles.with_suffix(".json"))
    files.read("--reference", arguments.reference)
    for name in ("half1.mrc", "half2.mrc", "volume.mrc"):
        files.write("-o", folder / name, "mrc", size=4 * particles.box**3)
    files.write("-o", folder / "fsc.star", "star")
    files.write("-o", folder / "fsc.png", "picture")
    files.write("-o", folder / "summary.json", "summary", content="summary")
    files.check()
    files.probe()


def state_resolutions(
    posed: PosedParticles, half_curve: np.ndarray, reference_curve: np.ndarray | None, group: str
) -> dict[str, Any]:
    """State where the curves cross their thresholds, what that of the half maps means, and what speaks against it."""
    from polardenoise.engine.imaging.fsc import resolution_at
    from polardenoise.engine.reconstruct.reference import doubt_reference
    from polardenoise.engine.reconstruct.view_coverage import ENOUGH

    group = group.strip().lower()
    grid = posed.pixel_size, posed.particles.box
    angstrom = resolution_at(half_curve, 0.143, *grid)
    shares, doubts = judge_views(posed, group, angstrom)
    stated: dict[str, Any] = {
        "fsc_0.143_angstrom": angstrom,
        "fsc_0.5_angstrom": resolution_at(half_curve, 0.5, *grid),
        "fsc_means": posed.word_meaning(few_views=shares.with_symmetry < ENOUGH),
        "directions_measured": shares.with_symmetry,
        "directions_measured_by_images": shares.by_images,
    }
    if reference_curve is not None:
        to_reference = resolution_at(reference_curve, 0.5, *grid)
        stated["fsc_0.5_to_reference_angstrom"] = to_reference
        doubts += doubt_reference(angstrom, to_reference, group, posed.denoised)
    return {**stated, "warnings": [*posed.warnings, *doubts]}


def judge_views(
    posed: PosedParticles, group: str, angstrom: float
) -> tuple[MeasuredShares, list[str]]:
    """Give the shares of all directions that both halves have measured at a resolution, and doubts about them."""
    from polardenoise.engine.imaging.symmetry import symmetry_matrices
    from polardenoise.engine.reconstruct.pipeline import require_poses
    from polardenoise.engine.reconstruct.view_coverage import doubt_views, measure_shares

    angles, symmetry = require_poses(posed.particles), symmetry_matrices(group)
    shell = posed.particles.box * posed.pixel_size / angstrom
    shares = measure_shares(angles, (posed.rows1, posed.rows2), symmetry, shell)
    return shares, doubt_views(shares, angles, symmetry, group, angstrom)


def state_run(arguments: argparse.Namespace, posed: PosedParticles) -> dict[str, Any]:
    """State what was reconstructed, and how."""
    from polardenoise.engine.runtime.provenance import provenance

    return {
        "nyquist_angstrom": 2 * posed.pixel_size,
        "particles": len(posed.rows1) + len(posed.rows2),
        "half1_particles": len(posed.rows1),
        "half2_particles": len(posed.rows2),
        "halves": posed.halves,
        "denoised": posed.denoised,
        "ctf": posed.ctf,
        "ctf_state": posed.particles.ctf_state,
        "symmetry": arguments.symmetry.strip().lower(),
        "box": posed.particles.box,
        "pixel_size": posed.pixel_size,
        "output": str(arguments.output),
        "provenance": provenance(arguments.command_line, particles=str(arguments.particles)),
    }


def write_results(
    folder: Path,
    posed: PosedParticles,
    maps: HalfMaps,
    half_curve: np.ndarray,
    reference_curve: np.ndarray | None,
    summary: dict[str, Any],
) -> None:
    """Write maps, curves and summary into a folder."""
    from polardenoise.engine.particles.mrc import write_volume
    from polardenoise.engine.reconstruct.fsc_report import plot_fsc, write_fsc_star
    from polardenoise.engine.runtime.files import Outputs
    from polardenoise.engine.runtime.provenance import write_summary

    curves = half_curve, reference_curve, posed.pixel_size
    resolution, label = summary["fsc_0.143_angstrom"], summary["fsc_means"]
    with Outputs() as outputs:
        write_volume(outputs.lend(folder / "half1.mrc"), maps.half1, posed.pixel_size)
        write_volume(outputs.lend(folder / "half2.mrc"), maps.half2, posed.pixel_size)
        write_volume(outputs.lend(folder / "volume.mrc"), maps.volume, posed.pixel_size)
        write_fsc_star(outputs.lend(folder / "fsc.star"), *curves, resolution, label)
        plot_fsc(outputs.lend(folder / "fsc.png"), *curves, label)
        write_summary(outputs.lend(folder / "summary.json"), summary)


def summarise(summary: dict[str, Any]) -> str:
    """Say what was found, for people."""
    lines = [
        f"{word_count(summary['particles'], 'particle')} ({summary['half1_particles']} + "
        f"{summary['half2_particles']}, halves: {summary['halves']}), CTF: {summary['ctf']}, "
        f"symmetry: {summary['symmetry']}",
        f"half maps agree to {summary['fsc_0.143_angstrom']:.2f} A at FSC 0.143, "
        f"{summary['fsc_0.5_angstrom']:.2f} A at 0.5 ({summary['fsc_means']}; "
        f"Nyquist {summary['nyquist_angstrom']:.2f} A)",
    ]
    if "fsc_0.5_to_reference_angstrom" in summary:
        lines.append(
            "the map agrees with the reference to "
            f"{summary['fsc_0.5_to_reference_angstrom']:.2f} A at FSC 0.5"
        )
    if summary["symmetry"] != "c1":
        lines.append(
            f"both half maps were given symmetry {summary['symmetry']}, and agree in it whether the molecule has it or "
            "not"
        )
    lines += [f"warning: {warning}" for warning in summary["warnings"]]
    return "\n".join([*lines, f"maps and curves in {summary['output']}"])
