"""Training learns, stops, and goes on where it was killed as if nothing had happened."""

import csv
import json
import shutil

import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.networks.checkpoint import find_model, load_model, read_card
from polardenoise.engine.networks.registry import ARCHITECTURES, build_model, is_joint
from polardenoise.engine.train.loop import start_training
from polardenoise.engine.train.recipe import TINY
from polardenoise.engine.train.resume_state import save_resume_state

ARGUMENTS = [
    "train",
    "phantom:1",
    "phantom:2",
    "--preset",
    "tiny",
    "--seed",
    "3",
    "--device",
    "cpu",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Twelve steps in one go."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main([*ARGUMENTS, "-o", str(folder), "--steps", "12", "--json", f"{folder}.json"]) == 0
    return folder


def test_the_folder_holds_what_the_contract_says(trained):
    for name in ("model/model.json", "model/weights.safetensors", "history.csv", "history.png"):
        assert (trained / name).stat().st_size > 0
    card = json.loads((trained / "model" / "model.json").read_text())
    assert card["trained_on"]["sources"] == ["phantom:1", "phantom:2"]
    assert card["trained_on"]["steps"] == 12
    summary = json.loads(trained.with_suffix(".json").read_text())
    assert summary["steps"] == 12
    with (trained / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[-1]["step"] == "12"
    assert float(rows[-1]["validation_relative_mse"]) == summary["validation_relative_mse"]


def test_a_resumed_training_is_the_uninterrupted_one(trained, tmp_path, monkeypatch):
    """Stop by an exception in the middle, after a checkpoint at every step."""
    from polardenoise.engine.train import loop as train_module
    from polardenoise.engine.train import run as training_run

    folder = tmp_path / "run"
    original = train_module.take_step

    def interrupt_at_step_seven(state, *others):
        if state.step == 7:
            raise KeyboardInterrupt
        return original(state, *others)

    eager = train_module.train

    def report_every_step(*arguments, **named):
        return eager(*arguments, **named, seconds_between_checkpoints=0.0)

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "take_step", interrupt_at_step_seven)
        patch.setattr(training_run, "train", report_every_step)
        assert main([*ARGUMENTS, "-o", str(folder), "--steps", "12"]) == 130
    assert main([*ARGUMENTS, "-o", str(folder), "--steps", "12", "--resume"]) == 0
    resumed, whole = load_model(str(folder))[0], load_model(str(trained))[0]
    for (name, one), other in zip(
        resumed.state_dict().items(), whole.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name
    with (folder / "history.csv").open() as stream:
        steps = [int(row["step"]) for row in csv.DictReader(stream)]
    assert steps == sorted(set(steps))
    assert steps[-1] == 12


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_learns(tmp_path, architecture):
    arguments = [
        "train",
        "phantom:1",
        "-o",
        str(tmp_path / "run"),
        "--preset",
        "tiny",
        "--seed",
        "1",
    ]
    assert main([*arguments, "--architecture", architecture, "--steps", "50"]) == 0
    with (tmp_path / "run" / "history.csv").open() as stream:
        error = float(list(csv.DictReader(stream))[-1]["validation_relative_mse"])
    assert error < 0.85  # returning zero has 1.0
    noise_energy = load_model(str(tmp_path / "run"))[1].noise_energy
    assert set(noise_energy) == ({"none", "ctf"} if is_joint(architecture) else set())
    assert all(0 < energy < 0.2 for energy in noise_energy.values())


def test_a_paused_training_goes_on(tmp_path):
    """A run's own time is up between two steps; nothing of it is lost."""
    folder, summary = tmp_path / "run", tmp_path / "summary.json"
    command = [*ARGUMENTS, "-o", str(folder), "--json", str(summary), "--steps", "6"]
    assert main([*command, "--pause-after", "1e-9"]) == 0
    assert json.loads(summary.read_text())["paused"]
    assert load_model(str(folder))[1].noise_energy == {}  # measured at the end
    assert json.loads((folder / "resume" / "state.json").read_text())["step"] == 0
    assert main([*command, "--pause-after", "60", "--resume"]) == 0
    ended = json.loads(summary.read_text())
    assert ended["steps"] == 6
    assert not ended["paused"]
    assert load_model(str(folder))[1].noise_energy["none"] > 0


def test_training_goes_on_from_a_model(trained, tmp_path):
    more = [*ARGUMENTS, "-o", str(tmp_path / "more"), "--steps", "1", "--init", str(trained)]
    assert main(more) == 0
    before, after = load_model(str(trained))[0], load_model(str(tmp_path / "more"))[0]
    change = max(
        float((one - other).detach().abs().max())
        for one, other in zip(before.parameters(), after.parameters(), strict=True)
    )
    assert 0 < change < 0.01


def test_a_training_is_of_the_architecture_of_base_unless_told_otherwise(trained):
    assert load_model(str(trained))[1].architecture == read_card(find_model("base")).architecture
    assert load_model(str(trained))[0].config.passes == load_model("base")[0].config.passes


def test_a_start_says_of_which_architecture_the_training_is(tmp_path, capsys):
    """`--init` alone: its architecture and its sizes; another architecture beside it is refused."""
    start = [*ARGUMENTS, "-o", str(tmp_path / "start"), "--architecture", "polar-cnn"]
    recipe = tmp_path / "recipe.json"
    recipe.write_text(
        '{"sizes": {"box": 32, "rings": 16, "angles": 64, "hidden": 16, "blocks": 2}}'
    )
    assert main([*start, "--recipe", str(recipe), "--steps", "1"]) == 0
    begin = [*ARGUMENTS, "--init", str(tmp_path / "start")]
    assert main([*begin, "-o", str(tmp_path / "more"), "--steps", "1"]) == 0
    model, card = load_model(str(tmp_path / "more"))
    assert card.architecture == "polar-cnn"
    assert model.config.hidden == 16
    capsys.readouterr()
    more = [*begin, "-o", str(tmp_path / "other")]
    assert main([*more, "--architecture", "dncnn", "--steps", "1"]) == 2
    assert "is a polar-cnn; leave --architecture dncnn out" in capsys.readouterr().err
    recipe.write_text('{"sizes": {"hidden": 24}}')
    assert main([*more, "--recipe", str(recipe), "--steps", "1"]) == 2
    error = capsys.readouterr().err
    assert f"no polar-cnn can start from {tmp_path / 'start'}" in error
    assert error.count("\n") == 1


def test_a_resumed_training_keeps_its_precision(tmp_path, monkeypatch):
    """Begun where bfloat16 is fast, gone on with where it is not: what it computes in stays, and stands in the card."""
    recipe = tmp_path / "recipe.json"
    recipe.write_text('{"precision": "bfloat16"}')
    command = [*ARGUMENTS, "-o", str(tmp_path / "run"), "--recipe", str(recipe), "--steps", "2"]
    command += ["--architecture", "polar-cnn"]
    choose = "polardenoise.engine.train.loop.choose_precision"
    with monkeypatch.context() as patch:
        patch.setattr(choose, lambda device, name: torch.bfloat16)
        assert main([*command, "--pause-after", "1e-9"]) == 0
    monkeypatch.setattr(choose, lambda device, name: torch.float32)
    assert main([*command, "--resume"]) == 0
    assert load_model(str(tmp_path / "run"))[1].trained_on["precision"] == "bfloat16"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--steps", "0"], "--steps 0"),
        (["--minutes", "-1"], "--minutes"),
        (["--pause-after", "0"], "--pause-after"),
        (["--pairs", "a.star", "b.star"], "without SOURCEs"),
        (["--init", "nothing-like-it"], "nothing-like-it"),
        (["--resume"], "nothing to resume"),
    ],
)
def test_bad_options_are_one_line_and_leave_nothing(tmp_path, capsys, extra, message):
    folder = tmp_path / "run"
    assert main([*ARGUMENTS, "-o", str(folder), *extra]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not folder.exists()


def test_a_resume_with_other_sources_is_refused(trained, capsys):
    other = [
        "train",
        "phantom:9",
        "--preset",
        "tiny",
        "--seed",
        "3",
        "-o",
        str(trained),
        "--resume",
    ]
    assert main([*other, "--steps", "13"]) == 2
    error = capsys.readouterr().err
    assert "(now without) and without SOURCE phantom:9 (now with); give the same as before" in error


@pytest.mark.parametrize("steps", ["12", "5"])
def test_a_resume_that_asks_for_no_more_steps_trains_nothing_and_says_so(
    trained, tmp_path, capsys, steps
):
    folder = shutil.copytree(trained, tmp_path / "run")
    capsys.readouterr()
    assert main([*ARGUMENTS, "-o", str(folder), "--steps", steps, "--resume"]) == 0
    said = capsys.readouterr().out
    assert "train: step 12 is kept, and no more is asked for: nothing is trained\n" in said
    kept, before = load_model(str(folder))[0], load_model(str(trained))[0]
    for one, other in zip(kept.parameters(), before.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_training_killed_at_once_can_be_resumed(trained, tmp_path, monkeypatch):
    """Before the first step there is already something to go on from, and the end is the same."""
    from polardenoise.engine.train import loop as train_module

    folder = tmp_path / "run"

    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "take_step", interrupt)
        assert main([*ARGUMENTS, "-o", str(folder), "--steps", "12"]) == 130
    assert main([*ARGUMENTS, "-o", str(folder), "--steps", "12", "--resume"]) == 0
    resumed, whole = load_model(str(folder))[0], load_model(str(trained))[0]
    for one, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--architecture", "dncnn"], "--architecture polar-transformer (now dncnn)"),
        (["--preset", "base"], "images_per_step of the recipe (--preset, --recipe)"),
        (
            ["--seed", "4"],
            "was begun with --seed 3 (now 4); give the same as before, or another -o",
        ),
    ],
)
def test_a_resume_with_another_network_is_refused(trained, capsys, extra, message):
    assert main([*ARGUMENTS, *extra, "-o", str(trained), "--steps", "13", "--resume"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_training_that_began_before_a_setting_was_there_goes_on(trained, tmp_path, capsys):
    """New settings of a recipe are off where nobody names them, as everything was before."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    state = folder / "resume" / "state.json"
    saved = json.loads(state.read_text())
    del saved["facts"]["recipe"]["contrast_spread"]
    state.write_text(json.dumps(saved))
    assert main([*ARGUMENTS, "-o", str(folder), "--steps", "13", "--resume"]) == 0
    saved = json.loads(state.read_text())
    saved["facts"]["recipe"]["contrast_spread"] = 0.5
    state.write_text(json.dumps(saved))
    capsys.readouterr()
    assert main([*ARGUMENTS, "-o", str(folder), "--steps", "14", "--resume"]) == 2
    named = "contrast_spread of the recipe (--preset, --recipe) 0.5 (now 0.0)"
    assert named in capsys.readouterr().err


@pytest.mark.parametrize("part", ["state.json", "weights", "second_moments"])
def test_a_damaged_resume_state_is_named(trained, tmp_path, capsys, part):
    resume = shutil.copytree(trained / "resume", tmp_path / "run" / "resume")
    (damaged,) = resume.glob(f"{part}*")
    damaged.write_bytes(damaged.read_bytes()[:-200])
    assert main([*ARGUMENTS, "-o", str(tmp_path / "run"), "--steps", "13", "--resume"]) == 2
    error = capsys.readouterr().err
    assert f"{damaged}: is damaged" in error
    assert error.count("\n") == 1


def test_a_kill_between_two_parts_leaves_the_state_before(trained, tmp_path, monkeypatch):
    """The parts of two steps never mix: state.json names those that belong together."""
    from polardenoise.engine.train import resume_state

    resume = shutil.copytree(trained / "resume", tmp_path / "resume")
    saved = resume_state.read_resume_state(resume)
    state = start_training(load_model(str(trained))[0], TINY)
    resume_state.restore_state(saved, state)
    state.step += 1
    with torch.no_grad():
        for parameter in state.model.parameters():
            parameter += 1
    hash_file = resume_state.hash_file

    def kill_at_the_moments(path):
        if "moments" in path.name:
            raise KeyboardInterrupt
        return hash_file(path)

    with monkeypatch.context() as patch:
        patch.setattr(resume_state, "hash_file", kill_at_the_moments)
        with pytest.raises(KeyboardInterrupt):
            resume_state.save_resume_state(resume, state, {})
    again = resume_state.read_resume_state(resume)
    assert again["step"] == saved["step"]
    for part in ("weights", "first_moments", "second_moments"):
        assert all(torch.equal(again[part][name], saved[part][name]) for name in saved[part])
    resume_state.save_resume_state(resume, state, {})
    assert resume_state.read_resume_state(resume)["step"] == saved["step"] + 1
    assert len(list(resume.iterdir())) == 4


def test_a_base_model_of_four_million_parameters_can_travel(tmp_path):
    """No part is larger than 16 MiB, what a lent machine takes back."""
    sizes = {"hidden": 192, "value": 192, "query": 96}
    model = build_model("polar-transformer", sizes)
    assert 3.5e6 < sum(parameter.numel() for parameter in model.parameters()) < 4.1e6
    state = start_training(model, TINY)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    state.optimizer.step()
    save_resume_state(tmp_path, state, {})
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 16 * 2**20


@pytest.mark.parametrize(
    "recipe",
    [
        {"sizes": {"box": 33}},
        {"sizes": {"width": 3}},
        {"images_per_set": []},
        {"images_per_step": 0},
        {"snr": [0.1]},
        {"snr": ["a", "b"]},
        {"fill": [0.5, 1.5]},
        {"view_modes": {"all": 1}},
        {"precision": "int"},
        {"learning_rate": -1},
        {"ctf_share": 2},
    ],
)
def test_a_recipe_that_cannot_be_trained_is_one_line(tmp_path, capsys, recipe):
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps(recipe))
    folder = tmp_path / "run"
    assert main([*ARGUMENTS, "-o", str(folder), "--recipe", str(file), "--steps", "1"]) == 2
    error = capsys.readouterr().err
    assert str(file) in error
    assert next(iter(recipe)) in error
    assert error.count("\n") == 1
    assert not folder.exists()


def test_an_output_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "run").write_text("x")
    assert main([*ARGUMENTS, "-o", str(tmp_path / "run"), "--steps", "1"]) == 2
    assert "is no folder that can be written" in capsys.readouterr().err
