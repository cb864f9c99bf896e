"""Training on a pair of particle sets, and on simulated images like those of a particle set."""

import csv
import dataclasses
import functools
import json
from contextlib import ExitStack

import numpy as np
import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.imaging.background import measure_background
from polardenoise.engine.imaging.ctf import compute_ctf
from polardenoise.engine.imaging.fourier import fourier_crop
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.particles.mrc import write_volume
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.preprocessing import Handling, prepare_images
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.simulate.phantoms import build_phantom
from polardenoise.engine.train.acquisition import (
    draw_optics_like,
    load_molecule_like,
    read_likeness,
)
from polardenoise.engine.train.paired_sets import (
    draw_pair_batch,
    draw_rows,
    hold_out,
    prepare_pair,
    read_pair,
)
from polardenoise.engine.train.recipe import TINY
from polardenoise.engine.train.simulated_sets import draw_sets_of, stack_molecules
from tests.particle_files import (
    ctf_parameters,
    draw_ctf,
    write_particle_files,
    write_tables,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A simulated set of 48 px, with CTF, halves and classes: noisy and clean."""
    folder = tmp_path_factory.mktemp("data")
    simulate = ["simulate", "phantom:3", "-o", str(folder), "--box", "48", "--particles", "240"]
    assert main([*simulate, "--views", "6", "--snr", "0.3", "--seed", "1"]) == 0
    return folder


@pytest.fixture(scope="module")
def prepared(data, tmp_path_factory):
    pair = read_pair(data / "particles.star", data / "clean.star", 0)
    with ExitStack() as resources:
        yield prepare_pair(pair, 32, tmp_path_factory.mktemp("scratch"), CPU, resources)


def find_rows(images, every):
    """Find the rows of `(k, N, N)` images among all `(n, N, N)`, by their pixels."""
    distance = torch.cdist(images.flatten(1), every.flatten(1))
    assert distance.min(1).values.max() < 0.1  # the matrix product behind it rounds
    return distance.argmin(1).numpy()


def test_a_pair_is_prepared_as_denoise_does(data, prepared):
    noisy, clean = (read_particles(data / f"{name}.star") for name in ("particles", "clean"))
    rows = np.arange(len(noisy))
    handling = Handling(32, "raw", False)
    every, _, background = prepare_images(
        torch.from_numpy(read_images(noisy, rows)), noisy, rows, handling
    )
    truth = fourier_crop(torch.from_numpy(read_images(clean, rows)), 32) / background.deviation
    training, held_out = hold_out(noisy.random_subset, prepared.pair.shared, 5)
    assert [len(training[half]) for half in (1, 2)] == [108, 108]
    assert [len(held_out[half]) for half in (1, 2)] == [12, 12]
    classes = np.array(noisy.column("rlnClassNumber"))
    pure = []
    for step in range(20):
        batch = draw_pair_batch(prepared, training, TINY, 5, step)
        assert batch.noisy.shape[0] * batch.noisy.shape[1] == TINY.images_per_step
        for one_noisy, one_clean, abs_ctf in zip(
            batch.noisy, batch.clean, batch.abs_ctf, strict=True
        ):
            found = find_rows(one_noisy, every)
            assert len(set(found)) == len(found)
            torch.testing.assert_close(one_noisy, every[found])
            torch.testing.assert_close(one_clean, truth[found])
            ctf = compute_ctf(
                noisy.ctf.select(found), torch.from_numpy(noisy.pixel_size[found]) * 1.5, 32
            )
            torch.testing.assert_close(abs_ctf, ctf.abs())
            assert len(set(noisy.random_subset[found])) == 1
            assert not set(found) & set(np.concatenate(list(held_out.values())))
            pure.append(len(set(classes[found])) == 1)
    assert 0.25 < np.mean(pure) < 0.75


def test_a_pair_fits_together(prepared):
    """Noisy images less |CTF| times the clean ones are noise of variance 1: units and signs agree."""
    rows = {1: np.flatnonzero(prepared.pair.halves == 1)}
    batch = draw_pair_batch(prepared, rows, TINY, 0, 0)
    seen = torch.fft.irfft2(torch.fft.rfft2(batch.clean) * batch.abs_ctf, s=(32, 32))
    noise = batch.noisy - seen
    assert abs(float(noise.var()) - 1) < 0.05
    cosine = torch.cosine_similarity(noise.flatten(), seen.flatten(), dim=0)
    assert abs(float(cosine)) < 0.03
    assert abs(float(seen.square().mean()) / 0.3 / 1.5**2 - 1) < 0.5  # cropping averages noise away


def test_small_classes_are_filled_up(prepared):
    lonely = dataclasses.replace(prepared.pair, classes=np.arange(len(prepared.pair)))
    training, _ = hold_out(lonely.halves, lonely.shared, 0)
    prepared = dataclasses.replace(prepared, pair=lonely)
    batch = draw_pair_batch(prepared, training, TINY, 0, 1)
    assert len(torch.unique(batch.noisy[0].flatten(1), dim=0)) == batch.noisy.shape[1]


def test_a_pair_teaches_and_its_card_says_so(data, tmp_path):
    arguments = ["train", "--pairs", str(data / "particles.star"), str(data / "clean.star")]
    arguments += ["-o", str(tmp_path / "run"), "--preset", "tiny", "--seed", "1", "--device", "cpu"]
    assert main([*arguments, "--steps", "35"]) == 0
    with (tmp_path / "run" / "history.csv").open() as stream:
        assert float(list(csv.DictReader(stream))[-1]["validation_relative_mse"]) < 0.8
    card = json.loads((tmp_path / "run" / "model" / "model.json").read_text())
    seen = card["trained_on"]["pairs"]
    assert (seen["noisy"], seen["clean"]) == ("particles.star", "clean.star")
    assert (seen["count"], seen["held_out"], seen["classes"]) == (240, 24, 6)
    assert "snr" not in card["trained_on"]["recipe"]
    assert "particles.star" in card["description"]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "model",
        "resume",
        "history.csv",
        "history.png",
    }


def test_a_resumed_training_on_a_pair_is_the_uninterrupted_one(data, tmp_path, monkeypatch):
    from polardenoise.engine.train import loop as train_module
    from polardenoise.engine.train import run as training_run

    arguments = ["train", "--pairs", str(data / "particles.star"), str(data / "clean.star")]
    arguments += ["--preset", "tiny", "--architecture", "dncnn", "--device", "cpu"]
    arguments += ["--steps", "6", "-o"]
    assert main([*arguments, str(tmp_path / "whole")]) == 0
    take_step, eager = train_module.take_step, train_module.train

    def interrupt_at_step_three(state, *others):
        if state.step == 3:
            raise KeyboardInterrupt
        return take_step(state, *others)

    def report_every_step(*given, **named):
        return eager(*given, **named, seconds_between_checkpoints=0.0)

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "take_step", interrupt_at_step_three)
        patch.setattr(training_run, "train", report_every_step)
        assert main([*arguments, str(tmp_path / "parts")]) == 130
    assert main([*arguments, str(tmp_path / "parts"), "--resume"]) == 0
    models = [load_model(str(tmp_path / name))[0].state_dict() for name in ("whole", "parts")]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def test_a_training_goes_on_with_the_same_likeness_only(data, tmp_path, capsys):
    arguments = ["train", "phantom:3", "--preset", "tiny", "--architecture", "dncnn"]
    arguments += ["-o", str(tmp_path / "run")]
    like = ["--like", str(data / "particles.star")]
    assert main([*arguments, *like, "--steps", "2"]) == 0
    assert main([*arguments, *like, "--steps", "4", "--resume"]) == 0
    card = json.loads((tmp_path / "run" / "model" / "model.json").read_text())["trained_on"]
    assert (card["like"]["particles"], card["like"]["count"]) == ("particles.star", 240)
    assert card["sources"] == ["phantom:3"]
    assert card["recipe"]["ctf_share"] == 1
    assert main([*arguments, *like[:1], str(data / "clean.star"), "--resume"]) == 2
    said = capsys.readouterr().err
    assert "--like" in said.split("was begun with ")[1].split(" (now ")[0], said
    assert main([*arguments, "--resume"]) == 2
    assert "another" in capsys.readouterr().err


def draw_set_like(likeness, density, recipe, images):
    """Draw one set of a molecule under the conditions of a particle set."""
    generator = np.random.default_rng(0)
    draw_optics = functools.partial(draw_optics_like, likeness)
    molecules = stack_molecules([density], CPU)
    drawn = draw_sets_of(molecules, np.array([0]), images, recipe, generator, draw_optics)
    return drawn.map(lambda tensor: tensor[0])


def write_ball(path, radius):
    """Write a map of a solid ball of `radius` Angstrom, 64 voxels of 2 A, its edge soft."""
    axis = (np.arange(64) - 32) * 2.0
    distance = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    volume = np.clip((radius + 2 - distance) / 4, 0, 1).astype(np.float32)
    write_volume(path, volume, 2.0)


def test_a_molecule_has_its_true_size(tmp_path):
    """The mean squared distance from the centre of a ball's projection is 2/5 of its squared radius."""
    write_ball(tmp_path / "ball.mrc", 36.0)
    write_particle_files(tmp_path / "set.star", np.zeros((2, 48, 48), np.float32), 3.0)
    likeness = read_likeness(tmp_path / "set.star", 32)
    np.testing.assert_allclose(likeness.pixel_sizes, 4.5)
    likeness = dataclasses.replace(likeness, pixel_sizes=np.array([4.5, 6.0]))
    molecule = load_molecule_like(likeness, str(tmp_path / "ball.mrc"))
    still = {"blur": (0.0, 0.0), "shift_share": 0.0, "noise_only_share": 0.0, "ctf_share": 0.0}
    recipe = dataclasses.replace(TINY, **still, view_modes={"random": 1.0})
    drawn = draw_set_like(likeness, molecule, recipe, 40)
    clean = drawn.clean * (drawn.clean > 0.02 * drawn.clean.amax((1, 2), keepdim=True))
    axis = torch.arange(32) - 16.0
    squared = (clean * (axis[:, None] ** 2 + axis**2)).sum((1, 2)) / clean.sum((1, 2))
    expected = 0.4 * 36.0**2 / torch.tensor([4.5, 6.0]) ** 2  # pixels
    ratio = squared[:, None] / expected
    assert ((ratio - 1).abs().min(1).values < 0.06).all()
    assert set((ratio - 1).abs().argmin(1).tolist()) == {0, 1}
    assert (drawn.abs_ctf == 1).all()


def test_ctfs_are_those_of_the_set(tmp_path):
    columns = {name: values.repeat(3) for name, values in draw_ctf(1).items()}
    write_particle_files(tmp_path / "set.star", np.zeros((3, 48, 48), np.float32), 3.0, columns)
    write_ball(tmp_path / "ball.mrc", 24.0)
    likeness = read_likeness(tmp_path / "set.star", 32)
    molecule = load_molecule_like(likeness, str(tmp_path / "ball.mrc"))
    recipe = dataclasses.replace(TINY, ctf_share=1.0, noise_only_share=0.0, snr=(1e8, 1e8))
    drawn = draw_set_like(likeness, molecule, recipe, 8)
    expected = compute_ctf(ctf_parameters(columns), 4.5, 32).abs()
    torch.testing.assert_close(drawn.abs_ctf, expected[:1].expand(8, -1, -1), atol=1e-4, rtol=0)
    # What is left of the molecule at each frequency, away from the constant that the background takes off.
    noisy, clean = torch.fft.rfft2(drawn.noisy).abs(), torch.fft.rfft2(drawn.clean).abs()
    strong = clean > 1e-2 * clean.amax((1, 2), keepdim=True)
    strong[:, 0, 0] = False
    kept = noisy[strong] / clean[strong]
    torch.testing.assert_close(kept, drawn.abs_ctf[strong], atol=0.02, rtol=0.02)
    assert kept.min() < 0.1
    again = draw_set_like(likeness, molecule, recipe, 8)
    assert torch.equal(again.noisy, drawn.noisy)


def test_molecules_too_wide_for_the_box_are_left_out_and_counted(tmp_path, capsys):
    widths = {seed: 2 * build_phantom(seed).radius() for seed in range(1, 5)}
    narrow = min(widths, key=widths.__getitem__)
    box = np.sort(list(widths.values()))[:2].mean()  # holds one of the four
    set_star = write_particle_files(
        tmp_path / "set.star", np.zeros((8, 48, 48), np.float32), box / 48
    )
    words = ["train", "phantom:1-4", "--like", str(set_star), "-o", str(tmp_path / "run")]
    words += ["--preset", "tiny", "--architecture", "dncnn", "--steps", "1", "--device", "cpu"]
    assert main([*words, "--json", str(tmp_path / "summary.json")]) == 0
    said = capsys.readouterr().out
    assert "3 of 4 molecules left out, too wide for the" in said
    assert "3 molecules left out" in said.splitlines()[-1]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["molecules"], summary["left_out"]) == (1, 3)
    card = json.loads((tmp_path / "run" / "model" / "model.json").read_text())["trained_on"]
    assert card["sources"] == [f"phantom:{narrow}"]


