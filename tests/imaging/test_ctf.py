"""The CTF: its sign, its axes, and that it is RELION's."""

import subprocess

import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.ctf import CtfParameters, apply_ctf, compute_ctf, phase_flip
from polardenoise.engine.particles.mrc import write_volume
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles

# defocus U, V, angle, voltage, Cs, amplitude contrast, phase shift
ROWS = np.array(
    [
        [8000.0, 6000.0, 30.0, 300.0, 2.7, 0.10, 0.0],
        [5000.0, 5000.0, 0.0, 200.0, 1.4, 0.07, 0.0],
        [7000.0, 4000.0, 110.0, 120.0, 2.0, 0.07, 90.0],
        [7000.0, 9000.0, -20.0, 300.0, 0.01, 0.00, 20.0],
    ]
)


def parameters(rows=ROWS):
    return CtfParameters(*torch.from_numpy(np.array(rows, dtype=np.float64)).T.contiguous())


def ctf_by_formula(row, pixel_size, box):
    """Write the CTF down as the textbook has it, in double precision."""
    u, v, angle, voltage, cs, contrast, shift = row
    volts = voltage * 1e3
    wavelength = 12.2643247 / np.sqrt(volts * (1 + volts * 0.978466e-6))  # Angstrom
    ky, kx = np.meshgrid(np.fft.fftfreq(box), np.fft.rfftfreq(box), indexing="ij")
    k2 = (kx**2 + ky**2) / pixel_size**2
    direction = np.arctan2(ky, kx) - np.deg2rad(angle)
    defocus = (u + v) / 2 + (u - v) / 2 * np.cos(2 * direction)
    gamma = -np.pi * wavelength * defocus * k2 + np.pi / 2 * cs * 1e7 * wavelength**3 * k2**2
    return -np.sin(gamma - np.deg2rad(shift) - np.arcsin(contrast))


def test_matches_the_textbook_for_every_kind_of_particle():
    ctf = compute_ctf(parameters(), 2.0, 32)
    assert ctf.shape == (4, 32, 17)
    assert ctf.dtype == torch.float32
    for row, one in zip(ROWS, ctf, strict=True):
        expected = ctf_by_formula(row, 2.0, 32)
        np.testing.assert_allclose(one[:16, :16], expected[:16, :16], atol=2e-3)


def test_protein_is_bright_at_low_frequency_under_focus():
    rows = np.array([[20000.0, 20000.0, 0.0, 300.0, 2.7, 0.1, 0.0]])
    ctf = compute_ctf(parameters(rows), 5.0, 64)[0]
    assert ctf[0, 0] == pytest.approx(0.1, abs=1e-6)
    assert (ctf[0, :4] > 0).all()


def test_naming_the_axes_the_other_way_round_changes_nothing():
    swapped = ROWS[:, [1, 0, 2, 3, 4, 5, 6]] + np.array([0, 0, 90.0, 0, 0, 0, 0])
    ours, others = compute_ctf(parameters(), 2.0, 32), compute_ctf(parameters(swapped), 2.0, 32)
    torch.testing.assert_close(ours, others, atol=1e-4, rtol=0)


def test_is_mirror_symmetric_through_the_origin():
    ctf = compute_ctf(parameters(), 2.0, 32)[:, 1:, 0]
    torch.testing.assert_close(ctf, ctf.flip(1), atol=1e-5, rtol=0)


def test_pixel_size_may_differ_between_particles():
    sizes = torch.tensor([1.5, 2.0, 2.5, 3.0], dtype=torch.float64)
    together = compute_ctf(parameters(), sizes, 16)
    for row, size in enumerate(sizes):
        alone = compute_ctf(parameters().select([row]), float(size), 16)
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=0)


def test_selection_keeps_order_and_takes_slices():
    chosen = parameters().select(np.array([2, 0]))
    assert len(chosen) == 2
    assert chosen.defocus_u.tolist() == [7000.0, 8000.0]
    assert parameters().select(slice(1, 3)).voltage.tolist() == [200.0, 120.0]


def test_flipping_makes_the_ctf_its_absolute_value():
    images = torch.randn(4, 32, 32, generator=torch.Generator().manual_seed(0))
    ctf = compute_ctf(parameters(), 2.0, 32)
    flipped = phase_flip(apply_ctf(images, ctf), ctf)
    torch.testing.assert_close(flipped, apply_ctf(images, ctf.abs()), atol=1e-4, rtol=0)


