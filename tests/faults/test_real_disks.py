"""Disks that really are full or read-only: a small file system in memory, where the machine lets us make one.

Without the right to mount, the same is asked of the limit that the system sets to the size of a file.
"""

import contextlib
import os
import shutil
import subprocess
import sys

import pytest

from polardenoise.engine.cli import main
from polardenoise.engine.networks.checkpoint import hash_file
from tests.denoise_files import write_set_and_model
from tests.faults.moments import Moment, spread

DENOISE = [
    *("denoise", "in.star", "-o", "disk/out.star", "--model", "model", "--device", "cpu"),
    *("--set-size", "4", "--group-by", "random", "--batch", "8"),
]
FILES = ("out.star", "out.mrcs")


@pytest.fixture
def folder(folder):
    write_set_and_model(folder, count=32)
    (folder / "disk").mkdir()
    return folder


@contextlib.contextmanager
def small_disk(folder, size="3m"):
    """Mount a file system of so many bytes; give whether that was possible."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    program = shutil.which("mount")
    mounted = bool(program) and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def read_results(folder):
    return [hash_file(folder / "disk" / name) for name in FILES]


def fill(folder):
    """Fill a disk to its last byte, as others do."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()


@pytest.mark.long
@pytest.mark.parametrize("what", ["full", "read-only"])
def test_a_disk_that_others_fill_or_lock_at_five_moments(folder, capsys, what):
    with small_disk(folder / "disk") as mounted, pytest.MonkeyPatch.context() as counted:
        moment = Moment(counted)
        assert main(DENOISE) == 0
        expected = read_results(folder)
    if not mounted:
        pytest.fail("needs the right to mount a file system: run the long tests as root")
    stopped = 0
    for place in spread(moment.count):
        with small_disk(folder / "disk"):

            def act():
                if what == "full":
                    fill(folder / "disk")
                else:
                    remount(folder / "disk", "ro")

            with pytest.MonkeyPatch.context() as patch:
                Moment(patch, place, act)
                code = main(DENOISE)
            told = capsys.readouterr().err
            assert code in (0, 2)
            assert told.count("\n") == (code == 2), told
            stopped += code == 2
            remount(folder / "disk", "rw")
            (folder / "disk" / "filler").unlink(missing_ok=True)
            assert main([*DENOISE, "--resume"]) == 0
            assert read_results(folder) == expected
    assert stopped >= 2


def remount(folder, how):
    # Files that are open for writing keep a file system writable: it is locked as a disk that fails is, by force.
    command = ["mount", "-o", f"remount,{how}", str(folder)]
    if subprocess.run(command, capture_output=True).returncode and how == "ro":
        raise OSError(30, "Read-only file system")


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from polardenoise.engine.cli import main
sys.exit(main(sys.argv[2:]))
"""


def test_the_largest_size_of_a_file_is_met_as_a_full_disk_is(folder, capsys):
    assert main(DENOISE) == 0
    expected = read_results(folder)
    shutil.rmtree(folder / "disk")
    (folder / "disk").mkdir()
    command = [sys.executable, "-c", LIMITED, "50000", *DENOISE]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
    assert "images is kept yet; repeat the command, with --resume or without" in finished.stderr
    assert main([*DENOISE, "--resume"]) == 0
    assert read_results(folder) == expected
    assert sorted(os.listdir(folder / "disk")) == [
        "out.json",
        "out.mrcs",
        "out.star",
    ]
