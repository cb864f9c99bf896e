"""The files of classes are those of a RELION Class2D job: images aligned by them give the averages."""

import subprocess
from dataclasses import replace

import mrcfile
import numpy as np
import pytest
import torch

from polardenoise.engine.classes.joined_classes import JoinedClasses
from polardenoise.engine.classes.proposal import Proposal
from polardenoise.engine.classes.relion_files import write_averages, write_data, write_model
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.rotation import rotate_images, turn_images
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.star import read_star
from tests.particle_files import draw_ctf, write_particle_files
from tests.smooth_images import draw_smooth_images

BOX, COUNT, CLASSES, PIXEL = 32, 60, 3, 3.0
AXIS = torch.arange(BOX) - BOX // 2
AROUND = (-(AXIS[:, None] ** 2 + AXIS**2) / (2 * 5.0**2)).exp()


@pytest.fixture
def classes():
    """Classes of three views, images anywhere up to 3 px off the centre and at any angle."""
    generator = np.random.default_rng(0)
    views = (AROUND * draw_smooth_images(CLASSES, 0, BOX)[0].float()).numpy()
    number = np.arange(COUNT) % CLASSES + 1
    ones = np.ones(CLASSES)
    return JoinedClasses(
        shown_number=number,
        shown_degrees=generator.uniform(-180, 180, COUNT).astype(np.float32),
        shown_displacements=generator.uniform(-3, 3, (COUNT, 2)).astype(np.float32),
        shown_averages=views,
        shown_sizes=np.array([[12, 8], [10, 10], [20, 0]]),
        shown_resolution=10.0 * ones,
        shown_correlation=np.array([0.97, 0.9, 0.0]),
        shown_score=0.8 * ones,
        class_number=number,
        class_in_plane_degrees=np.zeros(COUNT, np.float32),
        class_averages=views,
        class_half=np.array([1, 1, 2]),
        class_size=np.array([20, 20, 20]),
        class_twin=np.zeros(3, np.int64),
    )


def place(classes):
    """Images of the classes, as they lie by their degrees and displacements, with a little noise."""
    views = torch.from_numpy(classes.shown_averages[classes.shown_number - 1])
    turned = turn_images(views, torch.from_numpy(classes.shown_degrees), PolarGrid(BOX, 16, 64))
    images = shift_images(turned, torch.from_numpy(classes.shown_displacements))
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + 0.1 * images.std() * noise).numpy()