def test_flipping_keeps_the_energy_and_undoes_itself():
    images = torch.randn(4, 32, 32, generator=torch.Generator().manual_seed(1))
    ctf = compute_ctf(parameters(), 2.0, 32)
    flipped = phase_flip(images, ctf)
    assert (flipped - images).abs().max() > 1
    torch.testing.assert_close(flipped.square().sum(), images.square().sum())
    torch.testing.assert_close(phase_flip(flipped, ctf), images, atol=1e-5, rtol=0)


def test_zeros_of_the_ctf_do_not_erase():
    images = torch.randn(1, 8, 8)
    torch.testing.assert_close(phase_flip(images, torch.zeros(1, 8, 5)), images)


def write_star_for_relion(path, columns, rows, optics):
    text = "\n# version 30001\n\ndata_optics\n\nloop_\n"
    text += "".join(f"_{label} #{k}\n" for k, label in enumerate(optics, 1))
    text += " ".join(str(value) for value in optics.values()) + "\n\n\ndata_particles\n\nloop_\n"
    text += "".join(f"_{label} #{k}\n" for k, label in enumerate(columns, 1))
    path.write_text(text + "".join(" ".join(map(str, row)) + "\n" for row in rows) + "\n")


OPTICS = {
    "rlnOpticsGroup": 1,
    "rlnOpticsGroupName": "one",
    "rlnVoltage": 300,
    "rlnSphericalAberration": 2.7,
    "rlnImagePixelSize": 2.0,
    "rlnImageSize": 32,
    "rlnImageDimensionality": 2,
}
COLUMNS = [
    "rlnImageName",
    "rlnAngleRot",
    "rlnAngleTilt",
    "rlnAnglePsi",
    "rlnOpticsGroup",
    "rlnDefocusU",
    "rlnDefocusV",
]
MORE = ["rlnDefocusAngle", "rlnVoltage", "rlnSphericalAberration"]
MORE += ["rlnAmplitudeContrast", "rlnPhaseShift"]


@pytest.mark.parametrize("complete", [True, False], ids=["all columns", "only the defoci"])
def test_is_what_relion_multiplies_a_projection_by(relion, tmp_path, complete):
    """A point's projection is flat in Fourier space: what `relion_project --ctf` makes of it is the CTF."""
    volume = np.zeros((32, 32, 32), dtype=np.float32)
    volume[16, 16, 16] = 1
    write_volume(tmp_path / "point.mrc", volume, 2.0)
    rows = [
        [f"{k}@all.mrcs", 10, 20, 30, 1, *row[: None if complete else 2]]
        for k, row in enumerate(ROWS.tolist(), 1)
    ]
    write_star_for_relion(tmp_path / "in.star", COLUMNS + (MORE if complete else []), rows, OPTICS)
    command = [relion / "relion_project", "--i", "point.mrc", "--ang", "in.star", "--o", "all"]
    subprocess.run(
        [*command, "--ctf", "--angpix", "2"], cwd=tmp_path, check=True, capture_output=True
    )
    particles = read_particles(tmp_path / "in.star")
    images = read_images(particles, slice(None))
    transform = np.fft.rfft2(np.fft.ifftshift(images, axes=(1, 2)))
    ctf = compute_ctf(particles.ctf, particles.pixel_size[0], 32).numpy()
    radius = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.rfftfreq(32)[None, :])
    # RELION's wavelength has fewer digits; a wrong sign or angle differs by 1.
    assert np.abs(transform - ctf)[:, radius < 0.47].max() < 1e-3


def test_explains_the_images_that_relion_made_of_points(shared_data):
    """Undoing our CTF leaves bright points, higher than any in the images; with the sign turned, dark ones."""
    folder = shared_data / "particles/simulated/relion_project_batch"
    particles = read_particles(folder / "relion_proj_batch.star")
    assert (particles.ctf_state, len(particles), particles.box) == ("raw", 24, 64)
    images = torch.from_numpy(read_images(particles, slice(None)))
    ctf = compute_ctf(particles.ctf, torch.from_numpy(particles.pixel_size), 64)
    points = apply_ctf(images, ctf / (ctf.square() + 0.02))
    wrong = apply_ctf(images, -ctf / (ctf.square() + 0.02))
    assert points.amax((1, 2)).min() > 1.5 * images.amax((1, 2)).max()
    assert (points.amax((1, 2)) > 3 * -points.amin((1, 2))).all()
    assert not (wrong.amax((1, 2)) > 3 * -wrong.amin((1, 2))).any()
