"""An option is written once: the parser, the plan and the fingerprint of a run come of one field."""

import argparse
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest

from polardenoise.engine.adapt.options import AdaptPlan
from polardenoise.engine.denoise.options import DenoisePlan
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.options import (
    add_options,
    list_given,
    list_options,
    option,
    read_options,
    state_options,
)
from polardenoise.engine.simulate.options import SimulationFiles, SimulationPlan
from polardenoise.engine.train.options import DEFAULT_MINUTES, TrainingPlan


def check_even(number: int) -> int:
    if number % 2:
        raise InputError(f"--half-width {number}: give an even number")
    return number // 2


@dataclass(frozen=True)
class Plan:
    name: str = option("name")
    half_width: int = option(default=2, unset=4, type=int, read=check_even, is_fact=True)
    rows: slice = option(
        default_factory=lambda: slice(None), unset=":", read=lambda _: slice(1, 2), is_fact=True
    )
    loud: bool = option(default=False, action="store_true")
    soft: bool = option(default=False, action="store_true", one_of=("--soft", "--mute"))
    mute: bool = option(
        "--mute", "-m", default=False, action="store_true", one_of=("--soft", "--mute")
    )
    note: str = "not asked for"


def parse(plan, *words):
    parser = argparse.ArgumentParser()
    add_options(parser, plan)
    return read_options(parser.parse_args(words), plan)


def test_what_is_not_given_is_the_default():
    unsaid = {"loud": False, "soft": False, "mute": False}
    assert parse(Plan, "a") == {"name": "a", "half_width": 2, "rows": slice(1, 2), **unsaid}


def test_what_is_given_is_read_and_checked():
    asked = parse(Plan, "a", "--half-width", "6", "--loud")
    assert Plan(**asked).half_width == 3
    assert Plan(**asked).loud
    with pytest.raises(InputError, match="--half-width 7"):
        parse(Plan, "a", "--half-width", "7")


def test_the_fingerprint_holds_what_the_result_depends_on():
    assert state_options(Plan("a", rows=slice(3, 9))) == {"--half-width": 2, "--rows": [3, 9]}


def test_of_options_that_exclude_one_another_one_is_given_at_most(capsys):
    assert parse(Plan, "a", "-m")["mute"]
    with pytest.raises(SystemExit):
        parse(Plan, "a", "--soft", "--mute")
    assert "--mute/-m: not allowed with argument --soft" in capsys.readouterr().err


def test_options_that_were_given_are_told_from_those_that_were_not():
    parser = argparse.ArgumentParser()
    add_options(parser, Plan)
    assert list_given(parser.parse_args(["a"]), Plan) == ["name"]
    assert list_given(parser.parse_args(["a", "--half-width", "2", "-m"]), Plan) == [
        "name",
        "half_width",
        "mute",
    ]


@pytest.mark.parametrize(
    ("plan", "words", "needed"),
    [
        (DenoisePlan, ["in.star"], [Path("in.star"), Path("out")]),
        (AdaptPlan, ["in.star"], [Path("in.star"), Path("out")]),
        (TrainingPlan, ["phantom:1-2,7"], [("phantom:1-2", "phantom:7"), Path("out")]),
    ],
)
def test_without_options_a_command_does_what_its_plan_says(plan, words, needed):
    assert plan(**parse(plan, *words, "-o", "out")) == plan(*needed)


def test_without_options_simulate_does_what_its_plan_says():
    asked = parse(SimulationPlan, "phantom:1")
    asked["noise"] = "gaussian"  # which hangs on other options where it is not given
    assert SimulationPlan(**asked) == SimulationPlan(("phantom:1",))
    assert not parse(SimulationPlan, "phantom:1", "--no-ctf")["with_ctf"]


def test_a_training_has_a_length():
    plan = TrainingPlan(("phantom:1",), Path("out"))
    assert plan.all_minutes == DEFAULT_MINUTES
    assert replace(plan, steps=5).all_minutes is None
    assert replace(plan, minutes=2.0).all_minutes == 2


def test_what_denoise_knows_besides_its_options():
    given = {one.name for one in fields(DenoisePlan)} - set(list_options(DenoisePlan))
    assert given == {"cryosparc", "command", "tells_contrast", "files"}


#: Other values of what a run of denoise goes on only with, and of what it goes on without.
CHANGES = {
    "set_size": 16, "group_by": "random", "ctf_output": "corrected", "ctf_state": "raw", "contrast": "dark",
    "ignore_halves": True, "output_box": "working", "rows": slice(0, 5), "pixel_size": 1.5, "seed": 3,
    "precision": "float32", "class_count": 0,
}  # fmt: skip


def test_every_option_of_denoise_that_changes_images_changes_the_fingerprint():
    plan = DenoisePlan(Path("in.star"), Path("out.star"))
    before = state_options(plan)
    assert set(before) == {f"--{name.replace('_', '-')}" for name in CHANGES}
    for name, value in CHANGES.items():
        assert state_options(replace(plan, **{name: value})) != before
    for name, value in {"batch": 7, "resume": True, "report": Path("r")}.items():
        assert state_options(replace(plan, **{name: value})) == before


