"""Outputs appear complete or not at all; progress is readable in a log and on a terminal."""

import errno
import io
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from polardenoise.engine.runtime import files
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import (
    move_folder,
    replace_when_complete,
    write_json,
    write_text_atomically,
)
from polardenoise.engine.runtime.progress import Progress, format_duration, tell_pass, timing_stages
from polardenoise.engine.runtime.provenance import provenance


def test_a_file_appears_when_its_block_ends(tmp_path):
    final = tmp_path / "new folder" / "result.mrcs"
    with replace_when_complete(final) as temporary:
        temporary.write_text("complete")
        assert not final.exists()
        assert temporary.suffix == ".mrcs"
    assert final.read_text() == "complete"
    assert os.listdir(final.parent) == ["result.mrcs"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_earlier_file_alone(tmp_path, error):
    final = tmp_path / "result.txt"
    final.write_text("earlier")

    def fail_halfway():
        with replace_when_complete(final) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail_halfway()
    assert os.listdir(tmp_path) == ["result.txt"]
    assert final.read_text() == "earlier"


def test_a_block_that_never_writes_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), replace_when_complete(tmp_path / "result.txt"):
        pass
    assert os.listdir(tmp_path) == []


def test_folders_that_cannot_hold_the_file_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="file"),
        replace_when_complete(tmp_path / "file" / "x.txt"),
    ):
        pass
    with pytest.raises(InputError, match="is a folder"), replace_when_complete(tmp_path):
        pass


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="disk is full"), replace_when_complete(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_text_is_written_as_given(tmp_path):
    write_text_atomically(tmp_path / "a.star", "é\r\nb\n")
    assert (tmp_path / "a.star").read_bytes() == "é\r\nb\n".encode()


def test_json_takes_what_the_engine_has(tmp_path):
    data = {
        "numpy": np.float32(0.5),
        "array": np.arange(3),
        "tensor": torch.tensor([1.5, float("nan")]),
        "path": Path("a/b"),
        "tuple": (True, None, 3),
        "infinite": float("inf"),
    }
    write_json(tmp_path / "a.json", data)
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "numpy": 0.5,
        "array": [0, 1, 2],
        "tensor": [1.5, None],
        "path": "a/b",
        "tuple": [True, None, 3],
        "infinite": None,
    }


def test_provenance_says_what_ran_where():
    facts = provenance(["polardenoise", "denoise", "in.star"], seed=3, model="base")
    assert facts["command"] == ["polardenoise", "denoise", "in.star"]
    assert facts["seed"] == 3
    assert {"version", "time", "machine", "working_directory"} <= facts.keys()
    json.dumps(facts)


def test_a_log_gets_one_line_at_the_end_of_a_short_stage():
    log = io.StringIO()
    with Progress("denoise", 100, stream=log) as progress:
        for _ in range(10):
            progress.advance(10)
    lines = log.getvalue().splitlines()
    assert len(lines) == 1
    assert lines == ["denoise: 100/100 images, took less than 0.5 s"]


def test_passes_over_a_part_move_the_bar_and_never_back():
    log = io.StringIO()
    with Progress("denoise", 200, stream=log, seconds_between_lines=0) as progress:
        for _ in range(2):
            with progress.watching(100, passes=4):
                tell_pass(100)
                tell_pass(100)
                tell_pass(more_passes=4)
                for _ in range(6):
                    tell_pass(100)
            progress.advance(100)
    done = [int(line.split()[1].split("/")[0]) for line in log.getvalue().splitlines()]
    assert done == [
        25,
        50,
        50,
        50,
        50,
        62,
        75,
        87,
        95,
        100,
        125,
        150,
        150,
        150,
        150,
        162,
        175,
        187,
        195,
        200,
    ]
    tell_pass(1)  # nobody watches


def test_a_long_stage_says_how_long_it_will_take():
    log = io.StringIO()
    with Progress("train", 10, "steps", log, seconds_between_lines=0) as progress:
        progress.advance(1, note="loss 0.5")
        first = log.getvalue()
        progress.advance(9)
    assert "train: 1/10 steps" in first
    assert "to go, loss 0.5" in first
    assert len(log.getvalue().splitlines()) == 2


def test_a_terminal_gets_a_bar_on_one_line():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    with Progress("read", 4, stream=terminal) as progress:
        progress.advance(4)
    assert terminal.getvalue().startswith("\r[####################] read: 4/4")
    assert terminal.getvalue().count("\n") == 1


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.31, "0.3 s"), (42, "42 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_durations_read_as_people_say_them(seconds, text):
    assert format_duration(seconds) == text


def write_folder(path, text):
    path.mkdir()
    (path / "index.html").write_text(text)


def test_a_folder_moves_to_another_file_system(tmp_path):
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at /dev/shm")
    source = Path(tempfile.mkdtemp(dir=memory)) / "new"
    write_folder(source, "new")
    write_folder(tmp_path / "r", "old")
    move_folder(source, tmp_path / "r")
    source.parent.rmdir()
    assert (tmp_path / "r" / "index.html").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


@pytest.mark.parametrize("moves", [0, 1])
def test_a_move_that_was_killed_is_done_again(tmp_path, monkeypatch, moves):
    source, final = tmp_path / "new", tmp_path / "r"
    write_folder(source, "new")
    write_folder(final, "old")
    replace, done = os.replace, []

    def replace_until_killed(one, other):
        if len(done) == moves:
            raise KeyboardInterrupt
        done.append(1)
        replace(one, other)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", replace_until_killed)
        with pytest.raises(KeyboardInterrupt):
            move_folder(source, final)
    move_folder(source, final)
    assert (final / "index.html").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_the_time_of_every_stage_is_counted_once_for_both_halves():
    with timing_stages() as seconds:
        for stage in ("compare templates of half 1", "compare templates of half 2", "denoise"):
            with Progress(stage, 1, stream=io.StringIO()) as progress:
                time.sleep(0.05)
                progress.advance(1)
    assert list(seconds) == ["compare templates", "denoise"]
    assert 0.1 <= seconds["compare templates"] < 5
    assert 0.05 <= seconds["denoise"] < 5
    with Progress("later", 1, stream=io.StringIO()):
        pass
    assert "later" not in seconds
