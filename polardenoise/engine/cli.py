"""The one door to the engine: `polardenoise COMMAND ...`.

What every command shares lives here: how errors are told (one line, exit code 2), how a run is
stopped, and where its summary goes. What a command does lives in its module under `commands/`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from polardenoise import __version__
from polardenoise.engine.runtime.errors import InputError, says_out_of_memory

COMMANDS = ("simulate", "train", "denoise", "evaluate", "reconstruct", "models")

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 141
EXIT_TERMINATED = 128 + signal.SIGTERM


class Parser(argparse.ArgumentParser):
    """An argument parser that tells a mistake in one line and knows no abbreviated options."""

    def __init__(self, **keywords: Any) -> None:
        keywords.setdefault("allow_abbrev", False)
        super().__init__(**keywords)

    def error(self, message: str) -> NoReturn:
        """Print `message` as one line on stderr and exit with code 2."""
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: {on_one_line(message)}; see {self.prog} --help\n")


def on_one_line(text: object) -> str:
    """Join the lines of a message: the error contract allows one."""
    return " ".join(str(text).split())


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
    arguments = build_parser(names).parse_args(argv)
    arguments.command_line = ["polardenoise", *argv]
    return arguments


def check_json_destination(path: Path) -> None:
    """Refuse, before the work is done, a `--json` file that could not be written after it.

    Raises
    ------
    InputError
        If `path` is a folder, or its folder neither exists nor can be made. (It is made with the file, so that
        `-o DIR --json DIR/summary.json` works on a new DIR.)
    """
    if path.is_dir():
        raise InputError(f"--json {path}: is a folder; name a file")
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"--json {path}: {nearest} is no folder that can be written; name another")


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
    """Run a parsed command, write its JSON, print its summary."""
    module = import_command(arguments.command)
    if arguments.json is not None:
        check_json_destination(arguments.json)
    check_seed(getattr(arguments, "seed", 0))
    summary = module.run(arguments)
    if arguments.json is not None:
        from polardenoise.engine.runtime.files import write_json

        write_json(arguments.json, summary)
    print(module.summarise(summary), flush=True)


@contextmanager
def unwinding_when_terminated() -> Iterator[None]:
    """Turn SIGTERM (a stop button, a wall time) into an exit that removes unfinished files."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(_number: int, _frame: object) -> NoReturn:
        raise SystemExit(EXIT_TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def describe_system_error(error: OSError) -> str:
    """Put an error of the system (disk full, no permission) into one line that names the file."""
    reason = error.strerror or on_one_line(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason


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
        Ctrl-C. An exception that nobody foresaw is a defect of ours and shows its traceback.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    name = "polardenoise"
    try:
        with unwinding_when_terminated():
            arguments = parse_arguments(argv)
            name = f"polardenoise {arguments.command}"
            run_command(arguments)
        return 0
    except InputError as error:
        print(f"{name}: {on_one_line(error)}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output is gone. Point stdout at nothing, or the interpreter complains
        # while it closes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except OSError as error:
        print(f"{name}: {describe_system_error(error)}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except Exception as error:
        if not says_out_of_memory(error):
            raise
        print(f"{name}: out of memory; lower --batch or the box size", file=sys.stderr)
        return EXIT_BAD_INPUT
