"""The adapter for Parakeet: configurations in its terms, and files of its formats read as a particle set.

Parakeet itself is not run: it needs CUDA. The files here are written as its 0.6.8 writes them, of a weak
phase specimen.
"""

import json
import os

import mrcfile
import numpy as np
import pytest
import starfile
import torch
from scipy.spatial.transform import Rotation

from polardenoise.engine.cli import main
from polardenoise.engine.imaging.ctf import CtfParameters, apply_ctf, compute_ctf
from polardenoise.engine.imaging.euler_angles import draw_orientations
from polardenoise.engine.imaging.projections import prepare_volume, take_projections
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.simulate import parakeet
from polardenoise.engine.simulate.parakeet import (
    describe_micrograph,
    gather_particles,
    write_configurations,
)
from polardenoise.engine.simulate.plan import SimulationPlan

h5py = pytest.importorskip("h5py")

#: Fields of Parakeet's configuration that are used here, by its `src/parakeet/config.py` (0.6.8, commit 8c368a0). Its
#: models forbid any other name.
FIELDS = {
    "": {"sample", "microscope", "scan", "simulation", "multiprocessing"},
    "sample": {"shape", "box", "centre", "coords", "molecules", "ice", "sputter", "motion"},
    "sample.shape": {"type", "cube", "cuboid", "cylinder", "margin"},
    "sample.shape.cuboid": {"length_x", "length_y", "length_z"},
    "sample.molecules": {"local", "pdb"},
    "sample.molecules.local": {"filename", "assembly_index", "instances"},
    "sample.molecules.local.instances": {"position", "orientation"},
    "microscope": {
        *("model", "beam", "lens", "phase_plate", "objective_aperture_cutoff_freq", "detector")
    },
    "microscope.beam": {
        *("energy", "energy_spread", "acceleration_voltage_spread", "electrons_per_angstrom"),
        *("illumination_semiangle", "theta", "phi", "incident_wave"),
    },
    "microscope.lens": {"c_10", "c_12", "phi_12", "c_30", "c_c", "current_spread"},
    "microscope.detector": {"nx", "ny", "pixel_size", "dqe", "origin"},
    "scan": {"mode", "axis", "start_angle", "step_angle", "start_pos", "step_pos", "num_images"},
    "simulation": {"slice_thickness", "margin", "padding", "ice", "ice_parameters"},
}

BOX, PIXEL_SIZE, SIDE = 32, 5.0, 2
MARGIN = 10


@pytest.fixture
def molecule(tmp_path):
    """A lopsided molecule of a few atoms, as a PDB file whose coordinates have mean 0."""
    generator = np.random.default_rng(4)
    atoms = generator.uniform(-25, 25, (12, 3)) * [1, 0.5, 0.3]
    atoms[0] += [20, 10, 0]
    atoms -= atoms.mean(0)
    lines = [
        f"ATOM  {n:5d}  CA  ALA A{n:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C"
        for n, (x, y, z) in enumerate(atoms, 1)
    ]
    path = tmp_path / "molecule.pdb"
    path.write_text("\n".join([*lines, "END", ""]))
    return path, atoms.round(3)


@pytest.fixture(autouse=True)
def few_a_micrograph(monkeypatch):
    """Four particles a micrograph."""
    monkeypatch.setattr(parakeet, "SIDE", SIDE)


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


