"""States of the CTF: read from the columns or refused, and written so that RELION gets the same map from each."""

import subprocess

import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.imaging.ctf import compute_ctf, phase_flip
from polardenoise.engine.imaging.fsc import fourier_shell_correlation
from polardenoise.engine.particles.mrc import read_volume, write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.star import read_star
from tests.denoise_files import denoise, images_of, write_set


def edit(old, new, name="in.star"):
    with open(name) as file:
        text = file.read()
    assert old in text
    with open(name, "w") as file:
        file.write(text.replace(old, new))


@pytest.mark.parametrize(
    ("flag", "second_group", "said"),
    [
        ("rlnCtfDataArePhaseFlipped 1", "0", "others of the set are"),
        ("rlnCtfDataArePhaseFlipped 2", "2", "neither 0 nor 1"),
        ("rlnCtfDataAreCtfPremultiplied 1", "1", "multiplied by their CTF"),
        ("polardenoiseCtfState raw", "flipped", "must be one of"),
    ],
)
def test_unclear_states_are_refused_naming_the_option_that_settles_them(
    folder, model, capsys, flag, second_group, said
):
    write_set(folder, optics_extra=flag)
    value = flag.split()[1]
    edit(
        f"2 optics2 3.0 32 300.000 2.70 0.1 2 {value}",
        f"2 optics2 3.0 32 300.000 2.70 0.1 2 {second_group}",
    )
    assert denoise(model) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "--ctf-state" in error
    assert error.count("\n") == 1
    for state in ("raw", "flipped", "none"):
        assert denoise(model, "--ctf-state", state, output=f"{state}.star") == 0
        # What was said is what the output says, and it is read again without a doubt.
        assert read_particles(f"{state}.star").ctf_state == state


def test_a_particles_flag_that_is_not_its_groups_is_unclear(folder, model, capsys):
    write_set(folder, optics_extra="rlnCtfDataArePhaseFlipped 1")
    edit("_rlnRandomSubset #14", "_rlnRandomSubset #14\n_rlnCtfDataArePhaseFlipped #15")
    with open("in.star") as file:
        lines = [line.rstrip() + "  0" if "@" in line else line.rstrip() for line in file]
    with open("in.star", "w") as file:
        file.write("\n".join(lines) + "\n")
    assert denoise(model) == 2
    assert "not that of its optics group" in capsys.readouterr().err
    assert denoise(model, "--ctf-state", "flipped") == 0
    assert read_particles("out.star").ctf_state == "flipped"


def test_columns_that_are_true_stay_as_they_are(folder, model):
    for state, flag in (("flipped", "1"), ("raw", "0")):
        source = write_set(folder, optics_extra=f"rlnCtfDataArePhaseFlipped {flag}")
        assert denoise(model) == 0
        assert read_star("out.star").tables[0].labels == read_star(source).tables[0].labels
        assert read_star("out.star").tables[0].column("rlnCtfDataArePhaseFlipped") == [flag] * 2
        assert read_particles("out.star").ctf_state == state
    assert denoise(model, "--ctf-output", "corrected") == 0
    assert read_star("out.star").tables[0].column("polardenoiseCtfState") == ["corrected"] * 2


def test_images_said_to_carry_no_ctf_are_treated_so(folder, model):
    write_set(folder, ctf=False)
    assert denoise(model, output="plain.star") == 0
    write_set(folder)
    assert denoise(model, "--ctf-state", "none") == 0
    assert torch.equal(images_of("out.star"), images_of("plain.star"))
    assert read_star("out.star").tables[0].column("polardenoiseCtfState") == ["none"] * 2


def reconstruct(relion, star, *options):
    words = [str(relion / "relion_reconstruct"), "--i", star, "--o", "map.mrc", *options]
    run = subprocess.run(words, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return torch.from_numpy(read_volume("map.mrc")[0])


def test_relion_gets_the_same_map_from_every_state(folder, relion):
    words = ["simulate", "phantom:10001", "-o", ".", "--particles", "96", "--views", "6"]
    assert main([*words, "--snr", "0.2", "--ctf", "--box", "48"]) == 0
    particles = read_particles("particles.star")
    ctf = compute_ctf(particles.ctf, torch.from_numpy(particles.pixel_size), 48)
    images = torch.from_numpy(read_images(particles, slice(None)))
    write_stack("flipped-in.mrcs", phase_flip(images, ctf), float(particles.pixel_size[0]))
    with open("particles.star") as file:
        text = file.read()
    stack = particles.column("rlnImageName")[0].split("@")[1]
    with open("flipped-in.star", "w") as file:
        file.write(text.replace(stack, "flipped-in.mrcs"))
    options = ("--group-by", "rlnClassNumber", "--set-size", "8")
    assert denoise("base", *options, source="particles.star", output="raw.star") == 0
    flipped = ("--ctf-state", "flipped", *options)
    assert denoise("base", *flipped, source="flipped-in.star", output="flipped.star") == 0
    corrected = ("--ctf-output", "corrected", *options)
    assert denoise("base", *corrected, source="particles.star", output="corrected.star") == 0
    maps = {
        "raw": reconstruct(relion, "raw.star", "--ctf"),
        "flipped": reconstruct(relion, "flipped.star", "--ctf", "--ctf_phase_flipped"),
        "corrected": reconstruct(relion, "corrected.star"),
    }
    shells = slice(1, 18)
    same = fourier_shell_correlation(maps["raw"], maps["flipped"])[shells]
    assert same.min() > 0.999  # the same estimates, and the same weights
    other = fourier_shell_correlation(maps["raw"], maps["corrected"])[shells]
    assert other.min() > 0.98  # the same estimates, otherwise weighted
    # RELION has to be told: otherwise the map is another.
    wrong = reconstruct(relion, "flipped.star", "--ctf")
    assert fourier_shell_correlation(maps["raw"], wrong)[shells].mean() < 0.9
