"""Write small particle sets for tests: a stack and a STAR of RELION 3.1's dialect, by hand."""

from pathlib import Path

import numpy as np
import torch

from polardenoise.engine.imaging.ctf import CtfParameters
from polardenoise.engine.particles.mrc import write_stack

CTF_OPTICS = {"rlnVoltage": 300, "rlnSphericalAberration": 2.7, "rlnAmplitudeContrast": 0.1}


def lumps(box, count=12, seed=0, width=1.2):
    """Give a map `(box, box, box)` of Gaussian blobs without symmetry, inside the sphere."""
    generator = np.random.default_rng(seed)
    axis = torch.arange(box) - box // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    volume = torch.zeros(box, box, box)
    for _ in range(count):
        a, b, c = generator.uniform(-0.2 * box, 0.2 * box, 3)
        squared = (x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2
        volume += generator.uniform(0.5, 1.5) * torch.exp(-squared / (2 * width**2))
    return volume


def draw_ctf(count, seed=0):
    """Draw defoci with astigmatism, as STAR columns."""
    generator = np.random.default_rng(seed)
    defocus_u = generator.uniform(8000, 20000, count)
    return {
        "rlnDefocusU": defocus_u,
        "rlnDefocusV": defocus_u - generator.uniform(0, 3000, count),
        "rlnDefocusAngle": generator.uniform(0, 180, count),
    }


def ctf_parameters(columns):
    """Give the parameters of `draw_ctf`'s columns with the optics `CTF_OPTICS`."""
    count = len(columns["rlnDefocusU"])
    values = [
        torch.as_tensor(columns[name]) for name in ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
    ]
    values += [torch.full((count,), value, dtype=torch.float64) for value in (300, 2.7, 0.1, 0.0)]
    return CtfParameters(*values)


def pose_columns(angles, origins=None):
    """Name angles `(n, 3)` and origins `(n, 2)` Angstrom as RELION does."""
    columns = dict(
        zip(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"), np.asarray(angles).T, strict=True)
    )
    if origins is not None:
        columns |= zip(("rlnOriginXAngst", "rlnOriginYAngst"), np.asarray(origins).T, strict=True)
    return columns


def write_tables(path, columns, pixel_size, box, optics=None):
    """Write a STAR file of particles with one optics group."""
    shared = {
        "rlnOpticsGroup": 1,
        "rlnImagePixelSize": pixel_size,
        "rlnImageSize": box,
        "rlnImageDimensionality": 2,
        **(optics or {}),
    }
    if "rlnDefocusU" in columns:
        shared = {**CTF_OPTICS, **shared}
    columns = {**columns, "rlnOpticsGroup": [1] * len(next(iter(columns.values())))}
    tables = {
        "optics": {label: [value] for label, value in shared.items()},
        "particles": columns,
    }
    lines = []
    for name, table in tables.items():
        lines += ["", f"data_{name}", "", "loop_"]
        lines += [f"_{label} #{number}" for number, label in enumerate(table, start=1)]
        lines += [
            " ".join(str(value) for value in row) for row in zip(*table.values(), strict=True)
        ]
    Path(path).write_text("\n".join([*lines, "", ""]))


def write_particle_files(path, images, pixel_size, columns=None, optics=None):
    """Write `path` (a STAR) and its stack beside it; give the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    stack = path.with_suffix(".mrcs")
    write_stack(stack, images, pixel_size)
    names = [f"{number:06d}@{stack}" for number in range(1, len(images) + 1)]
    columns = {"rlnImageName": names, **(columns or {})}
    write_tables(path, columns, pixel_size, images.shape[-1], optics)
    return path
