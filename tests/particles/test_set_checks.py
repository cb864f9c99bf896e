"""What contradicts itself is refused or doubted, and two sets are compared only where their rows are the same."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.set_checks import (
    check_match,
    doubt_pixel_sizes,
    list_pixel_sizes,
    most_common_pixel_size,
)
from polardenoise.engine.runtime.errors import InputError
from tests.particle_files import draw_ctf, pose_columns, write_particle_files, write_tables
from tests.particles.test_mrc import write_header_words

COUNT, BOX = 12, 16


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def images(count=COUNT):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, BOX, BOX, generator=generator)


def columns(seed=0):
    generator = np.random.default_rng(seed)
    return {
        **pose_columns(generator.uniform(-90, 90, (COUNT, 3)).round(3)),
        **draw_ctf(COUNT, seed),
        "rlnMicrographName": [f"m{k // 4}" for k in range(COUNT)],
        "rlnCoordinateX": generator.integers(0, 4000, COUNT),
        "rlnCoordinateY": generator.integers(0, 4000, COUNT),
        "rlnRandomSubset": generator.integers(1, 3, COUNT),
    }


def write(name, changed, order=None):
    order = np.arange(COUNT) if order is None else order
    ordered = {label: np.array(values)[order].tolist() for label, values in changed.items()}
    write_particle_files(name, images(), 3.0, ordered)
    return read_particles(name)


@pytest.mark.parametrize(
    "labels",
    ["rlnMicrographName", "rlnCoordinateX", "rlnDefocusU", "rlnAngleRot rlnAngleTilt rlnAnglePsi"],
)
def test_the_same_values_in_another_order_are_another_order(labels):
    kept = {label: columns()[label] for label in labels.split()}
    if "Defocus" in labels:
        kept = draw_ctf(COUNT)
    order = np.random.default_rng(1).permutation(COUNT)
    given, same = write("a.star", kept), write("same.star", kept)
    other = write("b.star", kept, order)
    check_match(given, same)
    with pytest.raises(InputError, match=r"b.star: row \d+: rln.*in another order; give") as error:
        check_match(given, other)
    assert "\n" not in str(error.value)
    swapped = np.arange(COUNT)
    swapped[[0, 8]] = 8, 0  # two rows are enough
    with pytest.raises(InputError, match=r"c.star: row 1: "):
        check_match(given, write("c.star", kept, swapped))


def test_other_places_are_other_particles():
    changed = columns() | {"rlnCoordinateX": columns(5)["rlnCoordinateX"]}
    with pytest.raises(InputError, match="rlnCoordinateX is"):
        check_match(write("a.star", columns()), write("b.star", changed))


def test_what_may_differ_between_a_set_and_its_truth():
    """Poses and defoci refined, halves drawn anew, names of micrographs, coordinates rounded, columns left out."""
    given = columns()
    generator = np.random.default_rng(3)
    changed = dict(given)
    for label in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnDefocusU", "rlnDefocusV"):
        changed[label] = np.array(given[label]) + generator.normal(0, 1, COUNT)
    changed["rlnRandomSubset"] = given["rlnRandomSubset"][::-1]
    changed["rlnMicrographName"] = [f"job/{name}.mrc" for name in given["rlnMicrographName"]]
    changed["rlnCoordinateX"] = np.array(given["rlnCoordinateX"]) + 0.4
    a = write("a.star", given)
    check_match(a, write("b.star", changed))
    few = {label: given[label] for label in ("rlnRandomSubset",)}
    check_match(a, write("c.star", few))
    zeros = {label: np.zeros(COUNT) for label in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")}
    check_match(a, write("d.star", zeros))


def test_a_box_that_is_not_the_stacks_is_refused():
    write_particle_files("a.star", images(), 4.0)
    text = Path("a.star").read_text()
    names = [f"{k}@a.mrcs" for k in range(1, COUNT + 1)]
    write_tables("b.star", {"rlnImageName": names}, 2.0, 2 * BOX)
    with pytest.raises(
        InputError, match=r"row 1: rlnImageSize is 32, but the images of a.mrcs are 16 px"
    ) as error:
        read_particles("b.star")
    assert "header says 4 A" in str(error.value)
    for word in ("None", "nan"):
        Path("c.star").write_text(text.replace(f" {BOX} ", f" {word} "))
        assert read_particles("c.star").box == BOX


def test_a_pixel_size_that_is_not_the_stacks_is_doubted():
    write_particle_files("a.star", images(), 4.0)
    names = [f"{k}@a.mrcs" for k in range(1, COUNT + 1)]
    write_tables("b.star", {"rlnImageName": names}, 2.0, BOX)
    (doubt,) = doubt_pixel_sizes(read_particles("b.star"))
    assert "a.mrcs: its header says 4 A a pixel, b.star 2 A (row 1)" in doubt
    # Of a stack without a STAR file the option has said it.
    (doubt,) = doubt_pixel_sizes(read_particles("a.mrcs", pixel_size=2.0))
    assert "a.mrcs: its header says 4 A a pixel, --pixel-size 2 A, which was taken" in doubt
    assert doubt_pixel_sizes(read_particles("a.star")) == []
    for size in (0.0, 16.0, 16.0 * 2.01):  # none, 1 A, rounded
        write_header_words(Path("a.mrcs"), {}, {10: size})
        assert doubt_pixel_sizes(read_particles("b.star")) == []


def test_two_pixel_sizes_have_no_mean():
    write_particle_files("a.star", images(), 4.0)
    names = [f"{k}@a.mrcs" for k in range(1, COUNT + 1)]
    sizes = [4.0] * 5 + [6.0] * 6 + [4.00001]
    text = "data_\nloop_\n_rlnImageName\n_rlnImagePixelSize\n"
    rows = [f"{name} {size}" for name, size in zip(names, sizes, strict=True)]
    Path("b.star").write_text(text + "\n".join(rows) + "\n")
    particles = read_particles("b.star")
    assert list_pixel_sizes(particles) == [(4.0, 6), (6.0, 6)]
    assert most_common_pixel_size(particles) in (4.0, 6.0)
    (doubt, *_) = doubt_pixel_sizes(particles)
    assert "4 A (6 particles) and 6 A (6 particles)" in doubt


def test_a_name_that_fits_two_files_is_refused(folder):
    os.mkdir("job")
    write_particle_files("job/in.star", images(), 3.0)
    Path("job/in.star").write_text(
        Path("job/in.star").read_text().replace("job/in.mrcs", "in.mrcs")
    )
    assert len(read_particles("job/in.star")) == COUNT  # one file: beside the STAR
    write_particle_files("in.star", images(), 3.0)
    with pytest.raises(InputError, match=r"row 1: in.mrcs is there twice") as error:
        read_particles("job/in.star")
    assert str(folder / "in.mrcs") in str(error.value)
    os.remove("in.mrcs")
    os.symlink("job/in.mrcs", "in.mrcs")
    assert len(read_particles("job/in.star")) == COUNT  # the same file by two names


def test_axes_of_a_stack_are_heeded():
    write_particle_files("a.star", images(), 3.0)
    write_header_words(Path("a.mrcs"), {16: 2, 17: 1, 18: 3})
    found = read_images(read_particles("a.star"), slice(None))
    np.testing.assert_array_equal(found, images().mT.numpy())
    write_header_words(Path("a.mrcs"), {16: 1, 17: 3, 18: 2})
    with pytest.raises(InputError, match=r"a.mrcs: its sections do not run along z \(mapc"):
        read_particles("a.star")
