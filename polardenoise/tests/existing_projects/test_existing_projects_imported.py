"""Particles imported from RELION 3.0, RELION 3.1 and cryoSPARC go through `denoise particles`, real ones too.

The plugin that imports cryoSPARC's files cannot be installed without cryoSPARC. Its sets are made here as its
`cryoSPARCImport` makes them: pose, CTF and acquisition on each item, and an alignment that the set claims
whether or not its items have one.
"""

import os
import shutil

import numpy as np
import pytest
import torch

from polardenoise.tests import scipion_project

import pwem.objects as em  # isort: skip
from pwem.constants import ALIGN_PROJ  # isort: skip
from pwem.protocols import ProtImportParticles  # isort: skip
from pyworkflow.object import Integer  # isort: skip

from polardenoise.convert.alignment import make_projection_matrix
from polardenoise.engine.imaging.ctf import CtfParameters
from polardenoise.protocols.forms.denoise_form import CONTRAST_DARK
from polardenoise.tests.known_particles import (
    ADDED,
    COUNT,
    check_attributes,
    check_pixels,
    denoise,
    make_run,
    simulate_known,
    write_stacks,
)
from polardenoise.tests.scipion_project import read_stack

pytestmark = pytest.mark.usefixtures("project")
CTF = ("_ctfModel._defocusU", "_ctfModel._defocusV", "_ctfModel._defocusAngle")
POSE, HALVES = "_transform._matrix", "_rlnRandomSubset"


@pytest.fixture(scope="module")
def known(module_project):
    """Particles in stacks outside of a project's own folders."""
    return write_stacks(simulate_known("known"), "known/stacks")


def import_star(project, path, pixel_size):
    return scipion_project.run_protocol(
        project,
        ProtImportParticles,
        importFrom=ProtImportParticles.IMPORT_FROM_RELION,
        starFile=os.path.abspath(path),
        samplingRate=pixel_size,
        voltage=300.0,
        sphericalAberration=2.7,
        amplitudeContrast=0.1,
    )


def give_columns(known):
    """Give what RELION 3.0 and 3.1 have in common, for rows in an order of their own."""
    rows = np.random.default_rng(7).permutation(COUNT)
    ctf, angles = known.ctf, known.simulated.angles
    names = [known.locations[row] for row in rows]
    return rows, {
        "rlnImageName": [f"{index:06d}@{os.path.relpath(path, 'known')}" for index, path in names],
        "rlnMicrographName": [f"MotionCorr/mic{row % 4}.mrc" for row in rows],
        "rlnCoordinateX": [float(100 + row) for row in rows],
        "rlnCoordinateY": [float(900 - row) for row in rows],
        "rlnDefocusU": ctf.defocus_u[rows].tolist(),
        "rlnDefocusV": ctf.defocus_v[rows].tolist(),
        "rlnDefocusAngle": ctf.defocus_angle[rows].tolist(),
        "rlnAngleRot": angles[rows, 0].tolist(),
        "rlnAngleTilt": angles[rows, 1].tolist(),
        "rlnAnglePsi": angles[rows, 2].tolist(),
        "rlnClassNumber": [row % 3 + 1 for row in rows],
        "rlnRandomSubset": [row % 2 + 1 for row in rows],
        "rlnGroupNumber": [row % 5 + 1 for row in rows],
        "rlnCtfScalefactor": [0.7 + 0.001 * row for row in rows],
    }


def write_star(path, **tables):
    """Write tables, each a dict of columns, as a STAR file."""
    with open(path, "w", encoding="utf-8") as file:
        for name, columns in tables.items():
            file.write(f"\ndata_{'' if name == 'unnamed' else name}\n\nloop_\n")
            file.writelines(f"_{label} #{place}\n" for place, label in enumerate(columns, 1))
            for row in zip(*columns.values(), strict=True):
                file.write(" ".join(str(value) for value in row) + "\n")