def test_a_program_may_give_paths_and_numbers_as_text():
    plan = DenoisePlan(
        "in.star", "out.star", report="r", rows="2:5", set_size="auto", pixel_size="1.5"
    )
    assert plan.particles == Path("in.star")
    assert plan.output == Path("out.star")
    assert plan.report == Path("r")
    assert plan.matches is None
    assert plan.rows == slice(2, 5)
    assert plan.set_size is None
    assert plan.pixel_size == 1.5
    assert AdaptPlan("in.star", "out").model_folder == Path("out/model")
    same = DenoisePlan(Path("in.star"), Path("out.star"), set_size=16, class_count=0, batch=7)
    assert (same.set_size, same.class_count, same.batch) == (16, 0, 7)
    assert replace(same, rows=slice(0, 5)).rows == slice(0, 5)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"set_size": -3}, "--set-size -3: give auto or a number from 1 to"),
        ({"set_size": 0}, "--set-size 0: give auto"),
        ({"set_size": 2.5}, "--set-size 2.5: give auto"),
        ({"batch": -1}, "--batch -1: must be auto or a number"),
        ({"class_count": 1001}, "--class-count 1001: must be auto"),
        ({"pixel_size": -1.0}, "--pixel-size -1: must be from"),
        ({"pixel_size": "big"}, "--pixel-size big: give a number"),
        ({"contrast": "odd"}, "--contrast odd: must be one of auto, bright, dark"),
        ({"rows": "5"}, "--rows 5: give A:B"),
    ],
)
def test_a_program_is_refused_what_the_command_line_is(value, message):
    with pytest.raises(InputError) as caught:
        DenoisePlan("in.star", "out.star", **value)
    assert str(caught.value).startswith(message)


def test_a_program_may_give_train_and_simulate_paths_and_numbers_as_text():
    plan = TrainingPlan("phantom:1-2,7", "out", recipe="r.json", like="p.star", steps="5")
    assert plan.sources == ("phantom:1-2", "phantom:7")
    assert (plan.output, plan.recipe, plan.like) == (Path("out"), Path("r.json"), Path("p.star"))
    assert (plan.steps, plan.all_minutes, plan.architecture) == (5, None, None)
    assert replace(plan, seed=3) == replace(plan, seed="3")
    pair = TrainingPlan((), "out", pairs=("noisy.star", "clean.star"))
    assert pair.pairs == (Path("noisy.star"), Path("clean.star"))
    assert replace(pair, seed=1).pairs == pair.pairs
    simulation = SimulationPlan(
        ["phantom:1,2"], pixel_size="2.5", snr="0.1", box="48", particles="60", mtf="0.5"
    )
    assert simulation.sources == ("phantom:1", "phantom:2")
    numbers = (simulation.pixel_size, simulation.snr, simulation.box, simulation.particles)
    assert numbers == (2.5, 0.1, 48, 60)
    assert simulation.mtf is not None
    assert simulation.mtf.frequency[0] == 0
    assert SimulationPlan("phantom:1", pixel_size="auto").pixel_size is None
    assert replace(simulation, seed=1).sources == simulation.sources
    assert SimulationFiles("out", noise_like="p.star").noise_like == Path("p.star")


@pytest.mark.parametrize(
    ("plan", "value", "message"),
    [
        (TrainingPlan, {"sources": ()}, "SOURCE: name at least one structure"),
        (TrainingPlan, {"pairs": ("a.star", "b.star")}, "--pairs: goes without SOURCEs"),
        (TrainingPlan, {"sources": (), "pairs": "a.star"}, "--pairs: give 2 of them, not 1"),
        (TrainingPlan, {"steps": 0}, "--steps 0: must be at least 1"),
        (TrainingPlan, {"minutes": "soon"}, "--minutes soon: give a number"),
        (TrainingPlan, {"steps": 5, "minutes": 2}, "--steps: leave it out, or --minutes"),
        (TrainingPlan, {"architecture": "vgg"}, "--architecture vgg: must be one of"),
        (TrainingPlan, {"preset": "huge"}, "--preset huge: must be one of tiny, base"),
        (TrainingPlan, {"resume": "no"}, "--resume no: is on or off"),
        (SimulationPlan, {"sources": ()}, "SOURCE: give at least one"),
        (SimulationPlan, {"pixel_size": "big"}, "--pixel-size big: give Angstrom, or auto"),
        (SimulationPlan, {"snr": "faint"}, "--snr faint: give a number"),
        (SimulationPlan, {"noise": "pink"}, "--noise pink: must be one of gaussian"),
        (SimulationPlan, {"mtf": 3}, "--mtf 3: give its value at Nyquist"),
        (SimulationPlan, {"with_ctf": "no"}, "--ctf no: is on or off"),
    ],
)
def test_a_program_is_refused_what_train_and_simulate_are(plan, value, message):
    needed = {"sources": "phantom:1"} | ({"output": "out"} if plan is TrainingPlan else {})
    with pytest.raises(InputError) as caught:
        plan(**needed | value)
    assert str(caught.value).startswith(message)
