"""Whole sets of random views: what neighbours are worth, and how well they are found.

    python -m benchmarks random_views -o benchmarks/results [SOURCE ...]

For every molecule: 2,000 particles of random orientations at 64 px, filling 0.7 of the box, two random halves; denoised
by `base` among random images and among the neighbours that it finds (the default), K the same; by `base-dncnn`, image
by image; and by the best radial filter, which knows the truth. Without a CTF also among the neighbours that the true
orientations give: what a perfect search would reach. The median angle between the viewing directions of an image and
its 20 nearest stands beside the best possible and that of images taken at random (molecules without symmetry).
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.common.command import run
from benchmarks.common.places import list_molecules
from benchmarks.common.tables import write_table
from benchmarks.studies.one_view_sets import apply_radial
from polardenoise.engine.evaluate.against_truth import relative_mse
from polardenoise.engine.imaging.background import measure_background, normalise
from polardenoise.engine.imaging.euler_angles import matrices_from_angles
from polardenoise.engine.neighbours.encoded_cluster import encode_cluster
from polardenoise.engine.neighbours.search import Search, denoise_among, denoise_by_evidence
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles

PHANTOMS = ("phantom:10001", "phantom:10005", "phantom:10013")
#: Molecules of split `test` without symmetry.
STRUCTURES = ("1u6g.pdb.gz", "6bqn.cif.gz")
CASES = ((0.1, "--no-ctf"), (0.1, "--ctf"), (0.05, "--no-ctf"))


def measure_molecule(
    source: str, snr: float, ctf: str, model: str, baseline: str, size: int, folder: Path
) -> dict[str, float]:
    """Figures of one molecule at one SNR, with or without CTF."""
    noisy_star, clean_star = folder / "particles.star", folder / "clean.star"
    run(
        "simulate", source, "-o", str(folder), ctf, "--particles", "2000", "--snr", str(snr), "--seed", "11",
    )  # fmt: skip
    figures = {"radial filter": apply_radial(noisy_star, clean_star)}
    ways = {
        "single image": (baseline, ["--group-by", "random"]),
        "random sets": (model, ["--group-by", "random"]),
        "neighbours": (model, ["--group-by", "neighbours", "--matches", str(folder / "m.npz")]),
    }
    for way, (name, options) in ways.items():
        out, summary = folder / f"{way.split()[0]}.star", folder / "figures.json"
        run(
            "denoise", str(noisy_star), "-o", str(out), "--model", name, "--set-size", str(size), *options,
        )  # fmt: skip
        told = ["--matches", str(folder / "m.npz")] if way == "neighbours" else []
        run("evaluate", str(out), "--truth", str(clean_star), "--json", str(summary), *told)
        measured = json.loads(summary.read_text())
        figures[way] = measured["relative_mse"]
    if ctf == "--no-ctf":
        figures["true neighbours"] = measure_true_neighbours(noisy_star, clean_star, model, size)
    for which in ("median", "best", "random"):
        figures[f"angle {which}"] = measured[f"neighbour_angle_{which}"]
    return figures


def measure_true_neighbours(noisy: Path, clean: Path, model_name: str, size: int) -> float:
    """Relative MSE of images denoised among the K whose true viewing directions are the nearest."""
    particles = read_particles(noisy)
    model = as_joint(load_model(model_name)[0])
    images = torch.from_numpy(read_images(particles, slice(None)))
    background = measure_background(images)
    truth = torch.from_numpy(read_images(read_particles(clean), slice(None)))
    directions = matrices_from_angles(torch.from_numpy(particles.angles))[:, :, 2]
    estimates = torch.empty_like(images)
    for half in (1, 2):
        rows = np.flatnonzero(particles.random_subset == half)
        nearest = (directions[rows] @ directions[rows].T).topk(size, dim=1).indices
        with torch.inference_mode():
            ctf_rings = torch.ones(len(rows), particles.box // 2)
            cluster = encode_cluster(model, normalise(images, background)[rows], ctf_rings)
            denoised = denoise_among(model, cluster, nearest)
            for evidence_weights in model.evidence_weights.list_passes():
                search = Search(nearest, cluster.rings.to_harmonics(denoised.estimates))
                denoised = denoise_by_evidence(model, cluster, search, evidence_weights)
            estimates[rows] = denoised.estimates
    return relative_mse(estimates * background.deviation, truth)


def main(words: Sequence[str]) -> None:
    """Measure everything and write the tables."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks random_views", description=__doc__.splitlines()[0]
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="base", help="name or folder of a polar transformer")
    parser.add_argument("--baseline", default="base-dncnn", help="name or folder of a DnCNN")
    parser.add_argument("--set-size", type=int, default=32, metavar="K")
    arguments = parser.parse_args(words)
    rows: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for snr, ctf in CASES:
            for source in arguments.sources or list_molecules(PHANTOMS, STRUCTURES):
                figures = measure_molecule(
                    source, snr, ctf, arguments.model, arguments.baseline, arguments.set_size, Path(scratch),
                )  # fmt: skip
                row = {
                    "molecule": Path(source).name.split(".")[0],
                    "SNR": f"{snr:g}",
                    "CTF": "yes" if ctf == "--ctf" else "no",
                }
                for name in COLUMNS:
                    digits = 1 if name.startswith("angle") else 4
                    row[name] = f"{figures[name]:.{digits}f}" if name in figures else ""
                rows.append(row)
                print(row, flush=True)
                write_table(rows, arguments.output, "random_views")


COLUMNS = (
    "radial filter",
    "single image",
    "random sets",
    "neighbours",
    "true neighbours",
    "angle median",
    "angle best",
    "angle random",
)
