"""The one door to the engine: `polardenoise COMMAND ...`.

What every command shares lives here: how errors are told (one line, exit code 2), how a run is
stopped, and where its summary goes. What a command does lives in its module under `commands/`.
"""

from __future__ import annotations

import argparse
import importlib
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from polardenoise import __version__
from polardenoise.engine.runtime.errors import (
    InputError,
    describe_system_error,
    says_out_of_memory,
)
from polardenoise.engine.runtime.row_numbers import say_how_rows_count
from polardenoise.engine.runtime.running_command import running_command
from polardenoise.engine.runtime.standard_streams import patient_streams
from polardenoise.engine.runtime.stopping import (
    EXIT_TERMINATED,
    Terminated,
    unwinding_when_terminated,
)

COMMANDS = ("simulate", "train", "adapt", "denoise", "select", "evaluate", "reconstruct", "models")

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 128 + signal.SIGINT
#: Commands that go on where they were stopped.
RESUMABLE = ("train", "denoise")
#: That has `--rows`, in which rows are counted from 0.
COMMAND_WITH_ROWS = "denoise"
#: What is lost with all that it has learned.
LEAVING_NOTHING = ("adapt",)
#: What lowers the memory that a run of a command takes.
MEMORY_CURES = {
    "simulate": "lower --box or --particles",
    "train": "give a --recipe with fewer images_per_step, or sources of a smaller box",
    "adapt": "give fewer particles, or use --device cpu",
    "denoise": "lower --batch or the box size",
    "evaluate": "give particles of a smaller box, or fewer (--images of the null test)",
    "reconstruct": "give particles of a smaller box, or fewer",
}
#: Characters of a value that a mistake in the command line shows, of any word of a message, and of a message.
LONGEST_VALUE, LONGEST_WORD, LONGEST_LINE = 60, 400, 4000
#: What takes several values, and may take none.
LISTS = ("sources",)
#: What the extra `engine` installs, by the names that Python imports.
ENGINE_LIBRARIES = (
    "PIL",
    "einops",
    "gemmi",
    "jinja2",
    "markupsafe",
    "matplotlib",
    "mrcfile",
    "msgspec",
    "numpy",
    "safetensors",
    "scipy",
    "torch",
    "torch_ctf",
    "torch_fourier_shift",
    "torch_grid_utils",
)
INSTALL = (
    "install the engine with pip install 'scipion-em-polardenoise[engine]' (Python 3.11 or later)"
)
#: Python that the torch libraries of the field need.
OLDEST_PYTHON = (3, 11)


class Parser(argparse.ArgumentParser):
    """An argument parser that tells a mistake in one line and knows no abbreviated options."""

    def __init__(self, **keywords: Any) -> None:
        keywords.setdefault("allow_abbrev", False)
        super().__init__(**keywords)

    def error(self, message: str) -> NoReturn:
        """Print `message` as one line on stderr and exit with code 2."""
        line = on_one_line(message, LONGEST_VALUE)
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: {line}; see {self.prog} --help\n")


def on_one_line(text: object, longest: int = LONGEST_WORD) -> str:
    """Join the lines of a message: the error contract allows one. Words longer than `longest` lose their middle."""
    line = " ".join(str(text).split())
    line = re.sub(rf"\S{{{longest + 1},}}", lambda word: cut_middle(word[0], longest), line)
    return cut_middle(line, LONGEST_LINE)


def cut_middle(text: str, longest: int) -> str:
    """Keep both ends of a text that is longer than `longest` characters."""
    if len(text) <= longest:
        return text
    end = (longest - 3) // 2
    return f"{text[: longest - 3 - end]}...{text[-end:]}"


def import_command(name: str) -> ModuleType:
    """Import the module of one command."""
    return importlib.import_module(f"polardenoise.engine.commands.{name}")


