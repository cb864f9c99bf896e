"""Orientations found on raw and on denoised images, and the maps of the raw images at them.

    python -m benchmarks orientations -o benchmarks/results/reconstruction [SOURCE ...]

For every molecule and SNR: 1,000 centred particles of random views at 64 px with CTFs, denoised with the defaults of
`denoise` (CTF kept). Every image takes the view and in-plane rotation of a reference that it fits best
(`projection_matching.py`); the reference is the true map, low-passed as a first model (40 A) and as a better one (15 A)
would be. Angular errors against the truth, and the map of the *raw* images at the orientations that the first model
gave: its resolution against the truth, about the molecule. Molecules without symmetry. `relion_orientations.py` asks
RELION the same.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.common.study_sets import (
    choose_methods,
    denoise_set,
    describe_methods,
    find_molecules,
    measure_map,
    name_molecule,
    run,
)
from benchmarks.common.tables import write_table
from benchmarks.studies.pose_errors import measure_errors
from benchmarks.studies.projection_matching import find_orientations, low_pass
from polardenoise.engine.particles.mrc import read_volume
from polardenoise.engine.particles.particle_set import ParticleSet, read_particles
from polardenoise.engine.particles.star_writing import write_particles
from polardenoise.engine.runtime.files import write_json
from polardenoise.engine.runtime.provenance import provenance

#: The other test structures are symmetric, or nearly so.
MOLECULES = ("1u6g.pdb.gz", "6bqn.cif.gz")
METHODS = ("DnCNN=base-dncnn", "polar transformer=base")
SEED = 41
#: Errors up to this count as found, degrees.
FOUND = 15.0


def write_poses(
    particles: ParticleSet, star: Path, angles: Tensor, origins: Tensor | None = None
) -> Path:
    """Write a set with other poses: angles `(n, 3)` degrees and, where given, origins `(n, 2)` Angstrom."""
    columns = dict(zip(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"), angles.T, strict=True))
    if origins is not None:
        columns |= dict(zip(("rlnOriginXAngst", "rlnOriginYAngst"), origins.T, strict=True))
    words = {label: [f"{value:.6f}" for value in values] for label, values in columns.items()}
    names = particles.column("rlnImageName")
    assert names is not None
    write_particles(particles, star, names, words, {})
    return star


def measure_set(
    source: str, snr: float, arguments: argparse.Namespace, methods: dict[str, str], folder: Path
) -> list[dict[str, str]]:
    """Simulate and denoise a set; find orientations on every kind of image against every reference."""
    run(
        "simulate", source, "-o", str(folder), "--particles", str(arguments.particles),
        "--snr", str(snr), "--box", str(arguments.box), "--seed", str(SEED),
    )  # fmt: skip
    raw, truth = read_particles(folder / "particles.star"), folder / "volume.mrc"
    assert raw.angles is not None
    known = torch.from_numpy(raw.angles)
    volume, pixel_size = read_volume(truth)
    stars = denoise_set(folder / "particles.star", methods)
    case = {"molecule": name_molecule(source), "SNR": f"{snr:g}"}
    rows = []

    def tell(reference: str, images: str, angles: Tensor, with_map: bool) -> None:
        resolution = ""
        if with_map:
            star = write_poses(raw, folder / "posed.star", angles)
            measured = measure_map(star, truth, folder / "map")
            resolution = f"{measured.find_resolution(measured.to_truth_masked, 0.5):.1f}"
        errors = measure_errors(angles, known)
        rows.append(
            case
            | {
                "reference": reference,
                "orientations found on": images,
                "median error (degrees)": f"{errors.median():.1f}",
                f"within {FOUND:g} degrees": f"{(errors < FOUND).double().mean():.2f}",
                "raw map to truth, FSC 0.5 (A)": resolution,
            }
        )
        print(rows[-1], flush=True)

    tell("", "(true ones)", known, True)
    for resolution in arguments.references:
        reference = low_pass(torch.from_numpy(volume), float(pixel_size), resolution)
        for method, star in stars.items():
            particles = read_particles(star)
            angles = find_orientations(particles, np.arange(len(particles)), reference)
            tell(f"{resolution:g} A", method, angles, resolution == arguments.references[0])
    return rows


def main(words: Sequence[str]) -> None:
    """Measure everything; the table grows set by set."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks orientations", description=__doc__.splitlines()[0]
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--particles", type=int, default=1000)
    parser.add_argument("--snr", type=float, nargs="+", default=[0.02, 0.05])
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument(
        "--references", type=float, nargs="+", default=[40.0, 15.0], metavar="ANGSTROM"
    )
    parser.add_argument("--methods", nargs="+", default=METHODS, metavar="NAME=MODEL")
    arguments = parser.parse_args(words)
    begun = time.monotonic()
    methods = choose_methods(arguments.methods)
    sources = arguments.sources or find_molecules(MOLECULES)[:2]
    rows: list[dict[str, str]] = []
    for snr in arguments.snr:
        for source in sources:
            with tempfile.TemporaryDirectory() as scratch:
                rows += measure_set(source, snr, arguments, methods, Path(scratch))
            write_table(rows, arguments.output, "orientations")
    record = provenance(
        ["python", "-m", "benchmarks", "orientations", *words],
        sources=[name_molecule(source) for source in sources],
        models=describe_methods(methods),
        seed=SEED,
        seconds=round(time.monotonic() - begun),
    )
    write_json(arguments.output / "orientations.json", record)