def test_configurations_keep_to_the_names_of_parakeet(tmp_path, molecule):
    path, _ = molecule
    folders = write_configurations(make_plan(path), tmp_path / "set")
    assert [folder.name for folder in folders] == ["micrograph_00001", "micrograph_00002"]

    def check(name, value):
        if isinstance(value, dict):
            assert set(value) <= FIELDS[name], name
            for key, inner in value.items():
                check(f"{name}.{key}".lstrip("."), inner)
        elif isinstance(value, list):
            for inner in value:
                check(name, inner)
        else:
            assert isinstance(value, (str, bool, int, float)), name

    defoci = []
    for folder in folders:
        text = (folder / "config.yaml").read_text()
        # YAML 1.1 reads 1e-05 as text.
        assert "e-" not in text.replace(str(path), "")
        configuration = json.loads(text)
        check("", configuration)
        truth = json.loads((folder / "truth.yaml").read_text())
        assert (configuration["simulation"], truth["simulation"]) == ({"ice": True}, {"ice": False})
        assert {**truth, "simulation": 0} == {**configuration, "simulation": 0}
        detector, sample = configuration["microscope"]["detector"], configuration["sample"]
        assert (
            detector["nx"] * detector["pixel_size"] == sample["box"][0] == 2 * sample["centre"][0]
        )
        assert configuration["microscope"]["lens"]["c_10"] < -5000
        defoci.append(configuration["microscope"]["lens"]["c_10"])
        run = (folder / "run.sh").read_text()
        for program in ("sample.new", "sample.add_molecules", "simulate.exit_wave"):
            assert f"parakeet.{program} -c config.yaml" in run
        for pose in sample["molecules"]["local"][0]["instances"]:
            inside = np.array(pose["position"])
            assert (inside > 0).all()
            assert (inside < sample["box"]).all()
    assert defoci[0] != defoci[1]
    counts = [
        len(
            json.loads((f / "config.yaml").read_text())["sample"]["molecules"]["local"][0][
                "instances"
            ]
        )
        for f in folders
    ]
    assert counts == [4, 3]


def test_poses_are_those_of_relion(molecule):
    """Atoms turned by the rotation vector, seen along z, are the projection at the Euler angles."""
    path, atoms = molecule
    angles = draw_orientations(3, np.random.default_rng(2))
    vectors = Rotation.from_euler("ZYZ", angles.numpy(), degrees=True).inv().as_rotvec()
    configuration = describe_micrograph(make_plan(path), vectors, 10000.0)
    z, y, x = np.mgrid[:BOX, :BOX, :BOX]
    volume = sum(
        np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * 1.5**2))
        for a, b, c in atoms / PIXEL_SIZE + BOX // 2
    )
    expected = take_projections(prepare_volume(torch.from_numpy(volume).float(), 3), angles).numpy()
    field = specimen_phase(configuration, atoms)[MARGIN:-MARGIN, MARGIN:-MARGIN]
    for number, (row, column) in enumerate(((0, 0), (0, 1), (1, 0))):
        found = field[row * BOX : (row + 1) * BOX, column * BOX : (column + 1) * BOX]
        assert np.corrcoef(found.ravel(), expected[number].ravel())[0, 1] > 0.999