def test_bad_pairs_and_likenesses_are_one_line_and_leave_nothing(data, tmp_path, capsys):
    noisy, clean = str(data / "particles.star"), str(data / "clean.star")
    generator = np.random.default_rng(0)
    images = generator.standard_normal((240, 48, 48)).astype(np.float32)
    pixel_size = float(read_particles(noisy).pixel_size[0])
    few = str(write_particle_files(tmp_path / "few.star", images[:8], pixel_size))
    plain = str(write_particle_files(tmp_path / "plain.star", images, pixel_size))
    zero = str(write_particle_files(tmp_path / "zero.star", 0 * images, pixel_size))
    other = {"rlnRandomSubset": [1] * 240}
    halves = str(write_particle_files(tmp_path / "halves.star", images, pixel_size, other))
    state = {"polardenoiseCtfState": "corrected"}
    corrected = str(
        write_particle_files(
            tmp_path / "corrected.star", images, pixel_size, draw_ctf(240), optics=state
        )
    )
    near = str(write_particle_files(tmp_path / "near.star", images[:8], 0.5))
    for words, fragment in [
        (["--pairs", noisy, noisy], "carries its CTF"),
        (["--pairs", noisy, few], "8 rows"),
        (["--pairs", few, few], "half 1 has 4 particles"),
        (["--pairs", noisy, halves], "rlnRandomSubset is not"),
        (["--pairs", noisy, str(tmp_path / "missing.star")], "missing.star"),
        (["--pairs", corrected, plain], "CTF-corrected"),
        (["--pairs", noisy, zero], "zero everywhere"),
        (["--pairs", zero, plain], "240 images are blank"),
        (["--pairs", noisy, clean, "--like", noisy], "--like"),
        (["phantom:1", "--pairs", noisy, clean], "without SOURCEs"),
        (["--like", noisy], "SOURCE"),
        (["phantom:1", "--like", str(tmp_path / "missing.star")], "missing.star"),
        (["phantom:1", "--like", corrected], "CTF-corrected"),
        (["phantom:1", "--like", near], "phantom:1 (90 A): too wide for the 24 A box"),
    ]:
        assert main(["train", *words, "-o", str(tmp_path / "run"), "--preset", "tiny"]) == 2, words
        error = capsys.readouterr().err
        assert fragment in error
        assert error.count("\n") == 1
        assert not (tmp_path / "run").exists()


