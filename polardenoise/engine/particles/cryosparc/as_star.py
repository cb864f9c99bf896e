"""The STAR file that a data set of cryoSPARC amounts to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from polardenoise.engine.imaging.euler_angles import angles_from_matrices
from polardenoise.engine.particles.cryosparc.fields import Fields, read_texts
from polardenoise.engine.particles.cryosparc.stacks import name_images
from polardenoise.engine.particles.star import StarDocument, parse_star, quote_token, write_loop
from polardenoise.engine.runtime.errors import InputError

#: The column that keeps a particle's uid; pyem's name for it.
UID_LABEL = "ucsfUid"
Columns = dict[str, list[str]]


def describe_cryosparc(fields: Fields, project: Path | None = None) -> StarDocument:
    """Describe a data set as a STAR file of RELION 3.1 does, in memory.

    Parameters
    ----------
    fields : Fields
        Of the set.
    project : Path, optional
        The folder of its project.

    Returns
    -------
    StarDocument
        Its path is the data set's; a column `ucsfUid` keeps the uids.

    Raises
    ------
    InputError
        Names the file, the row and the cure.
    """
    optics, groups = find_groups(fields)
    columns: Columns = {
        "rlnImageName": name_images(fields, project),
        "rlnOpticsGroup": groups,
        UID_LABEL: [str(uid) for uid in fields.values["uid"].tolist()],
        **place_boxes(fields),
        **state_defocus(fields),
        **state_alignment(fields),
    }
    lines = [*write_loop("optics", optics), "\n", *write_loop("particles", columns)]
    return parse_star(fields.path, lines)


def word(numbers: np.ndarray, digits: int = 6) -> list[str]:
    """Write numbers with so many decimals."""
    return [f"{number:.{digits}f}" for number in numbers.tolist()]


def find_groups(fields: Fields) -> tuple[Columns, list[str]]:
    """Find what particles have in common: the optics table, and each particle's group."""
    shared = {
        "rlnImagePixelSize": fields.numbers("blob/psize_A"),
        "rlnImageSize": fields.numbers("blob/shape", 2)[:, 0],
    }
    if "ctf/df1_A" in fields:
        shared |= {
            "rlnVoltage": fields.numbers("ctf/accel_kv"),
            "rlnSphericalAberration": fields.numbers("ctf/cs_mm"),
            "rlnAmplitudeContrast": fields.numbers("ctf/amp_contrast"),
        }
    if "location/micrograph_psize_A" in fields:
        shared["rlnMicrographPixelSize"] = fields.numbers("location/micrograph_psize_A")
    exposure = np.zeros(len(fields.values["uid"]))
    if "ctf/exp_group_id" in fields:
        exposure = fields.numbers("ctf/exp_group_id")
    # Six digits: the fields are float32, and noise of the seventh makes no group.
    tokens = [[f"{value:.6g}" for value in values.tolist()] for values in shared.values()]
    keys = list(zip([f"{value:.0f}" for value in exposure.tolist()], *tokens, strict=True))
    number = {key: place for place, key in enumerate(dict.fromkeys(keys), 1)}
    optics = {
        "rlnOpticsGroup": [str(place) for place in number.values()],
        "rlnOpticsGroupName": [f"exposureGroup{key[0]}" for key in number],
        **{label: [key[1 + place] for key in number] for place, label in enumerate(shared)},
        "rlnImageDimensionality": ["2"] * len(number),
    }
    return optics, [str(number[key]) for key in keys]


def place_boxes(fields: Fields) -> Columns:
    """State where in which micrograph the boxes lie, as far as the set says so."""
    if "location/center_x_frac" not in fields or "location/micrograph_shape" not in fields:
        return {}
    height, width = fields.numbers("location/micrograph_shape", 2).T
    columns = {
        "rlnCoordinateX": word(fields.numbers("location/center_x_frac") * width, 2),
        "rlnCoordinateY": word((1 - fields.numbers("location/center_y_frac")) * height, 2),
    }
    for name in ("location/micrograph_path", "location/micrograph_uid"):
        if name not in fields:
            continue
        if fields.values[name].dtype.kind in "iu":
            names, of_row = fields.values[name].tolist(), np.arange(len(fields.values[name]))
        else:
            names, _, of_row = read_texts(fields, name)
        tokens = [quote_token(str(one).removeprefix(">")) for one in names]
        if all(one not in ("", '""') and "\n" not in one for one in tokens):
            return {"rlnMicrographName": [tokens[one] for one in of_row], **columns}
    return columns


def state_defocus(fields: Fields) -> Columns:
    """State the CTF of each particle; nothing where the set has none."""
    if "ctf/df1_A" not in fields:
        return {}
    columns = {
        "rlnDefocusU": word(fields.numbers("ctf/df1_A"), 2),
        "rlnDefocusV": word(fields.numbers("ctf/df2_A"), 2),
        "rlnDefocusAngle": word(np.degrees(fields.numbers("ctf/df_angle_rad"))),
    }
    if "ctf/phase_shift_rad" in fields:
        columns["rlnPhaseShift"] = word(np.degrees(fields.numbers("ctf/phase_shift_rad")))
    return columns


def state_alignment(fields: Fields) -> Columns:
    """State poses, shifts, classes and halves, of the refinement where there is one, else of the 2D classes."""
    slot = next((k for k in ("alignments3D", "alignments2D") if f"{k}/pose" in fields), None)
    if slot is None:
        return {}
    columns: Columns = {}
    if slot == "alignments3D":
        matrices = Rotation.from_rotvec(fields.numbers(f"{slot}/pose", 3)).as_matrix()
        angles = angles_from_matrices(torch.from_numpy(matrices)).numpy()
        for label, values in zip(("Rot", "Tilt", "Psi"), angles.T, strict=True):
            columns[f"rlnAngle{label}"] = word(values)
    else:
        columns["rlnAnglePsi"] = word(np.degrees(fields.numbers(f"{slot}/pose")))
    if f"{slot}/shift" in fields:
        has_size = f"{slot}/psize_A" in fields
        size = fields.numbers(f"{slot}/psize_A" if has_size else "blob/psize_A")
        origins = fields.numbers(f"{slot}/shift", 2) * size[:, None]
        columns["rlnOriginXAngst"], columns["rlnOriginYAngst"] = map(word, origins.T)
    if f"{slot}/class" in fields:
        columns["rlnClassNumber"] = word(fields.numbers(f"{slot}/class") + 1, 0)
    if f"{slot}/split" in fields:
        split = fields.numbers(f"{slot}/split")
        wrong = np.flatnonzero((split != 0) & (split != 1))
        if wrong.size:
            raise InputError(
                f"{fields.place(f'{slot}/split', int(wrong[0]))} is {split[wrong[0]]:g}, not 0 or 1; run the job again"
            )
        if (split != split[0]).any():
            columns["rlnRandomSubset"] = word(split + 1, 0)
    return columns