@pytest.mark.parametrize("ending", [".h5", ".mrc"])
def test_simulated_files_become_a_particle_set_with_its_truth(
    tmp_path, molecule, monkeypatch, ending
):
    path, atoms = molecule
    monkeypatch.chdir(tmp_path)
    for folder in write_configurations(make_plan(path, dose=400.0), tmp_path / "set"):
        simulate(folder, atoms, ending)
    assert call(path, "--box", str(BOX)) == 0
    noisy, truth = read_particles("out/particles.star"), read_particles("out/clean.star")
    images, clean = mrcfile.read("out/particles.mrcs"), mrcfile.read("out/clean.mrcs")
    assert images.shape == clean.shape == (7, BOX, BOX)
    assert truth.ctf is None
    np.testing.assert_allclose(noisy.angles, truth.angles)
    assert sorted(np.bincount(noisy.random_subset)) == [0, 3, 4]
    written = [
        json.loads((tmp_path / "set" / name / "config.yaml").read_text())["microscope"]["lens"][
            "c_10"
        ]
        for name in ("micrograph_00001", "micrograph_00002")
    ]
    np.testing.assert_allclose(noisy.ctf.defocus_u, -np.repeat(written, [4, 3]), atol=0.01)
    ctf = compute_ctf(noisy.ctf, PIXEL_SIZE, BOX)
    seen = apply_ctf(torch.from_numpy(clean), ctf).numpy()
    noise = images - seen
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    assert noise[:, np.hypot(x, y) < BOX // 3].var() == pytest.approx(1, abs=0.06)
    # Electrons are taken away: the truth is 2 sqrt(electrons a pixel) times the phase.
    strongest = max(
        specimen_phase(json.loads(config.read_text()), atoms).max()
        for config in (tmp_path / "set").glob("*/config.yaml")
    )
    # The deviation is that of the 660 pixels in the corners of three boxes: good to 3 %.
    assert clean.max() == pytest.approx(2 * np.sqrt(400 * 25) * strongest, rel=0.1)
    inside = np.hypot(x, y) < BOX // 3
    assert np.polyfit(seen[:, inside].ravel(), images[:, inside].ravel(), 1)[0] == pytest.approx(
        1, abs=0.05
    )
    # The truth is the projection at the poses of the STAR file.
    grid = np.mgrid[:BOX, :BOX, :BOX]
    volume = sum(
        np.exp(-((grid[2] - a) ** 2 + (grid[1] - b) ** 2 + (grid[0] - c) ** 2) / (2 * 1.5**2))
        for a, b, c in atoms / PIXEL_SIZE + BOX // 2
    )
    transform = prepare_volume(torch.from_numpy(volume).float(), 3)
    expected = take_projections(transform, torch.from_numpy(noisy.angles)).numpy()
    for found, wanted in zip(clean, expected, strict=True):
        assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.995
    table = starfile.read("out/particles.star")["particles"]
    assert table["rlnMicrographName"].nunique() == 2
    assert list(table["rlnCoordinateX"][:2]) == [BOX // 2, BOX // 2 + BOX]


def test_without_a_truth_there_is_none(tmp_path, molecule, monkeypatch, capsys):
    path, atoms = molecule
    monkeypatch.chdir(tmp_path)
    for folder in write_configurations(make_plan(path), tmp_path / "set"):
        simulate(folder, atoms, truth=False)
    assert call(path, "--box", str(BOX)) == 0
    assert "no truth" in capsys.readouterr().out
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        *("particles.mrcs", "particles.star")
    ]


def test_files_that_do_not_fit_are_refused(tmp_path, molecule):
    path, atoms = molecule
    (folder,) = write_configurations(make_plan(path, particles=4), tmp_path / "set")
    output = tmp_path / "out"

    def expect(message, box=BOX):
        with pytest.raises(InputError, match=message):
            gather_particles(folder.parent, output, box, 0)
        assert not output.exists() or not list(output.iterdir())

    expect(r"holds neither image\.h5 nor image\.mrc")
    simulate(folder, atoms)
    expect("--box 31", box=31)
    expect("reaches over the edge", box=2 * BOX)
    (folder / "image.h5").write_bytes(b"no image")
    expect(r"image\.h5: not an image file of Parakeet")
    write_nexus(folder / "image.h5", np.ones((40, 50), np.float32), PIXEL_SIZE, 0)
    expect(r"50, 40\) px.*its config\.yaml says \(64, 64\)")
    write_nexus(folder / "image.h5", np.ones((64, 64), np.float32), 3.0, 0)
    expect(r"3 A/px.*its config\.yaml says \(64, 64\), 5,")
    write_nexus(folder / "image.h5", np.ones((64, 64), np.float32), PIXEL_SIZE, -123.0)
    expect("defocus 123 A")
    write_nexus(folder / "image.h5", np.ones((64, 64), np.float32), PIXEL_SIZE, 0)
    expect("no noise in the corners")
    written = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text("sample: {}")
    expect(r"config\.yaml: JSON is malformed")
    configuration = json.loads(written)
    configuration["sample"]["molecules"]["local"][0]["instances"] = 4
    (folder / "config.yaml").write_text(json.dumps(configuration))
    expect(r"config\.yaml: Expected.*instances.*not as simulate --parakeet writes it")


def test_configurations_are_written_first_and_their_images_read_next(
    tmp_path, molecule, monkeypatch, capsys
):
    path, atoms = molecule
    monkeypatch.chdir(tmp_path)
    words = ["--box", str(BOX), "--pixel-size", str(PIXEL_SIZE), "--particles", "5", "--dose", "30"]
    assert call(path, *words) == 0
    assert "2 micrographs in set; run the run.sh of each" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert call(path, *words) == 2
    assert "run its run.sh" in capsys.readouterr().err
    for folder in (tmp_path / "set").iterdir():
        simulate(folder, atoms)
        beam = json.loads((folder / "config.yaml").read_text())["microscope"]["beam"]
        assert beam == {"energy": 300, "electrons_per_angstrom": 30}
    assert call(path, *words) == 0
    assert "5 particles of 2 micrographs: out/particles.star, truth out/clean.star" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--box", "31"], "--box 31"),
        (["--particles", "0"], "--particles"),
        (["--dose", "nan"], "--dose"),
        (["--box", "16", "--pixel-size", "1"], "does not fit 16 A"),
        (["--box", "400"], "does not fit 60 A"),
        (["--snr", "0.1"], "--snr: leave it out with --parakeet"),
        (["--no-ctf"], "--parakeet: takes one structure"),
    ],
)
def test_bad_options_of_a_configuration_are_one_line(
    tmp_path, molecule, capsys, options, named, monkeypatch
):
    path, _ = molecule
    monkeypatch.chdir(tmp_path)
    if "400" in options:
        monkeypatch.setattr(parakeet, "THICKNESS", 60.0)
    assert call(path, *options) == 2
    message = capsys.readouterr().err
    assert named in message
    assert message.count("\n") == 1
    assert not (tmp_path / "set").exists()
    assert call(tmp_path / "missing.pdb") == 2
    assert "no such file" in capsys.readouterr().err


