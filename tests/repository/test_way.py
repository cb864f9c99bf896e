"""The way of one particle, as CONTRIBUTING tells it, is the way that `denoise` goes."""

import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from polardenoise.engine.cli import main
from tests.denoise.test_whole_half import shrink
from tests.denoise_files import denoise, save_tiny_model
from tests.places import PACKAGE, REPOSITORY

MOST_FILES = 20
ENGINE = f"{PACKAGE / 'engine'}/"
#: What may come back to a file that a particle has been in.
PIPELINE = "denoise.pipeline"


def read_way():
    """Give the file of each function of the way, and its name there."""
    text = (REPOSITORY / "CONTRIBUTING.rst").read_text()
    listed = text.split("goes after it)::", 1)[1].split("How code reads here")[0]
    names = [line.split()[0].split(".") for line in listed.splitlines() if line.strip()]
    assert len(names) > 15
    return [split_function(parts) for parts in names]


def split_function(parts):
    """Give the file of a function, in a room or in one within it, and its name there."""
    in_file = next(
        count
        for count in range(1, len(parts))
        if (PACKAGE / "engine" / "/".join(parts[:count])).with_suffix(".py").is_file()
    )
    return ".".join(parts[:in_file]), ".".join(parts[in_file:])


@pytest.fixture(scope="module")
def called(tmp_path_factory):
    """Denoise a set whose halves are large ones: from each function to the file that called it first, in order."""
    first = {}

    def find_file(frame):
        name = frame.f_code.co_filename
        if not name.startswith(ENGINE):
            return None
        return name.removeprefix(ENGINE).removesuffix(".py").replace("/", ".")

    def note(frame, event, _):
        if event != "call":
            return
        function = (find_file(frame), frame.f_code.co_qualname)
        if function[0] is None or function in first:
            return
        caller = frame.f_back
        while caller is not None and find_file(caller) is None:
            caller = caller.f_back
        first[function] = None if caller is None else find_file(caller)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("way"))
        shrink(patch.setattr)
        set_of = ["phantom:10001", "-o", "set", "--box", "32", "--snr", "0.5"]
        assert main(["simulate", *set_of, "--particles", "100"]) == 0
        model = save_tiny_model(Path("model"))
        threading.setprofile(note)
        sys.setprofile(note)
        try:
            assert denoise(model, "--set-size", "8", source="set/particles.star") == 0
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return first


def test_the_functions_are_called_in_this_order(called):
    way = read_way()
    assert [function for function in called if function in way] == way


def test_the_way_is_short_and_does_not_turn_back(called):
    way = read_way()
    files = Counter(file for file, _ in way)
    assert len(files) <= MOST_FILES
    entered = set()
    for file, name in way:
        assert file not in entered or called[file, name] == PIPELINE, f"{file} is entered twice"
        entered.add(file)
