"""The shipped models do what their cards say, on molecules that none was trained on, by the users' commands."""

import csv
import json

import numpy as np
import pytest
import torch

from benchmarks.common.tables import round_cell
from polardenoise.engine.cli import main
from polardenoise.engine.evaluate.against_truth import relative_mse
from polardenoise.engine.imaging.rings import best_radial_filter
from polardenoise.engine.networks.checkpoint import (
    find_model,
    hash_file,
    list_shipped_models,
    load_model,
    read_card,
)
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.runtime.errors import InputError
from tests.places import REPOSITORY

PAIRS = {"base": "base-dncnn"}
MODELS = (*PAIRS, *PAIRS.values())

#: The error of base over its baseline's that was reached, by case of `benchmarks/studies/acceptance.py`: 0.5, 0.6 and
#: 0.75 were asked for.
REACHED = {"one view": 0.405, "views mixed": 0.577, "random views": 0.7}


def simulate(source, folder, *extra):
    arguments = ["simulate", source, "-o", str(folder), "--particles", "512", "--seed", "11"]
    assert main([*arguments, "--views", "8", "--snr", "0.05", *extra]) == 0
    return folder / "particles.star"


def denoise(particles, model, set_size=32):
    out = particles.with_name(f"{model}.star")
    arguments = ["denoise", str(particles), "-o", str(out), "--model", model, "--device", "cpu"]
    assert main([*arguments, "--group-by", "rlnClassNumber", "--set-size", str(set_size)]) == 0
    return images_of(out)


def images_of(star):
    return torch.from_numpy(read_images(read_particles(star), slice(None)))


@pytest.fixture(
    params=[
        "phantom:10007",
        pytest.param("4yow.pdb.gz", marks=pytest.mark.shared_data),
    ]
)
def unseen(request, tmp_path):
    """One-view sets of a molecule not trained on: 8 views, 32 a half, SNR 0.05, no CTF."""
    source = request.param
    if not source.startswith("phantom"):
        source = str(request.getfixturevalue("shared_data") / "structures" / source)
    return simulate(source, tmp_path, "--no-ctf")


@pytest.mark.long
def test_the_transformer_beats_filter_and_single_image_network(unseen):
    clean, noisy = images_of(unseen.with_name("clean.star")), images_of(unseen)
    radial = relative_mse(best_radial_filter(noisy, clean), clean)
    errors = {model: relative_mse(denoise(unseen, model), clean) for model in MODELS}
    print(f"radial filter {radial:.4f}", errors)
    for joint, single in PAIRS.items():
        assert errors[joint] <= 0.45 * radial
        assert errors[joint] <= 0.6 * errors[single]
        assert errors[single] < 0.95 * radial  # else it were no baseline


def test_base_has_half_of_the_error_of_its_peers_where_noise_is_fifty_times_the_signal(tmp_path):
    """Sets of 64 images of one view at SNR 0.02, no CTF, against the better of the DnCNN and the best radial filter."""
    few = ("--particles", "256", "--views", "2")
    particles = simulate("phantom:10011", tmp_path, "--no-ctf", *few, "--snr", "0.02")
    clean, noisy = images_of(tmp_path / "clean.star"), images_of(particles)
    errors = {
        model: relative_mse(denoise(particles, model, 64), clean)
        for model in ("base", "base-dncnn")
    }
    radial = relative_mse(best_radial_filter(noisy, clean), clean)
    print(f"radial filter {radial:.4f}", errors)
    assert errors["base"] <= 0.5 * min(radial, errors["base-dncnn"])


def test_noise_in_gives_almost_nothing_out(tmp_path):
    particles = simulate("phantom:10008", tmp_path, "--no-ctf")
    signal = images_of(tmp_path / "clean.star").square().mean()
    noise = np.random.default_rng(0).standard_normal((512, 64, 64)).astype(np.float32)
    write_stack(tmp_path / "particles.mrcs", noise, 3.0)
    assert denoise(particles, "base").square().mean() < 0.02 * signal


def test_an_estimate_with_ctf_is_close_to_the_clean_signal_with_ctf(tmp_path):
    particles = simulate("phantom:10009", tmp_path, "--ctf")
    out = tmp_path / "base.star"
    denoise(particles, "base")
    summary = tmp_path / "evaluate.json"
    truth = str(tmp_path / "clean.star")
    assert main(["evaluate", str(out), "--truth", truth, "--json", str(summary)]) == 0
    figures = json.loads(summary.read_text())
    assert figures["relative_mse"] < 0.02 * figures["relative_mse_noisy"]