def spoil(value, *names):
    """Put a value into a configuration, where these names lead."""

    def change(configuration):
        place = configuration
        for name in names[:-1]:
            place = place[name]
        place[names[-1]] = value

    return change


POSE = ("sample", "molecules", "local", 0, "instances", 0)


@pytest.mark.parametrize(
    "change",
    [
        spoil(["a", "b"], "microscope", "detector", "origin"),
        spoil([1, 2, 3], "microscope", "detector", "origin"),
        spoil([1e308, 0], "microscope", "detector", "origin"),
        spoil(0, "microscope", "detector", "pixel_size"),
        spoil(-4, "microscope", "detector", "pixel_size"),
        spoil(1e308, "microscope", "detector", "pixel_size"),
        spoil(10**30, "microscope", "detector", "nx"),
        spoil(True, "microscope", "detector", "ny"),
        spoil(1e300, "microscope", "lens", "c_30"),
        spoil(1e300, "microscope", "lens", "c_10"),
        spoil(1.0, "microscope", "lens", "c_12"),
        spoil(0, "microscope", "beam", "energy"),
        spoil([1e308] * 3, *POSE, "orientation"),
        spoil([0, 0, 0, 0], *POSE, "orientation"),
        spoil(["a", 1, 2], *POSE, "position"),
        spoil(1e308, *POSE, "position", 0),
        spoil([], *POSE[:-1]),
        spoil([], *POSE[:3]),
        spoil(None, "scan"),
        spoil(2, "scan", "num_images"),
        spoil(1, "scan", "axis"),
    ],
)
def test_a_spoilt_configuration_is_one_line(tmp_path, molecule, capsys, monkeypatch, change):
    path, atoms = molecule
    monkeypatch.chdir(tmp_path)
    (folder,) = write_configurations(make_plan(path, particles=4), tmp_path / "set")
    simulate(folder, atoms)
    configuration = json.loads((folder / "config.yaml").read_text())
    change(configuration)
    (folder / "config.yaml").write_text(json.dumps(configuration))
    assert call(path, "--box", str(BOX)) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "config.yaml" in message
    assert "simulate it again" in message
    assert not (tmp_path / "out").exists()


def write_entry(folder, name, make):
    """Write image.h5 with one of its entries as `make` says."""
    c_10 = json.loads((folder / "config.yaml").read_text())["microscope"]["lens"]["c_10"]
    write_nexus(folder / "image.h5", np.eye(64, dtype=np.float32), PIXEL_SIZE, c_10)
    with h5py.File(folder / "image.h5", "r+") as file:
        del file["entry/data"][name]
        make(file["entry/data"], name)


