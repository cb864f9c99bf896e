"""Coloured noise is whitened before the network, in each half by its own images alone; white noise is left alone."""

import json
import shutil

import numpy as np
import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.denoise import class_stage, preparation
from polardenoise.engine.denoise.noise import whitening
from polardenoise.engine.denoise.noise.whitening import (
    FEWEST_MEASURED,
    NoiseColour,
    NoiseColours,
    NoiseEvidence,
)
from polardenoise.engine.evaluate.against_truth import relative_mse
from polardenoise.engine.imaging.background import measure_background, normalise
from polardenoise.engine.imaging.noise_spectrum import measure_ring_powers, typical_ring_power
from polardenoise.engine.imaging.rings import average_rings
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.simulate.noise import draw_coloured_noise, sample_noise_power
from polardenoise.engine.simulate.noise_spectrum import MEASURED
from tests.denoise_files import denoise, images_of, write_set

BOX, COUNT = 32, 4 * FEWEST_MEASURED
NO_CTF = ("--ctf-state", "none")
AS_STATED = (
    "--group-by",
    "random",
    "--set-size",
    "8",
    "--contrast",
    "bright",
    "--precision",
    "float32",
)
QUICK = (*AS_STATED, *NO_CTF)


def draw_images(seed, coloured, count=COUNT):
    """A bright square in the middle and noise of variance 1 around it."""
    generator = np.random.default_rng(seed)
    power = sample_noise_power(MEASURED, BOX, 3.0) if coloured else torch.ones(BOX, BOX // 2 + 1)
    images = draw_coloured_noise(count, power, generator).numpy()
    images[:, 12:20, 12:20] += 0.5
    return images


def state_noise(star="out.json"):
    with open(star) as file:
        return json.load(file)


def test_white_noise_is_left_bit_for_bit(folder, model, monkeypatch):
    write_set(folder, count=COUNT, images=draw_images(0, coloured=False), ctf=False)
    assert denoise(model, *QUICK) == 0
    assert not any(half["whitened"] for half in state_noise()["noise_of_halves"].values())
    found = images_of("out.star")
    monkeypatch.setattr(whitening, "FLAT", float("inf"))
    assert denoise(model, *QUICK, output="again.star") == 0
    assert torch.equal(images_of("again.star"), found)


def test_coloured_noise_is_told_in_summary_and_provenance(folder, model, capsys):
    write_set(folder, count=COUNT, images=draw_images(0, coloured=True), ctf=False)
    assert denoise(model, *QUICK) == 0
    said = capsys.readouterr().out
    # In full when it is found, and once: the summary says only of what kind it is.
    (line,) = [line for line in said.splitlines() if "strongest over weakest" in line]
    assert line.startswith("noise: half 1 coloured")
    assert "; noise coloured, whitened; " in said
    facts = state_noise()
    assert line == f"noise: {facts['noise']}"
    for half in facts["noise_of_halves"].values():
        power = half["power_by_ring"]
        assert half["whitened"]
        assert half["images"] == COUNT // 2
        assert len(power) == BOX // 2
        assert max(power[:3]) > 1.4 * power[-1]  # ice is coarse


@pytest.mark.parametrize("ctf", [True, False])
def test_coloured_noise_of_images_that_may_have_a_ctf_is_told_and_left(
    folder, model, monkeypatch, ctf
):
    """Real particles of unknown defocus have a CTF, and no word of it in their file."""
    write_set(folder, count=COUNT, images=draw_images(0, coloured=True), ctf=ctf)
    assert denoise(model, *AS_STATED) == 0
    facts = state_noise()
    assert all(
        half["coloured"] and not half["whitened"] for half in facts["noise_of_halves"].values()
    )
    assert "left so" in facts["noise"]
    assert ("--ctf-state none" in facts["noise"]) is not ctf
    found = images_of("out.star")
    monkeypatch.setattr(whitening, "FLAT", float("inf"))
    assert denoise(model, *AS_STATED, output="again.star") == 0
    assert torch.equal(images_of("again.star"), found)


def test_whitened_noise_is_white_and_has_deviation_one():
    noise = torch.from_numpy(draw_images(1, coloured=True))
    images = normalise(noise, measure_background(noise))
    rows, halves = np.arange(COUNT), np.ones(COUNT, dtype=np.int64)
    evidence = NoiseEvidence(halves, np.ones(COUNT, dtype=bool), BOX, ctf="none")
    for some in np.array_split(rows, 5):
        evidence.add(some, images[torch.from_numpy(some)])
    colours = evidence.judge()
    white = colours.whiten(images, halves)
    before, after = (
        typical_ring_power(measure_ring_powers(seen.numpy()))[1:] for seen in (images, white)
    )
    assert before.max() / before.min() > 2
    assert (
        after.max() / after.min() < 1.4
    )  # in so small a box the rise at low frequencies is narrow
    assert float(measure_background(white).deviation.mean()) == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(colours.undo(white, halves), images, atol=1e-4, rtol=0)


def test_what_was_measured_does_not_depend_on_the_order_of_reading():
    images = torch.from_numpy(draw_images(2, coloured=True))
    halves = np.arange(COUNT) % 2 + 1
    found = []
    for order in (np.arange(COUNT), np.random.default_rng(3).permutation(COUNT)):
        evidence = NoiseEvidence(halves, np.ones(COUNT, dtype=bool), BOX, ctf="none")
        for some in np.array_split(order, 7):
            evidence.add(some, images[torch.from_numpy(some)])
        found.append(evidence.judge())
    for half in (1, 2):
        first, second = (colours.of_halves[half].ring_power for colours in found)
        assert torch.equal(first, second)


def test_halves_of_white_noise_stay_beside_coloured_ones():
    colour = torch.linspace(4.0, 0.5, BOX // 2)
    colours = NoiseColours(
        {1: NoiseColour(100, colour, "none"), 2: NoiseColour(100, torch.ones(BOX // 2), "none")}
    )
    images = torch.from_numpy(draw_images(4, coloured=False, count=6))
    halves = np.array([1, 2, 1, 2, 2, 1])
    white = colours.whiten(images, halves)
    assert torch.equal(white[halves == 2], images[halves == 2])
    assert (white[halves == 1] - images[halves == 1]).abs().amax((1, 2)).min() > 0.1
    assert torch.equal(colours.whiten(images[halves == 1], halves[halves == 1]), white[halves == 1])


def test_the_noise_of_one_half_never_reaches_the_other(folder, model):
    images = draw_images(5, coloured=True)
    star = write_set(folder, count=COUNT, images=images, ctf=False)
    particles = read_particles(star)
    assert denoise(model, *QUICK) == 0
    first = particles.random_subset == 1
    known, facts = images_of("out.star"), state_noise()["noise_of_halves"]
    pixels = read_images(particles, slice(None))
    pixels[~first] = draw_images(6, coloured=False)[~first]
    places = particles.index_in_stack
    changed = np.empty_like(pixels)
    changed[places] = pixels
    write_stack(folder / "stack.mrcs", changed, 3.0)
    assert denoise(model, *QUICK, output="other.star") == 0
    others = state_noise("other.json")["noise_of_halves"]
    assert facts["2"]["whitened"]
    assert not others["2"]["whitened"]
    assert facts["1"] == others["1"]
    assert facts["1"]["whitened"]
    assert torch.equal(images_of("other.star")[first], known[first])


def test_rows_of_one_image_are_measured_once(folder, model):
    images = draw_images(7, coloured=True)
    star = write_set(folder, count=COUNT, images=images, subset=False, ctf=False)
    text = star.read_text()
    for number in range(11, COUNT + 1):
        text = text.replace(f"{number:06d}@", f"{number % 10 + 1:06d}@")
    star.write_text(text)
    assert denoise(model, *QUICK) == 0
    halves = state_noise()["noise_of_halves"].values()
    assert sum(half["images"] for half in halves) == 10
    assert not any(half["whitened"] for half in halves)


@pytest.mark.parametrize("ctf", [True, False])
def test_masked_images_tell_nothing_of_the_noise(folder, model, ctf):
    """With a CTF, flipping the phases has spread noise from under the mask over the corners, its fine part."""
    images = draw_images(8, coloured=True)
    offset = np.arange(BOX) - BOX // 2
    images *= np.hypot(offset[:, None], offset) < 12
    write_set(folder, count=COUNT, images=images, ctf=ctf)
    assert denoise(model, *AS_STATED) == 0
    halves = state_noise()["noise_of_halves"].values()
    assert not any(half["coloured"] or half["whitened"] for half in halves)
    assert all((half["images"] > 0) == ctf for half in halves)


def test_units_of_coloured_images_come_back(folder, model):
    """Multiplying an image by c and adding a constant multiplies its estimate by c."""
    images = draw_images(9, coloured=True)
    write_set(folder, count=COUNT, images=images, ctf=False)
    assert denoise(model, *QUICK) == 0
    known = images_of("out.star")
    write_stack(folder / "stack.mrcs", 4 * images, 3.0)
    assert denoise(model, *QUICK, output="scaled.star") == 0
    assert state_noise("scaled.json")["noise_of_halves"]["1"]["whitened"]
    assert torch.equal(images_of("scaled.star"), 4 * known)
    write_stack(folder / "stack.mrcs", 30 + 4 * images, 3.0)
    assert denoise(model, *QUICK, output="moved.star") == 0
    residual = (images_of("moved.star") - 4 * known).flatten(1).norm(dim=1)
    # The constant costs digits, and by the last of them a few images of an untrained network find other matches.
    assert residual.median() < 1e-4 * known.flatten(1).norm(dim=1).median()


@pytest.mark.parametrize("moment", ["whiten_scratch", "save_arrays"])
def test_a_run_stopped_while_it_whitens_goes_on_and_ends_with_the_same_bytes(
    folder, model, monkeypatch, moment
):
    """What was whitened is not whitened twice: before the spectrum is saved the input is read again."""
    write_set(folder, count=COUNT, images=draw_images(10, coloured=True), ctf=False)
    assert denoise(model, *QUICK) == 0
    known = (folder / "out.mrcs").read_bytes()
    (folder / "out.mrcs").unlink()
    real = getattr(preparation, moment)

    def stop(*arguments, **names):
        if moment == "whiten_scratch":
            real(*arguments, **names)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(preparation, moment, stop)
        assert denoise(model, *QUICK) == 130
    assert denoise(model, *QUICK, "--resume") == 0
    assert (folder / "out.mrcs").read_bytes() == known


def test_class_averages_of_whitened_images_have_the_strengths_that_they_have_without(
    folder, model, monkeypatch
):
    write_set(folder, count=COUNT, images=draw_images(11, coloured=True), ctf=False)
    options = (*NO_CTF, "--contrast", "bright", "--set-size", "8", "--precision", "float32")
    assert denoise(model, *options, "--matches", "matches.npz", "--report", "report") == 0
    facts = state_noise()["noise_of_halves"]
    assert facts["1"]["whitened"]
    assert (folder / "report" / "index.html").is_file()
    monkeypatch.setattr(class_stage, "undo_whitening", lambda classes, colours, half: classes)
    assert denoise(model, *options, "--matches", "white.npz", output="white.star") == 0
    with np.load("matches.npz") as found, np.load("white.npz") as white:
        averages, halves, of_white = (
            found["class_averages"],
            found["class_half"],
            white["class_averages"],
        )
    colours = {
        int(half): NoiseColour(100, torch.tensor(stated["power_by_ring"]), "none")
        for half, stated in facts.items()
    }
    undone = NoiseColours(colours).undo(torch.from_numpy(of_white), halves).numpy()
    np.testing.assert_allclose(averages, undone, atol=2e-3 * np.abs(averages).max())
    assert np.abs(averages - of_white).max() > 0.05 * np.abs(averages).max()


def test_whitening_takes_error_away_from_coloured_noise(folder, monkeypatch):
    """One view of a phantom that no shipped model was trained on, SNR 0.02, `base`: 0.21 became 0.18."""
    words = ["simulate", "phantom:10001", "-o", "set", "--no-ctf", "--particles", "32"]
    assert main([*words, "--views", "1", "--noise", "coloured", "--seed", "3"]) == 0
    truth = images_of("set/clean.star")
    errors = {}
    for name, flat in (("whitened", whitening.FLAT), ("as it is", float("inf"))):
        monkeypatch.setattr(whitening, "FLAT", flat)
        options = (*NO_CTF, "--group-by", "random", "--ignore-halves", "--contrast", "bright")
        assert denoise("base", *options, source="set/particles.star", output=f"{flat}.star") == 0
        errors[name] = relative_mse(images_of(f"{flat}.star"), truth)
    assert errors["whitened"] < 0.9 * errors["as it is"]


def teach_whitening(model, path):
    """Copy a model, with a card that says that it learned from whitened images."""
    shutil.copytree(model, path)
    card = json.loads((path / "model.json").read_text())
    card["trained_on"]["recipe"] = {"whitened_share": 0.5}
    (path / "model.json").write_text(json.dumps(card))
    return str(path)


@pytest.mark.parametrize("ctf", [True, False])
def test_a_network_that_learned_from_whitened_images_is_told(folder, model, monkeypatch, ctf):
    """With a CTF as well: its rings are multiplied by what the images are multiplied by."""
    star = write_set(folder, count=COUNT, images=draw_images(12, coloured=True), ctf=ctf)
    rings = []

    def whiten(scratch, colours, rows, *others):
        for step in (lambda: None, lambda: real(scratch, colours, rows, *others)):
            step()
            rings.append(scratch.read_with_ctf_rings(rows)[1])

    real = preparation.whiten_scratch
    monkeypatch.setattr(preparation, "whiten_scratch", whiten)
    told = teach_whitening(model, folder / "told")
    assert denoise(told, *(AS_STATED if ctf else QUICK)) == 0
    facts = state_noise()
    before, after = rings
    power = torch.tensor(facts["noise_of_halves"]["1"]["power_by_ring"])
    half = torch.from_numpy(read_particles(star).random_subset == 1)
    torch.testing.assert_close(after[half], before[half] * power**-0.5, rtol=2e-3, atol=1e-4)
    assert (before == 1).all() != ctf
    assert "whitened" in facts["noise"]
    assert "left so" not in facts["noise"]


def test_a_network_that_is_told_estimates_the_molecule_as_it_is(folder, model, monkeypatch):
    """What comes out of the network is what is written, but for the units; of one that is not told it is divided."""
    write_set(folder, count=COUNT, images=draw_images(13, coloured=True), ctf=False)
    told = teach_whitening(model, folder / "told")
    assert denoise(told, *QUICK) == 0
    known = images_of("out.star")
    monkeypatch.setattr(NoiseColours, "bring_back", NoiseColours.undo)
    assert denoise(told, *QUICK, output="undone.star") == 0
    undone = images_of("undone.star")
    undone_power, known_power = (
        average_rings(torch.fft.rfft2(one).abs().square().mean(0)) for one in (undone, known)
    )
    power = torch.tensor(state_noise()["noise_of_halves"]["1"]["power_by_ring"])
    torch.testing.assert_close(undone_power, power * known_power, rtol=0.2, atol=0.0)


def test_told_or_not_an_image_gets_its_noise_back():
    power = torch.linspace(3.0, 0.8, BOX // 2)
    images = torch.randn(4, BOX, BOX, generator=torch.Generator().manual_seed(3))
    halves = np.array([1, 1, 2, 2])
    colours = NoiseColours(
        {
            1: NoiseColour(100, power, "known", told=True),
            2: NoiseColour(100, power, "none", told=False),
        }
    )
    white = colours.whiten(images, halves)
    torch.testing.assert_close(colours.undo(white, halves), images, atol=1e-4, rtol=0)
    brought = colours.bring_back(white, halves)
    assert torch.equal(brought[:2], white[:2])
    torch.testing.assert_close(brought[2:], images[2:], atol=1e-4, rtol=0)