def check_imported(run, known, present=(), added=ADDED):
    always = [*CTF, POSE, "_coordinate._x", "_coordinate._micName", "_micId", "_classId"]
    check_attributes(run, [*always, *present], added)
    assert run.outputParticles.getAlignment() == ALIGN_PROJ
    check_pixels(run, known)


@pytest.mark.long
def test_relion_3_0(relion, project, known):
    """One table without a name, origins in pixels, the pixel size from magnification and detector.

    The importer leaves out halves and groups of such files: halves are drawn.
    """
    rows, columns = give_columns(known)
    origins = known.simulated.origins[rows] / known.pixel_size
    columns |= {"rlnOriginX": origins[:, 0].tolist(), "rlnOriginY": origins[:, 1].tolist()}
    columns |= {"rlnVoltage": [300.0] * COUNT, "rlnSphericalAberration": [2.7] * COUNT}
    columns |= {"rlnAmplitudeContrast": [0.1] * COUNT, "rlnMagnification": [10000.0] * COUNT}
    columns["rlnDetectorPixelSize"] = [known.pixel_size] * COUNT
    write_star("known/relion30.star", unnamed=columns)
    run = denoise(import_star(project, "known/relion30.star", known.pixel_size))
    check_imported(run, known, added={*ADDED, HALVES})


def test_relion_3_1(relion, project, known):
    """Two optics groups; origins in Angstrom."""
    rows, columns = give_columns(known)
    origins = known.simulated.origins[rows]
    columns |= {
        "rlnOriginXAngst": origins[:, 0].tolist(),
        "rlnOriginYAngst": origins[:, 1].tolist(),
    }
    columns["rlnOpticsGroup"] = [row % 2 + 1 for row in rows]
    optics = {
        "rlnOpticsGroup": [1, 2],
        "rlnOpticsGroupName": ["grid1", "grid2"],
        "rlnVoltage": [300.0, 300.0],
        "rlnSphericalAberration": [2.7, 2.7],
        "rlnAmplitudeContrast": [0.1, 0.1],
        "rlnImagePixelSize": [known.pixel_size] * 2,
        "rlnImageSize": [32, 32],
        "rlnImageDimensionality": [2, 2],
    }
    write_star("known/relion31.star", optics=optics, particles=columns)
    run = denoise(import_star(project, "known/relion31.star", known.pixel_size))
    check_imported(run, known, [HALVES, "_rlnGroupNumber", "_rlnCtfScalefactor"])
    assert "grid2" in run.outputParticles.getAcquisition().opticsGroupInfo.get()


@pytest.mark.parametrize(
    ("version", "added"),
    [("30", {*ADDED, HALVES}), pytest.param("31", ADDED, marks=pytest.mark.long)],
)
def test_real_particles_of_relion(relion, project, shared_data, version, added):
    """17 particles of 200 px as ASPIRE has them, one pose and one defocus a row."""
    folder = f"aspire{version}"
    shutil.copytree(shared_data / "particles" / "real" / "aspire_sample", folder)
    source = import_star(project, f"{folder}/sample_particles_relion{version}.star", 1.338)
    run = denoise(source)
    check_attributes(run, [*CTF, POSE, "_coordinate._x"], added)
    check_like_their_own(run)


def check_like_their_own(run):
    """Denoised images are like their own noisy ones, and like no other's but one that shows the same.

    Two of ASPIRE's 17 particles show the same view, turned alike: each gets much of what it shows from the other.
    """
    before, after = read_stack(run.inputParticles.get()), read_stack(run.outputParticles)
    assert np.isfinite(after).all()
    assert (after.std(axis=(1, 2)) > 0).all()
    count = len(before)
    both = np.concatenate([after, before]).reshape(2 * count, -1)
    likeness = np.corrcoef(both)[:count, count:]
    assert (np.diag(likeness) > 0.8 * likeness.max(1)).all()
    assert (likeness.argmax(1) == np.arange(count)).mean() > 0.9


