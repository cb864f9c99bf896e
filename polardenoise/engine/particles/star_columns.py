"""The numbers of a particle set: pixel size, CTF, halves, angles and origins, wherever its dialect keeps them.

RELION 3.1 and later keep what is common to many particles in an optics table; RELION 3.0 has particle columns only. As
in RELION, a CTF parameter in a particle's own row goes before its optics group's, and the pixel size of an optics group
before any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from polardenoise.engine.imaging.ctf import CtfParameters
from polardenoise.engine.particles.cryosparc.column_names import name_column, name_columns
from polardenoise.engine.runtime.errors import InputError, UnclearCtfError

CTF_STATES = ("none", "raw", "flipped", "corrected")
# In STAR files written with a leading underscore, as every label.
CTF_STATE_LABEL = "polardenoiseCtfState"
#: How consistent a particle is with those that it matches, 0 to 1, and its 2D class, from 1.
SCORE_LABEL, CLASS_LABEL = "polardenoiseScore", "polardenoiseClass"
#: What microscopes and particles can have: with other numbers a column is broken, or in other units.
LIMITS = {
    "pixel size": (0.01, 1000.0),
    "rlnDefocusU": (-1e6, 1e6),
    "rlnDefocusV": (-1e6, 1e6),
    "rlnDefocusAngle": (-3600.0, 3600.0),
    "rlnVoltage": (10.0, 5000.0),
    "rlnSphericalAberration": (-20.0, 50.0),
    "rlnAmplitudeContrast": (0.0, 1.0),
    "rlnPhaseShift": (-3600.0, 3600.0),
    "rlnAngleRot": (-1e6, 1e6),
    "rlnAngleTilt": (-1e6, 1e6),
    "rlnAnglePsi": (-1e6, 1e6),
    "rlnOriginX": (-1e5, 1e5),
    "rlnOriginY": (-1e5, 1e5),
}
#: Most that the two defoci of an image may differ by, Angstrom: more than all of the defocus of nearly any particle.
MOST_ASTIGMATISM = 1e5
NUMBER_LABELS = (
    "rlnImagePixelSize",
    "rlnPixelSize",
    "rlnDetectorPixelSize",
    "rlnMagnification",
    "rlnDefocusU",
    "rlnDefocusV",
    "rlnDefocusAngle",
    "rlnVoltage",
    "rlnSphericalAberration",
    "rlnAmplitudeContrast",
    "rlnPhaseShift",
    "rlnCtfDataArePhaseFlipped",
    "rlnCtfDataAreCtfPremultiplied",
    "rlnImageDimensionality",
    "rlnRandomSubset",
    "rlnAngleRot",
    "rlnAngleTilt",
    "rlnAnglePsi",
    "rlnOriginXAngst",
    "rlnOriginYAngst",
    "rlnOriginX",
    "rlnOriginY",
)


@dataclass(frozen=True)
class ParticleColumns:
    """The columns of `NUMBER_LABELS` that a particle set has.

    Attributes
    ----------
    path : Path
        The STAR file, for messages.
    count : int
        `n`, particles.
    own : dict[str, ndarray]
        Columns of the particle table, `(n,)` float64.
    shared : dict[str, ndarray]
        Columns of the optics table, one value for each of its rows.
    optics_row : ndarray
        `(n,)` the optics row of each particle; empty if there is no optics table.
    faults : dict
        (own or shared, label) -> the complaint about a column with a value that is no finite number.
    """

    path: Path
    count: int
    own: dict[str, np.ndarray]
    shared: dict[str, np.ndarray]
    optics_row: np.ndarray
    faults: Mapping[tuple[bool, str], str] = field(default_factory=dict)

    def has(self, label: str) -> bool:
        """Tell whether there is a column, of the particles or of their optics groups, whatever stands in it."""
        return label in self.own or label in self.shared

    def find(self, label: str) -> np.ndarray | None:
        """Give a column, `(n,)`: the particles' own, else the optics groups' spread over them, else None.

        An `InputError` if one of its values is no finite number.
        """
        if label not in self.own:
            return self.find_shared(label)
        self._refuse_fault(True, label)
        return self.own[label]

    def find_shared(self, label: str) -> np.ndarray | None:
        """Give a column of the optics table spread over the particles, `(n,)`; None if it has none such."""
        if label not in self.shared:
            return None
        self._refuse_fault(False, label)
        return self.shared[label][self.optics_row]

    def _refuse_fault(self, own: bool, label: str) -> None:
        if (own, label) in self.faults:
            raise InputError(self.faults[own, label])

    def refuse_outside(self, values: np.ndarray, label: str, cure: str) -> None:
        """Raise an `InputError` where values `(n,)` of a column are not what a microscope can have, see `LIMITS`."""
        least, most = LIMITS[label]
        own = name_column(self.path, label)
        named = label if own == label else f"{own} (as {label})"
        self.refuse_where(
            (values < least) | (values > most),
            f"{named} is not between {least:g} and {most:g}; {cure}",
        )

    def refuse_where(self, bad: np.ndarray, complaint: str) -> None:
        """Raise an `InputError` that names the first row where `bad`, `(n,)`, is true, if any."""
        rows = np.flatnonzero(bad)
        if rows.size:
            raise InputError(f"{self.path}: row {rows[0] + 1}: {complaint}")


def find_pixel_size(columns: ParticleColumns) -> np.ndarray:
    """Find the pixel size of the images.

    Parameters
    ----------
    columns : ParticleColumns
        Of `n` particles. Looked for in this order: `rlnImagePixelSize` of the optics groups, then of the
        particles; `rlnPixelSize`; `rlnDetectorPixelSize` (micrometres) x 10^4 / `rlnMagnification`.

    Returns
    -------
    ndarray
        `(n,)` Angstrom per pixel.

    Raises
    ------
    InputError
        If there is none, or one is not what a microscope can have.
    """
    size = columns.find_shared("rlnImagePixelSize")
    label = "rlnImagePixelSize"
    for candidate in ("rlnImagePixelSize", "rlnPixelSize"):
        if size is None:
            size, label = columns.find(candidate), candidate
    if size is None:
        detector, magnification = (
            columns.find("rlnDetectorPixelSize"),
            columns.find("rlnMagnification"),
        )
        if detector is None or magnification is None:
            raise InputError(
                f"{columns.path}: no pixel size; add a column rlnImagePixelSize (Angstrom) to its optics or"
                " particle table"
            )
        columns.refuse_where(magnification <= 0, "rlnMagnification is not positive; correct it")
        with np.errstate(over="ignore"):  # what overflows is out of range
            size, label = detector * 1e4 / magnification, "rlnDetectorPixelSize"
    least, most = LIMITS["pixel size"]
    columns.refuse_where(size <= 0, f"{label} is not positive; give the pixel size in Angstrom")
    columns.refuse_where(
        (size < least) | (size > most),
        f"{label} makes a pixel size that is not between {least:g} and {most:g} Angstrom; correct it",
    )
    return size


def find_ctf(columns: ParticleColumns) -> CtfParameters | None:
    """Find the CTF parameters.

    Parameters
    ----------
    columns : ParticleColumns
        Of `n` particles. What is missing is filled in as RELION does (`CTF::readByGroup`): `rlnDefocusV` is
        `rlnDefocusU` (where the CTF is used, a set without it was refused before, see `star_numbers`);
        `rlnDefocusAngle`, `rlnPhaseShift` and `rlnAmplitudeContrast` are 0.

    Returns
    -------
    CtfParameters | None
        None without `rlnDefocusU`: the images carry no CTF.

    Raises
    ------
    InputError
        If there is a defocus and no voltage or spherical aberration, or values are out of range.
    """
    defocus_u = columns.find("rlnDefocusU")
    if defocus_u is None:
        return None
    for label, unit in (("rlnVoltage", "kV"), ("rlnSphericalAberration", "mm")):
        if columns.find(label) is None:
            raise InputError(
                f"{columns.path}: has a defocus but no {label}; add this column ({unit}) to its optics or"
                " particle table"
            )

    zeros = np.zeros(columns.count)

    def find_or(label: str, default: np.ndarray, cure: str) -> np.ndarray:
        found = columns.find(label)
        if found is None:
            return default
        columns.refuse_outside(found, label, cure)
        return found

    values = (
        find_or("rlnDefocusU", defocus_u, "give it in Angstrom"),
        find_or("rlnDefocusV", defocus_u, "give it in Angstrom"),
        find_or("rlnDefocusAngle", zeros, "give it in degrees"),
        find_or("rlnVoltage", zeros, "give it in kV"),
        find_or("rlnSphericalAberration", zeros, "give it in mm"),
        find_or("rlnAmplitudeContrast", zeros, "correct it"),
        find_or("rlnPhaseShift", zeros, "give it in degrees"),
    )
    astigmatism = np.abs(values[0] - values[1])
    columns.refuse_where(
        astigmatism > MOST_ASTIGMATISM,
        f"{name_columns(columns.path, 'rlnDefocusU', 'rlnDefocusV')} differ by more than {MOST_ASTIGMATISM:g} A, which "
        "no microscope does; correct the one that is wrong, or remove the row",
    )
    return CtfParameters(*(torch.from_numpy(np.ascontiguousarray(value)) for value in values))


def find_ctf_state(columns: ParticleColumns, stated: set[str], has_ctf: bool) -> str:
    """Find out what has been done about the CTF in the images.

    Parameters
    ----------
    columns : ParticleColumns
        Of the particles.
    stated : set[str]
        The values of `polardenoiseCtfState`, which go before everything else.
    has_ctf : bool
        Whether there is a defocus.

    Returns
    -------
    str
        "none": no CTF; "raw": the signed CTF; "flipped": its absolute value; "corrected": undone.

    Raises
    ------
    UnclearCtfError
        If the particles differ in it, columns contradict one another, or the images were multiplied by their CTF.
    """
    if stated:
        state = stated.pop()
        if stated or state not in CTF_STATES:
            raise UnclearCtfError(
                f"{columns.path}: {CTF_STATE_LABEL} must be one of {', '.join(CTF_STATES)}, the same for all"
                " particles; correct the column or split the set"
            )
        return state if has_ctf or state == "corrected" else "none"
    refuse_unclear(
        columns,
        find_flag(columns, "rlnCtfDataAreCtfPremultiplied"),
        "the images were multiplied by their CTF (rlnCtfDataAreCtfPremultiplied); extract them without",
    )
    if not has_ctf:
        return "none"
    flipped = find_flag(columns, "rlnCtfDataArePhaseFlipped")
    if not flipped.any():
        return "raw"
    refuse_unclear(
        columns,
        ~flipped,
        "not phase-flipped (rlnCtfDataArePhaseFlipped) while others of the set are; split the set",
    )
    return "flipped"


def find_flag(columns: ParticleColumns, label: str) -> np.ndarray:
    """Find a yes-or-no column, `(n,)` bool, no where it is missing.

    Raises
    ------
    UnclearCtfError
        If a value is neither 0 nor 1, or the particles' own differs from that of their optics group.
    """
    values = columns.find(label)
    if values is None:
        return np.zeros(columns.count, dtype=bool)
    refuse_unclear(
        columns, (values != 0) & (values != 1), f"{label} is neither 0 nor 1; correct it"
    )
    shared = columns.find_shared(label)
    if shared is not None:
        refuse_unclear(
            columns, values != shared, f"{label} is not that of its optics group; correct one"
        )
    return values.astype(bool)


def refuse_unclear(columns: ParticleColumns, bad: np.ndarray, complaint: str) -> None:
    """Raise an `UnclearCtfError` that names the first row where `bad`, `(n,)`, is true, if any."""
    rows = np.flatnonzero(bad)
    if rows.size:
        raise UnclearCtfError(f"{columns.path}: row {rows[0] + 1}: {complaint}")


def find_random_subset(columns: ParticleColumns) -> np.ndarray | None:
    """Find the half that each particle belongs to, `(n,)` 1 or 2; None without the column."""
    subset = columns.find("rlnRandomSubset")
    if subset is None:
        return None
    other = (subset != 1) & (subset != 2)
    if other.any():
        columns.refuse_where(
            other,
            f"rlnRandomSubset is {subset[other][0]:g} and must be 1 or 2; correct it, or remove the column to have"
            " halves drawn",
        )
    return subset.astype(np.int64)


def find_angles(columns: ParticleColumns) -> np.ndarray | None:
    """Find the orientations, `(n, 3)` rot, tilt, psi in degrees; None unless there are all three."""
    found = []
    for label in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"):
        angle = columns.find(label)
        if angle is None:
            return None
        columns.refuse_outside(angle, label, "give it in degrees")
        found.append(angle)
    return np.stack(found, axis=1)


def find_origins(columns: ParticleColumns, pixel_size: np.ndarray) -> np.ndarray:
    """Find the origins, `(n, 2)` x, y in Angstrom; RELION 3.0 keeps them in pixels. Missing ones are 0."""
    origins = np.zeros((columns.count, 2))
    for axis, name in enumerate("XY"):
        angstrom, pixels = columns.find(f"rlnOrigin{name}Angst"), columns.find(f"rlnOrigin{name}")
        if angstrom is not None:
            origins[:, axis] = angstrom
        elif pixels is not None:
            with np.errstate(over="ignore"):
                origins[:, axis] = pixels * pixel_size
        columns.refuse_outside(origins[:, axis] / pixel_size, f"rlnOrigin{name}", "correct it")
    return origins