def test_a_map_without_voxel_size_has_no_true_size(data, tmp_path):
    write_ball(tmp_path / "ball.mrc", 24.0)
    with (tmp_path / "ball.mrc").open("r+b") as file:
        file.seek(40)
        file.write(bytes(12))  # the cell
    likeness = read_likeness(data / "particles.star", 32)
    with pytest.raises(InputError, match="no voxel size"):
        load_molecule_like(likeness, str(tmp_path / "ball.mrc"))


def test_noise_is_measured_on_noisy_images_only(prepared):
    """The truth keeps its own background: no mean was taken off."""
    rows = np.arange(20)
    corners = measure_background(prepared.clean.read(rows))
    assert float(corners.mean.abs().max()) < 0.1
    assert float(measure_background(prepared.noisy.read(rows)).mean.abs().max()) < 1e-5


@pytest.fixture(scope="module")
def crowded_pair(tmp_path_factory):
    """300 rows that show 100 images, many of which overlap, without halves of their own."""
    folder = tmp_path_factory.mktemp("crowded")
    generator = np.random.default_rng(0)
    image = np.repeat(np.arange(100), 3)
    x, y = generator.uniform(0, 400, (2, 100))[:, image]
    columns = {
        "rlnMicrographName": [f"m{one % 10}" for one in image],
        "rlnCoordinateX": x,
        "rlnCoordinateY": y,
        "rlnClassNumber": image % 3,
    }
    for name in ("noisy", "clean"):
        images = torch.randn(100, 32, 32, generator=torch.Generator().manual_seed(len(name)))
        write_particle_files(folder / f"{name}.star", images, 3.0)
        own = {"rlnImageName": [f"{one + 1}@{folder / name}.mrcs" for one in image], **columns}
        write_tables(folder / f"{name}.star", own, 3.0, 32, {"rlnMicrographPixelSize": 3.0})
    return read_pair(folder / "noisy.star", folder / "clean.star", 0)


