"""A training that goes wrong ends with one line and keeps its last good model; histories and states are held true."""

import json
import math
import os
import shutil
import signal
from types import SimpleNamespace

import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.networks.checkpoint import hash_file, load_model
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.train import history as history_module
from polardenoise.engine.train import loop as train_module
from polardenoise.engine.train import run as training_run

ARGUMENTS = ["train", "phantom:1", "--preset", "tiny", "--seed", "3", "--device", "cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main([*ARGUMENTS, "-o", str(folder), "--steps", "3"]) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def report_every_step(monkeypatch):
    eager = train_module.train

    def train(*arguments, **named):
        return eager(*arguments, **named, seconds_between_checkpoints=0.0)

    monkeypatch.setattr(training_run, "train", train)


@pytest.mark.parametrize("what", ["validation", "loss", "weights"])
def test_a_training_that_diverges_keeps_its_last_good_model(run, monkeypatch, capsys, what):
    report_every_step(monkeypatch)
    before = hash_file(run / "model" / "weights.safetensors")
    rows = (run / "history.csv").read_text()
    if what == "validation":
        monkeypatch.setattr(train_module, "measure_validation", lambda *_: math.nan)
    else:
        step = train_module.take_step

        def take_step(state, *others):
            loss = step(state, *others)
            if what == "weights":
                with torch.no_grad():
                    next(state.model.parameters()).fill_(math.nan)
            return loss * math.inf if what == "loss" else loss

        monkeypatch.setattr(train_module, "take_step", take_step)
    assert main([*ARGUMENTS, "-o", str(run), "--steps", "5", "--resume"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "diverged by step 4" in error
    assert "the last good model is kept" in error
    assert hash_file(run / "model" / "weights.safetensors") == before
    assert (run / "history.csv").read_text() == rows
    assert load_model(str(run))[1].trained_on["steps"] == 3
    monkeypatch.undo()
    assert main([*ARGUMENTS, "-o", str(run), "--steps", "5", "--resume"]) == 0


def test_ctrl_c_is_answered_between_two_steps_and_saves(run, monkeypatch, capsys):
    step = train_module.take_step

    def take_step(state, *others):
        if state.step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return step(state, *others)

    monkeypatch.setattr(train_module, "take_step", take_step)
    monkeypatch.setattr(signal, "default_int_handler", signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert main([*ARGUMENTS, "-o", str(run), "--steps", "9", "--resume"]) == 130
    assert capsys.readouterr().err.endswith(
        "interrupted; step 5 is kept; --resume goes on from there\n"
    )
    assert json.loads((run / "resume" / "state.json").read_text())["step"] == 5
    assert load_model(str(run))[1].trained_on["steps"] == 5


def test_waiting_is_no_training(run, monkeypatch):
    """On a clock of the test's own: a step takes two seconds, and hours are waited before the second new one."""
    now, waits = [0.0], []
    eager, step = train_module.train, train_module.take_step

    def sleep(_seconds):
        now[0] += 3600

    def take_step(*arguments):
        now[0] += 2
        return step(*arguments)

    def must_wait():
        if now[0] >= 2 and len(waits) < 3:
            waits.append(now[0])
            return True
        return False

    def train(*arguments, **named):
        eager(*arguments, **(named | {"must_wait": must_wait, "seconds_between_reports": 0.0}))

    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    monkeypatch.setattr(train_module, "time", clock)
    monkeypatch.setattr(train_module, "take_step", take_step)
    monkeypatch.setattr(training_run, "train", train)
    before = float(history_module.read_history(run / "history.csv")[-1]["seconds"])
    assert main([*ARGUMENTS, "-o", str(run), "--steps", "6", "--resume"]) == 0
    assert waits == [2, 3602, 7202]
    rows = [float(row["seconds"]) for row in history_module.read_history(run / "history.csv")[-3:]]
    assert rows == pytest.approx([before + 2, before + 4, before + 6], abs=0.11)


def test_a_stop_after_a_divergence_saves_nothing(run, monkeypatch):
    before = hash_file(run / "model" / "weights.safetensors")

    def take_step(state, *_):
        os.kill(os.getpid(), signal.SIGINT)
        return torch.tensor(math.nan)

    monkeypatch.setattr(train_module, "take_step", take_step)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert main([*ARGUMENTS, "-o", str(run), "--steps", "9", "--resume"]) == 130
    assert hash_file(run / "model" / "weights.safetensors") == before


@pytest.mark.parametrize(
    "last_line",
    ["4,1.5,96,8.0e-0", "4", "12,3", "nonsense", "4,nan,x,1,1,1", "4,1,2,3,4,5,6,7", "\x00", ""],
)
def test_a_history_that_a_kill_has_cut_short_is_read(run, last_line):
    with (run / "history.csv").open("a") as file:
        file.write(last_line)
    assert main([*ARGUMENTS, "-o", str(run), "--steps", "4", "--resume"]) == 0
    rows = history_module.read_history(run / "history.csv")
    assert [int(row["step"]) for row in rows] == [3, 4]


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"a,b\n1,2\n", b"", b"\x00" * 100])
def test_a_history_of_something_else_is_refused(run, capsys, raw):
    (run / "history.csv").write_bytes(raw)
    code = main([*ARGUMENTS, "-o", str(run), "--steps", "4", "--resume"])
    assert code == 2
    error = capsys.readouterr().err
    assert "history.csv" in error
    assert error.count("\n") == 1
    with pytest.raises(InputError):
        history_module.read_history(run / "history.csv")


def change_state(run, change):
    state = run / "resume" / "state.json"
    facts = json.loads(state.read_text())
    change(facts)
    state.write_text(json.dumps(facts))


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.update(step=-1),
        lambda facts: facts.update(step="3"),
        lambda facts: facts.update(seconds=1e300),
        lambda facts: facts.update(parts=["a"]),
        lambda facts: facts["parts"].update({"../../precious": "0" * 64}),
        lambda facts: facts["parts"].update({"/etc/passwd": "0" * 64}),
        lambda facts: facts["parts"].clear(),
        lambda facts: facts.update(facts=3),
        lambda facts: facts.pop("images"),
    ],
)
def test_a_state_of_another_shape_is_one_line_and_names_no_other_file(run, capsys, change):
    (run.parent / "precious").write_text("mine")
    change_state(run, change)
    assert main([*ARGUMENTS, "-o", str(run), "--steps", "4", "--resume"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "is damaged" in error
    assert (run.parent / "precious").read_text() == "mine"


@pytest.mark.parametrize("damage", ["shape", "missing", "not finite", "moments"])
def test_parts_of_another_network_are_one_line(run, capsys, damage):
    from safetensors.torch import load_file, save_file

    name = "first_moments" if damage == "moments" else "weights"
    (part,) = (run / "resume").glob(f"{name}-*")
    tensors = load_file(part)
    first = sorted(tensors)[0]
    if damage == "shape":
        tensors[first] = torch.zeros(7)
    elif damage == "not finite":
        tensors[first].fill_(math.inf)
    else:
        del tensors[first]
    save_file(tensors, part)
    change_state(run, lambda facts: facts["parts"].update({part.name: hash_file(part)}))
    assert main([*ARGUMENTS, "-o", str(run), "--steps", "4", "--resume"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "state.json" in error