@pytest.fixture
def written(classes, tmp_path, monkeypatch):
    """The three files, of raw images that lie in another folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    images = place(classes)
    write_particle_files(tmp_path / "raw" / "in.star", images, PIXEL, draw_ctf(COUNT))
    particles = read_particles("raw/in.star")
    write_data("out_data.star", particles, classes, np.full(COUNT, 0.5), None, BOX)
    write_averages("out_classes.mrcs", particles, classes)
    proposal = Proposal(0.4, (1, 3), 40)
    write_model("out_model.star", "out_classes.mrcs", particles, classes, proposal, BOX)
    return particles


def correlate_averages(aligned, number, averages):
    means = np.stack([aligned[number == one].mean(0) for one in range(1, CLASSES + 1)])
    return [
        np.corrcoef(mean.ravel(), own.ravel())[0, 1]
        for mean, own in zip(means, averages, strict=True)
    ]


def test_images_aligned_by_psi_and_origin_average_to_the_class(written, classes):
    particles = read_particles("out_data.star")
    assert particles.stacks[0].samefile(written.stacks[0])  # the raw images, found from here
    images = torch.from_numpy(read_images(particles, slice(None)))
    centred = shift_images(images, torch.from_numpy(particles.origins / PIXEL).float())
    psi = torch.from_numpy(particles.numbers("rlnAnglePsi")).float()
    aligned = rotate_images(centred, -psi).numpy()
    number = particles.numbers("rlnClassNumber")
    averages = mrcfile.read("out_classes.mrcs")
    assert min(correlate_averages(aligned, number, averages)) > 0.98
    wrong = rotate_images(centred, psi).numpy()
    assert max(correlate_averages(wrong, number, averages)) < 0.9


def test_relion_aligns_them_to_the_same_averages(written, relion):
    words = [relion / "relion_stack_create", "--i", "out_data.star", "--o", "aligned"]
    subprocess.run([*map(str, words), "--apply_transformation"], check=True, capture_output=True)
    aligned = mrcfile.read("aligned.mrcs")
    number = read_particles("out_data.star").numbers("rlnClassNumber")
    assert min(correlate_averages(aligned, number, mrcfile.read("out_classes.mrcs"))) > 0.98


def test_the_model_names_the_averages_and_counts_the_images(written, classes):
    general, of_classes = read_star("out_model.star").tables
    assert (general.name, of_classes.name) == ("model_general", "model_classes")
    assert general.column("rlnNrClasses") == ["3"]
    assert general.column("rlnPixelSize") == ["3.000000"]
    names = of_classes.column("rlnReferenceImage")
    assert names == [f"{number:06d}@out_classes.mrcs" for number in (1, 2, 3)]
    shares = np.array(of_classes.column("rlnClassDistribution"), float)
    assert shares == pytest.approx([1 / 3] * 3, abs=1e-5)
    assert of_classes.column("polardenoiseImagesHalf2") == ["8", "10", "0"]
    with mrcfile.open("out_classes.mrcs") as stack:
        assert stack.voxel_size.x == pytest.approx(PIXEL)


def test_averages_have_the_box_and_the_pixel_of_the_particles(classes, tmp_path, monkeypatch):
    """Half as large in the network's box: origins in Angstrom are the same."""
    monkeypatch.chdir(tmp_path)
    write_particle_files(tmp_path / "in.star", np.ones((COUNT, 64, 64), np.float32), PIXEL)
    particles = read_particles("in.star")
    write_data("out_data.star", particles, classes, np.ones(COUNT), None, BOX)
    write_averages("out_classes.mrcs", particles, classes)
    assert mrcfile.read("out_classes.mrcs").shape == (CLASSES, 64, 64)
    expected = -classes.shown_displacements * 2 * PIXEL
    assert read_particles("out_data.star").origins == pytest.approx(expected, abs=1e-4)


def test_relion_3_0_counts_origins_in_pixels(written, classes, tmp_path):
    """A table without optics groups, whose out-of-plane angles are not those of a 2D classification."""
    lines = (tmp_path / "raw" / "in.star").read_text()
    rows = [line for line in lines.splitlines() if "@" in line]
    names = [next(word for word in row.split() if "@" in word) for row in rows]
    table = ["data_", "", "loop_", "_rlnImageName", "_rlnOriginX", "_rlnOriginY", "_rlnAngleTilt"]
    table += ["_rlnDetectorPixelSize", "_rlnMagnification"]
    table += [f"{name} 7 7 45 3.0 10000" for name in names]
    (tmp_path / "old.star").write_text("\n".join(table) + "\n")
    particles = read_particles("old.star")
    write_data("old_data.star", particles, classes, np.ones(COUNT), None, BOX)
    found = read_particles("old_data.star")
    assert found.numbers("rlnOriginX") == pytest.approx(
        -classes.shown_displacements[:, 0], abs=1e-4
    )
    assert found.origins == pytest.approx(-classes.shown_displacements * PIXEL, abs=1e-4)
    assert set(found.column("rlnAngleTilt")) == {"0.000000"}
    assert not found.has("rlnOriginXAngst")


def test_halves_that_were_drawn_are_written(written, classes):
    halves = np.arange(COUNT) % 2 + 1
    write_data("out_data.star", written, classes, np.ones(COUNT), halves, BOX)
    assert np.array_equal(read_particles("out_data.star").random_subset, halves)
    first = replace(classes, shown_number=np.ones(COUNT, np.int64))
    write_data("out_data.star", written, first, np.ones(COUNT), None, BOX)
    assert not read_particles("out_data.star").has("rlnRandomSubset")