def test_images_that_share_pixels_are_never_drawn_together(crowded_pair):
    pair = crowded_pair
    assert len(pair.shared) == 100
    assert np.array_equal(pair.halves[::3], pair.halves[2::3])
    training, held_out = hold_out(pair.halves, pair.shared, 3)
    rows = np.concatenate([*training.values(), *held_out.values()])
    assert sorted(rows.tolist()) == pair.shared.first_row.tolist()
    generator = np.random.default_rng(1)
    for _ in range(50):
        drawn = draw_rows(training[1], pair.classes, 8, generator, pair.shared)
        assert len(set(drawn.tolist())) == len(drawn) == 8
        assert pair.shared.mask(pair.shared.image_of_row[drawn]) is None


def test_micrographs_are_held_out_whole_where_boxes_overlap(crowded_pair):
    pair = crowded_pair
    training, held_out = hold_out(pair.halves, pair.shared, 3)
    for half in (1, 2):
        ours, theirs = (
            set(pair.shared.fold[pair.shared.image_of_row[rows[half]]].tolist())
            for rows in (training, held_out)
        )
        assert len(ours & theirs) <= 1  # the one that is cut


def test_a_pair_in_another_order_is_refused(data, tmp_path, capsys):
    lines = (data / "clean.star").read_text().splitlines()
    rows = [number for number, line in enumerate(lines) if "@" in line]
    lines[rows[0]], lines[rows[-1]] = lines[rows[-1]], lines[rows[0]]
    (tmp_path / "other.star").write_text("\n".join(lines) + "\n")
    words = ["train", "--pairs", str(data / "particles.star"), str(tmp_path / "other.star")]
    assert main([*words, "-o", str(tmp_path / "run"), "--steps", "1", "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert "row 1" in error
    assert "in another order" in error
    assert error.count("\n") == 1
