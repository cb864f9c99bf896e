"""Real input: particles that RELION projected go through `denoise`, and RELION takes them back."""

import re
import subprocess
from contextlib import chdir

import numpy as np
import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.imaging.euler_angles import draw_orientations
from polardenoise.engine.imaging.fsc import fourier_shell_correlation
from polardenoise.engine.particles.mrc import read_volume, write_volume
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.simulate.sources import read_density
from tests.particle_files import draw_ctf, pose_columns, write_tables

COUNT, BOX = 200, 64


def call(folder, *words):
    return subprocess.run(
        [str(word) for word in words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def projected(relion, tmp_path_factory):
    """RELION's projections of a test phantom: CTF, origins, noise; a second optics group and odd columns added."""
    folder = tmp_path_factory.mktemp("relion")
    density = read_density("phantom:10020", BOX, None, 150.0)
    write_volume(folder / "map.mrc", density.volume / density.volume.std(), density.pixel_size)
    generator = np.random.default_rng(3)
    columns = pose_columns(
        draw_orientations(COUNT, generator),
        generator.uniform(-2, 2, (COUNT, 2)) * density.pixel_size,
    )
    columns |= draw_ctf(COUNT) | {"rlnRandomSubset": np.arange(COUNT) % 2 + 1}
    write_tables(folder / "poses.star", columns, density.pixel_size, BOX)
    words = ["--i", "map.mrc", "--o", "particles", "--ang", "poses.star", "--ctf"]
    words += ["--angpix", density.pixel_size, "--add_noise", "--white_noise", 15]
    call(folder, relion / "relion_project", *words)
    add_what_no_program_knows(folder / "particles.star")
    return folder


def add_what_no_program_knows(star):
    """Give RELION's own STAR a second optics group, two unknown columns and tokens that a parser would change."""
    lines = star.read_text().splitlines()
    out, table, column, group_column, row = [], "", 0, None, 0
    for line in lines:
        words = line.split()
        if line.startswith("data_"):
            table, column = line, 0
        if line.startswith("_"):
            column += 1
            if words[0] == "_rlnOpticsGroup" and table == "data_particles":
                group_column = column - 1
        if (
            table == "data_particles"
            and words
            and not line.startswith(("_", "#", "data_", "loop_"))
        ):
            if row == 0:
                out += [f"_facilityGridSquare #{column + 1}", f"_facilityNote #{column + 2}"]
            row += 1
            words[group_column] = str(row % 2 + 1)
            line = "   ".join(words) + f"   {row:05d}   'quoted {row}'"
        if (
            table == "data_optics"
            and words
            and words[0] not in ("loop_", "data_optics")
            and line[0] not in "_#"
        ):
            out.append(line)
            group_place = [w.split()[0] for w in out if w.startswith("_")].index("_rlnOpticsGroup")
            words[group_place] = "2"
            line = "   ".join(words).replace("opticsGroup1", "opticsGroup2")
        out.append(line)
    assert row == COUNT
    star.write_text("\n".join(out) + "\n")


def denoise(projected, output, *extra):
    with chdir(projected):
        assert main(["denoise", "particles.star", "-o", output, "--device", "cpu", *extra]) == 0
    return projected / output


@pytest.fixture(scope="module")
def denoised(projected):
    return denoise(projected, "denoised.star")


@pytest.fixture(scope="module")
def corrected(projected):
    return denoise(projected, "corrected.star", "--ctf-output", "corrected")


def test_rows_columns_and_tokens_are_those_of_the_input(projected, denoised):
    before, after = (
        (projected / name).read_text().splitlines() for name in ("particles.star", "denoised.star")
    )
    # The score and the class of each particle come last.
    added = [line for line in after if line.startswith("_polardenoise")]
    assert [line.split()[0] for line in added] == ["_polardenoiseScore", "_polardenoiseClass"]
    assert after[0].startswith("# polardenoise ")  # what made it
    after = [line for line in after[1:] if line not in added]
    assert len(before) == len(after)
    row = 0
    for old, new in zip(before, after, strict=True):
        if "@" not in old:
            assert new == old
            continue
        row += 1
        name = next(word for word in old.split() if "@" in word)
        kept, score, number = new.rsplit(maxsplit=2)
        assert kept.rstrip() == old.rstrip().replace(name, f"{row:06d}@denoised.mrcs")
        assert 0 <= float(score) <= 1
        assert int(number) >= 1
    assert row == COUNT
    optics = read_particles(denoised).optics
    assert len(optics) == 2


def test_relion_reads_the_denoised_set_and_reconstructs_it(relion, projected, denoised):
    folder = projected
    for half in ("1", "2"):
        words = ["--i", "denoised.star", "--o", f"half{half}.mrc", "--ctf", "--subset", half]
        call(folder, relion / "relion_reconstruct", *words)
        assert_shows_the_molecule(folder, f"half{half}.mrc")
    told = call(folder, relion / "relion_image_handler", "--i", "denoised.mrcs", "--stats")
    images = read_images(read_particles(denoised), slice(None))
    stated = [float(value) for value in re.findall(r"stddev=\s*(\S+)", told)]
    np.testing.assert_allclose(stated, images.std(axis=(1, 2)), rtol=1e-3)


def test_relion_reads_the_corrected_set_without_ctf(relion, projected, corrected):
    """An optics column that RELION does not know is no obstacle; the map is right without --ctf."""
    call(projected, relion / "relion_reconstruct", "--i", "corrected.star", "--o", "plain.mrc")
    assert_shows_the_molecule(projected, "plain.mrc")
    assert read_particles(corrected).ctf_state == "corrected"


def assert_shows_the_molecule(folder, name):
    """The map of the denoised images agrees with the source to a quarter of the Nyquist frequency at least."""
    volume, source = (torch.from_numpy(read_volume(folder / one)[0]) for one in (name, "map.mrc"))
    assert fourier_shell_correlation(volume, source)[: BOX // 8 + 1].min() > 0.85
