"""What Parakeet leaves in the folder of a micrograph: its configuration, images and waves.

Files as Parakeet 0.6.8 writes them (commit 8c368a0, `src/parakeet/io.py`): MRC stacks, complex ones for waves, or NeXus
files (HDF5, `entry/definition` NXtomo) with the images in `entry/data/data` and what they were made with in
`entry/data/c_10`, `dose`, ... Conventions as in `parakeet_configuration`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
from scipy.spatial.transform import Rotation

from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.simulate.particle_table import AMPLITUDE_CONTRAST

IMAGE, TRUTH = "image", "truth_exit_wave"


@dataclass(frozen=True)
class ParakeetMicrograph:
    """One simulated micrograph and what is known of it.

    Attributes
    ----------
    image, truth : Path or None
        Files of the counts and of the exit wave without ice; a truth need not be there.
    pixel_size : float
        Angstrom.
    width, height : int
        Pixels.
    defocus : tuple of float
        U and V, Angstrom.
    microscope : tuple of float
        Voltage in kV, spherical aberration in mm, amplitude contrast (what Parakeet itself tells RELION), phase shift.
    centres : ndarray
        `(m, 2)` x, y of the particles, pixels.
    angles : ndarray
        `(m, 3)` rot, tilt, psi, degrees.
    """

    image: Path
    truth: Path | None
    pixel_size: float
    width: int
    height: int
    defocus: tuple[float, float]
    microscope: tuple[float, float, float, float]
    centres: np.ndarray
    angles: np.ndarray


def read_configuration(path: Path) -> dict[str, Any]:
    """Read a configuration: JSON, as this package writes it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; keep it beside the images made with it") from error
    except ValueError as error:
        raise InputError(
            f"{path}: not JSON, as parakeet_configuration writes it (which is YAML too): {error}; write it again"
        ) from error


def read_micrograph(folder: Path) -> ParakeetMicrograph:
    """Read what a folder knows of its micrograph.

    Raises
    ------
    InputError
        If files or fields are missing, or the configuration leaves poses to chance.
    """
    path = folder / "config.yaml"
    configuration = read_configuration(path)
    try:
        microscope = configuration["microscope"]
        beam, lens, detector = (microscope[name] for name in ("beam", "lens", "detector"))
        instances = [
            pose
            for molecule in configuration["sample"]["molecules"]["local"]
            for pose in molecule["instances"]
        ]
        positions = np.array([pose["position"] for pose in instances], dtype=float)
        vectors = np.array([pose["orientation"] for pose in instances], dtype=float)
        pixel_size = float(detector["pixel_size"])
        origin = np.array(detector.get("origin", (0, 0)), dtype=float)
        defocus, astigmatism = -float(lens["c_10"]), float(lens.get("c_12", 0))
        facts = (float(beam["energy"]), float(lens["c_30"]), AMPLITUDE_CONTRAST, 0.0)
        width, height = int(detector["nx"]), int(detector["ny"])
        images = configuration["scan"]["mode"], configuration["scan"].get("num_images", 1)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: {type(error).__name__} {error}; every molecule needs a position and an orientation, and the"
            " microscope its energy, c_10, c_30, nx, ny and pixel_size"
        ) from error
    if positions.ndim != 2 or positions.shape != vectors.shape or positions.shape[1:] != (3,):
        raise InputError(f"{path}: every molecule needs a position and an orientation of 3 numbers")
    if images != ("still", 1) or astigmatism:
        raise InputError(f"{path}: only one still image without astigmatism (c_12) is understood")
    image = _find(folder, IMAGE)
    if image is None:
        raise InputError(f"{folder}: holds neither image.h5 nor image.mrc; run its run.sh")
    return ParakeetMicrograph(
        image,
        _find(folder, TRUTH),
        pixel_size,
        width,
        height,
        (defocus, defocus),
        facts,
        (positions[:, :2] - origin) / pixel_size,
        Rotation.from_rotvec(vectors).inv().as_euler("ZYZ", degrees=True),
    )


def read_parakeet_image(path: Path) -> tuple[np.ndarray, dict[str, float]]:
    """Read the image of a file that Parakeet wrote.

    Returns
    -------
    ndarray
        `(rows, columns)`, complex for waves.
    dict
        ``pixel_size`` in Angstrom, and of NeXus files ``c_10`` (0 in a wave).
    """
    try:
        if path.suffix == ".mrc":
            with mrcfile.open(path) as file:
                data, facts = file.data, {"pixel_size": float(file.voxel_size.x)}
        else:
            data, facts = _read_nexus(path)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: not an image file of Parakeet ({reason[:120]}); simulate it again"
        ) from error
    if data.ndim == 3 and len(data) == 1:
        data = data[0]
    if data.ndim != 2:
        raise InputError(f"{path}: holds an array of {data.shape}; one image is expected")
    if not np.isfinite(data).all():
        raise InputError(f"{path}: holds pixels that are not finite; simulate it again")
    return data, facts


def _read_nexus(path: Path) -> tuple[np.ndarray, dict[str, float]]:
    try:
        import h5py
    except ImportError as error:
        raise InputError(f"{path}: h5py reads it and is not installed; pip install h5py") from error
    with h5py.File(path, "r") as file:
        definition = file["entry/definition"][()]
        if definition not in (b"NXtomo", "NXtomo"):
            raise ValueError(f"entry/definition is {definition!r}, not NXtomo")
        data = file["entry/data"]
        facts = {"pixel_size": float(data["pixel_size_x"][0]), "c_10": float(data["c_10"][0])}
        return data["data"][()], facts


def _find(folder: Path, name: str) -> Path | None:
    for ending in (".h5", ".mrc"):
        if (folder / f"{name}{ending}").is_file():
            return folder / f"{name}{ending}"
    return None
