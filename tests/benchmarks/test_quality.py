"""The quality benchmark as a command: its table, what it remembers, what it trains, and the committed figures."""

import csv
import json
from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.__main__ import main
from benchmarks.quality import networks, points
from benchmarks.quality import run as quality
from benchmarks.quality.images import check_unseen, simulate_images
from benchmarks.quality.journal import Journal
from benchmarks.quality.methods import list_limits, make_network_method
from benchmarks.quality.networks import find_network, gather_networks
from benchmarks.quality.points import PRESETS, list_points, name_phantoms
from benchmarks.quality.run import QualityPreset
from benchmarks.quality.table import find_rises, make_row
from polardenoise.engine.networks.checkpoint import ModelCard
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import write_json
from tests.places import BENCHMARKS

COMMITTED = BENCHMARKS / "results" / "quality"

#: A network that the full preset keeps, and what is asked of a figure that is made again.
TOLERANCE = 0.03

MICRO = QualityPreset(
    molecules=0,
    phantoms=(10001,),
    snrs=(0.05, 0.2),
    set_sizes=(4, 16),
    views=2,
    images_per_view=8,
    largest=16,
    random_views=40,
    judged=16,
    trains=False,
)


@pytest.fixture
def micro(monkeypatch, tmp_path):
    """Run a preset of seconds with the shipped models; a folder without checkpoints is looked through."""
    monkeypatch.setitem(points.PRESETS, "smoke", MICRO)
    (tmp_path / "none").mkdir()
    out = tmp_path / "out"

    def run():
        words = ["--checkpoints", str(tmp_path / "none"), "-o", str(out), "--device", "cpu"]
        assert main(["quality", *words]) == 0
        return json.loads((out / "quality.json").read_text())

    return run, out


def test_a_table_of_two_points_is_not_measured_twice(micro, monkeypatch):
    monkeypatch.setattr(quality, "list_points", lambda preset: list_points(preset)[1:3])
    run, out = micro
    facts = run()
    rows = list(csv.DictReader((out / "quality.csv").open()))
    assert [row["axis"] for row in rows] == ["SNR", "sets"]
    for row in rows:
        assert 0 < float(row["oracle"]) < float(row["radial filter"]) < 1.1
    again = run()
    assert facts["measured_now"] >= len(facts["cells"]) > again["measured_now"] == 0
    assert again["table"] == facts["table"]


@pytest.mark.long
def test_the_command_makes_the_table_and_goes_on_after_a_kill(micro, capsys):
    run, out = micro
    facts = run()
    told = capsys.readouterr().out
    assert "U-Net: left out" in told
    assert "ASPIRE: not measured" in told
    assert "of the gap" in told
    rows = list(csv.DictReader((out / "quality.csv").open()))
    assert Counter(row["axis"] for row in rows) == {
        "SNR": 2,
        "sets": 5,
        "K": 2,
        "CTF": 3,
        "noise": 3,
    }
    for row in rows:
        radial, oracle = float(row["radial filter"]), float(row["oracle"])
        assert 0 < oracle < radial < 1.1
        share = (radial - float(row["polar transformer, base"])) / (radial - oracle)
        assert float(row["gap closed: polar transformer, base"]) == pytest.approx(share, abs=0.02)
    # Points of several axes that are the same images in the same sets are measured once.
    base = [row for row in rows if row["at"] in ("one view", "none", "gaussian")]
    assert len({json.dumps({**row, "axis": "", "at": ""}) for row in base}) == 1
    shipped = {"DnCNN 17x64", "polar transformer, base"}
    methods = {"radial filter", "oracle", *shipped}
    assert {cell["method"] for cell in facts["cells"]} == methods
    assert facts["machine"]["cores"] >= 1
    assert facts["networks"]["polar transformer, base"]["images"] > 1e5
    pictures = ["SNR.png", "sets.png", "K.png", "CTF.png", "noise.png"]
    assert all((out / name).stat().st_size > 5000 for name in pictures)

    journal = (out / "cells.jsonl").read_text()
    lines = journal.splitlines(keepends=True)
    (out / "cells.jsonl").write_text("".join(lines[:-3]) + lines[-3][:20])
    again = run()
    assert again["measured_now"] == 3
    for before, after in zip(facts["table"], again["table"], strict=True):
        for name in methods:
            assert after[name] == pytest.approx(before[name], rel=1e-4)
    assert run()["measured_now"] == 0


def test_presets_cover_every_axis_about_one_base_point():
    for preset in PRESETS.values():
        found = list_points(preset)
        axes = list(dict.fromkeys(point.axis for point in found))
        assert axes == ["SNR", "sets", "K", "CTF", "noise"]
        base = [p for p in found if p.at in ("one view", "none", "gaussian", "0.02")]
        assert len({replace(point, axis="", at="") for point in base}) == 1
        assert len(base) == 4
    full = list_points(PRESETS["full"])
    assert [float(p.at) for p in full if p.axis == "SNR"] == [0.01, 0.02, 0.03, 0.05, 0.1]
    assert [p.set_size for p in full if p.axis == "K"] == [8, 16, 32, 64, 128, 256, 512]
    assert all(point.judged <= point.denoised <= point.images.particles for point in full)


