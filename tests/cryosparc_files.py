"""Write data sets of cryoSPARC for tests: the .cs that a project would have for a STAR file's particles."""

import numpy as np
from scipy.spatial.transform import Rotation

from polardenoise.engine.particles.particle_set import read_particles

#: Shifts are counted in pixels of the alignment, which may have been found on smaller images.
ALIGNED_PIXEL = 2.0


def fields_of(star, folder, mark=">"):
    """Give the fields that say in cryoSPARC's words what a STAR file says; stacks relative to a folder, the project."""
    particles = read_particles(star)
    count = len(particles)
    stacks = [
        f"{mark}{path.resolve().relative_to(folder.resolve())}".encode()
        for path in particles.stacks
    ]
    fields = {
        "uid": np.arange(count, dtype=np.uint64)[::-1] * 7919 + 2**63,
        "blob/path": np.array(stacks)[particles.stack_of_row],
        "blob/idx": particles.index_in_stack.astype(np.uint32),
        "blob/shape": np.full((count, 2), particles.box, dtype=np.uint32),
        "blob/psize_A": particles.pixel_size.astype(np.float32),
        "blob/sign": np.full(count, -1, dtype=np.float32),
    }
    if particles.ctf is not None:
        ctf = particles.ctf
        fields |= {
            "ctf/exp_group_id": np.zeros(count, dtype=np.uint32),
            "ctf/accel_kv": ctf.voltage,
            "ctf/cs_mm": ctf.spherical_aberration,
            "ctf/amp_contrast": ctf.amplitude_contrast,
            "ctf/df1_A": ctf.defocus_u,
            "ctf/df2_A": ctf.defocus_v,
            "ctf/df_angle_rad": np.radians(ctf.defocus_angle),
            "ctf/phase_shift_rad": np.radians(ctf.phase_shift),
        }
    if particles.angles is not None:
        pose = Rotation.from_euler("ZYZ", particles.angles, degrees=True).as_rotvec()
        fields |= {
            "alignments3D/pose": pose,
            "alignments3D/shift": particles.origins / ALIGNED_PIXEL,
            "alignments3D/psize_A": np.full(count, ALIGNED_PIXEL),
            "alignments3D/class": np.zeros(count, dtype=np.uint32),
        }
    if particles.random_subset is not None:
        fields["alignments3D/split"] = (particles.random_subset - 1).astype(np.uint32)
    return {name: as_stored(np.asarray(values)) for name, values in fields.items()}


def as_stored(values):
    """Give numbers the precision that cryoSPARC keeps."""
    return values.astype(np.float32) if values.dtype.kind == "f" else values


def write_cs(path, fields):
    """Write fields as a .cs; give the path."""
    kinds = [(name, values.dtype, values.shape[1:]) for name, values in fields.items()]
    records = np.zeros(len(fields["uid"]), dtype=kinds)
    for name, values in fields.items():
        records[name] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.save(file, records)
    return path


def read_cs(path):
    """Read a .cs as numpy does."""
    with open(path, "rb") as file:
        return np.load(file, allow_pickle=False, max_header_size=200_000)
