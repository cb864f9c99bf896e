"""Training sets: SNR, noise, CTF and views are what the recipe says; draws repeat."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from polardenoise.engine.errors import InputError
from polardenoise.engine.orientations import matrices_from_angles
from polardenoise.engine.recipe import TINY, Recipe, choose_recipe
from polardenoise.engine.training_data import draw_batch, draw_set, draw_set_angles, load_molecule
from polardenoise.engine.training_sources import expand_sources

PLAIN = replace(TINY, ctf_share=0.0, shift_share=0.0, noise_only_share=0.0, snr=(0.05, 0.05))


@pytest.fixture(scope="module")
def molecule():
    return load_molecule("phantom:5", 32, TINY.fill[1])


def test_the_snr_is_that_of_the_definition(molecule):
    drawn = draw_set(molecule, PLAIN, 32, 200, "random", np.random.default_rng(0))
    noise = drawn.noisy - drawn.clean
    assert abs(float(noise.var()) - 1) < 0.02
    assert abs(float(drawn.clean.square().mean()) / 0.05 - 1) < 0.1
    # Noise is independent of the signal.
    correlation = (noise * drawn.clean).sum() / (noise.norm() * drawn.clean.norm())
    assert abs(float(correlation)) < 0.02


def test_with_a_ctf_the_target_has_none(molecule):
    recipe = replace(PLAIN, ctf_share=1.0, snr=(100.0, 100.0))
    drawn = draw_set(molecule, recipe, 32, 20, "random", np.random.default_rng(1))
    plain = draw_set(
        molecule, replace(recipe, ctf_share=0.0), 32, 20, "random", np.random.default_rng(1)
    )
    # The same clean images up to each one's scale (the SNR counts the CTF), seen through |CTF|.
    cosines = torch.cosine_similarity(drawn.clean.flatten(1), plain.clean.flatten(1))
    assert cosines.min() > 0.9999
    assert (drawn.noisy - drawn.clean).square().mean() > 5 * (
        plain.noisy - plain.clean
    ).square().mean()


def test_noise_only_images_and_sets_have_a_target_of_zero(molecule):
    recipe = replace(PLAIN, noise_only_share=0.3)
    generator = np.random.default_rng(2)
    sets = [draw_set(molecule, recipe, 32, 40, "one", generator) for _ in range(30)]
    empty = torch.stack([drawn.clean.flatten(1).norm(dim=1) == 0 for drawn in sets])
    whole = empty.all(1)
    assert 3 <= int(whole.sum()) <= 16  # 9 of 30 are expected
    assert 0.2 < float(empty[~whole].float().mean()) < 0.4
    noise = torch.stack([drawn.noisy for drawn in sets])[empty]
    assert abs(float(noise.std()) - 1) < 0.02


def test_a_batch_depends_on_seed_and_step_only(molecule):
    first, again = (draw_batch([molecule], TINY, 32, 7, 3) for _ in range(2))
    other = draw_batch([molecule], TINY, 32, 7, 4)
    assert torch.equal(first.noisy, again.noisy)
    assert torch.equal(first.clean, again.clean)
    assert other.noisy.shape != first.noisy.shape or not torch.equal(other.noisy, first.noisy)


@pytest.mark.parametrize(("mode", "widest"), [("one", 1e-4), ("cone", 40.1)])
def test_views_stay_within_their_cone(mode, widest):
    angles = draw_set_angles(mode, 300, np.random.default_rng(3))
    directions = matrices_from_angles(angles)[..., :, 2]  # viewing direction in the volume
    cosines = (directions @ directions.T).clamp(-1, 1)
    assert float(torch.rad2deg(torch.arccos(cosines)).max()) < max(widest, 1e-2)
    if mode == "cone":
        assert float(torch.rad2deg(torch.arccos(cosines)).max()) > 2
    assert float(angles[:, 2].std()) > 80  # in-plane rotations all over the circle


def test_few_views_are_few():
    angles = draw_set_angles("few", 300, np.random.default_rng(4))
    assert 2 <= len(torch.unique(angles[:, :2], dim=0)) <= 8


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
        ("{", "line 1"),
        ("[]", "object"),
        ('{"snrr": 1}', "snrr"),
        ('{"snr": 1}', "should look like"),
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
