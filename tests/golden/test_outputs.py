"""The commands give what they gave before: samples of their outputs, to a hundred-thousandth of the signal."""

import numpy as np
import pytest

from tests.golden.cases import KEPT, run_commands

TOLERANCE = 1e-5

with np.load(KEPT) as kept:
    EXPECTED = dict(kept)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run_commands(folder)


def test_the_same_files_are_written(found):
    assert set(found) == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_output_is_what_it_was(found, name):
    expected = EXPECTED[name].astype(np.float64)
    difference = found[name] - expected
    assert np.linalg.norm(difference[:-1]) < TOLERANCE * np.linalg.norm(expected[:-1])
    assert abs(difference[-1]) < TOLERANCE * expected[-1]
