"""cryoSPARC's data sets: what they say in RELION's words, and what is refused, with the way out."""

import math
import struct

import numpy as np
import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.imaging.euler_angles import matrices_from_angles
from polardenoise.engine.particles.cryosparc.fields import CryosparcFiles
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.runtime.errors import InputError
from tests.cryosparc_files import fields_of, read_cs, write_cs
from tests.denoise_files import write_set

CTF_NAMES = (
    *("defocus_u", "defocus_v", "defocus_angle", "voltage", "spherical_aberration"),
    *("amplitude_contrast", "phase_shift"),
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project, which is the working directory: a stack in J1, a job's set in J3."""
    folder = tmp_path
    monkeypatch.chdir(folder)
    write_set(folder)
    (folder / "J1" / "extract").mkdir(parents=True)
    (folder / "stack.mrcs").rename(folder / "J1" / "extract" / "stack.mrcs")
    text = (folder / "in.star").read_text().replace("@stack", "@J1/extract/stack")
    (folder / "in.star").write_text(text)
    write_cs(folder / "J3" / "set.cs", fields_of("in.star", folder))
    return folder


def rodrigues(vector):
    """The matrix of a rotation vector, by Rodrigues' formula."""
    angle = math.sqrt(sum(part * part for part in vector))
    x, y, z = (part / angle for part in vector)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def relion_matrix(rot, tilt, psi):
    """RELION's Euler_angles2matrix, which carries volume into image coordinates."""
    a, b, g = np.radians([rot, tilt, psi])
    ca, cb, cg, sa, sb, sg = np.cos(a), np.cos(b), np.cos(g), np.sin(a), np.sin(b), np.sin(g)
    return np.array(
        [
            [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
            [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
            [sb * ca, sb * sa, cb],
        ]
    )


def compare(found, expected):
    """Hold what a .cs says against the STAR file that it was made from."""
    assert (read_images(found, slice(None)) == read_images(expected, slice(None))).all()
    assert np.allclose(found.pixel_size, expected.pixel_size)
    assert found.ctf_state == expected.ctf_state == "raw"
    for name in CTF_NAMES:
        assert np.allclose(getattr(found.ctf, name), getattr(expected.ctf, name), rtol=1e-5), name
    turned = matrices_from_angles(torch.from_numpy(found.angles))
    assert torch.allclose(
        turned, matrices_from_angles(torch.from_numpy(expected.angles)), atol=1e-6
    )
    assert np.allclose(found.origins, expected.origins, atol=1e-5)
    assert found.random_subset.tolist() == expected.random_subset.tolist()


def test_a_set_says_what_its_star_file_says(project):
    compare(read_particles("J3/set.cs"), read_particles("in.star"))


def test_a_pose_is_the_rotation_of_relions_angles(project):
    """Two formulas that know nothing of ours: pyem transposes the matrix of a pose to have RELION's."""
    fields = fields_of("in.star", project)
    found = read_particles("J3/set.cs")
    for pose, angles in zip(fields["alignments3D/pose"], found.angles, strict=True):
        assert np.allclose(rodrigues(pose).T, relion_matrix(*angles), atol=1e-6)
    assert np.allclose(found.origins, fields["alignments3D/shift"] * 2.0, atol=1e-5)


def test_a_passthrough_has_the_rest_in_any_order(project):
    fields = fields_of("in.star", project)
    own = {name: v for name, v in fields.items() if name == "uid" or name.startswith("align")}
    rest = {name: v for name, v in fields.items() if name == "uid" or name not in own}
    order = np.random.default_rng(0).permutation(len(fields["uid"]))
    write_cs(project / "J4/set.cs", own)
    write_cs(project / "J4/passthrough.cs", {name: v[order] for name, v in rest.items()})
    files = CryosparcFiles(project / "J4/passthrough.cs")
    compare(read_particles("J4/set.cs", cryosparc=files), read_particles("in.star"))


@pytest.mark.parametrize("mark", ["", ">"])
def test_stacks_are_found_from_the_project(project, monkeypatch, tmp_path_factory, mark):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    fields = fields_of("in.star", project, mark)
    inside = write_cs(project / "exports/groups/J3/set.cs", fields)
    outside = write_cs(elsewhere / "set.cs", fields)
    monkeypatch.chdir(elsewhere)
    (stack,) = read_particles(inside).stacks
    assert stack.samefile(project / "J1/extract/stack.mrcs")
    with pytest.raises(
        InputError, match=r"row 1: blob/path names J1/extract/stack.mrcs.*--project"
    ):
        read_particles(outside)
    (stack,) = read_particles(outside, cryosparc=CryosparcFiles(project=project)).stacks
    assert stack.samefile(project / "J1/extract/stack.mrcs")
    with pytest.raises(InputError, match="not below --project"):
        read_particles(outside, cryosparc=CryosparcFiles(project=elsewhere))


def test_two_dimensional_classes_give_psi_shift_and_class(project):
    fields = {
        name.replace("3D", "2D"): values for name, values in fields_of("in.star", project).items()
    }
    turns = np.linspace(-3, 3, 24, dtype=np.float32)
    fields |= {"alignments2D/pose": turns, "alignments2D/class": np.arange(24, dtype=np.uint32)}
    fields["alignments2D/split"] = np.zeros(24, dtype=np.uint32)
    found = read_particles(write_cs(project / "J5/set.cs", fields))
    assert np.allclose(found.numbers("rlnAnglePsi"), np.degrees(turns), atol=1e-5)
    assert found.angles is None  # two of three angles are not known: nobody can reconstruct
    assert found.numbers("rlnClassNumber").tolist() == list(range(1, 25))
    assert found.random_subset is None  # all in one: no halves
    assert np.allclose(found.origins, read_particles("in.star").origins, atol=1e-5)


def test_boxes_lie_where_the_set_says(project):
    fields = fields_of("in.star", project)
    fields |= {
        "location/micrograph_path": np.array([b">J0/a b.mrc"] * 24),
        "location/micrograph_shape": np.array([[1000, 2000]] * 24, dtype=np.uint32),
        "location/center_x_frac": np.linspace(0.1, 0.9, 24, dtype=np.float32),
        "location/center_y_frac": np.full(24, 0.25, dtype=np.float32),
        "location/micrograph_psize_A": np.full(24, 1.5, dtype=np.float32),
    }
    found = read_particles(write_cs(project / "J3/set.cs", fields))
    assert set(found.column("rlnMicrographName")) == {"J0/a b.mrc"}
    assert np.allclose(found.numbers("rlnCoordinateX"), np.linspace(200, 1800, 24), atol=0.01)
    assert set(found.numbers("rlnCoordinateY")) == {750.0}
    assert set(found.numbers("rlnMicrographPixelSize")) == {1.5}


def test_particles_of_other_optics_are_other_groups(project):
    fields = fields_of("in.star", project)
    fields["ctf/exp_group_id"][:8] = 5
    fields["ctf/accel_kv"][20:] = 200
    found = read_particles(write_cs(project / "J3/set.cs", fields))
    groups, names = found.number_optics_groups()
    assert len(names) == 3
    assert len(set(groups[:8])) == len(set(groups[8:20])) == len(set(groups[20:])) == 1
    assert found.ctf.voltage.tolist() == [300.0] * 20 + [200.0] * 4


def test_a_set_without_ctf_has_none(project):
    fields = fields_of("in.star", project)
    bare = {name: values for name, values in fields.items() if not name.startswith("ctf/")}
    found = read_particles(write_cs(project / "J3/set.cs", bare))
    assert found.ctf is None
    assert found.ctf_state == "none"


def spoil(fields, name, row, value):
    fields[name] = fields[name].copy()
    fields[name][row] = value
    return fields


def without(fields, name):
    return {key: values for key, values in fields.items() if key != name}


SPOILED = [
    (lambda f: spoil(f, "ctf/df1_A", 6, np.nan), "row 7: ctf/df1_A is nan, not a finite number"),
    (lambda f: spoil(f, "alignments3D/pose", 2, np.inf), "row 3: alignments3D/pose is [inf inf"),
    (lambda f: spoil(f, "alignments3D/split", 4, 2), "row 5: alignments3D/split is 2, not 0 or 1"),
    (lambda f: spoil(f, "uid", 9, f["uid"][3]), "row 10: uid"),
    (lambda f: spoil(f, "blob/idx", 1, 99), "row 2 asks for image 100 of"),
    (lambda f: spoil(f, "blob/path", 2, b""), "row 3: blob/path is empty"),
    (lambda f: spoil(f, "blob/path", 2, b"J1/no.mrc"), "row 3: blob/path names J1/no.mrc"),
    (lambda f: without(f, "blob/path"), "has no field blob/path; give the group file"),
    (lambda f: without(f, "blob/psize_A"), "has no field blob/psize_A"),
    (lambda f: without(f, "ctf/cs_mm"), "has no field ctf/cs_mm"),
    (lambda f: f | {"blob/idx": f["blob/path"]}, "blob/idx holds |S"),
    (lambda f: f | {"ctf/df2_A": f["blob/shape"]}, "ctf/df2_A holds uint32 of shape (2,)"),
    (lambda f: {name: values[:0] for name, values in f.items()}, "has no rows"),
    (lambda f: spoil(f, "blob/shape", slice(None), 300), "blob/shape is 300"),
    (lambda f: spoil(f, "blob/psize_A", 3, -1), "row 4"),
    (
        lambda f: spoil(f, "ctf/accel_kv", 3, 3e5),
        "row 4: ctf/accel_kv (as rlnVoltage) is not between",
    ),
    (lambda f: spoil(f, "ctf/df1_A", 3, 3e5), "row 4: ctf/df1_A and ctf/df2_A differ by more than"),
]


@pytest.mark.parametrize(("change", "said"), SPOILED)
def test_what_is_wrong_is_told_in_one_line(project, capsys, change, said):
    write_cs(project / "J3/set.cs", change(fields_of("in.star", project)))
    assert main(["denoise", "J3/set.cs", "-o", "out.star"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "J3/set.cs" in error
    assert error.count("\n") == 1
    assert not list(project.glob("out*"))


def damage(raw, fields):
    """Give damaged files, and what is said of each."""
    names = [(name, values.dtype, values.shape[1:]) for name, values in fields.items()]
    header = f"{{'descr': {names!r}, 'fortran_order': False, 'shape': (3,), }}"
    yield b"", "not a cryoSPARC data set"
    yield raw[: len(raw) // 2], "cut short, its header says 24 rows"
    yield raw[:40], "no numpy table that can be read"
    yield b"PK\x03\x04" + raw, "not a cryoSPARC data set"
    yield b"\x94CSDAT" + raw, "stream format"
    yield raw[:6] + b"\x09\x00" + raw[8:], "version (9, 0)"
    yield raw.replace(b"(24,)", b"(-4,)"), "cut short"
    yield raw.replace(b"(24,)", b"(24)."), "no numpy table that can be read"
    yield raw.replace(b"'<u8'", b"'|O' ", 1), "pickled"
    yield npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}"), "named fields"
    yield npy_of("(" * 5000), "no numpy table that can be read"
    yield npy_of(header.replace("(3,)", "(3, 1)")), "no numpy table that can be read"


def npy_of(header):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(64)


def test_damaged_files_are_refused_in_one_line(project, capsys):
    path = project / "J3/set.cs"
    raw = path.read_bytes()
    for broken, said in damage(raw, fields_of("in.star", project)):
        path.write_bytes(broken)
        assert main(["denoise", "J3/set.cs", "-o", "out.star"]) == 2
        error = capsys.readouterr().err
        assert said in error, (said, error)
        assert error.count("\n") == 1


def test_pickled_objects_are_never_loaded(project, capsys):
    """A table of objects whose unpickling would leave a file."""

    class Trap:
        def __reduce__(self):
            return (open, ("trapped", "w"))

    records = np.zeros(1, dtype=[("uid", "<u8"), ("blob/path", object)])
    records["blob/path"][0] = Trap()
    with (project / "J3/set.cs").open("wb") as file:
        np.save(file, records, allow_pickle=True)
    assert main(["denoise", "J3/set.cs", "-o", "out.star"]) == 2
    assert "pickled" in capsys.readouterr().err
    assert not (project / "trapped").exists()


def test_a_passthrough_of_other_particles_is_refused(project, capsys):
    fields = fields_of("in.star", project)
    others = spoil({"uid": fields["uid"], "ctf/x": fields["uid"]}, "uid", 3, 12345)
    write_cs(project / "J3/other.cs", others)
    words = ["denoise", "J3/set.cs", "-o", "out.star", "--passthrough"]
    assert main([*words, "J3/other.cs"]) == 2
    error = capsys.readouterr().err
    assert f"other.cs: has no particle {fields['uid'][3]} (uid of row 4 of J3/set.cs)" in error
    assert main([*words, "J3/none.cs"]) == 2
    assert "J3/none.cs: no such file" in capsys.readouterr().err
    assert main(["denoise", "in.star", "-o", "out.star", "--passthrough", "J3/other.cs"]) == 2
    assert "--passthrough: is for a .cs" in capsys.readouterr().err


def test_the_passthrough_beside_a_set_is_named(project, capsys):
    fields = fields_of("in.star", project)
    write_cs(project / "J4/P1_J4_003_particles.cs", without(fields, "blob/path"))
    write_cs(project / "J4/P1_J4_passthrough_particles.cs", fields)
    assert main(["denoise", "J4/P1_J4_003_particles.cs", "-o", "out.star"]) == 2
    assert "(P1_J4_passthrough_particles.cs lies beside it)" in capsys.readouterr().err


@pytest.mark.shared_data
def test_real_metadata_equals_its_star_file(shared_data):
    """EMPIAR-10076: the same seven particles as RELION and as cryoSPARC tell of them."""
    folder = shared_data / "particles" / "real" / "empiar_10076"
    found = read_particles(folder / "empiar_10076_7.cs")
    expected = read_particles(folder / "empiar_10076_7.star", ctf_state="raw")
    assert (read_images(found, slice(None)) == read_images(expected, slice(None))).all()
    assert np.allclose(found.pixel_size, expected.pixel_size, rtol=1e-4)
    for name in CTF_NAMES:
        assert np.allclose(getattr(found.ctf, name), getattr(expected.ctf, name), rtol=1e-4), name


@pytest.mark.shared_data
def test_real_poses_are_rotations_that_halves_share_out(shared_data, tmp_path):
    """A refinement of 2,019 particles whose images are not here: stand-ins of their size are put in their place."""
    source = shared_data / "particles" / "cs" / "cryosparc_P12_J24_001_particles.cs"
    records = read_cs(source)
    for path in np.unique(records["blob/path"]):
        last = int(records["blob/idx"][records["blob/path"] == path].max())
        stack = tmp_path / path.decode()
        stack.parent.mkdir(parents=True, exist_ok=True)
        write_stack(stack, np.zeros((last + 1, 180, 180), dtype=np.float32), 2.95)
    found = read_particles(source, cryosparc=CryosparcFiles(project=tmp_path))
    assert np.bincount(found.random_subset).tolist()[1:] == [
        int((records["alignments3D/split"] == half).sum()) for half in (0, 1)
    ]
    assert len(found.stacks) == 50
    for row in (0, 7, 2018):
        expected = rodrigues(records["alignments3D/pose"][row].astype(float)).T
        assert np.allclose(relion_matrix(*found.angles[row]), expected, atol=1e-6)
    shifts = records["alignments3D/shift"] * records["alignments3D/psize_A"][:, None]
    assert np.allclose(found.origins, shifts, atol=1e-4)
