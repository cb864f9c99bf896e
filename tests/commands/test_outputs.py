"""No option of any command replaces an input, another output, or what is not ours."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from polardenoise.architectures import DEFAULT_MODEL
from polardenoise.engine.cli import COMMANDS, main
from polardenoise.engine.networks.checkpoint import find_model
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.star_writing import write_star
from tests.denoise_files import work_in_copy, write_set_and_model

TINY = ["--model", "model", "--device", "cpu", "--set-size", "4"]
SMALL = ["--box", "16", "--particles", "4"]
TRAINING = ["phantom:1", "--preset", "tiny", "--steps", "1", "--device", "cpu"]
WORK = {
    "simulate": ["phantom:1", *SMALL, "--like", "in.star", "-o", "new"],
    "train": [*TRAINING, "--recipe", "recipe.json", "--init", "model", "-o", "new"],
    "denoise": ["in.star", *TINY, "-o", "out.star"],
    "adapt": ["in.star", "--model", "model", "-o", "new"],
    "evaluate": ["done.star", "--truth", "in.star", "--matches", "done.npz"],
    "reconstruct": ["in.star", "-o", "new"],
    "select": ["done.star", "--particles", "in.star", "--top-fraction", "0.5", "-o", "clean.star"],
    "models": [],
}
INPUTS = {
    "simulate": ["in.star", "stack.mrcs"],
    "train": ["recipe.json", "model/model.json", "model/weights.safetensors"],
    "denoise": ["in.star", "stack.mrcs", "model/model.json", "model/weights.safetensors"],
    "adapt": ["in.star", "stack.mrcs", "model/model.json", "model/weights.safetensors"],
    "evaluate": ["done.star", "done.mrcs", "done.json", "in.star", "stack.mrcs", "done.npz"],
    "reconstruct": ["in.star", "stack.mrcs"],
    "select": ["done.star", "in.star"],
    "models": [str(find_model(DEFAULT_MODEL) / "model.json")],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_set_and_model(folder, count=12)
        (folder / "recipe.json").write_text('{"learning_rate": 0.001}')
        assert main(["denoise", "in.star", "-o", "done.star", *TINY, "--matches", "done.npz"]) == 0
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    return work_in_copy(made, tmp_path, monkeypatch)


def take_hashes(folder):
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refuse(words, folder, capsys):
    """Run a command that must refuse in one line and change nothing; give the line."""
    before = take_hashes(folder)
    capsys.readouterr()
    assert main(words) == 2, words
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert take_hashes(folder) == before
    return error


def test_every_command_is_asked():
    assert set(WORK) == set(INPUTS) == set(COMMANDS)


@pytest.mark.parametrize(
    ("command", "path"), [(command, path) for command in INPUTS for path in INPUTS[command]]
)
def test_json_replaces_no_input(folder, capsys, command, path):
    error = refuse([command, *WORK[command], "--json", path], folder, capsys)
    assert "--json" in error


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "target", ["/dev/null", "fifo", "link", "model", "notes.txt", "package.json"]
)
def test_json_replaces_nothing_that_is_not_ours(folder, capsys, command, target):
    (folder / "link").symlink_to("in.star")
    (folder / "notes.txt").write_text("mine")
    (folder / "package.json").write_text('{"name": "mine"}')
    os.mkfifo("fifo")
    error = refuse([command, *WORK[command], "--json", target], folder, capsys)
    assert "--json" in error


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--json", "out.star"], "-o out.star: is also what --json writes"),
        (["--json", "out.mrcs"], "-o out.mrcs: is also what --json writes"),
        (["--matches", "in.star"], "must end in .npz"),
        (["--report", "."], "--report ."),
        (["--report", "model"], "--report model"),
        (["--report", "in.star"], "--report in.star"),
        (["--report", "r", "--json", "r/a.json"], "--report r"),
        (["--report", "r", "--matches", "r/m.npz"], "--report r"),
        (["-o", "in.star"], "would replace the input"),
        (["-o", "stack.star"], "would replace the input"),
        (["-o", "./model/../in.star"], "would replace the input"),
        (["-o", "a b'\"c.star"], "no STAR file can hold this name"),
        (["-o", "a\nb.star"], "no STAR file can hold this name"),
    ],
)
def test_outputs_of_denoise_meet_neither_inputs_nor_one_another(folder, capsys, words, named):
    assert named in refuse(["denoise", "in.star", *TINY, "-o", "out.star", *words], folder, capsys)


@pytest.mark.parametrize("name", ["particles.star", "clean.mrcs", "volume.mrc"])
def test_simulate_and_reconstruct_replace_only_their_own_files(folder, capsys, name):
    (folder / "new").mkdir()
    (folder / "new" / name).write_text("mine")
    assert name in refuse(["simulate", "phantom:1", *SMALL, "-o", "new"], folder, capsys)
    (folder / "new" / name).rename(folder / "new" / "half1.mrc")
    assert "half1.mrc" in refuse(["reconstruct", "in.star", "-o", "new"], folder, capsys)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["simulate", "phantom:2", *SMALL, "-o", "rec"], "rec/volume.mrc: is there and is of `pol"),
        (
            ["reconstruct", "sim/particles.star", "-o", "sim"],
            "-o sim/volume.mrc: is there and is of `pol",
        ),
        (
            ["denoise", "in.star", *TINY, "-o", "sim/particles.star"],
            "-o sim/particles.star: is there",
        ),
        (["select", *WORK["select"][:-1], "sim/clean.star"], "-o sim/clean.star: is there"),
        (["select", *WORK["select"][:-1], "other.star"], "-o other.star: is there"),
        (["evaluate", *WORK["evaluate"], "--json", "rec/summary.json"], "another --json"),
        (["evaluate", *WORK["evaluate"], "--json", "s.json"], "--json s.json: is there"),
        (["models", "--json", "done.json"], "`polardenoise denoise`, which `models` does not"),
    ],
)
def test_no_command_replaces_what_another_one_wrote(folder, capsys, words, named):
    assert main(["simulate", "phantom:1", *SMALL, "-o", "sim", "--json", "s.json"]) == 0
    assert main(["reconstruct", "in.star", "-o", "rec"]) == 0
    for ending in (".star", ".mrcs", ".json"):
        shutil.copy(f"done{ending}", f"other{ending}")
    error = refuse(words, folder, capsys)
    assert named in error
    assert "replace; give another -" in error


def test_each_command_replaces_what_it_wrote_itself(folder):
    for words in (
        ["simulate", "phantom:1", *SMALL, "-o", "sim", "--json", "s.json"],
        ["reconstruct", "in.star", "-o", "rec", "--json", "rec.json"],
        ["select", *WORK["select"], "--json", "kept.json"],
        ["denoise", "clean.star", *TINY, "-o", "again.star"],  # rows with comments of `select`
    ):
        assert main(words) == 0, words
        assert main(words) == 0, words


def test_a_simulation_does_not_replace_the_set_that_it_is_like(folder, capsys):
    assert main(["simulate", "phantom:1", *SMALL, "-o", "new"]) == 0
    words = [
        "simulate",
        "phantom:2",
        "--like",
        "new/particles.star",
        "--particles",
        "4",
        "-o",
        "new",
    ]
    assert "would replace the input" in refuse(words, folder, capsys)
    assert main(["simulate", "phantom:2", *SMALL, "-o", "new"]) == 0  # our own, replaced


def test_a_plot_replaces_no_input_and_no_other_file(folder, capsys):
    words = ["evaluate", "done.star", "--truth", "in.star", "--plot"]
    (folder / "mine.png").write_text("mine")
    assert "no picture" in refuse([*words, "mine.png"], folder, capsys)
    (folder / "stack.png").symlink_to("recipe.json")
    assert "symbolic link" in refuse([*words, "stack.png"], folder, capsys)


def test_the_summary_beside_the_output_may_be_asked_for_twice(folder):
    """`--json OUT.json` is what the run writes anyway; so is `--json DIR/summary.json` of `reconstruct`."""
    assert main(["denoise", "in.star", *TINY, "-o", "out.star", "--json", "out.json"]) == 0
    assert json.loads(Path("out.json").read_text())["particles"] == 12
    assert main(["reconstruct", "in.star", "-o", "new", "--json", "new/summary.json"]) == 0


def test_a_finished_training_is_never_reset(folder, capsys):
    words = ["train", *TRAINING, "-o", "run"]
    assert main(words) == 0
    assert "holds a training; add --resume" in refuse(words, folder, capsys)
    shutil.rmtree("run/resume")
    assert "holds a training" in refuse(words, folder, capsys)


@pytest.mark.parametrize("name", ["resume", "model"])
def test_folders_of_a_training_that_are_links_are_not_followed(folder, capsys, name):
    (folder / "run").mkdir()
    (folder / "precious").mkdir()
    (folder / "precious" / "weights-00000001.safetensors").write_text("mine")
    (folder / "run" / name).symlink_to(folder / "precious", target_is_directory=True)
    assert "is no folder that a training has made" in refuse(
        ["train", *TRAINING, "-o", "run"], folder, capsys
    )


@pytest.mark.parametrize(
    "words",
    [
        ["adapt", "stack.mrcs", "--model", "model", "-o", "new"],
        ["reconstruct", "stack.mrcs", "-o", "new"],
        ["evaluate", "stack.mrcs", "--truth", "in.star"],
        ["select", "stack.mrcs", "--particles", "in.star", "--min-score", "0", "-o", "new.star"],
        ["simulate", "phantom:1", *SMALL, "--like", "stack.mrcs", "-o", "new"],
    ],
)
def test_a_bare_stack_is_refused_with_a_cure_that_the_command_has(folder, capsys, words):
    error = refuse(words, folder, capsys)
    assert "give the .star that names its images" in error
    assert "--pixel-size" not in error


@pytest.mark.parametrize("command", ["denoise", "reconstruct"])
def test_halves_that_are_neither_1_nor_2_are_told_with_two_cures_that_help(folder, capsys, command):
    text = (folder / "in.star").read_text()
    particles = read_particles("in.star")
    write_star(particles.document, "odd.star", [(particles.table, {"rlnRandomSubset": ["3"] * 12})])
    words = [command, "odd.star", *WORK[command][1:]]
    error = refuse(words, folder, capsys)
    assert "row 1: rlnRandomSubset is 3 and must be 1 or 2" in error
    Path("odd.star").write_text(text)
    assert main(words) == 0
    Path("odd.star").write_text(text.replace("_rlnRandomSubset", "_rlnNothingOfOurs"))
    assert main(words) == 0
