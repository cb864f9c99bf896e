"""A small set with odd text in its STAR file, a network too small to be good, and the command for both."""

import shutil

import numpy as np
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.networks.checkpoint import ModelCard, save_model
from polardenoise.engine.networks.registry import build_model
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles

TINY = {
    "box": 32,
    "rings": 16,
    "angles": 64,
    "hidden": 16,
    "query": 8,
    "value": 16,
    "before": 1,
    "after": 1,
}


def save_tiny_model(folder):
    """An untrained network is as good as any for what is tested with it: it mixes all images of a set."""
    torch.manual_seed(0)
    network = build_model("polar-transformer", TINY)
    save_model(folder, network, ModelCard("tiny", "polar-transformer", {}))
    return str(folder)


def write_set(
    folder, count=24, box=32, ctf=True, subset=True, optics_extra="", seed=0, images=None
):
    """A set in RELION 3.1's dialect with two optics groups, odd text tokens and columns nobody knows."""
    generator = np.random.default_rng(seed)
    if images is None:
        images = (
            np.random.default_rng([seed, 1]).standard_normal((count, box, box)).astype(np.float32)
        )
        images[:, box // 4 : -box // 4, box // 4 : -box // 4] += 0.5
    write_stack(folder / "stack.mrcs", images, 3.0)
    lines = [
        "# version 30001",
        "",
        "data_optics",
        "",
        "loop_",
        "_rlnOpticsGroup #1",
        "_rlnOpticsGroupName #2",
        "_rlnImagePixelSize #3",
        "_rlnImageSize #4",
        "_rlnVoltage #5",
        "_rlnSphericalAberration #6",
        "_rlnAmplitudeContrast #7",
        "_rlnImageDimensionality #8",
        *([f"_{optics_extra.split()[0]} #9"] if optics_extra else []),
    ]
    for group in (1, 2):
        extra = optics_extra.split()[1] if optics_extra else ""
        lines.append(f"{group} optics{group} 3.0 {box} 300.000 2.70 0.1 2 {extra}")
    labels = [
        "rlnCoordinateX",
        "rlnImageName",
        "facilityNote",
        "rlnOpticsGroup",
        "rlnAngleRot",
        "rlnAngleTilt",
        "rlnAnglePsi",
        "rlnOriginXAngst",
        "rlnOriginYAngst",
        "rlnClassNumber",
    ]
    labels += ["rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"] if ctf else []
    labels += ["rlnRandomSubset"] if subset else []
    lines += ["", "", "# version 30001", "", "data_particles", "", "loop_"]
    lines += [f"_{label} #{number}" for number, label in enumerate(labels, 1)]
    order = generator.permutation(count)
    for row, place in enumerate(order):
        words = [f"{row:03d}.50", f"{place + 1:06d}@stack.mrcs", "'a note'", str(row % 2 + 1)]
        words += [f"{value:+.3e}" for value in generator.uniform(-90, 90, 3)]
        words += ["-0.0", "1.250", f"{row % 3 + 1:03d}"]
        words += [f"{12000 + 100 * row}.00", f"{11800 + 100 * row}.00", "30"] if ctf else []
        words += [str(row % 2 + 1)] if subset else []
        lines.append("  ".join(words) + " ")
    (folder / "in.star").write_text("\n".join(lines) + "\n")
    return folder / "in.star"


def write_set_and_model(folder, count=24):
    """Write a set and, in its folder `model`, a tiny model."""
    write_set(folder, count=count)
    save_tiny_model(folder / "model")
    return folder


def work_in_copy(made, tmp_path, monkeypatch):
    """Copy a folder that many tests share, and go into the copy."""
    folder = shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(folder)
    return folder


def denoise(model, *extra, source="in.star", output="out.star"):
    return main(["denoise", source, "-o", output, "--model", model, "--device", "cpu", *extra])


def images_of(star):
    particles = read_particles(star)
    return torch.from_numpy(read_images(particles, slice(None)))
