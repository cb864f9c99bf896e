"""What overlapping boxes share is not found: noise stays noise, and real crowded particles lose nothing."""

import mrcfile
import numpy as np
import pytest
import torch

from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.shared_pixels import find_shared_pixels
from tests.denoise_files import denoise
from tests.particle_files import write_particle_files

BOX = 64
#: Of a particle in the pure-noise test, mean square over the box at noise 1.
PARTICLE = 0.02


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cut_noise(side, step, ctf, seed=7):
    """Cut a noise micrograph into boxes a step apart, halves drawn box by box."""
    generator = np.random.default_rng(seed)
    length = step * (side - 1) + BOX
    noise = generator.standard_normal((length, length)).astype(np.float32)
    corners = [(y, x) for y in range(0, step * side, step) for x in range(0, step * side, step)]
    images = np.stack([noise[y : y + BOX, x : x + BOX] for y, x in corners])
    y, x = np.array(corners, dtype=float).T + BOX // 2
    columns = {
        "rlnMicrographName": ["noise.mrc"] * len(images),
        "rlnCoordinateX": x,
        "rlnCoordinateY": y,
        "rlnRandomSubset": generator.permutation(np.arange(len(images)) % 2 + 1),
    }
    if ctf:  # one micrograph has one defocus
        columns |= {"rlnDefocusU": [15000.0] * len(images), "rlnDefocusV": [14800.0] * len(images)}
        columns["rlnDefocusAngle"] = [30.0] * len(images)
    optics = {"rlnMicrographPixelSize": 3.0}
    write_particle_files("in.star", torch.from_numpy(images), 3.0, columns, optics)


def measure_energy(star):
    """Mean square on the disk, of a particle's, as the pure-noise test has it."""
    images = mrcfile.read(star.replace(".star", ".mrcs")).astype(float)
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    return float((images * (np.hypot(x, y) <= BOX / 2 - 1)).__pow__(2).mean() / PARTICLE)


@pytest.mark.parametrize(("side", "ctf"), [(12, False)])
def test_noise_that_overlaps_by_half_stays_noise(side, ctf):
    cut_noise(side, BOX // 2, ctf)
    assert denoise("base", "--matches", "m.npz") == 0
    assert measure_energy("out.star") < 0.01
    shared = find_shared_pixels(read_particles("in.star"))
    for row, others in enumerate(np.load("m.npz")["neighbours"]):
        assert shared.mask(np.array([row, *others[others >= 0]])) is None


@pytest.mark.long
@pytest.mark.parametrize("ctf", [False, True])
@pytest.mark.parametrize("step", [BOX // 2, BOX // 4])
@pytest.mark.parametrize("group", ["neighbours", "random"])
def test_more_noise_that_overlaps_stays_noise(ctf, step, group):
    cut_noise(23, step, ctf)
    assert denoise("base", "--group-by", group) == 0
    assert measure_energy("out.star") < 0.01


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "before"), [("low", 0.3961), ("rest", 0.3213)])
def test_real_crowded_particles_are_denoised_without_overlapping_neighbours(
    shared_data, folder, monkeypatch, name, before
):
    """Apoferritin: the error against the atomic model is not above that with overlapping neighbours by 2 %."""
    data = shared_data / "particles" / "real" / "apoferritin_empiar10146"
    monkeypatch.chdir(data)  # where its stacks are
    out = str(folder / "out.star")
    matches = str(folder / "m.npz")
    assert denoise("base", "--matches", matches, source=f"{name}.star", output=out) == 0
    shared = find_shared_pixels(read_particles(f"{name}.star"))
    assert shared.crowded.mean() > 0.95
    neighbours = np.load(matches)["neighbours"]
    assert (neighbours >= 0).all()
    for row, others in enumerate(neighbours):
        assert shared.mask(np.array([row, *others])) is None
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    disk = np.hypot(x, y) <= 22
    found, truth = (
        mrcfile.read(path)[:, disk].astype(float) for path in (folder / "out.mrcs", "truth.mrcs")
    )
    found, truth = (values - values.mean(1, keepdims=True) for values in (found, truth))
    explained = (found * truth).sum() ** 2 / ((found**2).sum() * (truth**2).sum())
    assert 1 - explained < 1.02 * before
