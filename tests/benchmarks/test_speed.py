"""The speed benchmark: what it counts, what it compares, and the whole command on a handful of particles."""

import csv
import json
import sys

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.common.tables import round_cell, write_list_table, write_table
from benchmarks.speed import run as benchmark_speed
from benchmarks.speed.attention import (
    AttentionSize,
    MachineRates,
    compare_forms,
    count_flops,
    gain_over_direct,
)
from benchmarks.speed.run import SpeedPreset
from tests.places import REPOSITORY

CPU = torch.device("cpu")

# Stands for ASPIRE's environment: "averages" that are the particles themselves, in half a second.
FAKE_ASPIRE = """#!{python}
import json, sys
if sys.argv[1] == "-c":
    sys.exit(0)
assert sys.argv[1].endswith("aspire/class_averages.py")
import mrcfile, numpy
numpy.save(sys.argv[3], mrcfile.read(sys.argv[2]))
print("something else")
print(json.dumps({{"seconds": 0.5, "version": "9"}}))
"""


def test_flops_are_those_of_the_design():
    size = AttentionSize(images=10, angles=128, query=64, value=32)
    assert count_flops(size, direct=True) == 2 * 10**2 * 128**2 * 96
    assert count_flops(size, direct=False) == 4 * 10**2 * 130 * 96


def test_forms_agree_and_their_rows_are_consistent():
    size = AttentionSize(48, 64, 16, 16)
    rows = compare_forms(size, 2, CPU, MachineRates(flops=1e11, bytes=1e10))
    by_form = {row["form"]: row for row in rows}
    exact = [row["difference"] for form, row in by_form.items() if "bfloat16" not in form]
    assert max(exact) < 1e-5
    # The reader is told what half precision costs; it is not what anything else is measured against.
    assert 1e-4 < by_form["direct, convolution, bfloat16"]["difference"] < 0.1
    assert by_form["chosen"]["times slower"] == 1
    for row in rows:
        assert row["ms"] == pytest.approx(row["times slower"] * by_form["chosen"]["ms"])
        share = row["GFLOP"] * 1e9 / 1e11 / (row["ms"] / 1e3)
        assert row["share of FLOP floor"] == pytest.approx(share)
    direct = [by_form[f"direct, {form}"] for form in ("matrix product", "convolution")]
    assert gain_over_direct(rows) == min(row["times slower"] for row in direct)


def test_tables_hold_all_digits_for_machines_and_two_for_people(tmp_path):
    write_table([{"a, b": 1, "c": 0.123456}, {"a, b": None, "c": 12345.6}], tmp_path, "t")
    assert (tmp_path / "t.csv").read_text() == '"a, b",c\n1,0.1235\n,12346\n'
    assert (tmp_path / "t.rst").read_text().split("\n") == [
        ".. list-table:: All digits: ``t.csv``",
        "   :header-rows: 1",
        "",
        "   * - a, b",
        "     - c",
        "   * - 1",
        "     - 0.12",
        "   * -",
        "     - 12346",
        "",
    ]


def test_cells_are_rounded_to_two_digits_and_no_further():
    given = ["9.949", "9.96", "0.4", "0.0996", "-0.0123", "123.4", "3.21e-05", "0.0", "2.0"]
    rounded = ["9.9", "10", "0.40", "0.10", "-0.012", "123", "3.2e-05", "0", "2.0"]
    assert list(map(round_cell, given)) == rounded
    kept = ["2000", "10001", "SNR 0.25", "90 %", "0.35 ± 0.04", "1.00 ± 0.00", "yes", ""]
    assert list(map(round_cell, kept)) == kept
    assert round_cell("0.1613 ± 0.0018") == "0.16 ± 0.002"
    assert round_cell("-1.234 ± 0.25") == "-1.2 ± 0.25"


def test_the_tables_of_the_repository_are_those_of_their_csv(tmp_path):
    """What people read is what was measured: nobody has written into it."""
    sources = [
        path
        for path in (REPOSITORY / "benchmarks" / "results").rglob("*.csv")
        if path.with_suffix(".rst").exists()
    ]
    assert len(sources) > 25
    for path in sources:
        with path.open(newline="") as file:
            columns, *cells = csv.reader(file)
        copy = tmp_path / path.name
        write_list_table(copy, columns, cells)
        written = copy.with_suffix(".rst").read_text().splitlines()
        shown = path.with_suffix(".rst").read_text().splitlines()
        assert shown[0] == f".. list-table:: All digits: ``{path.relative_to(REPOSITORY)}``"
        assert shown[1:] == written[1:], path


@pytest.fixture
def tiny_preset(monkeypatch):
    preset = SpeedPreset(
        (AttentionSize(8, 32, 4, 4),), AttentionSize(256, 32, 4, 4), 1, 4, (8, 16), 12
    )
    monkeypatch.setitem(benchmark_speed.PRESETS, "smoke", preset)


def test_the_command_makes_every_table(tiny_preset, tmp_path, capsys):
    fake = tmp_path / "python"
    fake.write_text(FAKE_ASPIRE.format(python=sys.executable))
    fake.chmod(0o755)
    out = tmp_path / "out"
    words = ["-o", str(out), "--device", "cpu", "--aspire-python", str(fake)]
    assert main(["speed", *words]) == 0
    facts = json.loads((out / "speed.json").read_text())
    names = {
        "attention",
        "attention_crossover",
        "attention_memory",
        "polar_map",
        "denoise",
        "aspire",
    }
    assert set(facts["tables"]) == names
    for name in names:
        with (out / f"{name}.csv").open() as stream:
            assert len(list(csv.DictReader(stream))) == len(facts["tables"][name])
    assert {path.name for path in out.iterdir()} == {"speed.json"} | {
        f"{name}.{ending}" for name in names for ending in ("csv", "rst")
    }
    small, large = facts["tables"]["denoise"]
    assert (small["particles"], large["particles"]) == (8, 16)
    assert large["time per particle / first"] == pytest.approx(
        small["particles/s"] / large["particles/s"]
    )
    assert 100 < small["peak MB"] < 4000
    assert large["peak memory / first"] == pytest.approx(large["peak MB"] / small["peak MB"])
    ours, many, aspire, rotations_only = facts["tables"]["aspire"]
    assert (many["particles"], many["particles/s"]) == (16, large["particles/s"])
    assert aspire["particles/s"] == rotations_only["particles/s"] == 12 / 0.5
    assert ours["rate / ASPIRE's"] == pytest.approx(ours["particles/s"] / 24)
    # At SNR 0.1 of the whole box, noise on the disk is some eight times the signal; ours is far below.
    assert 5 < aspire["relative MSE"] < 10
    assert ours["relative MSE"] < 1
    assert f"tables written to {out}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["speed", "--aspire-python", "no-such-python"], "no-such-python: no program"),
        (["speed", "--aspire-python", sys.executable], "pip install aspire"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(words, told, tmp_path, capsys):
    assert main([*words, "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
