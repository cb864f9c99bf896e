"""The command line: quick, one line for a mistake, exit codes, summaries."""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys

import pytest

from polardenoise import __version__
from polardenoise.engine import cli
from polardenoise.engine.commands import reconstruct
from polardenoise.engine.runtime.errors import InputError
from tests.places import REPOSITORY

PROGRAM = [sys.executable, "-m", "polardenoise.engine"]


def run_program(*words, **keywords):
    return subprocess.run([*PROGRAM, *words], capture_output=True, text=True, **keywords)


@pytest.fixture
def pretend(monkeypatch):
    """Make `polardenoise reconstruct X -o Y` do what the test says."""

    def replace(run):
        monkeypatch.setattr(reconstruct, "run", run)
        return ["reconstruct", "particles.star", "-o", "somewhere"]

    return replace


def test_help_lists_every_command():
    finished = run_program("--help")
    assert finished.returncode == 0
    for name in cli.COMMANDS:
        assert f"    {name} " in finished.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_keeps_to_the_interface(name):
    module = cli.import_command(name)
    assert module.HELP
    assert "\n" not in module.HELP
    parser = cli.Parser(prog=name)
    module.add_arguments(parser)
    assert "--json" not in parser.format_help(), "--json is added by the command line itself"
    assert callable(module.run)
    assert callable(module.summarise)


def test_help_and_mistakes_load_no_torch():
    code = (
        "import sys\n"
        "from polardenoise.engine.cli import COMMANDS, build_parser\n"
        "build_parser(COMMANDS).format_help()\n"
        "print(sorted({'torch', 'matplotlib', 'scipy', 'pwem'} & set(sys.modules)))\n"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert printed.stdout.strip() == "[]", printed.stderr


def test_help_answers_at_once():
    # Time of the processor, not of the clock: the tests share their machine.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_program("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3


def test_version():
    assert run_program("--version").stdout == f"polardenoise {__version__}\n"


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        ([], "COMMAND"),
        (["denois"], "denois"),
        (["reconstruct"], "required"),
        (["reconstruct", "x", "-o", "y", "--out", "z"], "--out"),
        (["reconstruct", "x", "-o", "y", "--ctf", "colour"], "colour"),
    ],
)
def test_mistake_in_the_command_line_is_one_line_and_two(words, fragment):
    finished = run_program(*words)
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.count("\n") == 1
    assert fragment in finished.stderr
    assert finished.stderr.startswith("polardenoise")


def test_input_error_is_told_in_one_line(pretend, capsys):
    def run(_arguments):
        raise InputError("a.star:\n row 3 points past the end")

    assert cli.main(pretend(run)) == 2
    assert (
        capsys.readouterr().err
        == "polardenoise reconstruct: a.star: row 3 points past the end (rows are counted from 1)\n"
    )


def test_system_error_names_the_file(pretend, capsys):
    def run(_arguments):
        raise OSError(28, "No space left on device", "/data/out.mrcs")

    assert cli.main(pretend(run)) == 2
    assert capsys.readouterr().err.endswith("/data/out.mrcs: No space left on device\n")


def test_memory_running_out_is_told(pretend, capsys):
    def run(_arguments):
        raise MemoryError

    assert cli.main(pretend(run)) == 2
    assert "out of memory" in capsys.readouterr().err


def test_defect_of_ours_shows_its_traceback(pretend):
    def run(_arguments):
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError, match="ours"):
        cli.main(pretend(run))


