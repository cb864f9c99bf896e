"""The hidden folder of a run: only our own is touched, nothing in it says where to write, its images are looked at."""

import contextlib
import json
import os
import re
import shutil

import numpy as np
import pytest

from polardenoise.engine.denoise import resume_stack
from polardenoise.engine.denoise.resume_folder import MARK, name_unfinished
from tests.denoise_files import denoise, write_set

OPTIONS = ("--group-by", "random", "--set-size", "4", "--batch", "4")
OUTPUTS = ("out.star", "out.mrcs")


@pytest.fixture
def folder(folder):
    write_set(folder)
    return folder


@pytest.fixture
def hidden(folder):
    return name_unfinished(folder / "out.star")


def interrupt(model, monkeypatch, batches=3, error=KeyboardInterrupt):
    """Stop a run when it has written some batches."""
    written = []
    write = resume_stack.UnfinishedStack.write

    def write_some(self, *arguments):
        if len(written) == batches:
            raise error
        written.append(1)
        return write(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(resume_stack.UnfinishedStack, "write", write_some)
        return denoise(model, *OPTIONS)


def read_outputs(folder):
    return [(folder / name).read_bytes() for name in OUTPUTS]


def finish_anew(model, folder):
    """Give the bytes of an undisturbed run."""
    assert denoise(model, *OPTIONS) == 0
    expected = read_outputs(folder)
    for name in (*OUTPUTS, "out.json"):
        (folder / name).unlink()
    return expected


def refuse(model, capsys, *extra):
    capsys.readouterr()
    assert denoise(model, *OPTIONS, *extra) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("resume", [(), ("--resume",)])
def test_a_link_in_its_place_is_refused_and_its_target_keeps_all(
    folder, model, hidden, capsys, resume
):
    precious = folder / "precious"
    precious.mkdir()
    (precious / "lock").write_text("mine")
    (precious / "thesis.txt").write_text("mine")
    (precious / MARK).write_text("")
    hidden.symlink_to(precious, target_is_directory=True)
    assert "is not a folder that polardenoise has made" in refuse(model, capsys, *resume)
    assert {path.name: path.read_text() for path in precious.iterdir()} == {
        **{"lock": "mine", "thesis.txt": "mine", MARK: ""}
    }


def test_a_folder_of_somebody_else_or_a_file_is_refused(folder, model, hidden, capsys):
    hidden.mkdir()
    (hidden / "thesis.txt").write_text("mine")
    assert "is not a folder that polardenoise has made" in refuse(model, capsys)
    assert (hidden / "thesis.txt").read_text() == "mine"
    shutil.rmtree(hidden)
    hidden.write_text("mine")
    assert "is not a folder that polardenoise has made" in refuse(model, capsys)
    assert hidden.read_text() == "mine"
    hidden.unlink()
    hidden.mkdir()  # made by a run that was killed at once
    assert denoise(model, *OPTIONS) == 0


def test_a_lock_that_is_a_link_does_not_empty_its_target(folder, model, hidden, capsys):
    hidden.mkdir()
    (hidden / MARK).write_text("")
    (hidden / "lock").symlink_to(folder / "in.star")
    before = (folder / "in.star").read_bytes()
    assert denoise(model, *OPTIONS) == 2
    assert (folder / "in.star").read_bytes() == before


@pytest.mark.parametrize(
    "name", ["images.mrcs", "working.f32", "journal.0", "sets.npz", "facts.json"]
)
def test_links_in_the_folder_are_not_followed(folder, model, hidden, monkeypatch, capsys, name):
    assert interrupt(model, monkeypatch) == 130
    shutil.copy(folder / "in.star", folder / "precious")
    before = (folder / "precious").read_bytes()
    (hidden / name).unlink()
    (hidden / name).symlink_to(folder / "precious")
    code = denoise(model, *OPTIONS, "--resume")
    assert code == (0 if name == "facts.json" else 2)  # without facts it starts anew
    assert (folder / "precious").read_bytes() == before


def test_no_path_is_read_back_from_the_folder(folder, model, hidden, monkeypatch):
    expected = finish_anew(model, folder)
    assert interrupt(model, monkeypatch) == 130
    (folder / "precious").write_text("mine")
    (hidden / "published.json").write_text(json.dumps({"images.mrcs": str(folder / "precious")}))
    assert denoise(model, *OPTIONS, "--resume") == 0
    assert (folder / "precious").read_text() == "mine"
    assert read_outputs(folder) == expected


@pytest.mark.parametrize("loss", ["zeros", "cut", "other bytes", "cut journal"])
def test_images_that_a_crash_has_lost_are_computed_again(folder, model, hidden, monkeypatch, loss):
    expected = finish_anew(model, folder)
    assert interrupt(model, monkeypatch, batches=4) == 130
    stack, journal = hidden / "images.mrcs", hidden / "journal.0"
    raw = bytearray(stack.read_bytes())
    if loss == "zeros":
        raw[1024:] = bytes(len(raw) - 1024)
    elif loss == "cut":
        del raw[5000:]
    elif loss == "other bytes":
        raw[-3000] ^= 1
        raw[2000] ^= 1
    else:
        journal.write_bytes(journal.read_bytes()[:-20])
    stack.write_bytes(bytes(raw))
    assert denoise(model, *OPTIONS, "--resume") == 0
    assert read_outputs(folder) == expected


@pytest.mark.parametrize("name", ["read.npz", "sets.npz", "computing.json"])
def test_a_damaged_file_of_the_folder_is_told_in_one_line(
    folder, model, hidden, monkeypatch, capsys, name
):
    assert interrupt(model, monkeypatch) == 130
    (hidden / name).write_bytes((hidden / name).read_bytes()[: -len(name)])
    assert name in refuse(model, capsys, "--resume")
    assert denoise(model, *OPTIONS) == 0


def test_batches_that_the_run_does_not_have_count_for_nothing(folder, model, hidden, monkeypatch):
    expected = finish_anew(model, folder)
    assert interrupt(model, monkeypatch) == 130
    journal = hidden / "journal.0"
    line = journal.read_text().split()[0]
    other = re.sub(r'("number":)\d+', r"\g<1>77", line)
    journal.write_text(f"{line}\n{other}\n")
    assert '"number":77' in journal.read_text()
    assert denoise(model, *OPTIONS, "--resume") == 0
    assert read_outputs(folder) == expected


@pytest.mark.parametrize("bytes_left", [None, 0, 300])
def test_working_images_that_are_gone_are_read_again(
    folder, model, hidden, monkeypatch, bytes_left
):
    expected = finish_anew(model, folder)
    assert interrupt(model, monkeypatch) == 130
    working = hidden / "working.f32"
    raw = working.read_bytes()
    working.unlink()
    if bytes_left is not None:
        working.write_bytes(raw[:bytes_left])
    assert denoise(model, *OPTIONS, "--resume") == 0
    assert read_outputs(folder) == expected


@pytest.mark.parametrize("rows", ["out of range", "twice"])
def test_sets_of_other_particles_are_refused(folder, model, hidden, monkeypatch, capsys, rows):
    assert interrupt(model, monkeypatch) == 130
    with np.load(hidden / "sets.npz") as saved:
        arrays = dict(saved)
    arrays["rows"][0] = 10**6 if rows == "out of range" else arrays["rows"][1]
    np.savez(hidden / "sets.npz", **arrays)
    assert "is of other particles" in refuse(model, capsys, "--resume")


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: unspecified launch failure"), MemoryError()]
)
def test_no_error_throws_away_what_has_been_denoised(folder, model, hidden, monkeypatch, error):
    """Whatever it is: where batches are complete the folder stays."""
    expected = finish_anew(model, folder)
    with contextlib.suppress(RuntimeError):
        assert interrupt(model, monkeypatch, error=error) == 2
    assert hidden.exists()
    assert denoise(model, *OPTIONS, "--resume") == 0
    assert read_outputs(folder) == expected
    assert not hidden.exists()


def test_leftovers_of_killed_runs_go_with_the_next_one(folder, model):
    from polardenoise.engine.runtime.files import HOST

    gone = 2**22 - 3  # larger than any process that runs here
    left = f".out.{HOST}-{gone}.partial.json"
    others = [
        f".out.elsewhere-{gone}.partial.star",
        f".mine.{HOST}-{gone}.partial.star",
        ".out.star",
    ]
    for name in (left, *others):
        (folder / name).write_text("x")
    assert denoise(model, *OPTIONS, "--json", "out.json") == 0
    assert left not in os.listdir(folder)
    assert set(others) <= set(os.listdir(folder))