def build_parser(names: Sequence[str] = COMMANDS) -> Parser:
    """Build the parser of the named commands.

    A run names its one command, so that it does not pay for importing the others.
    """
    parser = Parser(
        prog="polardenoise",
        description="Denoise cryo-EM particle images jointly, and all that belongs to it.",
        epilog="Align on denoised images, reconstruct from the raw ones.",
    )
    parser.add_argument("--version", action="version", version=f"polardenoise {__version__}")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=Parser
    )
    for name in names:
        module = import_command(name)
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(command)
        command.add_argument(
            "--json", metavar="FILE", type=Path, help="write what the summary says, for machines"
        )
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; `argv` is what follows the program's name.

    Returns
    -------
    argparse.Namespace
        The options of the command, `command` (its name), `json` and `command_line` (the list of
        words that, typed again, repeats the run).
    """
    names = [argv[0]] if argv and argv[0] in COMMANDS else COMMANDS
    arguments, unknown = build_parser(names).parse_known_args(argv)
    if unknown:  # told by the command, whose help has its options, and not by the program
        command = Parser(prog=f"polardenoise {arguments.command}")
        command.error(f"unrecognized arguments: {' '.join(unknown)}")
    refuse_missing_values(arguments)
    arguments.command_line = ["polardenoise", *argv]
    return arguments


def refuse_missing_values(arguments: argparse.Namespace) -> None:
    """Refuse `--OPTION=--`, of which argparse makes an empty list.

    Raises
    ------
    InputError
        Names the option.
    """
    for name, value in vars(arguments).items():
        if value == [] and name not in LISTS:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option}: has no value (-- is none); write {option} VALUE")


def check_seed(seed: int) -> None:
    """Refuse a `--seed` that not every generator of random numbers takes.

    Raises
    ------
    InputError
        If it is negative or has more than 63 bits.
    """
    if not 0 <= seed < 2**63:
        raise InputError(f"--seed {seed}: give a whole number from 0 to {2**63 - 1}")


def run_command(arguments: argparse.Namespace) -> None:
    """Run a parsed command, write its JSON, print its summary.

    The command finds in `arguments.files` the list of what it reads and writes, with `--json` in it; what is wrong with
    that is told before the work.
    """
    from polardenoise.engine.runtime.file_list import FileList

    module = import_command(arguments.command)
    arguments.files = FileList()
    arguments.files.write("--json", arguments.json, "summary", content="summary")
    arguments.files.check()
    check_seed(getattr(arguments, "seed", None) or 0)
    if draws_pictures(arguments):
        from polardenoise.engine.runtime.pictures import load_matplotlib

        load_matplotlib()
    summary = module.run(arguments)
    if arguments.json is not None:
        from polardenoise.engine.runtime.provenance import write_summary

        write_summary(arguments.json, {"command": arguments.command_line} | summary)
    print(module.summarise(summary), flush=True)


def draws_pictures(arguments: argparse.Namespace) -> bool:
    """Tell whether a run of a command draws with matplotlib."""
    asked = {"denoise": "report", "evaluate": "plot"}.get(arguments.command)
    if asked is not None:
        return getattr(arguments, asked, None) is not None
    return arguments.command in ("train", "reconstruct")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `polardenoise`.

    Parameters
    ----------
    argv : sequence of str, optional
        What follows the program's name; `sys.argv[1:]` by default.

    Returns
    -------
    int
        0 done; 2 something given cannot be used, or the system refused (one line on stderr); 130 on
        Ctrl-C; 143 when told to end. An exception that nobody foresaw is a defect of ours and shows its traceback.
    """
    with patient_streams():
        return run_and_tell(sys.argv[1:] if argv is None else list(argv))


def run_and_tell(argv: Sequence[str]) -> int:
    """Run a command line and put what went wrong into one line; as `main`."""
    name = "polardenoise"
    command = ""
    try:
        refuse_old_python()
        with unwinding_when_terminated():
            arguments = parse_arguments(argv)
            command = arguments.command
            name = f"polardenoise {command}"
            with running_command(command):
                run_command(arguments)
        return 0
    except InputError as error:
        line = say_how_rows_count(on_one_line(error), command == COMMAND_WITH_ROWS)
        print(f"{name}: {line}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt as error:
        print(f"{name}: interrupted{advise(command, error)}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Terminated as error:
        print(f"{name}: told to end (SIGTERM){advise(command, error)}", file=sys.stderr)
        return EXIT_TERMINATED
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ENGINE_LIBRARIES:
            raise
        print(f"{name}: {missing} is not installed; {INSTALL}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except OSError as error:
        print(f"{name}: {on_one_line(describe_system_error(error))}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except Exception as error:
        if not says_out_of_memory(error):
            raise
        cure = MEMORY_CURES.get(command, "free some")
        print(f"{name}: out of memory; {cure}", file=sys.stderr)
        return EXIT_BAD_INPUT


def advise(command: str, stop: BaseException) -> str:
    """Say what is kept of a run that was stopped, and what to do; its notes say how much, where any work had begun."""
    notes = getattr(stop, "__notes__", [])
    if notes:
        return f"; {notes[-1]}"
    if command in LEAVING_NOTHING:
        return "; nothing is kept"
    return "; --resume goes on from what is kept, if anything is" if command in RESUMABLE else ""


def refuse_old_python() -> None:
    """Refuse a Python that the engine's libraries do not run in.

    Raises
    ------
    InputError
        If this one is older.
    """
    if sys.version_info < OLDEST_PYTHON:
        version = ".".join(map(str, sys.version_info[:2]))
        raise InputError(f"the engine does not run in Python {version}; {INSTALL}")
