"""The folder of a report: ours to replace, or nobody's."""

import os
from pathlib import Path

from polardenoise.engine.denoise.plan import DenoisePlan
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import make_folder

PAGE = "index.html"
GENERATOR = "polardenoise denoise --report"


def check_report_folder(plan: DenoisePlan) -> None:
    """Refuse a folder that a report cannot be put into.

    Raises
    ------
    InputError
        If it is there and not a report of ours, is a file, would hold what it is replaced with, or cannot be made.
    """
    folder = plan.report
    if folder is None:
        return
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--report {folder}: is a file; name a folder to make")
    if not is_replaceable(folder):
        raise InputError(
            f"--report {folder}: is there already and holds other things than a report; name another folder"
        )
    for option, path in (("-o", plan.output), ("--matches", plan.matches)):
        if path is not None and folder.resolve() in path.resolve().parents:
            raise InputError(
                f"--report {folder}: a report replaces the whole folder, and {option} {path} lies in it; name another"
            )
    make_folder(folder.parent)
    if not os.access(folder.parent, os.W_OK | os.X_OK):
        raise InputError(f"{folder.parent}: cannot be written; name another --report")


def is_replaceable(folder: Path) -> bool:
    """Tell whether a folder is not there, empty, or one of our reports with nothing added to it."""
    if not folder.exists():
        return True
    names = {path.name for path in folder.iterdir()} - {PAGE}
    try:
        text = (folder / PAGE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        text = ""
    return ((not names and not (folder / PAGE).exists()) or GENERATOR in text) and all(
        f'"{name}"' in text for name in names
    )
