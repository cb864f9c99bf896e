"""Provenance of a result: what made it, stated beside it as JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import datetime
from pathlib import Path
from typing import Any


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
        "program": "polardenoise",
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


def read_provenance(star_path: Path) -> dict[str, Any]:
    """Read `OUT.json` beside `OUT.star`; empty where there is none, or it is not ours."""
    path = Path(star_path).with_suffix(".json")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    ours = isinstance(facts, dict) and facts.get("program") == "polardenoise"
    return facts if ours else {}
