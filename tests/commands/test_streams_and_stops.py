"""Lost output never ends a run; Ctrl-C and SIGTERM say what can be done; without the engine one line says so."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from polardenoise.engine import cli
from polardenoise.engine.cli import main
from polardenoise.engine.networks.checkpoint import hash_file
from tests.denoise_files import write_set_and_model

LONG = pytest.mark.long
PROGRAM = [sys.executable, "-m", "polardenoise.engine"]
DENOISE = [
    *("denoise", "in.star", "-o", "out.star", "--model", "model", "--device", "cpu"),
    *("--set-size", "4", "--group-by", "random", "--batch", "4"),
]
TRAIN = ["train", "phantom:1", "--preset", "tiny", "--device", "cpu", "--seed", "3", "-o", "run"]


@pytest.fixture
def folder(folder):
    return write_set_and_model(folder, count=16)


@pytest.fixture
def expected(folder):
    assert main(DENOISE) == 0
    found = hash_file(folder / "out.mrcs")
    for name in ("out.star", "out.mrcs", "out.json"):
        (folder / name).unlink()
    return found


def start(words, **keywords):
    # Jobs in the background of a shell are born deaf to Ctrl-C.
    return subprocess.Popen(
        [*PROGRAM, *words],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **keywords,
    )


@pytest.mark.parametrize("lines", [2, *(pytest.param(n, marks=LONG) for n in (0, 1, 3, 4))])
def test_a_reader_that_goes_away_ends_no_run(folder, expected, lines):
    with start(DENOISE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        for _ in range(lines):
            process.stdout.readline()
        process.stdout.close()
        error = process.stderr.read()
    assert process.returncode == 0, error
    assert error == b""
    assert hash_file(folder / "out.mrcs") == expected


@pytest.mark.parametrize(
    "redirection",
    [
        ">/dev/full",
        "<&- >&- 2>&-",
        *(pytest.param(one, marks=LONG) for one in (">&-", ">&- 2>&-", ">/dev/full 2>&1")),
    ],
)
def test_output_that_is_closed_or_full_ends_no_run(folder, expected, redirection):
    line = " ".join([*PROGRAM, *DENOISE, redirection])
    assert subprocess.run(["sh", "-c", line], check=False).returncode == 0
    assert hash_file(folder / "out.mrcs") == expected


def test_names_that_are_no_text_can_be_told(folder):
    name = b"r\xe9sultat.star"
    words = [*map(os.fsencode, [*PROGRAM, *DENOISE])]
    words[words.index(b"out.star")] = name
    words += [b"--report", b"page\xff", b"--json", b"s\xff.json"]
    finished = subprocess.run(words, capture_output=True, env=os.environ | {"PYTHONUTF8": "1"})
    assert finished.returncode == 0, finished.stderr
    assert b"sultat.star: 16 particles" in finished.stdout
    assert json.loads((folder / os.fsdecode(b"s\xff.json")).read_bytes())["particles"] == 16
    with open(name, "rb") as file:
        assert b"@r\xe9sultat.mrcs" in file.read()
    assert main(["reconstruct", os.fsdecode(name), "-o", "map"]) == 0


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "SIGTERM")],
)
def test_a_training_that_is_told_to_stop_saves_and_says_so(folder, number, code, word):
    with start(
        [*TRAIN, "--minutes", "5"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()  # molecules are read
        while not (folder / "run" / "resume" / "state.json").exists():
            time.sleep(0.05)
        time.sleep(1.5)
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    assert process.returncode == code
    assert error.decode().count("\n") == 1
    assert word in error.decode()
    assert "--resume" in error.decode()
    state = json.loads((folder / "run" / "resume" / "state.json").read_text())
    assert state["step"] > 0
    saved = load_file(folder / "run" / "model" / "weights.safetensors")
    assert all(tensor.isfinite().all() for tensor in saved.values())
    steps = str(state["step"] + 1)
    assert main([*TRAIN, "--minutes", "5", "--resume", "--pause-after", "1e-9"]) == 0
    assert main([*TRAIN, "--steps", steps, "--resume"]) == 0


def test_a_denoising_that_is_told_to_end_says_that_it_can_go_on(folder, expected):
    with start(DENOISE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=60)
    assert process.returncode in (0, 143)
    told = b"--resume goes on" in error or b"is kept yet; repeat the command, with" in error
    assert told == (process.returncode == 143)
    assert main([*DENOISE, "--resume"]) == 0
    assert hash_file(folder / "out.mrcs") == expected


# Each run is a fork that has never seen our modules and in which one library is gone: importing all others, which takes
# seconds, is done once.
WITHOUT = """
import gemmi, json, msgspec, os, safetensors.torch, sys, torch

class Missing:
    def __init__(self, hidden):
        self.hidden = hidden
        for name in [name for name in sys.modules if name.partition(".")[0] == hidden]:
            del sys.modules[name]

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for number, (hidden, words) in enumerate(json.loads(sys.argv[1])):
    child = os.fork()
    if child == 0:
        os.dup2(os.open(f"error.{number}", os.O_WRONLY | os.O_CREAT), 2)
        sys.meta_path.insert(0, Missing(hidden))
        from polardenoise.engine.cli import main
        code = main(words)
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_without_the_engine_one_line_says_what_to_install(folder):
    commands = [DENOISE, ["models"], ["simulate", "phantom:1", "-o", "new"]]
    runs = list(itertools.product(["torch", "msgspec", "safetensors", "gemmi"], commands))
    words = [sys.executable, "-c", WITHOUT, json.dumps(runs)]
    finished = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    codes = [int(line) for line in finished.stdout.splitlines() if line.lstrip("-").isdecimal()]
    assert len(codes) == len(runs)
    for number, ((missing, words), code) in enumerate(zip(runs, codes, strict=True)):
        error = (folder / f"error.{number}").read_text()
        needs_it = missing != ("gemmi" if words[0] != "simulate" else "safetensors")
        assert code == (2 if needs_it else 0), (missing, words, error)
        if needs_it:
            assert error.count("\n") == 1
            assert f"{missing} is not installed" in error
            assert "pip install 'scipion-em-polardenoise[engine]'" in error


def test_an_older_python_is_told_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(cli, "OLDEST_PYTHON", (9, 9))
    assert main(["models"]) == 2
    error = capsys.readouterr().err
    assert "does not run in Python 3." in error
    assert error.count("\n") == 1


def test_a_library_of_others_that_is_missing_is_a_defect(monkeypatch):
    def fail(_arguments):
        raise ModuleNotFoundError("No module named 'x'", name="x")

    monkeypatch.setattr(cli, "run_command", fail)
    with pytest.raises(ModuleNotFoundError):
        main(["models"])
