"""What a column of RELION is called where the particles are cryoSPARC's: messages speak of what stands in the file."""

from __future__ import annotations

from pathlib import Path

from polardenoise.engine.particles.cryosparc.fields import is_cryosparc

#: Column -> the field that it is made of, see `as_star`.
FIELDS = {
    "rlnImageName": "blob/path",
    "rlnImagePixelSize": "blob/psize_A",
    "rlnImageSize": "blob/shape",
    "rlnMicrographName": "location/micrograph_path",
    "rlnMicrographPixelSize": "location/micrograph_psize_A",
    "rlnCoordinateX": "location/center_x_frac",
    "rlnCoordinateY": "location/center_y_frac",
    "rlnVoltage": "ctf/accel_kv",
    "rlnSphericalAberration": "ctf/cs_mm",
    "rlnAmplitudeContrast": "ctf/amp_contrast",
    "rlnDefocusU": "ctf/df1_A",
    "rlnDefocusV": "ctf/df2_A",
    "rlnDefocusAngle": "ctf/df_angle_rad",
    "rlnPhaseShift": "ctf/phase_shift_rad",
    "rlnAngleRot": "alignments3D/pose",
    "rlnAngleTilt": "alignments3D/pose",
    "rlnAnglePsi": "alignments3D/pose",
    "rlnOriginX": "alignments3D/shift",
    "rlnOriginY": "alignments3D/shift",
    "rlnRandomSubset": "alignments3D/split",
}


def name_column(path: Path, label: str) -> str:
    """Name a column of a particle set as its file has it.

    Examples
    --------
    >>> name_column(Path("a.star"), "rlnMicrographName"), name_column(Path("a.cs"), "rlnMicrographName")
    ('rlnMicrographName', 'location/micrograph_path')
    """
    return FIELDS.get(label, label) if is_cryosparc(path) else label


def name_columns(path: Path, *labels: str) -> str:
    """Name several columns as their file has them, one field once: "A and B", "A, B and C"."""
    names = list(dict.fromkeys(name_column(path, label) for label in labels))
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
