"""The rows of the ablation table: each is the network that it says, and the table comes out of what was trained."""

import csv
import json
import math
from dataclasses import replace

import pytest
import torch

from polardenoise.engine.networks.polar_transformer import PolarTransformerConfig
from tests.places import BENCHMARKS
from tests.smooth_images import draw_smooth_images, relative_norm

CONFIG = PolarTransformerConfig(
    box=32, rings=16, angles=64, hidden=16, query=8, value=16, before=2, after=2, passes=1
)


@pytest.fixture(scope="module")
def ablations():
    """Import the scripts from where they lie."""
    from benchmarks.studies import ablations

    return ablations


def list_rows():
    return [
        "polar-transformer", "no-rotation-search", "plane-convolutions", "bilinear-map", "bare-adjoint",
        "two-blocks", "three-blocks", "no-raw-values", "dot-product", "supervised", "phase-flip-only",
        "ctf-weighted", "fourier-polar",
    ]  # fmt: skip


def test_every_row_is_listed_here(ablations):
    assert list(ablations.ROWS) == list_rows()


@pytest.mark.parametrize("name", list_rows())
def test_every_row_turns_with_its_input_and_keeps_sets_apart(ablations, name):
    torch.manual_seed(0)
    model = ablations.ROWS[name].build(CONFIG).eval()
    images = torch.randn(2, 4, 32, 32)
    images[..., 0, :], images[..., :, 0] = 0, 0
    ctf_rings = torch.rand(2, 4, 16)
    with torch.inference_mode():
        given = model(images, ctf_rings)
        turned = torch.zeros_like(images)
        turned[..., 1:, 1:] = images[..., 1:, 1:].flip(-2).transpose(-1, -2)
        expected = torch.zeros_like(given)
        expected[..., 1:, 1:] = given[..., 1:, 1:].flip(-2).transpose(-1, -2)
        assert relative_norm(model(turned, ctf_rings) - expected, expected) < 1e-5
        alone = torch.cat(
            [model(*one) for one in zip(images[:, None], ctf_rings[:, None], strict=True)]
        )
        assert relative_norm(alone - given, given) < 1e-5


def test_only_without_rotation_search_does_a_turned_copy_change_what_is_gathered(ablations):
    """Turning one image of a set changes nothing for the others, unless rotations are not searched."""
    images = torch.randn(1, 6, 32, 32)
    images[..., 0, :], images[..., :, 0] = 0, 0
    one_turned = images.clone()
    one_turned[0, 0, 1:, 1:] = images[0, 0, 1:, 1:].flip(-2).transpose(-1, -2)
    change = {}
    for name in ("polar-transformer", "no-rotation-search"):
        torch.manual_seed(1)
        model = ablations.ROWS[name].build(CONFIG).eval()
        with torch.inference_mode():
            before, after = model(images)[0, 1:], model(one_turned)[0, 1:]
        change[name] = relative_norm(after - before, before)
    assert change["polar-transformer"] < 1e-5
    assert change["no-rotation-search"] > 1e-3


def test_the_fourier_grid_turns_inverts_and_keeps_white_noise_white(ablations):
    grid = ablations.networks.FourierGrid(32, 16, 64, 1e-3)
    images, rotated = draw_smooth_images(4, seed=2, box=32, rotation=2 * math.pi * 5 / 64)
    images, rotated = images.float(), rotated.float()
    polar = grid.to_polar(images)
    assert relative_norm(grid.to_polar(rotated) - polar.roll(5, -1), polar) < 1e-3
    assert relative_norm(grid.to_images(polar) - images, images) < 0.02
    assert relative_norm(grid.truncate(polar) - polar, polar) < 1e-2
    noise = torch.randn(400, 32, 32, generator=torch.Generator().manual_seed(3))
    assert grid.to_polar(noise).square().mean() == pytest.approx(1.0, rel=0.02)


def test_supervision_knows_who_and_at_which_rotation(ablations):
    """Copies of two images at known turns: logits on the true pairs and turns cost next to nothing."""
    from benchmarks.studies.attention_supervision import cross_entropy

    generator = torch.Generator().manual_seed(4)
    two = torch.randn(2, 16, 64, generator=generator)
    shows, turns = [0, 1, 0, 1], [0, 3, 10, 40]
    clean = torch.stack([two[view].roll(turn, -1) for view, turn in zip(shows, turns, strict=True)])
    right = torch.full((1, 4, 4, 64), -10.0)
    for i in range(4):
        for j in range(4):
            if shows[i] == shows[j]:
                right[0, i, j, (turns[i] - turns[j]) % 64] = 10.0
    even = torch.zeros(1, 4, 4, 64)
    assert cross_entropy(right, clean[None]) < 1e-3
    # Three other images at 64 turns each, one of which is right.
    assert cross_entropy(even, clean[None]) == pytest.approx(math.log(3 * 64), rel=1e-4)
    assert cross_entropy(right.roll(7, -1), clean[None]) > 15


def test_the_table_comes_from_trainings_that_are_not_repeated(ablations, tmp_path, monkeypatch):
    monkeypatch.setattr(ablations, "SIZES", CONFIG)
    monkeypatch.setattr(ablations, "TRAINED_ON", ("phantom:1",))
    monkeypatch.setattr(ablations, "TESTED_ON", ("phantom:10001",))
    small = replace(ablations.RECIPE, images_per_step=16, images_per_set=(8,))
    monkeypatch.setattr(ablations, "RECIPE", small)
    sources = ("phantom:9990", "phantom:9991", "phantom:1", "phantom:10001")
    monkeypatch.setattr(ablations, "find_molecules", lambda: sources)
    words = ["-o", str(tmp_path), "--keep", str(tmp_path / "kept")]
    words += ["--steps", "2", "--rows", "polar-transformer", "supervised"]
    ablations.main(words)
    rows = list(csv.DictReader((tmp_path / "ablations.csv").open()))
    assert [row["seeds"] for row in rows] == ["", "2", "2"]
    kept = {path: json.loads(path.read_text()) for path in (tmp_path / "kept").glob("*.json")}
    assert len(kept) == 4
    both = [one for one in kept.values() if one["row"] == "supervised"]
    mean = sum(one["one view"] for one in both) / 2
    spread = abs(both[0]["one view"] - both[1]["one view"]) / 2
    assert rows[2]["one view"] == f"{mean:.4f} ± {spread:.4f}"
    assert {one["images"] for one in kept.values()} == {32}

    def refuse(*arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr(ablations, "train_row", refuse)
    before = (tmp_path / "ablations.csv").read_text()
    ablations.main(words)
    assert (tmp_path / "ablations.csv").read_text() == before


def test_the_committed_table_is_that_of_the_committed_runs(ablations):
    """Every row, with two seeds and the same images."""
    results = BENCHMARKS / "results"
    runs = json.loads((results / "ablations.json").read_text())["runs"]
    assert sorted({(run["row"], run["seed"]) for run in runs}) == sorted(
        (name, seed) for name in list_rows() for seed in (0, 1)
    )
    assert len({run["images"] for run in runs}) == 1
    with (results / "ablations.csv").open(newline="") as stream:
        committed = list(csv.DictReader(stream))
    assert committed[1:] == ablations.tabulate(runs, dict.fromkeys(ablations.CONDITIONS, 0.0))[1:]