def put(value):
    return lambda group, name: group.__setitem__(name, value)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("data", put(["a", "b"])),
        ("data", put(5.0)),
        ("data", put(np.zeros(5))),
        ("data", put(np.zeros((2, 64, 64)))),
        ("data", put(np.zeros((1, 64, 64), [("a", "f4"), ("b", "f4")]))),
        ("data", put(np.eye(64) * (1 + 1j))),
        ("data", put(np.full((64, 64), np.nan))),
        ("data", put(np.zeros((32, 32)))),
        ("data", put(np.eye(64) * 1e308)),
        ("data", put(h5py.Empty("f4"))),
        ("data", lambda group, name: group.create_group(name)),
        ("data", lambda group, name: None),
        (
            "data",
            lambda group, name: group.create_dataset(
                name, (1, 200_000, 200_000), "f4", chunks=(1, 1000, 1000)
            ),
        ),
        ("data", put(h5py.SoftLink("/nowhere"))),
        ("data", put(h5py.ExternalLink("fifo", "/x"))),
        (
            "data",
            lambda group, name: group.create_dataset(
                name, (64, 64), "f4", external=[("fifo", 0, 4 * 64**2)]
            ),
        ),
        ("pixel_size_x", put(["a"])),
        ("pixel_size_x", put([0.0])),
        ("pixel_size_x", put([np.nan])),
        ("pixel_size_x", put(np.zeros(0))),
        ("pixel_size_x", lambda group, name: group.create_group(name)),
        ("c_10", put([np.nan])),
    ],
)
def test_a_spoilt_image_is_one_line(tmp_path, molecule, capfd, monkeypatch, name, make):
    path, _ = molecule
    monkeypatch.chdir(tmp_path)
    (folder,) = write_configurations(make_plan(path, particles=4), tmp_path / "set")
    os.mkfifo(folder / "fifo")
    write_entry(folder, name, make)
    assert call(path, "--box", str(BOX)) == 2
    message = capfd.readouterr().err
    assert message.count("\n") == 1
    assert "image.h5" in message
    assert "simulate it again" in message
    assert not any((tmp_path / "out").glob("*"))


def spoil_mrc(folder, how):
    image = folder / "image.mrc"
    raw = bytearray(image.read_bytes())
    image.unlink()
    if how == "fifo":
        os.mkfifo(image)
    elif how == "device":
        image.symlink_to("/dev/zero")
    elif how == "folder":
        image.mkdir()
    elif how == "loop":
        image.symlink_to("image.mrc")
    elif how == "short":
        image.write_bytes(raw[:5000])
    elif how == "empty":
        image.write_bytes(b"")
    elif how == "absurd":
        raw[:8] = np.array([2**31 - 1, 2**31 - 1], "<i4").tobytes()
        image.write_bytes(raw)
    elif how == "extended":
        raw[92:96] = np.array([2**31 - 1], "<i4").tobytes()
        image.write_bytes(raw)
    elif how == "complex":
        with mrcfile.new(image) as file:
            file.set_data(np.eye(64, dtype=np.complex64)[None])
            file.voxel_size = PIXEL_SIZE
    elif how == "counts for a wave":
        image.write_bytes(raw)
        (folder / "truth_exit_wave.mrc").write_bytes(raw)


@pytest.mark.parametrize(
    "how",
    [
        *("fifo", "device", "folder", "loop", "short", "empty", "absurd", "extended", "complex"),
        "counts for a wave",
    ],
)
def test_a_spoilt_mrc_image_is_one_line(tmp_path, molecule, capfd, monkeypatch, how):
    path, atoms = molecule
    monkeypatch.chdir(tmp_path)
    (folder,) = write_configurations(make_plan(path, particles=4), tmp_path / "set")
    simulate(folder, atoms, ".mrc", truth=False)
    spoil_mrc(folder, how)
    assert call(path, "--box", str(BOX)) == 2
    message = capfd.readouterr().err
    assert message.count("\n") == 1
    assert "micrograph_00001" in message
    assert not any((tmp_path / "out").glob("*"))


def test_an_image_that_is_longer_than_it_says_is_read_without_a_warning(
    tmp_path, molecule, capfd, monkeypatch
):
    path, atoms = molecule
    monkeypatch.chdir(tmp_path)
    (folder,) = write_configurations(make_plan(path, particles=4), tmp_path / "set")
    simulate(folder, atoms, ".mrc", truth=False)
    with (folder / "image.mrc").open("ab") as file:
        file.write(bytes(5000))
    assert call(path, "--box", str(BOX)) == 0
    assert capfd.readouterr().err == ""
