"""`adapt`: numbers of each half from its own pixels, gates that refuse, and `denoise` with the half's own numbers."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from polardenoise.engine.adapt import half as of_half
from polardenoise.engine.adapt import pipeline
from polardenoise.engine.adapt.gates import Behaviour, judge
from polardenoise.engine.cli import main
from polardenoise.engine.networks.adapted_numbers import HalfNumbers, name_tensors
from polardenoise.engine.networks.checkpoint import load_model, load_model_of_halves, save_model
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_set import read_particles
from tests.denoise_files import denoise, images_of, save_tiny_model

COUNT = 240


def adapt(source="set/particles.star", *extra, output="out", model="model"):
    words = ["adapt", str(source), "-o", str(output), "--model", str(model), "--device", "cpu"]
    return main([*words, *extra])


def shorten(patch):
    """No other K than 32 is tried, and less noise: seconds instead of a minute."""
    patch.setattr(of_half, "SET_SIZES", ())
    patch.setattr(of_half, "NOISE_IMAGES", 32)
    patch.setattr(of_half, "EPOCHS", 8)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A simulated set, an untrained model, whose numbers can only become better, and the model adapted to the set."""
    folder = tmp_path_factory.mktemp("made")
    save_tiny_model(folder / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shorten(patch)
        words = ["--box", "32", "--particles", str(COUNT), "--snr", "1", "--no-ctf"]
        assert main(["simulate", "phantom:3", "-o", "set", *words]) == 0
        assert adapt() == 0
    return folder


@pytest.fixture
def work(made, tmp_path, monkeypatch):
    folder = shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(folder)
    shorten(monkeypatch)
    return folder


def read_error(star):
    assert main(["evaluate", star, "--truth", "set/clean.star", "--json", "error.json"]) == 0
    with open("error.json") as file:
        return json.load(file)["relative_mse"]


def test_what_is_adapted_denoises_better(work):
    summary = json.loads((work / "out" / "summary.json").read_text())
    assert summary["adapted"]
    assert summary["halves_from"] == "rlnRandomSubset"
    card = json.loads((work / "out" / "model" / "model.json").read_text())
    assert card["adapted"]["star_sha256"] == summary["star_sha256"]
    assert card["adapted"]["base"]["weights_sha256"] == load_model("model")[1].weights_sha256
    assert [one["images"] for one in card["adapted"]["halves"].values()] == [COUNT // 2] * 2
    for half in summary["halves"].values():
        gates = half["gates"]
        assert half["taken"]
        assert gates["gain"] > 2 * gates["gain_error"]
        assert gates["noise_after"] <= 0.01
        assert gates["residual_change"] <= 0.05
    assert denoise("model", source="set/particles.star", output="before.star") == 0
    assert denoise("out/model", source="set/particles.star", output="after.star") == 0
    gained = 1 - read_error("after.star") / read_error("before.star")
    # The images held out say by how much, although nobody told them the truth.
    told = np.mean([half["gates"]["error_share"] for half in summary["halves"].values()])
    assert gained > 0.03
    # They are denoised in sets, as they are; mirrored neighbours gain by it too.
    assert told - 0.015 < gained < told + 0.04


def test_a_half_is_told_nothing_of_the_other(work):
    """Byte for byte, whatever the other half's pixels are."""
    first = load_file("out/model/weights.safetensors")
    subset = read_particles("set/particles.star").random_subset
    images, pixel_size = images_of("set/particles.star").numpy(), 3.0
    images[subset == 2] = np.random.default_rng(0).permutation(images[subset == 2])[:, ::-1] * 1.5
    write_stack("set/particles.mrcs", images, pixel_size)
    assert adapt(output="again") == 0
    second = load_file("again/model/weights.safetensors")
    own = [name for name in first if name.startswith("half1.")]
    assert own
    assert all(torch.equal(first[name], second[name]) for name in own)
    assert not torch.equal(first["half2.images"], second["half2.images"])


def test_each_half_is_denoised_by_its_own_numbers(work):
    network, card, known = load_model_of_halves("out/model")
    changed = {name: value + 0.1 for name, value in known[2].numbers.items()}
    tensors = name_tensors(1, known[1]) | name_tensors(2, HalfNumbers(changed, known[2].digests))
    save_model(work / "other", network, card, tensors)
    assert denoise("out/model", source="set/particles.star", output="a.star") == 0
    assert denoise("other", source="set/particles.star", output="b.star") == 0
    one, two = images_of("a.star"), images_of("b.star")
    first = torch.from_numpy(read_particles("set/particles.star").random_subset == 1)
    assert torch.equal(one[first], two[first])
    assert not torch.isclose(one[~first], two[~first]).all((1, 2)).any()


def test_an_image_that_has_changed_halves_is_refused(work, capsys):
    text = (work / "set" / "particles.star").read_text()
    particles = read_particles("set/particles.star")
    place = particles.table.labels.index("rlnRandomSubset")
    lines = text.splitlines()
    rows = [number for number, line in enumerate(lines) if "@" in line]
    for number in rows:
        words = lines[number].split()
        words[place] = str(3 - int(words[place]))
        lines[number] = " ".join(words)
    (work / "set" / "turned.star").write_text("\n".join(lines) + "\n")
    assert denoise("out/model", source="set/turned.star") == 2
    error = capsys.readouterr().err
    assert "row 1 is in half" in error
    assert error.count("\n") == 1
    assert not (work / "out.star").exists()


def test_halves_that_are_drawn_agree_with_those_of_denoise(work, capsys):
    particles = read_particles("set/particles.star")
    place = particles.table.labels.index("rlnRandomSubset")
    kept = []
    for line in (work / "set" / "particles.star").read_text().splitlines():
        if line.startswith("_rln"):
            name = line.split()[0]
            if name == "_rlnRandomSubset":
                continue
        words = line.split()
        kept.append(" ".join(words[:place] + words[place + 1 :]) if "@" in line else line)
    (work / "set" / "whole.star").write_text("\n".join(kept) + "\n")
    assert adapt("set/whole.star", "--seed", "5", output="drawn") == 0
    capsys.readouterr()
    assert denoise("drawn/model", "--seed", "5", source="set/whole.star", output="a.star") == 0
    assert "other particles" not in capsys.readouterr().out
    known = load_model_of_halves("drawn/model")[2]
    halves = read_particles("a.star").random_subset
    assert [len(known[half].digests) for half in (1, 2)] == np.bincount(halves)[1:].tolist()
    assert denoise("drawn/model", "--seed", "6", source="set/whole.star", output="b.star") == 2
    assert "--seed" in capsys.readouterr().err


def test_other_particles_are_told(work, capsys):
    words = ["--box", "32", "--particles", "60", "--snr", "0.3", "--no-ctf", "--seed", "9"]
    assert main(["simulate", "phantom:3", "-o", "others", *words]) == 0
    capsys.readouterr()
    assert denoise("out/model", source="others/particles.star") == 0
    assert "adapted to other particles (particles.star): 60 of 60" in capsys.readouterr().out


def test_noise_is_refused_and_the_model_stays(work, capsys):
    noise = np.random.default_rng(1).standard_normal((COUNT, 32, 32)).astype(np.float32)
    write_stack("set/particles.mrcs", noise, 3.0)
    assert adapt(output="noise") == 0
    assert "NOT ADAPTED" in capsys.readouterr().out
    summary = json.loads((work / "noise" / "summary.json").read_text())
    assert not summary["adapted"]
    for name in ("model.json", "weights.safetensors"):
        assert (work / "noise" / "model" / name).read_bytes() == (
            work / "model" / name
        ).read_bytes()
    assert sorted(path.name for path in (work / "noise").iterdir()) == ["model", "summary.json"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--minutes", "0"), "--minutes 0"),
        (("--model", "base-dncnn"), "is a dncnn"),
        (("--model", "out/model"), "was adapted already"),
        (("--half-frames", "set/particles.star"), "names the stack of"),
        (("--half-frames", "set/missing.star"), "missing.star"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_line(work, capsys, words, said):
    assert adapt("set/particles.star", *words, output="refused") == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (work / "refused").exists()


def test_few_particles_are_refused(work, capsys):
    words = ["--box", "32", "--particles", "60", "--snr", "0.3", "--no-ctf"]
    assert main(["simulate", "phantom:3", "-o", "few", *words]) == 0
    assert adapt("few/particles.star", output="refused") == 2
    assert "at least 100 are needed" in capsys.readouterr().err


def test_adapted_halves_are_not_ignored(work, capsys):
    assert denoise("out/model", "--ignore-halves", source="set/particles.star") == 2
    assert "--ignore-halves" in capsys.readouterr().err


def test_a_card_that_counts_other_images_is_refused(work, capsys):
    path = work / "out" / "model" / "model.json"
    card = json.loads(path.read_text())
    card["adapted"]["halves"]["1"]["images"] += 1
    path.write_text(json.dumps(card))
    assert denoise("out/model", source="set/particles.star") == 2
    assert "half1.images" in capsys.readouterr().err


def test_more_noise_than_before_is_told_in_figures_that_differ():
    """As shares of a particle's energy, as the summary has them, with the digits that show the difference."""

    def behave(loss, noise, particles):
        losses = loss + 0.001 * torch.arange(10)
        return Behaviour(losses, noise, 1e-4, particles, torch.ones(16))

    verdict = judge(behave(2.0, 2.4e-4, 0.1), behave(1.0, 2.401e-4, 0.2), 1.0)
    assert verdict.refusals == (
        "more of white noise comes out than before: 0.2400% before, 0.2401% now, of the energy that a particle had "
        "before",
    )
    assert verdict.noise_before == pytest.approx(0.002400)
    assert verdict.noise_after * verdict.particle_energy == pytest.approx(0.002401)


def test_minutes_that_do_not_suffice_are_told_with_those_that_would(work):
    assert adapt("set/particles.star", "--minutes", "0.001", output="short") == 0
    halves = json.loads((work / "short" / "summary.json").read_text())["halves"].values()
    told = [one["gates"]["refusals"][0] for one in halves]
    assert all("about --minutes" in one for one in told)
    enough = max(float(one.split("--minutes ")[1].split(",")[0]) for one in told)
    assert enough > 0.001
    assert adapt("set/particles.star", "--minutes", str(2 * enough), output="long") == 0
    assert json.loads((work / "long" / "summary.json").read_text())["adapted"]


def test_what_is_interrupted_leaves_no_folder_and_says_so(work, capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "adapt_half", stop)
    (work / "mine").mkdir()
    for output in ("new/deep", "mine"):
        capsys.readouterr()
        assert adapt(output=output) == 130
        assert capsys.readouterr().err == "polardenoise adapt: interrupted; nothing is kept\n"
    assert not (work / "new").exists()
    assert list((work / "mine").iterdir()) == []
    kept = (work / "out" / "summary.json").read_bytes()
    assert adapt() == 130
    assert (work / "out" / "summary.json").read_bytes() == kept
