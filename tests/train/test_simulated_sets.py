"""Training sets: SNR, noise, CTF and views are what the recipe says; draws repeat."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.ctf import CtfParameters, compute_ctf
from polardenoise.engine.imaging.euler_angles import draw_orientations, matrices_from_angles
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.projections import prepare_volume, take_projections
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.train.optics import Optics, draw_ctf
from polardenoise.engine.train.recipe import TINY, Recipe, choose_recipe
from polardenoise.engine.train.set_draws import SetDraws, draw_set_orientations, draw_sets
from polardenoise.engine.train.simulated_sets import (
    draw_batch,
    draw_sets_of,
    load_molecule,
    project_sets,
    simulate_sets,
    stack_molecules,
)
from polardenoise.engine.train.sources import expand_sources

CPU = torch.device("cpu")
PLAIN = replace(TINY, ctf_share=0.0, shift_share=0.0, noise_only_share=0.0, snr=(0.05, 0.05))


@pytest.fixture(scope="module")
def densities():
    return [load_molecule(f"phantom:{seed}", 32, TINY.fill[1]) for seed in (5, 6)]


@pytest.fixture(scope="module")
def molecules(densities):
    return stack_molecules(densities, CPU)


def draw(molecules, recipe, images, seed, sets=1):
    shown = np.zeros(sets, dtype=np.int64)
    return draw_sets_of(molecules, shown, images, recipe, np.random.default_rng(seed))


def test_a_batch_is_projected_blurred_shifted_and_drowned_one_by_one(densities, molecules):
    """All sets at once give what the plain functions give image by image."""
    generator = np.random.default_rng(0)
    sets, images, box = 2, 3, 32
    shown = np.array([[0, 0, 1], [1, 1, 1]])
    angles = draw_orientations(6, generator)
    pixel_sizes = generator.uniform(3.0, 5.0, (sets, images))
    magnification = generator.uniform(0.5, 1.0, (sets, images))
    shifts = generator.uniform(-2, 2, (sets, images, 2))
    blur = np.array([0.0, 120.0])
    parameters = draw_ctf(sets, images, Recipe(), generator)
    abs_ctf = compute_ctf(parameters, torch.from_numpy(pixel_sizes.ravel()), box).abs()
    optics = Optics(pixel_sizes, magnification, abs_ctf.unflatten(0, (sets, images)))
    draws = SetDraws(
        molecules=shown,
        junk=np.array([[False, False, True], [False, False, False]]),
        matrices=matrices_from_angles(angles).unflatten(0, (sets, images)),
        blur=blur,
        shifts=shifts,
        snr=np.array([0.1, 1e6]),
        particle=np.array([[True, False, True], [True, True, True]]),
        colour=np.zeros(sets),
    )
    spectra = project_sets(molecules.stack, draws, optics)
    expected = torch.stack(
        [
            take_projections(
                prepare_volume(densities[shown.flat[row]].volume),
                angles[row : row + 1],
                torch.from_numpy(magnification.ravel()[row : row + 1]),
            )[0]
            for row in range(6)
        ]
    )
    expected = shift_images(expected, torch.from_numpy(shifts.reshape(6, 2)))
    frequency = torch.fft.fftfreq(box)[:, None] ** 2 + torch.fft.rfftfreq(box) ** 2
    decay = torch.from_numpy(np.repeat(blur, images) / 4 / pixel_sizes.ravel() ** 2)
    blurred = torch.fft.rfft2(expected) * torch.exp(-decay[:, None, None] * frequency)
    expected = torch.fft.irfft2(blurred, s=(box, box)).float()
    got = torch.fft.irfft2(spectra, s=(box, box)).flatten(0, 1)
    assert (got - expected).norm() < 1e-5 * expected.norm()

    batch = simulate_sets(molecules.stack, draws, optics, torch.Generator().manual_seed(0))
    assert not batch.clean[0, 1].any()
    seen = torch.fft.irfft2(torch.fft.rfft2(expected) * abs_ctf, s=(box, box))
    # At an SNR of a million the second set is its particles, all in one scale, on background 0.
    noisy, seen = batch.noisy[1], seen[3:]
    noisy, seen = (one - one.mean((1, 2), keepdim=True) for one in (noisy, seen))
    scale = (noisy * seen).sum((1, 2)) / seen.square().sum((1, 2))
    assert (noisy - scale[:, None, None] * seen).norm() < 5e-3 * noisy.norm()


def test_the_snr_is_that_of_the_definition(molecules):
    drawn = draw(molecules, replace(PLAIN, view_modes={"random": 1.0}), 200, 0)
    noise = drawn.noisy - drawn.clean
    assert abs(float(noise.var()) - 1) < 0.02
    assert abs(float(drawn.clean.square().mean()) / 0.05 - 1) < 0.1
    # Noise is independent of the signal.
    correlation = (noise * drawn.clean).sum() / (noise.norm() * drawn.clean.norm())
    assert abs(float(correlation)) < 0.02


def test_with_a_ctf_the_target_has_none(molecules):
    recipe = replace(PLAIN, ctf_share=1.0, snr=(100.0, 100.0))
    drawn = draw(molecules, recipe, 20, 1)
    plain = draw(molecules, replace(recipe, ctf_share=0.0), 20, 1)
    # The same clean images up to each one's scale (the SNR counts the CTF), seen through |CTF|.
    cosines = torch.cosine_similarity(drawn.clean.flatten(2), plain.clean.flatten(2), dim=-1)
    assert cosines.min() > 0.9999
    assert (plain.abs_ctf == 1).all()
    assert drawn.abs_ctf.min() < 0.1
    assert (drawn.noisy - drawn.clean).square().mean() > 5 * (
        plain.noisy - plain.clean
    ).square().mean()


def test_noise_only_images_and_sets_have_a_target_of_zero(molecules):
    drawn = draw(molecules, replace(PLAIN, noise_only_share=0.3), 40, 2, sets=30)
    empty = drawn.clean.flatten(2).norm(dim=2) == 0
    whole = empty.all(1)
    assert 3 <= int(whole.sum()) <= 16  # 9 of 30 are expected
    assert 0.2 < float(empty[~whole].float().mean()) < 0.4
    assert abs(float(drawn.noisy[empty].std()) - 1) < 0.02


def test_junk_is_other_molecules_with_the_power_of_the_set(molecules):
    recipe = replace(PLAIN, junk_share=0.4, view_modes={"random": 1.0})
    generator = np.random.default_rng(3)
    draws = draw_sets(np.array([0, 0, 1, 1]), 2, 100, recipe, generator)
    assert 0.3 < draws.junk.mean() < 0.5
    assert not draws.junk[:, 0].any()
    assert (
        draws.molecules[~draws.junk].reshape(-1)
        == np.repeat([0, 0, 1, 1], 100)[~draws.junk.ravel()]
    ).all()
    assert 0.4 < draws.molecules[draws.junk].mean() < 0.6  # either of the two
    sizes = np.full((4, 100), 5.0)
    optics = Optics(sizes, np.ones((4, 100)), torch.ones(4, 100, 32, 17))
    batch = simulate_sets(molecules.stack, draws, optics, torch.Generator().manual_seed(0))
    # In units of the measured noise, which is 1 within a few per cent.
    power = batch.clean.square().mean((-2, -1))
    junk = torch.from_numpy(draws.junk)
    assert (power[junk] / 0.05 - 1).abs().max() < 0.5
    assert abs(float(power[~junk].mean()) / 0.05 - 1) < 0.03
    assert power[~junk].std() > 1.5 * power[junk].std()  # one contrast for all views of a molecule


def test_coloured_noise_has_the_variance_of_white_and_no_white_spectrum(molecules):
    recipe = replace(PLAIN, coloured_share=1.0, noise_only_share=1.0)
    drawn = draw(molecules, recipe, 20, 4, sets=20)
    assert abs(float(drawn.noisy.var()) - 1) < 0.05
    power = torch.fft.rfft2(drawn.noisy).abs().square().mean((0, 1))
    low, high = power[1:3, 1:3].mean(), power[14:18, 12:].mean()
    assert low > 1.3 * high


def test_a_batch_depends_on_seed_and_step_only(molecules):
    first, again = (draw_batch(molecules, TINY, 7, 3) for _ in range(2))
    other = draw_batch(molecules, TINY, 7, 4)
    assert torch.equal(first.noisy, again.noisy)
    assert torch.equal(first.clean, again.clean)
    assert other.noisy.shape != first.noisy.shape or not torch.equal(other.noisy, first.noisy)


@pytest.mark.parametrize(("mode", "widest"), [("one", 1e-2), ("cone", 80.1)])
def test_views_stay_within_their_cone(mode, widest):
    matrices = draw_set_orientations(np.array([mode] * 20), 100, np.random.default_rng(3))
    directions = matrices[..., 2]  # viewing direction in the volume
    cosines = (directions @ directions.mT).clamp(-1, 1)
    apart = torch.rad2deg(torch.arccos(cosines)).amax((1, 2))
    # Half of the cones have strays, over the whole sphere.
    within = apart < widest
    assert within.all() if mode == "one" else 0.2 < float(within.float().mean()) < 0.8
    assert mode == "one" or apart.min() > 2
    # In-plane rotations are all over the circle.
    psi = torch.atan2(matrices[..., 2, 1], -matrices[..., 2, 0])
    assert float(torch.exp(1j * psi).mean().abs()) < 0.1


def test_few_views_are_few_and_random_views_are_many():
    modes = np.array(["few"] * 30 + ["random"])
    matrices = draw_set_orientations(modes, 120, np.random.default_rng(4))
    views = [len(torch.unique((one[:, :, 2] * 1e6).round(), dim=0)) for one in matrices]
    assert set(views[:30]) <= set(range(2, 9))
    assert len(set(views[:30])) > 4
    assert views[30] == 120
    determinants = torch.linalg.det(matrices)
    torch.testing.assert_close(determinants, torch.ones_like(determinants))


def test_ctfs_are_those_of_the_recipe():
    recipe = replace(Recipe(), microscopes=((120.0, 2.0), (200.0, 1.4)), phase_plate_share=0.5)
    drawn = draw_ctf(400, 4, recipe, np.random.default_rng(5))
    assert isinstance(drawn, CtfParameters)
    pairs = set(zip(drawn.voltage.tolist(), drawn.spherical_aberration.tolist(), strict=True))
    assert pairs == {(120.0, 2.0), (200.0, 1.4)}
    plate = drawn.phase_shift.reshape(400, 4)
    assert (plate == plate[:, :1]).all()
    assert 0.4 < float((plate[:, 0] > 0).double().mean()) < 0.6
    assert drawn.defocus_v.min() > 2_000
    assert (drawn.defocus_u >= drawn.defocus_v).all()


def test_nothing_is_trained_on_test_molecules(tmp_path):
    with pytest.raises(InputError, match="10000"):
        expand_sources(["phantom:9990-10000"])
    (tmp_path / "a.pdb").write_text("x")
    (tmp_path / "b.pdb").write_text("x")
    manifest = tmp_path / "MANIFEST.tsv"
    manifest.write_text("# a list\nfile\tsplit\na.pdb\ttrain\nb.pdb\ttest\n")
    assert expand_sources([str(manifest)]).training == (str(tmp_path / "a.pdb"),)
    with pytest.raises(InputError, match="is a test molecule"):
        expand_sources([str(tmp_path / "b.pdb")])
    with pytest.raises(InputError, match="no such file"):
        expand_sources([str(tmp_path / "c.pdb")])


def test_the_split_of_the_real_structures_is_kept(shared_data):
    manifest = shared_data / "structures" / "MANIFEST.tsv"
    sources = expand_sources([str(manifest)])
    names = {path.rsplit("/", 1)[-1][:4] for path in sources.training}
    assert not names & {"1u6g", "2cg9", "4yow", "5h64", "6bqn", "9be6"}
    assert {"1wcm", "9nhz"} <= names
    assert len(sources.validation) > 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "truncated"),
        ("[]", "object"),
        ('{"snrr": 1}', "snrr"),
        ('{"snr": 1}', "Expected `array`, got `int`"),
    ],
)
def test_a_bad_recipe_is_named(tmp_path, text, message):
    file = tmp_path / "recipe.json"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        choose_recipe("base", "polar-transformer", file)


def test_a_recipe_file_is_laid_over_the_preset(tmp_path):
    file = tmp_path / "recipe.json"
    file.write_text('{"snr": [0.1, 0.2], "learning_rate": 1}')
    recipe = choose_recipe("base", "polar-transformer", file)
    assert recipe == replace(Recipe(), snr=(0.1, 0.2), learning_rate=1)
