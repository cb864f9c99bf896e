"""What stands in for Parakeet: plans, and files as its 0.6.8 writes them, of a weak phase specimen.

Parakeet itself is not run: it needs CUDA.
"""

import json

import mrcfile
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from polardenoise.engine.cli import main
from polardenoise.engine.imaging.ctf import CtfParameters, apply_ctf, compute_ctf
from polardenoise.engine.simulate.options import SimulationPlan

h5py = pytest.importorskip("h5py")


BOX, PIXEL_SIZE = 32, 5.0
MARGIN = 10


def make_plan(path, **options):
    options = {"particles": 7, "box": BOX, "pixel_size": PIXEL_SIZE, "noise": "poisson", **options}
    return SimulationPlan((str(path),), **options)


def call(path, *words, output="out"):
    """Run the command, for configurations or for the particle set."""
    return main(["simulate", str(path), "--parakeet", "set", "-o", output, *words])


def blobs(places, shape, width=1.5):
    """Sum of Gaussians at `(m, 2)` places x, y in pixels."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return sum(np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * width**2)) for a, b in places)


def specimen_phase(configuration, atoms):
    """Project the molecules of a configuration by Parakeet's rules, with its margin: phases in radians."""
    detector = configuration["microscope"]["detector"]
    places = []
    for pose in configuration["sample"]["molecules"]["local"][0]["instances"]:
        placed = Rotation.from_rotvec(pose["orientation"]).apply(atoms) + pose["position"]
        places.extend(placed[:, :2] / detector["pixel_size"] + MARGIN)
    shape = (detector["ny"] + 2 * MARGIN, detector["nx"] + 2 * MARGIN)
    return 0.005 * blobs(places, shape)


def write_nexus(path, image, pixel_size, defocus):
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["definition"] = "NXtomo"
        data = entry.create_group("data")
        data["data"] = image[None]
        data["pixel_size_x"] = np.array([pixel_size])
        data["c_10"] = np.array([defocus])


def simulate(folder, atoms, ending=".h5", truth=True):
    """Stand in for Parakeet: a weak-phase specimen, its CTF, counted electrons."""
    configuration = json.loads((folder / "config.yaml").read_text())
    microscope = configuration["microscope"]
    phase = specimen_phase(configuration, atoms)
    inner = slice(MARGIN, -MARGIN)
    size = phase.shape[0] - 2 * MARGIN
    one = torch.ones(1, dtype=torch.float64)
    defocus = -microscope["lens"]["c_10"] * one
    ctf = compute_ctf(
        CtfParameters(defocus, defocus, 0 * one, 300 * one, 2.7 * one, 0.1 * one, 0 * one),
        PIXEL_SIZE,
        size,
    )
    seen = apply_ctf(torch.from_numpy(phase[inner, inner]).float(), ctf)[0].double().numpy()
    electrons = microscope["beam"]["electrons_per_angstrom"] * PIXEL_SIZE**2
    counts = np.random.default_rng(1).poisson(electrons * (1 - 2 * seen)).astype(np.float32)
    wave = np.exp(1j * (phase + 0.7)).astype(np.complex64)
    files = [("image", counts, microscope["lens"]["c_10"])]
    if truth:
        files.append(("truth_exit_wave", wave, 0.0))
    for name, image, c_10 in files:
        if ending == ".h5":
            write_nexus(folder / f"{name}.h5", image, PIXEL_SIZE, c_10)
        else:
            with mrcfile.new(folder / f"{name}.mrc") as file:
                file.set_data(image[None])
                file.voxel_size = PIXEL_SIZE
