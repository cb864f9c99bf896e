"""The figures of the shipped models' cards: one-view sets of molecules that no model was trained on.

    python -m benchmarks one_view_sets -o benchmarks/results [SOURCE ...]

For every molecule: 8 views, 32 images of each view in each half, SNR 0.05, 64 px, filling 0.7 of the box, first without
and then with a CTF; denoised by each shipped model in sets of the view's half, beside the best radial filter. Without
CTF the figures are the relative MSE of the CTF-free estimate; with it, of what was kept (estimate and truth multiplied
by the CTF). Last, energy out for images of pure noise. Writes a table (CSV and rst), made by the command line that
users have.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.common.command import run
from benchmarks.common.places import list_structures_of
from benchmarks.common.tables import write_table
from polardenoise.engine.evaluate.against_truth import relative_mse, truth_as_observed
from polardenoise.engine.imaging.ctf import compute_ctf, phase_flip
from polardenoise.engine.imaging.rings import best_radial_filter
from polardenoise.engine.networks.checkpoint import list_shipped_models
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles

PHANTOMS = ("phantom:10001", "phantom:10002", "phantom:10003")
ARGUMENTS = ["--particles", "512", "--views", "8", "--snr", "0.05", "--seed", "1"]


def apply_radial(noisy_star: Path, clean_star: Path) -> float:
    """Relative MSE of the best radial filter, on flipped images where there is a CTF."""
    noisy_set, clean_set = read_particles(noisy_star), read_particles(clean_star)
    rows = np.arange(len(noisy_set))
    noisy = torch.from_numpy(read_images(noisy_set, rows))
    truth = truth_as_observed(noisy_set, clean_set, rows)
    if noisy_set.ctf is None:
        return relative_mse(best_radial_filter(noisy, truth), truth)
    # A radial filter of unflipped images would have to average over both signs of the CTF.
    values = compute_ctf(noisy_set.ctf, torch.from_numpy(noisy_set.pixel_size), noisy_set.box)
    filtered = best_radial_filter(phase_flip(noisy, values), phase_flip(truth, values))
    return relative_mse(phase_flip(filtered, values), truth)


def measure_molecule(source: str, ctf: str, models: list[str], folder: Path) -> dict[str, float]:
    """Relative MSE of the noisy images, the best radial filter and every model on one molecule."""
    run("simulate", source, "-o", str(folder), ctf, *ARGUMENTS)
    noisy_set, clean_set = (
        read_particles(folder / "particles.star"),
        read_particles(folder / "clean.star"),
    )
    rows = np.arange(len(noisy_set))
    noisy = torch.from_numpy(read_images(noisy_set, rows))
    truth = truth_as_observed(noisy_set, clean_set, rows)
    figures = {"noisy": relative_mse(noisy, truth)}
    figures["radial filter"] = apply_radial(folder / "particles.star", folder / "clean.star")
    for model in models:
        out = folder / f"{Path(model).name}.star"
        run(
            "denoise", str(folder / "particles.star"), "-o", str(out), "--model", model,
            "--group-by", "rlnClassNumber", "--set-size", "32",
        )  # fmt: skip
        estimate = torch.from_numpy(read_images(read_particles(out), rows))
        figures[Path(model).name] = relative_mse(estimate, truth)
    return figures


def measure_noise(models: list[str], folder: Path) -> dict[str, float]:
    """Energy out for images of pure noise, relative to a particle's at SNR 0.05."""
    run("simulate", PHANTOMS[0], "-o", str(folder), "--no-ctf", *ARGUMENTS)
    particles = read_particles(folder / "particles.star")
    clean = read_images(read_particles(folder / "clean.star"), slice(None))
    noise = np.random.default_rng(5).standard_normal(clean.shape).astype(np.float32)
    write_stack(folder / "particles.mrcs", noise, float(particles.pixel_size[0]))
    figures = {"noisy": float(np.square(noise).mean() / np.square(clean).mean())}
    for model in models:
        out = folder / f"{Path(model).name}.star"
        run("denoise", str(folder / "particles.star"), "-o", str(out), "--model", model)
        estimate = read_images(read_particles(out), slice(None))
        figures[Path(model).name] = float(np.square(estimate).mean() / np.square(clean).mean())
    return figures


def main(words: Sequence[str]) -> None:
    """Measure everything and write the tables."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks one_view_sets", description=__doc__.splitlines()[0]
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument(
        "--models", nargs="+", default=None, help="names or folders (default: shipped)"
    )
    arguments = parser.parse_args(words)
    models = arguments.models or list_shipped_models()
    sources = arguments.sources or [*PHANTOMS, *list_structures_of("test")]
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for ctf in ("--no-ctf", "--ctf"):
            measured = [measure_molecule(source, ctf, models, Path(scratch)) for source in sources]
            named = [
                (Path(source).name.split(".")[0], one)
                for source, one in zip(sources, measured, strict=True)
            ]
            means = {
                column: float(np.mean([one[column] for one in measured])) for column in measured[0]
            }
            for name, figures in [*named, ("mean", means)]:
                cells = {column: f"{value:.4f}" for column, value in figures.items()}
                rows.append({"molecule": name, "CTF": "yes" if ctf == "--ctf" else "no", **cells})
        noise = measure_noise(models, Path(scratch))
        cells = {
            column: f"{noise[column]:.4f}" if column in noise else ""
            for column in list(rows[0])[2:]
        }
        rows.append({"molecule": "pure noise: energy out", "CTF": "no", **cells})
    write_table(rows, arguments.output, "one_view_sets")
    print((arguments.output / "one_view_sets.csv").read_text())