def read_pose(row, pixel_size):
    """Turn a pose of cryoSPARC, a rotation vector in radians and a shift in pixels, into a Transform."""
    from scipy.spatial.transform import Rotation

    rotation = Rotation.from_rotvec(row["alignments3D/pose"]).as_matrix()
    angles = Rotation.from_matrix(rotation.T).as_euler("ZYZ", degrees=True)
    x, y = -row["alignments3D/shift"] * row["alignments3D/psize_A"] / pixel_size
    return em.Transform(make_projection_matrix(*angles, x, y))


def make_cryosparc_particle(row, location):
    """Make a particle of a row of a `.cs` file as the plugin's `rowToParticle` does."""
    particle = em.Particle()
    particle.setLocation(*location)
    ctf = em.CTFModel()
    ctf.setDefocusU(float(row["ctf/df1_A"]))
    ctf.setDefocusV(float(row["ctf/df2_A"]))
    ctf.setDefocusAngle(float(np.degrees(row["ctf/df_angle_rad"])))
    ctf.setPhaseShift(float(np.degrees(row["ctf/phase_shift_rad"])))
    ctf.standardize()
    particle.setCTF(ctf)
    particle.setAcquisition(
        em.Acquisition(
            magnification=10000.0,
            voltage=float(row["ctf/accel_kv"]),
            sphericalAberration=float(row["ctf/cs_mm"]),
            amplitudeContrast=float(row["ctf/amp_contrast"]),
        )
    )
    particle.setTransform(None)
    return particle


def test_cryosparc_refinement(project, known, shared_data):
    """Poses, defoci and halves of a real refinement, on images whose truth is known."""
    table = np.load(shared_data / "particles" / "cs" / "cryosparc_P12_J24_001_particles.cs")
    rows = table[np.linspace(0, len(table) - 1, COUNT).astype(int)]
    read = {name: torch.as_tensor(rows[name].astype(np.float64)) for name in rows.dtype.names[7:16]}
    ctf = CtfParameters(
        read["ctf/df1_A"],
        read["ctf/df2_A"],
        torch.rad2deg(read["ctf/df_angle_rad"]),
        read["ctf/accel_kv"],
        read["ctf/cs_mm"],
        read["ctf/amp_contrast"],
        torch.rad2deg(read["ctf/phase_shift_rad"]),
    )
    images = write_stacks(known, "cryosparc", ctf=ctf)

    def make(number):
        particle = make_cryosparc_particle(rows[number], images.locations[number])
        particle.setTransform(read_pose(rows[number], known.pixel_size))
        particle.setClassId(int(rows[number]["alignments3D/class"]))
        particle._rlnRandomSubset = Integer(int(rows[number]["alignments3D/split"]) + 1)
        return particle

    acquisition = make(0).getAcquisition()
    source = make_run(
        project,
        "cryoSPARC refinement",
        (make(number) for number in range(COUNT)),
        ALIGN_PROJ,
        pixel_size=known.pixel_size,
        acquisition=acquisition,
    )
    run = denoise(source)
    check_attributes(run, [*CTF, POSE, HALVES, "_ctfModel._phaseShift", "_classId"])
    check_pixels(run, images)


def test_real_cryosparc_particles_without_poses(project, shared_data):
    """The importer's set claims projections, its items have no transform; protein is dark in them."""
    folder = shared_data / "particles" / "real" / "empiar_10076"
    table = np.load(folder / "empiar_10076_7.cs")
    shutil.copy(folder / "empiar_10076_7.mrc", "empiar_10076_7.mrc")
    locations = [(int(row["blob/idx"]) + 1, "empiar_10076_7.mrc") for row in table]
    made = [make_cryosparc_particle(*pair) for pair in zip(table, locations, strict=True)]
    source = make_run(
        project,
        "cryoSPARC import",
        made,
        ALIGN_PROJ,
        pixel_size=round(float(table["blob/psize_A"][0]), 4),
        acquisition=made[0].getAcquisition(),
    )
    run = denoise(source, contrast=CONTRAST_DARK)
    check_attributes(run, CTF, {*ADDED, HALVES})
    assert not run.outputParticles.getFirstItem().hasTransform()
    check_like_their_own(run)
