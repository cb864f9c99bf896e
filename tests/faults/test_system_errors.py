"""A disk that fills, turns read-only or fails, an input that vanishes, at five moments each: `--resume` finishes.

What comes out has the bytes of an undisturbed run. Errors are raised in the place of the system's own calls; runs on a
real full disk and a real read-only one are in `test_real_disks`.
"""

import errno
import json
import shutil

import pytest

from polardenoise.engine.cli import main
from polardenoise.engine.networks.checkpoint import hash_file
from tests.denoise_files import work_in_copy, write_set_and_model
from tests.faults.moments import Moment, fail, spread

DENOISE = [
    *("denoise", "in.star", "-o", "out.star", "--model", "model", "--device", "cpu"),
    *("--set-size", "4", "--matches", "found.npz", "--report", "report"),
]
TRAIN = [
    *("train", "phantom:1", "-o", "run", "--preset", "tiny", "--steps", "4", "--device", "cpu"),
    *("--seed", "3"),
]
SIMULATE = ["simulate", "phantom:1", "-o", "new", "--box", "16", "--particles", "8"]
RECONSTRUCT = ["reconstruct", "in.star", "-o", "new"]
ERRORS = {"full": errno.ENOSPC, "read-only": errno.EROFS, "broken": errno.EIO}
#: The kinds of error and of input that take long together: one of each in every run of the tests.
SOME_ERRORS = [
    "full",
    *(pytest.param(one, marks=pytest.mark.long) for one in ("read-only", "broken")),
]
SOME_INPUTS = [
    "stack.mrcs",
    *(pytest.param(one, marks=pytest.mark.long) for one in ("in.star", "model")),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_set_and_model(tmp_path_factory.mktemp("made"), count=16)


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    return work_in_copy(made, tmp_path, monkeypatch)


def read_results(folder, names):
    """Hash files of results, those of a folder too; the page that shows the command line is only to be there."""
    found = {}
    for name in names:
        paths = sorted((folder / name).rglob("*")) if (folder / name).is_dir() else [folder / name]
        found |= {
            str(path.relative_to(folder)): path.name == "index.html" or hash_file(path)
            for path in paths
        }
    return found


def list_hidden(folder):
    return sorted(path.name for path in folder.rglob(".*"))


@pytest.fixture(scope="module")
def undisturbed(made, tmp_path_factory):
    """What each command leaves where nothing happens, and how many calls of the system it makes."""
    results = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, (words, files) in COMMANDS.items():
            folder = tmp_path_factory.mktemp(name)
            shutil.copytree(made, folder, dirs_exist_ok=True)
            patch.chdir(folder)
            with pytest.MonkeyPatch.context() as counted:
                moment = Moment(counted)
                assert main(words) == 0
            results[name] = read_results(folder, files), moment.count
            assert not list_hidden(folder)
    return results


COMMANDS = {
    "denoise": (DENOISE, ["out.star", "out.mrcs", "found.npz", "report"]),
    "train": (TRAIN, ["run/model/weights.safetensors"]),
    "simulate": (SIMULATE, ["new"]),
    "reconstruct": (
        RECONSTRUCT,
        ["new/half1.mrc", "new/half2.mrc", "new/volume.mrc", "new/fsc.star"],
    ),
}


@pytest.mark.parametrize("error", SOME_ERRORS)
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("command", ["denoise", "train"])
def test_a_resumable_run_ends_with_the_same_bytes(
    folder, undisturbed, capsys, command, number, error
):
    words, files = COMMANDS[command]
    expected, count = undisturbed[command]
    place = spread(count)[number]
    with pytest.MonkeyPatch.context() as patch:
        Moment(patch, place, fail(ERRORS[error]), lasts=error == "read-only")
        code = main(words)
    told = capsys.readouterr().err
    assert code in (0, 2), told
    if code == 2:
        assert told.count("\n") == 1
        assert "Traceback" not in told
    begun = (folder / "run" / "resume" / "state.json").exists() or command == "denoise"
    assert main([*words, "--resume"] if begun else words) == 0, told
    assert read_results(folder, files) == expected
    assert not list_hidden(folder)


@pytest.mark.parametrize("error", SOME_ERRORS)
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("command", ["simulate", "reconstruct"])
def test_other_runs_leave_all_of_their_outputs_or_none(
    folder, undisturbed, capsys, command, number, error
):
    words, files = COMMANDS[command]
    expected, count = undisturbed[command]
    with pytest.MonkeyPatch.context() as patch:
        Moment(patch, spread(count)[number], fail(ERRORS[error]))
        code = main(words)
    assert code in (0, 2)
    assert not list_hidden(folder)
    written = {path.name for path in (folder / "new").glob("*")} if code else None
    # The names are given one after another at the very end: a failure there may come between two of them.
    assert not written or number == 4
    assert main(words) == 0
    assert read_results(folder, files) == expected
    capsys.readouterr()


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("gone", SOME_INPUTS)
def test_an_input_that_vanishes_and_comes_back(folder, undisturbed, capsys, number, gone):
    words, files = COMMANDS["denoise"]
    expected, count = undisturbed["denoise"]

    def take_away():
        (folder / gone).rename(folder / "away")

    with pytest.MonkeyPatch.context() as patch:
        Moment(patch, spread(count)[number], take_away)
        code = main(words)
    told = capsys.readouterr().err
    assert code in (0, 2)
    assert told.count("\n") == (code == 2)
    if (
        folder / "away"
    ).exists():  # the last moment may be past the end: times are not always the same
        (folder / "away").rename(folder / gone)
    assert main([*words, "--resume"]) == 0
    assert read_results(folder, files) == expected


def test_a_report_that_cannot_be_written_loses_no_image(folder, undisturbed, capsys, monkeypatch):
    """Its disk stays full: the same command without the report ends with the images that were made."""
    from polardenoise.engine.denoise import resume_folder, resume_stack

    expected, _ = undisturbed["denoise"]
    batches = []
    write = resume_stack.UnfinishedStack.write

    def count_batches(self, *arguments):
        batches.append(1)
        return write(self, *arguments)

    monkeypatch.setattr(resume_stack.UnfinishedStack, "write", count_batches)
    with monkeypatch.context() as patch:

        def refuse(source, final):
            raise OSError(errno.ENOSPC, "No space left on device", str(final))

        patch.setattr(resume_folder, "copy_beside", refuse)
        patch.setattr(
            resume_folder, "lies_elsewhere", lambda _source, final: final.name == "report"
        )
        assert main(DENOISE) == 2
    told = capsys.readouterr().err
    assert "--resume goes on" in told
    assert told.count("\n") == 1
    assert not (folder / "out.star").exists()
    assert main([*DENOISE[:-2], "--resume"]) == 0
    assert len(batches) == 2  # none was computed again
    found = read_results(folder, ["out.star", "out.mrcs", "found.npz"])
    assert found == {name: expected[name] for name in found}
    assert not list_hidden(folder)


def test_a_summary_that_cannot_be_written_is_written_by_resume(folder, capsys, monkeypatch):
    from polardenoise.engine.runtime import provenance

    words = [*DENOISE, "--json", "summary.json"]
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "write_summary", lambda *_: fail(errno.ENOSPC)())
        assert main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (folder / "out.star").exists()
    assert main([*words, "--resume"]) == 0
    assert json.loads((folder / "summary.json").read_text())["particles"] == 16
