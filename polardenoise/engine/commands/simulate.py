"""`polardenoise simulate`: particle images of known molecules, with their truth."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from polardenoise.counts import word_count
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.options import add_options, list_given, name_option, read_options
from polardenoise.engine.simulate.options import SimulationFiles, SimulationPlan

HELP = "simulate particle images of structures, maps or phantoms, with the truth beside them"

#: What may be said of a simulation by Parakeet: poses, noise and detector are its own.
OF_PARAKEET = {
    "sources",
    "box",
    "pixel_size",
    "particles",
    "seed",
    "dose",
    "with_ctf",
    "output",
    "parakeet",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_options(parser, SimulationFiles)
    add_options(parser, SimulationPlan)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Simulate, and give the summary."""
    from polardenoise.engine.simulate.pipeline import simulate_particles
    from polardenoise.engine.simulate.plan import choose_noise, copy_acquisition

    if arguments.parakeet is not None:
        return simulate_with_parakeet(arguments)
    asked = read_options(arguments, SimulationPlan)
    given = SimulationFiles(**read_options(arguments, SimulationFiles))
    asked["noise"], spectrum = choose_noise(asked["noise"], given.noise_like, given.noise_boxes)
    plan = SimulationPlan(**asked, spectrum=spectrum)
    if given.like is not None:
        plan = copy_acquisition(plan, given.like, arguments.box, plan.pixel_size)
    read = [given.like, given.noise_like, arguments.mtf]
    arguments.files.read("--like, --noise-like or --mtf", *read, *list_inputs(*read[:2]))
    if given.noise_boxes is not None:
        from polardenoise.engine.simulate.noise_spectrum import read_empty_boxes

        stacks = read_empty_boxes(given.noise_boxes).stacks
        arguments.files.read("--noise-boxes", given.noise_boxes, *stacks)
    return simulate_particles(plan, given.output, arguments.files)


def list_inputs(*star_files: Path | None) -> list[Path]:
    """Name the files that particle sets are read from; None is none."""
    from polardenoise.engine.particles.particle_set import read_particles

    return [path for star in star_files if star is not None for path in read_particles(star).inputs]


def simulate_with_parakeet(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the configurations of Parakeet, or make the particle set of what it has simulated with them."""
    from polardenoise.engine.simulate.parakeet.exchange import (
        gather_particles,
        write_configurations,
    )

    for name in list_given(arguments, SimulationPlan) + list_given(arguments, SimulationFiles):
        if name not in OF_PARAKEET:
            raise InputError(f"{name_option(name)}: leave it out with --parakeet")
    plan = SimulationPlan(**read_options(arguments, SimulationPlan))
    if len(plan.sources) != 1 or not plan.with_ctf:
        raise InputError("--parakeet: takes one structure, and its images carry a CTF")
    folder, output = arguments.parakeet, arguments.output
    if not any(folder.glob("*/config.yaml")):
        arguments.files.read("SOURCE", *plan.sources)
        count = len(write_configurations(replace(plan, noise="poisson"), folder, arguments.files))
        return {"parakeet": str(folder), "to_run": count}
    arguments.files.read("--parakeet", *folder.glob("*/*"))
    particles, micrographs, with_truth = gather_particles(
        folder, output, plan.box, plan.seed, arguments.files
    )
    return {
        "parakeet": str(folder),
        "particles": particles,
        "micrographs": micrographs,
        "star": str(output / "particles.star"),
        "clean": str(output / "clean.star") if with_truth else None,
    }


def summarise(summary: dict[str, Any]) -> str:
    """Put the summary into a few lines for a person."""
    if "to_run" in summary:
        return (
            f"{word_count(summary['to_run'], 'micrograph')} in {summary['parakeet']}; run the run.sh of each where "
            "Parakeet is, then this command again"
        )
    if "parakeet" in summary:
        truth = f"truth {summary['clean']}" if summary["clean"] else "no truth was simulated"
        particles = word_count(summary["particles"], "particle")
        micrographs = word_count(summary["micrographs"], "micrograph")
        return f"{particles} of {micrographs}: {summary['star']}, {truth}"
    orientations = (
        word_count(summary["views"], "view") if summary["views"] else "uniform orientations"
    )
    harder = _describe_noise(summary)
    return (
        f"{word_count(summary['particles'], 'particle')} of {', '.join(summary['sources'])}\n"
        f"{summary['box']} px, {summary['pixel_size']:g} A/px, SNR {summary['snr']:g},"
        f" {'with' if summary['ctf'] else 'no'} CTF, {orientations}, seed {summary['seed']}\n"
        + (f"{', '.join(harder)}\n" if harder else "")
        + f"noisy {summary['star']}, truth {summary['clean']}, {', '.join(summary['volumes'])}"
    )


def _describe_noise(summary: dict[str, Any]) -> list[str]:
    """Name what is not as it is by default."""
    harder = []
    if summary["noise"] == "coloured":
        harder.append("coloured noise")
    if summary["dose"] is not None:
        harder.append(
            f"{summary['dose']:.3g} electrons/A^2 counted at a contrast of {summary['contrast']:.2g}"
        )
    if summary["ice"]:
        harder.append(f"ice {summary['ice']:g} of the noise")
    if summary["envelope"]:
        harder.append(f"envelope {summary['envelope']:g} A^2")
    if summary["mtf_at_nyquist"] is not None:
        harder.append(f"MTF {summary['mtf_at_nyquist']:.2g} at Nyquist")
    if summary["neighbours"]:
        harder.append(f"neighbours in {summary['neighbours']:g} of the images")
    if summary["contrast_spread"]:
        harder.append(f"contrasts that spread by {summary['contrast_spread']:g}")
    if summary["slope"]:
        harder.append(f"backgrounds that slope by {summary['slope']:g} of the noise")
    if summary["defocus_error"]:
        harder.append(f"defocus wrong by {summary['defocus_error']:g} A")
    return harder
