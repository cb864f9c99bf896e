"""Projections against sums, Gaussians, torch-fourier-slice and RELION."""

import subprocess
import time

import mrcfile
import numpy as np
import pytest
import torch
from torch_fourier_slice import project_3d_to_2d

from polardenoise.engine.imaging.ctf import CtfParameters, apply_ctf, compute_ctf
from polardenoise.engine.imaging.euler_angles import draw_orientations, matrices_from_angles
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.projections import prepare_volume, take_projections
from polardenoise.engine.particles.mrc import read_volume, write_volume
from polardenoise.engine.simulate.sources import read_density
from tests.reference_projections import project_volume


def blob(box, centre, width):
    """A Gaussian, `centre` in x, y, z from the middle."""
    x = torch.arange(box, dtype=torch.float64) - box // 2
    squared = (
        (x[:, None, None] - centre[2]) ** 2
        + (x[None, :, None] - centre[1]) ** 2
        + (x[None, None, :] - centre[0]) ** 2
    )
    return torch.exp(-squared / (2 * width**2))


def projected_blob(box, centres, width):
    """What a blob of height 1 projects to, `centres` `(n, 2)` x, y."""
    x = torch.arange(box, dtype=torch.float64) - box // 2
    squared = (x[None, :, None] - centres[:, 1, None, None]) ** 2 + (
        x[None, None, :] - centres[:, 0, None, None]
    ) ** 2
    return np.sqrt(2 * np.pi) * width * torch.exp(-squared / (2 * width**2))


def relative_error(images, truth):
    return float((images - truth).square().sum() / truth.square().sum())


def correlation(first, second):
    return float(np.corrcoef(np.ravel(first), np.ravel(second))[0, 1])


@pytest.fixture(scope="module")
def phantom():
    return read_density("phantom:10005", 48, None, 150.0)


@pytest.mark.parametrize("box", [32, 33])
def test_untilted_projection_is_the_sum_along_z(box):
    volume = blob(box, (3, -2, 4), 2.5).float()
    image = take_projections(prepare_volume(volume, padding=3), torch.zeros(1, 3))[0]
    assert relative_error(image, volume.sum(0)) < 1e-3


@pytest.mark.parametrize(("padding", "limit"), [(2, 1e-3), (3, 2e-4)])
def test_a_blob_lands_where_its_rotation_says(padding, limit):
    centre = torch.tensor([9.0, -5.0, 4.0], dtype=torch.float64)
    angles = draw_orientations(40, np.random.default_rng(0))
    # The matrix carries image coordinates into the volume; its transpose brings the blob into the image.
    centres = torch.einsum("nji,j->ni", matrices_from_angles(angles), centre)[:, :2]
    images = take_projections(prepare_volume(blob(48, centre, 2.2), padding), angles)
    assert relative_error(images, projected_blob(48, centres, 2.2)) < limit


def test_prepared_projection_equals_torch_fourier_slices(phantom):
    angles = draw_orientations(12, np.random.default_rng(1))
    ours = take_projections(prepare_volume(phantom.volume, padding=3), angles)
    matrices = matrices_from_angles(angles).float()
    # Up to the Nyquist frequency in every direction: what lies in the corners beyond is left out here.
    theirs = project_3d_to_2d(phantom.volume, matrices, fftfreq_max=0.5)
    assert relative_error(ours, theirs) < 1e-3
    assert relative_error(ours, project_volume(phantom.volume, angles)) < 5e-3


def test_magnified_blob_has_its_width_place_and_height():
    scales = torch.tensor([1.0, 0.8, 0.55])
    centre = torch.tensor([8.0, 5.0, -6.0], dtype=torch.float64)
    angles = draw_orientations(3, np.random.default_rng(2))
    centres = torch.einsum("nji,j->ni", matrices_from_angles(angles), centre)[:, :2]
    images = take_projections(prepare_volume(blob(48, centre, 4.0), 3), angles, scales)
    for image, scale, place in zip(images, scales.double(), centres, strict=True):
        truth = projected_blob(48, (place * scale)[None], 4.0 * float(scale))[0]
        assert relative_error(image, truth) < 1e-3


def test_magnification_of_one_changes_nothing(phantom):
    transform = prepare_volume(phantom.volume)
    angles = draw_orientations(4, np.random.default_rng(3))
    plain = take_projections(transform, angles)
    torch.testing.assert_close(take_projections(transform, angles, torch.ones(4)), plain)