def test_nothing_is_judged_that_was_trained_on(tmp_path):
    with pytest.raises(InputError, match="is for training"):
        name_phantoms((9999,))
    card = ModelCard(
        "net", "dncnn", {}, {"sources": ["phantom:3"], "validated_on": ["1gyt.pdb.gz"]}
    )
    check_unseen(card, ["phantom:10001", "/data/1u6g.pdb.gz"])
    for seen in ("phantom:3", "/data/1gyt.pdb.gz"):
        with pytest.raises(InputError, match="was trained on"):
            check_unseen(card, [seen])


def test_a_journal_forgets_only_what_was_cut_short(tmp_path):
    path = tmp_path / "cells.jsonl"
    first = Journal(path)
    first.measure({"of": 1}, lambda: {"relative_mse": 0.5})
    first.measure({"of": 2}, lambda: {"relative_mse": 0.25})
    path.write_text(path.read_text()[:-30])
    second = Journal(path)
    assert second.measure({"of": 1}, lambda: {})["figures"] == {"relative_mse": 0.5}
    assert second.measure({"of": 2}, lambda: {"relative_mse": 0.125})["figures"] == {
        "relative_mse": 0.125
    }
    third = Journal(path)
    assert third.measure({"of": 2}, lambda: {})["figures"] == {"relative_mse": 0.125}
    assert (second.measured, third.measured) == (1, 0)


def write_card(folder, architecture, minutes):
    trained_on = {"sources": [], "minutes": minutes}
    facts = ModelCard(folder.name, architecture, {"box": 64}, trained_on)
    write_json(folder / "model" / "model.json", vars(facts))


def test_missing_networks_are_trained_once_and_half_trained_ones_go_on(tmp_path, monkeypatch):
    asked = []

    def train(plan):
        asked.append((plan.output.name, plan.architecture, plan.resume, plan.minutes))
        assert json.loads(plan.recipe.read_text())["sizes"] == {}
        write_card(plan.output, plan.architecture, plan.minutes)

    monkeypatch.setattr(networks, "run_training", train)
    checkpoints, own = tmp_path / "checkpoints", tmp_path / "own"
    write_card(checkpoints / "unet", "unet", 30)
    write_card(own / "polar-cnn", "polar-cnn", 12)  # killed after 12 of 50 minutes
    (own / "polar-cnn" / "resume").mkdir()
    (own / "polar-cnn" / "resume" / "state.json").touch()
    unet = next(one for one in networks.NETWORKS if one.name == "unet")
    assert find_network(unet, checkpoints, own, 50) == checkpoints / "unet" / "model"
    found, left_out = gather_networks(checkpoints, own, True, 50, [], [])
    assert asked == [
        ("polar-cnn", "polar-cnn", True, 50),
        ("polar-transformer-50", "polar-transformer", False, 50),
    ]
    assert len(found) == len(networks.NETWORKS)
    assert left_out == []
    gather_networks(checkpoints, own, True, 50, [], [])
    assert len(asked) == 2
    write_card(checkpoints / "unet", "dncnn", 30)
    with pytest.raises(InputError, match="is a dncnn, not a unet"):
        gather_networks(checkpoints, own, False, 50, [], [])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--checkpoints", "nowhere"], "--checkpoints nowhere: is no folder"),
        (["--minutes", "-3"], "--minutes -3"),
        (["--aspire-python", "no-such-python"], "no-such-python: no program"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(words, told, tmp_path, capsys):
    assert main(["quality", *words, "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_rises_are_found():
    base = list_points(MICRO)[0]
    rows = [
        make_row(
            replace(base, axis="K", at=at),
            {"radial filter": 0.4, "net": net, "oracle": 0.2, "ASPIRE": None},
            1,
            0.0,
        )
        for at, net in (("8", 0.3), ("128", 0.25), ("16", 0.24))
    ]
    assert rows[0]["gap closed: net"] == pytest.approx(0.5)
    assert rows[0]["gap closed: ASPIRE"] is None
    (rise,) = find_rises(rows, "net", "K")
    assert rise == "net: K 16 to 128: 0.24 to 0.25"
    assert find_rises(rows, "net", "K", tolerance=0.05) == []
    assert len(find_rises(rows, "oracle", "K")) == 2  # staying the same is not falling
    assert find_rises(rows, "ASPIRE", "K") == []


@pytest.fixture(scope="module")
def committed():
    path = COMMITTED / "quality.json"
    return json.loads(path.read_text())


@pytest.mark.parametrize("axis", ["SNR", "K"])
@pytest.mark.parametrize("method", ["polar transformer, base", "oracle"])
def test_in_the_committed_table_errors_fall(committed, method, axis):
    with (COMMITTED / "quality.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len([row for row in rows if row["axis"] == axis]) >= 5
    assert find_rises(rows, method, axis) == []


@pytest.mark.parametrize("name", ["base", "base-dncnn"])
def test_a_committed_figure_comes_out_again(committed, name, tmp_path):
    point = next(p for p in list_points(PRESETS["full"]) if (p.axis, p.at) == ("K", "8"))
    data = simulate_images("phantom:10001", point.images, tmp_path)
    network = next(one for one in networks.NETWORKS if one.name == name)
    (trained,) = (
        one
        for one in gather_networks(None, tmp_path, False, 50, [], [])[0]
        if one.network == network
    )
    for method in [*list_limits(), make_network_method(trained, "cpu")]:
        (cell,) = (
            one
            for one in committed["cells"]
            if (one["axis"], one["at"], one["method"], one["molecule"])
            == ("K", "8", method.title, "phantom:10001")
        )
        again = method.measure(data, point)["relative_mse"]
        assert again == pytest.approx(cell["figures"]["relative_mse"], rel=TOLERANCE)
