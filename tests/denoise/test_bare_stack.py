"""A stack without a STAR file is a set without CTF, whose pixel size somebody says."""

import numpy as np
import pytest

from polardenoise.engine.cli import main
from polardenoise.engine.particles.particle_set import read_particles
from tests.denoise_files import denoise, images_of, write_set
from tests.particle_files import write_particle_files


def test_a_stack_gives_what_its_star_file_without_ctf_gives(folder, model):
    images = np.random.default_rng(0).standard_normal((24, 32, 32)).astype(np.float32)
    images[:, 8:24, 8:24] += 0.5
    write_particle_files(folder / "set.star", images, 3.0)
    (stack,) = read_particles("set.star").stacks
    (folder / "my stack.mrcs").write_bytes(stack.read_bytes())
    assert denoise(model, source="set.star", output="named.star") == 0
    options = ("--pixel-size", "3.0", "--report", "r")
    assert denoise(model, *options, source="my stack.mrcs", output="bare.star") == 0
    assert (images_of("bare.star") == images_of("named.star")).all()
    found, expected = read_particles("bare.star"), read_particles("named.star")
    assert found.pixel_size.tolist() == [3.0] * 24
    assert found.ctf_state == "none"
    assert found.random_subset.tolist() == expected.random_subset.tolist()
    # The same command goes on, and a part of the stack is a part of the set.
    assert denoise(model, *options, "--resume", source="my stack.mrcs", output="bare.star") == 0
    part = ("--pixel-size", "3.0", "--rows", "4:12")
    assert denoise(model, *part, source="my stack.mrcs", output="part.star") == 0
    assert len(read_particles("part.star")) == 8


def test_evaluation_finds_the_stack_again(folder, model, capsys):
    write_set(folder, ctf=False)
    source = ("--pixel-size", "3.0")
    assert denoise(model, *source, source="stack.mrcs") == 0
    write_particle_files(folder / "clean.star", images_of("out.star").numpy(), 3.0)
    assert main(["evaluate", "out.star", "--truth", "clean.star"]) == 0
    assert "noisy input" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("stack.mrcs", (), "say its pixel size in Angstrom with --pixel-size (its header says 3)"),
        ("stack.mrcs", ("--pixel-size", "-1"), "--pixel-size -1"),
        ("stack.mrcs", ("--pixel-size", "nan"), "--pixel-size nan"),
        ("in.star", ("--pixel-size", "2"), "states its own"),
        ("nothing.mrcs", ("--pixel-size", "2"), "no such file"),
    ],
)
def test_what_is_missing_is_told_in_one_line(folder, model, capsys, source, options, said):
    write_set(folder)
    assert denoise(model, *options, source=source) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_stack_is_never_its_own_output(folder, model, capsys):
    write_set(folder)
    before = (folder / "stack.mrcs").read_bytes()
    words = ("--pixel-size", "3")
    assert denoise(model, *words, source="stack.mrcs", output="stack.star") == 2
    assert "would replace the input" in capsys.readouterr().err
    assert (folder / "stack.mrcs").read_bytes() == before