def test_opposite_views_are_mirror_images(phantom):
    transform = prepare_volume(phantom.volume)
    front, back = take_projections(
        transform, torch.tensor([[20.0, 35.0, 0.0], [200.0, 145.0, 0.0]])
    )
    # Seen from behind, the projection is mirrored at the y axis or the x axis; column and row 0 have no partner.
    mirrored = back[1:].flip(0)
    assert correlation(front[1:], mirrored) > 0.9999


def test_projections_are_fast():
    transform = prepare_volume(torch.rand(64, 64, 64))
    angles = draw_orientations(72, np.random.default_rng(4))
    take_projections(transform, angles)
    durations = []
    for _ in range(5):
        started = time.process_time()
        take_projections(transform, angles)
        durations.append(time.process_time() - started)
    assert min(durations) < 0.5  # 0.02 s of one idle core


def test_relions_projections_of_a_ribosome(shared_data):
    """ASPIRE's stored output of relion_project: an odd box, four views, without shifts and with them."""
    starfile = pytest.importorskip("starfile")
    folder = shared_data / "particles" / "simulated" / "aspire_relion_projections"
    volume, _ = read_volume(shared_data / "particles" / "volumes" / "clean70SRibosome_vol_65p.mrc")
    transform = prepare_volume(torch.from_numpy(volume), padding=3)
    for name in ("rln_proj_65_centered", "rln_proj_65_shifted", "rln_proj_64_shifted"):
        table = starfile.read(folder / f"{name}.star")["particles"]
        angles = torch.tensor(table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy())
        origins = torch.tensor(table[["rlnOriginX", "rlnOriginY"]].to_numpy())
        ours = take_projections(transform, angles)
        if "65" in name:
            # RELION puts the centre of an odd box one pixel further than N // 2.
            ours = torch.roll(ours, (1, 1), dims=(1, 2))
        else:
            ours = ours[:, :64, :64]
        moved = [
            torch.roll(image, (-int(y), -int(x)), dims=(0, 1))
            for image, (x, y) in zip(ours, origins, strict=True)
        ]
        for image, stored in zip(moved, mrcfile.read(folder / f"{name}.mrcs"), strict=True):
            assert correlation(image, stored) > (0.999 if "65" in name else 0.99)


def test_relion_project_makes_the_same_images(relion, phantom, tmp_path):
    """Poses, origins, CTF with astigmatism, and the grey scale."""
    angles = torch.tensor([[10.0, 20, 30], [100, 70, -130], [-50, 140, 77]])
    origins = torch.tensor([[0.0, 0], [12, -8], [-7, 5]])
    defocus = torch.tensor([[15000.0, 14000, 30], [18000, 15000, 60], [12000, 12000, 0]]).double()
    columns = [
        *("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst"),
        *("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnOpticsGroup"),
    ]
    rows = torch.cat([angles, origins, defocus, torch.ones(3, 1)], dim=1).tolist()
    optics = {
        "rlnOpticsGroup": 1,
        "rlnOpticsGroupName": "one",
        "rlnVoltage": 300,
        "rlnSphericalAberration": 2.7,
        "rlnAmplitudeContrast": 0.1,
        "rlnImagePixelSize": phantom.pixel_size,
        "rlnImageSize": 48,
        "rlnImageDimensionality": 2,
    }
    (tmp_path / "poses.star").write_text(
        "\ndata_optics\n\nloop_\n"
        + "".join(f"_{label}\n" for label in optics)
        + " ".join(str(value) for value in optics.values())
        + "\n\ndata_particles\n\nloop_\n"
        + "".join(f"_{label}\n" for label in columns)
        + "".join(" ".join(f"{value:g}" for value in row) + "\n" for row in rows)
        + "\n"
    )
    write_volume(tmp_path / "volume.mrc", phantom.volume, phantom.pixel_size)
    command = ["relion_project", "--i", "volume.mrc", "--ang", "poses.star", "--o", "projected"]
    command += ["--angpix", str(phantom.pixel_size), "--ctf"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    theirs = torch.from_numpy(mrcfile.read(tmp_path / "projected.mrcs").copy())

    def same(number):
        return torch.full((3,), number, dtype=torch.float64)

    parameters = CtfParameters(*defocus.unbind(1), same(300), same(2.7), same(0.1), same(0))
    images = take_projections(prepare_volume(phantom.volume, padding=3), angles)
    images = shift_images(images, -origins / phantom.pixel_size)
    ours = apply_ctf(images, compute_ctf(parameters, phantom.pixel_size, 48))
    assert correlation(ours, theirs) > 0.999
    assert float((ours * theirs).sum() / ours.square().sum()) == pytest.approx(1, abs=0.01)