@pytest.mark.parametrize("name", MODELS)
def test_a_card_states_what_the_model_was_trained_on(name):
    folder = find_model(name)
    card = read_card(folder)
    assert card.name == name
    assert card.weights_sha256 == hash_file(folder / "weights.safetensors")
    trained = card.trained_on
    assert trained["steps"] > 0
    assert trained["minutes"] > 0
    assert card.figures["one_view_sets"]["command"].startswith("python -m benchmarks ")
    sources = [source[:4] for source in trained["sources"]]
    assert not set(sources) & {"1u6g", "2cg9", "4yow", "5h64", "6bqn", "9be6"}
    phantoms = [source for source in trained["sources"] if source.startswith("phantom:")]
    assert all(int(source.removeprefix("phantom:")) < 10_000 for source in phantoms)
    text = (folder / "CARD.rst").read_text()
    for stated in (card.weights_sha256, str(trained["steps"]), *sources[-3:]):
        assert stated in text
    if name == "base":
        assert all(f"{value:.1e}" in text for value in card.noise_energy.values())
        assert set(card.noise_energy) == {"none", "ctf"}


def test_the_page_of_results_says_how_long_each_model_was_trained():
    text = (REPOSITORY / "docs" / "results.rst").read_text()
    minutes = {name: read_card(find_model(name)).trained_on["minutes"] for name in MODELS}
    assert f"``base-dncnn`` for {minutes['base-dncnn']:.0f} minutes" in text
    assert f"{read_card(find_model('base')).trained_on['steps']:,} steps" in text


def test_models_lists_them(capsys):
    assert main(["models"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert set(MODELS) <= set(names)
    assert set(names) == set(list_shipped_models())


def state_format(folder, value):
    facts = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(facts | {"format": value}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.json").write_text("{"), "not a model description"),
        (lambda folder: state_format(folder, "x"), "later polardenoise"),
        (lambda folder: state_format(folder, 2), "later polardenoise"),
        (lambda folder: (folder / "weights.safetensors").unlink(), "is missing"),
        (lambda folder: (folder / "weights.safetensors").write_bytes(b"x" * 100), "does not match"),
    ],
)
def test_a_damaged_model_is_named(tmp_path, damage, message):
    source = find_model("base-dncnn")
    for name in ("model.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    assert load_model(str(tmp_path))[1].name == "base-dncnn"
    damage(tmp_path)
    with pytest.raises(InputError, match=message):
        load_model(str(tmp_path))


def test_base_does_what_is_asked_of_it_in_the_committed_table():
    """As `benchmarks/studies/acceptance.py` measured it, on the mean of the molecules of each case."""
    with (REPOSITORY / "benchmarks" / "results" / "base_bars.csv").open(newline="") as stream:
        means = {row["case"]: row for row in csv.DictReader(stream) if row["molecule"] == "mean"}
    assert set(means) == set(REACHED)
    for row in means.values():
        baseline = float(row["DnCNN"])
        if row["case"] != "random views":
            baseline = min(baseline, float(row["radial filter"]))
        ratio = float(row["polar transformer"]) / baseline
        assert ratio == pytest.approx(float(row["over baseline"]), abs=2e-3)
        assert ratio <= REACHED[row["case"]]
        met = ratio <= float(row["asked for"]) and int(row["gap closed"][:-2] or 100) >= 80
        assert row["met"] == ("yes" if met else "no")


def test_the_figures_of_cards_are_those_of_the_committed_table_that_the_page_of_results_shows():
    table = REPOSITORY / "benchmarks" / "results" / "one_view_sets"
    page = (REPOSITORY / "docs" / "results.rst").read_text()
    for name in ("one_view_sets.rst", "random_views.rst", "base_bars_means.rst"):
        assert f".. include:: ../benchmarks/results/{name}\n" in page
        assert table.with_name(name).is_file()
    with table.with_suffix(".csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    mean = next(row for row in rows if row["molecule"] == "mean" and row["CTF"] == "no")
    for name in MODELS:
        stated = read_card(find_model(name)).figures["one_view_sets"]
        assert stated["relative_mse_no_ctf"] == float(mean[name])
        text = (find_model(name) / "CARD.rst").read_text()
        assert all(f"- {round_cell(row[name])}\n" in text for row in rows)
