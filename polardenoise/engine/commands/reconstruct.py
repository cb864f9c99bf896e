"""`polardenoise reconstruct`: half maps, the whole map and their Fourier shell correlation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from polardenoise.counts import word_count
from polardenoise.engine.commands.cryosparc_options import (
    add_cryosparc_options,
    read_cryosparc_options,
)

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
    from polardenoise.engine.imaging import fsc
    from polardenoise.engine.imaging.symmetry import symmetry_matrices
    from polardenoise.engine.particles.half_sets import doubt_halves
    from polardenoise.engine.particles.mrc import write_volume
    from polardenoise.engine.particles.particle_set import read_particles
    from polardenoise.engine.particles.set_checks import (
        common_pixel_size,
        doubt_astigmatism,
        find_denoised_mark,
        refuse_odd_box,
    )
    from polardenoise.engine.reconstruct import pipeline as reconstruct
    from polardenoise.engine.reconstruct.fsc_report import plot_fsc, write_fsc_star
    from polardenoise.engine.runtime.files import Outputs
    from polardenoise.engine.runtime.provenance import provenance, write_summary

    symmetry = symmetry_matrices(arguments.symmetry)
    particles = read_particles(arguments.particles, cryosparc=read_cryosparc_options(arguments))
    refuse_odd_box(particles)
    reconstruct.require_poses(particles)
    pixel_size, box = common_pixel_size(particles), particles.box
    ctf, warnings = reconstruct.choose_ctf(particles, arguments.ctf)
    rows1, rows2, halves = reconstruct.split_halves(particles)
    if particles.random_subset is not None:
        warnings += doubt_halves(particles, particles.random_subset)
    if ctf != "none":
        warnings += doubt_astigmatism(particles)
    mark = find_denoised_mark(particles)
    if mark is not None:
        warnings.append(
            f"{particles.star_path} holds denoised images ({mark} says so): half maps of estimates tell consistency, "
            "never resolution; reconstruct the raw particles at these poses"
        )
    reference = None
    if arguments.reference is not None:
        reference = reconstruct.read_reference(arguments.reference, box, pixel_size)

    folder, files = arguments.output, arguments.files
    files.read("PARTICLES.star", *particles.inputs, arguments.particles.with_suffix(".json"))
    files.read("--reference", arguments.reference)
    for name in ("half1.mrc", "half2.mrc", "volume.mrc"):
        files.write("-o", folder / name, "mrc", size=4 * box**3)
    files.write("-o", folder / "fsc.star", "star")
    files.write("-o", folder / "fsc.png", "picture")
    files.write("-o", folder / "summary.json", "summary", content="summary")
    files.check()
    files.probe()
    maps = reconstruct.reconstruct_halves(particles, rows1, rows2, ctf, symmetry)
    half_curve = fsc.fourier_shell_correlation(maps.half1, maps.half2)
    label = reconstruct.RESOLUTION if mark is None else reconstruct.CONSISTENCY
    resolution = fsc.resolution_at(half_curve, 0.143, pixel_size, box)
    summary: dict[str, Any] = {
        "fsc_0.143_angstrom": resolution,
        "fsc_0.5_angstrom": fsc.resolution_at(half_curve, 0.5, pixel_size, box),
        "fsc_means": label,
    }
    reference_curve = None
    if reference is not None:
        reference_curve = fsc.fourier_shell_correlation(maps.volume, reference)
        summary["fsc_0.5_to_reference_angstrom"] = fsc.resolution_at(
            reference_curve, 0.5, pixel_size, box
        )
    summary |= {
        "nyquist_angstrom": 2 * pixel_size,
        "particles": len(rows1) + len(rows2),
        "half1_particles": len(rows1),
        "half2_particles": len(rows2),
        "halves": halves,
        "denoised": mark is not None,
        "ctf": ctf,
        "ctf_state": particles.ctf_state,
        "symmetry": arguments.symmetry.lower(),
        "box": box,
        "pixel_size": pixel_size,
        "warnings": warnings,
        "output": str(arguments.output),
        "provenance": provenance(arguments.command_line, particles=str(arguments.particles)),
    }

    with Outputs() as outputs:
        write_volume(outputs.lend(folder / "half1.mrc"), maps.half1, pixel_size)
        write_volume(outputs.lend(folder / "half2.mrc"), maps.half2, pixel_size)
        write_volume(outputs.lend(folder / "volume.mrc"), maps.volume, pixel_size)
        curves = half_curve, reference_curve, pixel_size
        write_fsc_star(outputs.lend(folder / "fsc.star"), *curves, resolution, label)
        plot_fsc(outputs.lend(folder / "fsc.png"), *curves, label)
        write_summary(outputs.lend(folder / "summary.json"), summary)
    return summary


def summarise(summary: dict[str, Any]) -> str:
    """Say what was found, for people."""
    lines = [
        f"{word_count(summary['particles'], 'particle')} ({summary['half1_particles']} + "
        f"{summary['half2_particles']}, halves: {summary['halves']}), CTF: {summary['ctf']}",
        f"half maps agree to {summary['fsc_0.143_angstrom']:.2f} A at FSC 0.143, "
        f"{summary['fsc_0.5_angstrom']:.2f} A at 0.5 ({summary['fsc_means']}; "
        f"Nyquist {summary['nyquist_angstrom']:.2f} A)",
    ]
    if "fsc_0.5_to_reference_angstrom" in summary:
        lines.append(
            "the map agrees with the reference to "
            f"{summary['fsc_0.5_to_reference_angstrom']:.2f} A at FSC 0.5"
        )
    lines += [f"warning: {warning}" for warning in summary["warnings"]]
    return "\n".join([*lines, f"maps and curves in {summary['output']}"])
