"""Orientations found by RELION on raw and on denoised images, and the maps of the raw images at them.

    python -m benchmarks relion_orientations -o benchmarks/results/reconstruction [SOURCE ...]

The defensible workflow on sets that a CPU can refine: particles of random views with CTFs, off the centre by up to a
pixel; denoised with the defaults of `denoise` (CTF kept); each half refined by itself (`relion_refine`, one class, from
the true map low-passed to 40 A, global searches); its poses, less the rotation and the shift of the half's map as a
whole, given to the *raw* images; these reconstructed. The true poses are not in the files that RELION reads. Needs
`relion_refine` on PATH (Debian: apt-get install relion). `refine3d_on_denoised.py` runs the template of Scipion, with
3D auto-refine.
"""

import argparse
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

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
from benchmarks.studies.orientations import FOUND, write_poses
from benchmarks.studies.pose_errors import (
    measure_errors,
    remove_global_rotation,
    remove_global_shift,
)
from polardenoise.engine.particles.particle_set import ParticleSet, read_particles
from polardenoise.engine.runtime.files import write_json
from polardenoise.engine.runtime.provenance import provenance

MOLECULES, METHODS = ("1u6g.pdb.gz",), ("polar transformer=base",)
SEED = 51
#: Of RELION: 15 degrees and 2 px, half of that by its second pass; the map and the images masked by a sphere.
SEARCH = (
    "--K 1 --ini_high 40 --firstiter_cc --ctf --healpix_order 2 --offset_range 2 --offset_step 2 --oversampling 1"
    " --flatten_solvent --zero_mask --norm --scale --dont_check_norm --random_seed 1 --j 1 --verb 0"
)


def refine_half(star: Path, half: int, truth: Path, rounds: int, diameter: float) -> ParticleSet:
    """Refine one half by itself; give its particles with the poses found."""
    part = star.with_name(f"{star.stem}_half{half}.star")
    chosen = ["--select", "rlnRandomSubset", "--minval", str(half), "--maxval", str(half)]
    call("relion_star_handler", "--i", str(star), "--o", str(part), *chosen)
    out = part.with_suffix("")
    words = ["--i", str(part), "--o", str(out), "--ref", str(truth), "--iter", str(rounds)]
    call("relion_refine", *words, "--particle_diameter", f"{diameter:.0f}", *SEARCH.split())
    return read_particles(out.with_name(f"{out.name}_it{rounds:03d}_data.star"))


def call(*words: str) -> None:
    """Run one of RELION's programs; what it says is shown if it fails."""
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def find_poses(
    star: Path, raw: ParticleSet, truth: Path, rounds: int
) -> tuple[Tensor, Tensor, float]:
    """Refine both halves of a set: angles `(n, 3)` and origins `(n, 2)` in the truth's frame, and the seconds taken."""
    assert raw.angles is not None
    known, place = torch.from_numpy(raw.angles), torch.from_numpy(raw.origins)
    given = read_particles(star)
    hidden = write_poses(given, star.with_name(f"hidden_{star.name}"), 0 * known, 0 * place)
    angles, origins = torch.empty_like(known), torch.empty_like(place)
    begun = time.monotonic()
    for half in (1, 2):
        diameter = 0.9 * raw.box * float(raw.pixel_size[0])
        found = refine_half(hidden, half, truth, rounds, diameter)
        assert found.angles is not None
        # RELION may sort particles; the denoised stack has the order of the raw one.
        rows = torch.from_numpy(found.index_in_stack)
        turned, rotation = remove_global_rotation(torch.from_numpy(found.angles), known[rows])
        print(f"half {half}: the map turned by {measure_turn(rotation):.1f} degrees", flush=True)
        moved = remove_global_shift(torch.from_numpy(found.origins), place[rows], turned)
        angles[rows], origins[rows] = turned, moved
    return angles, origins, time.monotonic() - begun


def measure_turn(rotation: Tensor) -> float:
    """Give the angle of a rotation `(3, 3)`, degrees."""
    return float(torch.rad2deg(torch.acos(((rotation.trace() - 1) / 2).clamp(-1, 1))))


def measure_set(
    source: str, snr: float, arguments: argparse.Namespace, methods: dict[str, str], folder: Path
) -> list[dict[str, str]]:
    """Simulate and denoise a set, refine every kind of image, reconstruct the raw images at the poses found."""
    run(
        "simulate", source, "-o", str(folder), "--particles", str(arguments.particles),
        "--snr", str(snr), "--box", str(arguments.box), "--max-shift", "1", "--seed", str(SEED),
    )  # fmt: skip
    raw, truth = read_particles(folder / "particles.star"), folder / "volume.mrc"
    assert raw.angles is not None
    known, place = torch.from_numpy(raw.angles), torch.from_numpy(raw.origins)
    poses = {"(true ones)": (known, place, 0.0)}
    for method, star in denoise_set(folder / "particles.star", methods).items():
        poses[method] = find_poses(star, raw, truth, arguments.rounds)
    rows = []
    for images, (angles, origins, seconds) in poses.items():
        posed = write_poses(raw, folder / "posed.star", angles, origins)
        measured = measure_map(posed, truth, folder / "map")
        errors = measure_errors(angles, known)
        shifts = (origins - place).norm(dim=1) / float(raw.pixel_size[0])
        rows.append(
            {
                "molecule": name_molecule(source),
                "SNR": f"{snr:g}",
                "poses found on": images,
                "median error (degrees)": f"{errors.median():.1f}",
                f"within {FOUND:g} degrees": f"{(errors < FOUND).double().mean():.2f}",
                "median shift error (px)": f"{shifts.median():.2f}",
                "raw map to truth, FSC 0.5 (A)": (
                    f"{measured.find_resolution(measured.to_truth, 0.5):.1f}"
                ),
                "masked": f"{measured.find_resolution(measured.to_truth_masked, 0.5):.1f}",
                "raw halves, FSC 0.143 (A)": (
                    f"{measured.find_resolution(measured.between_halves, 0.143):.1f}"
                ),
                "RELION took (s)": f"{seconds:.0f}" if seconds else "",
            }
        )
        print(rows[-1], flush=True)
    return rows


def main(words: Sequence[str]) -> None:
    """Measure everything; the table grows set by set."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks relion_orientations", description=__doc__.splitlines()[0]
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--particles", type=int, default=200)
    parser.add_argument("--snr", type=float, nargs="+", default=[0.05, 0.02])
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5, help="iterations of RELION")
    parser.add_argument("--methods", nargs="+", default=METHODS, metavar="NAME=MODEL")
    arguments = parser.parse_args(words)
    if shutil.which("relion_refine") is None:
        raise SystemExit("relion_refine is not on PATH (Debian: apt-get install relion)")
    begun = time.monotonic()
    methods = choose_methods(arguments.methods)
    sources = arguments.sources or find_molecules(MOLECULES)[:1]
    rows: list[dict[str, str]] = []
    for snr in arguments.snr:
        for source in sources:
            with tempfile.TemporaryDirectory() as scratch:
                rows += measure_set(source, snr, arguments, methods, Path(scratch))
            write_table(rows, arguments.output, "relion_orientations")
    record = provenance(
        ["python", "-m", "benchmarks", "relion_orientations", *words],
        sources=[name_molecule(source) for source in sources],
        models=describe_methods(methods),
        search=SEARCH,
        seed=SEED,
        seconds=round(time.monotonic() - begun),
    )
    write_json(arguments.output / "relion_orientations.json", record)
