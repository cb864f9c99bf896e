"""Counts of work: those of known products, and a table at toy size."""

import csv

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.studies.work_counts import Count


@pytest.mark.parametrize(
    ("work", "kind", "operations"),
    [
        (lambda: torch.ones(3, 5) @ torch.ones(5, 7), "float32", 2 * 3 * 5 * 7),
        (lambda: torch.ones(2, 3, 5).cfloat() @ torch.ones(2, 5, 7).cfloat(), "float32", 8 * 2 * 3 * 5 * 7),
        (lambda: torch.ones(3, 5).bfloat16() @ torch.ones(5, 7).bfloat16(), "bfloat16", 2 * 3 * 5 * 7),
        (
            lambda: torch.nn.functional.conv2d(torch.ones(2, 3, 8, 8), torch.ones(4, 3, 3, 3), padding=1),
            "float32",
            2 * (2 * 4 * 8 * 8) * 3 * 3 * 3,
        ),
        (lambda: torch.fft.rfft(torch.ones(6, 16)), "float32", 2.5 * 6 * 16 * 4),
        (lambda: torch.fft.irfft(torch.ones(6, 9).cfloat(), n=16), "float32", 2.5 * 6 * 16 * 4),
    ],
)  # fmt: skip
def test_operations_are_those_of_the_sizes(work, kind, operations):
    with torch.no_grad(), Count() as count:
        work()
    assert +count.operations == {kind: operations}


def test_bytes_are_what_is_read_and_written():
    left, right = torch.ones(3, 5), torch.ones(5, 7)
    with torch.no_grad(), Count() as count:
        (left @ right).view(-1)
    assert count.bytes == 4 * (3 * 5 + 5 * 7 + 3 * 7)  # a view moves nothing


def test_the_table_adds_up(tmp_path):
    words = ["work_counts", "-o", str(tmp_path), "--images", "100000"]
    assert main([*words, "--cluster", "16", "--templates", "16"]) == 0
    with open(tmp_path / "work_counts.csv", newline="") as table:
        *stages, total = csv.DictReader(table)
    least = [float(stage["least, s"]) for stage in stages]
    assert sum(least) == pytest.approx(float(total["least, s"]), rel=1e-3)
    each = {stage["stage"]: float(stage["bfloat16, GFLOP an image"]) for stage in stages}
    # The network encodes and decodes each image once where templates tell it the neighbours, and oftener without.
    assert each["templates"] > 1.5 * each["learn ring weights, denoise"] > 0
    assert each["views"] == each["views, first poses"] == 0
    passed = {stage["stage"]: int(stage["images"]) for stage in stages}
    assert passed["views"] == 2 * (100000 + 2 * 3 * 2048)
