"""Provenance of a result: what made it, stated beside it as JSON."""

from __future__ import annotations

import os
import platform
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.file_kinds import PROGRAM
from polardenoise.engine.runtime.files import write_json
from polardenoise.engine.runtime.input_files import convert_data, read_json


def provenance(command: list[str], **facts: Any) -> dict[str, Any]:
    """State what made a result: program, version, time, command and machine.

    Parameters
    ----------
    command : list[str]
        The argument vector, program included.
    **facts : Any
        More to state: `seed`, `model`, ...

    Returns
    -------
    dict[str, Any]
        Ready for `write_json`.
    """
    import polardenoise

    libraries = {
        name: sys.modules[name].__version__ for name in ("numpy", "torch") if name in sys.modules
    }
    return {
        "program": PROGRAM,
        "version": getattr(polardenoise, "__version__", "unknown"),
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": [str(word) for word in command],
        "working_directory": os.getcwd(),
        "machine": {
            "host": platform.node(),
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            **libraries,
        },
        **facts,
    }


class KnownProvenance(msgspec.Struct):
    """What programs read of a provenance; people read all of it."""

    program: Literal["polardenoise"]
    command: list[str] = []
    working_directory: str = ""
    input: str | None = None
    model: str | None = None
    run: str | None = None


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write the summary of a command for machines; it says whose it is, so that it may be replaced by the next one."""
    import polardenoise

    write_json(path, {"program": PROGRAM, "version": polardenoise.__version__} | summary)


def read_provenance(star_path: Path) -> dict[str, Any]:
    """Read `OUT.json` beside `OUT.star`; empty where there is none, or it is not ours."""
    path = Path(star_path).with_suffix(".json")
    if not path.is_file():
        return {}
    try:
        facts: dict[str, Any] = read_json(path, dict, "write it again")
        convert_data(facts, KnownProvenance, str(path), "write it again")
    except InputError:
        return {}
    return facts
