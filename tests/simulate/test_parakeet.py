"""The adapter for Parakeet: configurations in its terms, and files of its formats read as a particle set.

Parakeet itself is not run: it needs CUDA. `parakeet_inputs` stands in for it.
"""

import json

import mrcfile
import numpy as np
import pytest
import starfile
import torch
from scipy.spatial.transform import Rotation

from polardenoise.engine.imaging.ctf import apply_ctf, compute_ctf
from polardenoise.engine.imaging.euler_angles import draw_orientations
from polardenoise.engine.imaging.projections import prepare_volume, take_projections
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.simulate.parakeet import exchange as parakeet
from polardenoise.engine.simulate.parakeet.exchange import (
    describe_micrograph,
    gather_particles,
    write_configurations,
)
from tests.simulate.parakeet_inputs import (
    BOX,
    MARGIN,
    PIXEL_SIZE,
    call,
    make_plan,
    simulate,
    specimen_phase,
    write_nexus,
)

pytestmark = pytest.mark.usefixtures("few_a_micrograph")


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
