"""The folder of a report: ours to replace, or nobody's."""

from pathlib import Path

from polardenoise.engine.denoise.options import DenoisePlan
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import is_real_folder
from polardenoise.engine.runtime.input_files import open_input

PAGE = "index.html"
GENERATOR = "polardenoise denoise --report"


def check_report_folder(plan: DenoisePlan) -> None:
    """Refuse a folder that a report cannot be put into.

    Raises
    ------
    InputError
        If it is there and not a report of ours, or is a file.
    """
    folder = plan.report
    if folder is None:
        return
    if folder.is_symlink():
        raise InputError(f"--report {folder}: is a symbolic link; name the folder itself")
    if folder.exists() and not is_real_folder(folder):
        raise InputError(f"--report {folder}: is a file; name a folder to make")
    if not is_replaceable(folder):
        raise InputError(
            f"--report {folder}: is there already and holds other things than a report; name another folder"
        )


def is_replaceable(folder: Path) -> bool:
    """Tell whether a folder is not there, empty, or one of our reports with nothing added to it."""
    if not folder.exists():
        return True
    entries = list(folder.iterdir())
    if not entries:
        return True
    if any(entry.is_symlink() or not entry.is_file() for entry in entries):
        return False
    try:
        with open_input(folder / PAGE) as file:
            text = file.read().decode("utf-8")
    except (OSError, ValueError):
        return False
    others = {entry.name for entry in entries} - {PAGE}
    return GENERATOR in text and all(f'"{name}"' in text for name in others)