def test_summary_goes_to_stdout_and_json(pretend, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(reconstruct, "summarise", lambda summary: f"value {summary['value']}")
    destination = tmp_path / "summary.json"
    words = pretend(lambda arguments: {"value": 1.5, "words": arguments.command_line})
    assert cli.main([*words, "--json", str(destination)]) == 0
    assert capsys.readouterr().out == "value 1.5\n"
    assert json.loads(destination.read_text()) == {
        "program": "polardenoise",
        "version": __version__,
        "command": ["polardenoise", *words, "--json", str(destination)],
        "value": 1.5,
        "words": ["polardenoise", *words, "--json", str(destination)],
    }
    assert os.listdir(tmp_path) == ["summary.json"]


def test_json_that_cannot_be_written_is_refused_before_the_work(pretend, capsys, tmp_path):
    ran = []
    words = pretend(lambda arguments: ran.append(arguments))
    (tmp_path / "file").write_text("not a folder")
    assert cli.main([*words, "--json", str(tmp_path / "file" / "a.json")]) == 2
    assert cli.main([*words, "--json", str(tmp_path)]) == 2
    assert not ran
    assert capsys.readouterr().err.count("\n") == 2


def test_json_may_lie_in_a_folder_that_is_yet_to_be_made(pretend, monkeypatch, tmp_path):
    monkeypatch.setattr(reconstruct, "summarise", lambda summary: "done")
    words = pretend(lambda _arguments: {"value": 1})
    assert cli.main([*words, "--json", str(tmp_path / "new" / "deep" / "a.json")]) == 0
    assert json.loads((tmp_path / "new" / "deep" / "a.json").read_text())["value"] == 1


@pytest.mark.parametrize("command", ["simulate", "train", "denoise"])
@pytest.mark.parametrize("seed", ["-1", str(2**63)])
def test_seed_that_no_generator_takes_is_refused(command, seed, capsys, tmp_path):
    destination = str(tmp_path / "out.star")
    assert cli.main([command, "phantom:1", "-o", destination, "--seed", seed]) == 2
    assert capsys.readouterr().err.count(f"--seed {seed}: give a whole number") == 1
    assert os.listdir(tmp_path) == []


def test_no_json_is_left_by_a_failure(pretend, tmp_path):
    def run(_arguments):
        raise InputError("no")

    assert cli.main([*pretend(run), "--json", str(tmp_path / "a.json")]) == 2
    assert os.listdir(tmp_path) == []


def test_interruption_is_130(pretend, capsys):
    def run(_arguments):
        raise KeyboardInterrupt

    assert cli.main(pretend(run)) == 130
    assert capsys.readouterr().err == "polardenoise reconstruct: interrupted\n"


WAITING = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background of a shell are born deaf to it
from polardenoise.engine import cli
from polardenoise.engine.commands import reconstruct
def run(arguments):
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("cleaned", flush=True)
reconstruct.run = run
sys.exit(cli.main(["reconstruct", "x", "-o", "y"]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_run_cleans_up(number, code):
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert out == "cleaned\n"
    assert "Traceback" not in err


def test_reader_that_leaves_is_met_quietly():
    process = subprocess.Popen(
        [*PROGRAM, "models"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)
    assert err == b""


def list_examples():
    """Find every command line that the documentation shows."""
    pages = [*REPOSITORY.glob("*.rst"), *(REPOSITORY / "docs").glob("*.rst")]
    for page in pages:
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith("    polardenoise "):
                yield pytest.param(line.split()[1:], id=f"{page.stem} {line.strip()}")


@pytest.mark.parametrize("words", list(list_examples()))
def test_examples_of_the_documentation_are_understood(words):
    arguments = cli.parse_arguments(words)
    assert arguments.command == words[0]


def test_options_are_not_abbreviated():
    parser = cli.build_parser(["reconstruct"])
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["reconstruct", "x", "--outp", "y"])
    assert isinstance(parser, argparse.ArgumentParser)


@pytest.mark.parametrize(
    "words",
    [
        ["reconstruct", "x", "-o", "y", "--json=--"],
        ["reconstruct", "x", "-o--"],
        ["simulate", "phantom:1", "-o", "y", "--seed=--"],
        ["simulate", "phantom:1", "-o", "y", "--pixel-size=--"],
        ["evaluate", "x", "--truth=--"],
        ["train", "phantom:1", "--output=--"],
        ["denoise", "x", "-o", "y", "--batch=--"],
        ["models", "--json=--"],
    ],
)
def test_two_dashes_are_no_value_of_an_option(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        code = cli.main(words)
    except SystemExit as left:  # a choice, or a Python that takes -- for the value
        code = left.code
    message = capsys.readouterr().err
    assert code == 2
    assert message.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_sources_may_be_none():
    words = ["train", "--pairs", "a", "b", "-o", "c"]
    assert cli.parse_arguments(words).sources == []


@pytest.mark.parametrize(
    "words",
    [
        ["denoise", "x", "-o", "y", "--ctf-state", "9" * 5000],
        ["reconstruct", "x", "-o", "y", "z" * 5000],
        ["simulate", "phantom:1", "-o", "y", "--box", "9" * 5000],
        ["denoise", "x", "-o", "y", "--seed", "9" * 4000],
        ["9" * 5000],
    ],
)
def test_long_values_are_shortened_in_messages(words):
    finished = run_program(*words)
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
    assert len(finished.stderr) < 700
    assert "..." in finished.stderr


@pytest.mark.parametrize("text", ["x" * 300_000, "a b " * 100_000])
def test_no_message_is_longer_than_a_page(pretend, capsys, text):
    def run(_arguments):
        raise InputError(f"{text}: is not there; correct the name")

    assert cli.main(pretend(run)) == 2
    message = capsys.readouterr().err
    assert len(message) < 5000
    assert message.endswith("correct the name\n")


@pytest.mark.parametrize(
    ("command", "cure"), [("reconstruct", "fewer"), ("simulate", "--box"), ("denoise", "--batch")]
)
def test_the_cure_of_lacking_memory_is_one_that_the_command_has(command, cure, monkeypatch, capsys):
    def run(_arguments):
        raise MemoryError

    monkeypatch.setattr(cli.import_command(command), "run", run)
    assert cli.main([command, "phantom:1", "-o", "y"]) == 2
    message = capsys.readouterr().err
    assert cure in message
    assert ("--batch" in message) == (command == "denoise")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *[("RANK", value) for value in ("abc", "", "-1", "2", "9" * 5000)],
        *[("WORLD_SIZE", value) for value in ("abc", "0", "1.5")],
        *[("LOCAL_RANK", "x"), ("MASTER_PORT", "abc"), ("MASTER_PORT", "70000")],
    ],
)
def test_variables_of_torchrun_that_are_no_numbers_are_one_line(
    variable, value, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    for name, good in [("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "localhost")]:
        monkeypatch.setenv(name, good)
    monkeypatch.setenv("MASTER_PORT", "29500")
    monkeypatch.setenv(variable, value)
    assert cli.main(["denoise", "in.star", "-o", "out.star"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"{variable}=" in message
    assert len(message) < 400


DRAWING = """
import os, sys
from polardenoise.engine import cli
from polardenoise.engine.commands import reconstruct
from polardenoise.engine.reconstruct.fsc_report import plot_fsc
import numpy as np
def run(arguments):
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure()
    FigureCanvasAgg(figure).print_png("picture.png")
    return {"backend": matplotlib.rcParams["backend"], "left": os.environ.get("MPLBACKEND")}
reconstruct.run, reconstruct.summarise = run, str
sys.exit(cli.main(["reconstruct", "x", "-o", "y"]))
"""


@pytest.mark.parametrize("settings", ["backend: [\nsavefig.dpi: abc\n", "\udcff\udcfe", "a fifo"])
def test_settings_of_matplotlib_are_none_of_ours(settings, tmp_path):
    if settings == "a fifo":
        os.mkfifo(tmp_path / "matplotlibrc")
    else:
        (tmp_path / "matplotlibrc").write_text(settings, errors="surrogateescape")
    environment = {
        **os.environ,
        "MPLBACKEND": "nonsense",
        "MATPLOTLIBRC": str(tmp_path),
        "MPLCONFIGDIR": str(tmp_path / "matplotlibrc"),
    }
    finished = subprocess.run(
        [sys.executable, "-c", DRAWING],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        timeout=60,
    )
    assert finished.stderr == ""
    assert finished.returncode == 0
    assert finished.stdout.lower() == "{'backend': 'agg', 'left': 'nonsense'}\n"
    assert (tmp_path / "picture.png").stat().st_size > 0


def test_an_option_that_a_command_has_not_is_told_by_the_command(capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["denoise", "in.star", "-o", "out.star", "--wrong", "3"])
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert (
        said
        == "polardenoise denoise: unrecognized arguments: --wrong 3; see polardenoise denoise --help\n"
    )
