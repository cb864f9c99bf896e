"""Boxes and pixel sizes of all kinds: what comes back, and what its STAR file says."""

import json
import subprocess

import mrcfile
import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.fourier import fourier_crop, fourier_pad
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.preprocessing import pad_with_noise
from polardenoise.engine.particles.star import read_star
from tests.denoise_files import denoise, images_of, write_set
from tests.particle_files import draw_ctf, write_particle_files


def test_a_300_px_set_comes_back_at_its_size_and_relion_reads_it(folder, model, relion):
    """Under the working Nyquist frequency it is what the network gave, above there is nothing."""
    axis = np.arange(300) - 150
    blob = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 40**2))
    noise = np.random.default_rng(0).standard_normal((6, 300, 300)) + 0.3 * blob
    columns = draw_ctf(6) | {"rlnRandomSubset": [1, 2, 1, 2, 1, 2]}
    source = str(write_particle_files(folder / "in.star", noise, 1.1, columns))
    assert denoise(model, source=source) == 0
    assert denoise(model, "--output-box", "working", source=source, output="small.star") == 0
    large, small = images_of("out.star"), images_of("small.star")
    assert large.shape == (6, 300, 300)
    assert read_particles("out.star").pixel_size == pytest.approx(1.1)
    with mrcfile.open(folder / "out.mrcs", header_only=True) as file:
        assert float(file.voxel_size.x) == pytest.approx(1.1)
    inside, all_of_it = (
        torch.fft.rfft2(small, norm="forward"),
        torch.fft.rfft2(large, norm="forward"),
    )
    rows = torch.cat([torch.arange(16), torch.arange(-15, 0)])
    inside, beneath = inside[:, rows, :16], all_of_it[:, rows, :16]
    assert (inside - beneath).abs().max() < 1e-3 * inside.abs().max()
    assert (inside - beneath).norm() < 1e-3 * inside.norm()
    beyond = all_of_it.clone()
    beyond[:, torch.cat([torch.arange(17), torch.arange(-16, 0)]), :17] = 0
    assert beyond.norm() < 1e-3 * all_of_it.norm()
    # RELION: the first image of the STAR file, taken out, and the statistics of all.
    program = relion / "relion_image_handler"
    words = [str(program), "--i", "out.star", "--o", "relion", "--multiply_constant", "1"]
    assert subprocess.run(words, capture_output=True).returncode == 0
    with mrcfile.open(next(folder.glob("out_relion.mrcs"))) as file:
        assert np.allclose(
            file.data, large.numpy(), rtol=1e-4, atol=1e-4 * float(large.abs().max())
        )


@pytest.mark.parametrize("box", [33, 25, 49])
def test_odd_boxes_keep_their_centre(folder, model, box):
    """A blob at RELION's centre, pixel N // 2, comes to the network's centre and back to where it was."""
    axis = np.arange(box) - box // 2
    blob = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * (box / 9) ** 2)).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal((24, box, box)).astype(np.float32)
    write_set(folder, box=box, ctf=False, images=3 * blob + 0.01 * noise)
    assert denoise(model, "--output-box", "working", output="small.star") == 0
    assert denoise(model) == 0
    out, small = images_of("out.star"), images_of("small.star")
    assert out.shape == (24, box, box)
    resampled = fourier_crop(small, box) if box < 32 else fourier_pad(small, box)
    assert torch.allclose(out, resampled, atol=1e-5)


def test_rectangular_images_are_refused(folder, model, capsys):
    write_set(folder)
    with mrcfile.new(folder / "stack.mrcs", overwrite=True) as file:
        file.set_data(np.random.default_rng(0).standard_normal((24, 32, 30)).astype(np.float32))
    assert denoise(model) == 2
    assert "30 x 32" in capsys.readouterr().err


def test_the_working_box_is_written_into_relion_31s_columns(folder, model):
    source = write_set(folder, box=80)
    assert denoise(model, "--output-box", "working") == 0
    before, after = read_star(source).tables, read_star(folder / "out.star").tables
    assert set(after[0].column("rlnImageSize")) == {"32"}
    assert np.allclose(np.array(after[0].column("rlnImagePixelSize"), float), 7.5)
    for label in set(before[1].labels) - {"rlnImageName"}:
        assert after[1].column(label) == before[1].column(label)  # Angstrom and micrograph pixels
    facts = json.loads((folder / "out.json").read_text())
    assert facts["output_box"] == 32
    assert facts["output_pixel_size"] == pytest.approx(7.5)
    with mrcfile.open(folder / "out.mrcs", header_only=True) as file:
        assert float(file.voxel_size.x) == pytest.approx(7.5)
        assert file.header.nx == 32


def test_the_working_box_is_written_into_relion_30s_columns(folder, model):
    """Origins in pixels shrink; the magnification gives the pixel size and shrinks; coordinates stay."""
    images = np.random.default_rng(0).standard_normal((6, 80, 80)).astype(np.float32)
    write_stack(folder / "stack.mrcs", images, 0.0)
    labels = ["rlnImageName", "rlnCoordinateX", "rlnOriginX", "rlnOriginY", "rlnMagnification"]
    labels += ["rlnDetectorPixelSize"]
    lines = ["", "data_", "", "loop_", *(f"_{label} #{n}" for n, label in enumerate(labels, 1))]
    lines += [f"{n}@stack.mrcs 512.5 {n} -2.5 50000.0 14.0" for n in range(1, 7)]
    (folder / "in.star").write_text("\n".join(lines) + "\n")
    before = read_particles("in.star")
    assert before.pixel_size == pytest.approx(2.8)
    assert denoise(model, "--output-box", "working") == 0
    after = read_particles("out.star")
    assert after.box == 32
    assert after.pixel_size == pytest.approx(7.0)
    assert np.allclose(after.origins, before.origins, atol=1e-4)  # in Angstrom
    assert after.column("rlnOriginX")[4] == "2.000000"
    assert after.column("rlnCoordinateX") == before.column("rlnCoordinateX")
    assert after.column("rlnDetectorPixelSize") == before.column("rlnDetectorPixelSize")


def test_a_magnification_that_is_not_that_of_the_images_stays(folder, model):
    write_set(folder, box=80, optics_extra="rlnMagnification 130000")
    text = (folder / "in.star").read_text()
    text = text.replace("_rlnMagnification #9", "_rlnMagnification #9\n_rlnDetectorPixelSize #10")
    (folder / "in.star").write_text(text.replace("2 130000", "2 130000 5.0"))
    assert denoise(model, "--output-box", "working") == 0
    assert read_particles("out.star").column("rlnMagnification")[0] == "130000"
    assert read_particles("out.star").pixel_size == pytest.approx(7.5)


def test_small_boxes_are_filled_with_noise_of_their_own_level():
    """White before, white after: every frequency has the same power; cropping gives the images again."""
    images = 5 * torch.randn(300, 24, 24, generator=torch.Generator().manual_seed(0)) + 3
    padded = pad_with_noise(images, 32, np.arange(300))
    torch.testing.assert_close(fourier_crop(padded, 24), images, atol=1e-4, rtol=1e-4)
    power = torch.fft.fft2(padded - 3).abs().square().mean(0)
    inside, beyond = power[1:12, 1:12].mean(), power[13:16, 13:16].mean()
    assert float(beyond / inside) == pytest.approx(1, abs=0.05)
    again = pad_with_noise(images[10:20], 32, np.arange(10, 20))
    torch.testing.assert_close(again, padded[10:20])
