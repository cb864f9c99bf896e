"""What a run has done so far, in a hidden folder beside its output: a killed run goes on from there.

The folder `.OUT.unfinished` holds the plan's facts, the working images, the sets, the images written so far and, for
each process, a journal of the batches that are complete. When all is done its files move to their final names and it
goes.
"""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import (
    make_folder,
    move_folder,
    naming_a_full_disk,
    replace_when_complete,
    write_json,
)

FACTS = "facts.json"
PUBLISHED = "published.json"


def name_unfinished(output: Path) -> Path:
    """Name the folder of a run that writes `output`."""
    return output.with_name(f".{output.stem}.unfinished")


@contextmanager
def unfinished_run(output: Path, facts: dict[str, Any], resume: bool) -> Iterator[Path]:
    """Open the folder of a run's unfinished results; it is kept if the run is killed or interrupted, else removed.

    Parameters
    ----------
    output : Path
        The run's main output, beside which the folder lies.
    facts : dict
        All that the result depends on: a run is continued only if they are the same.
    resume : bool
        Whether to go on with what is there. Where nothing is there, the run starts anew.

    Yields
    ------
    Path
        The folder.

    Raises
    ------
    InputError
        If another process is at work on the same output, or the facts have changed.
    """
    folder = name_unfinished(output)
    if folder.exists() and not resume:
        with locked(folder):
            remove_contents(folder)
    make_folder(folder)
    with locked(folder):
        begun = read_facts(folder)
        if begun is None:
            remove_contents(folder)
            write_json(folder / FACTS, facts)
        else:
            refuse_other_facts(output, begun, json.loads(json.dumps(facts)))
        try:
            with naming_a_full_disk(output):
                yield folder
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; the lock goes with the process, however that ends."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{folder}: another run is at work on this output; wait for it or choose another -o"
            ) from error
        yield


def remove_contents(folder: Path) -> None:
    """Empty the folder, but for the lock."""
    for path in folder.iterdir():
        if path.name != "lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def read_facts(folder: Path) -> dict[str, Any] | None:
    """Read what a run was begun with; None if it was killed before it had said so."""
    try:
        return json.loads((folder / FACTS).read_text())
    except (OSError, ValueError):
        return None


def refuse_other_facts(output: Path, begun: dict[str, Any], asked: dict[str, Any]) -> None:
    """Fail if a run would go on with other input, model or options than it was begun with."""
    changed = [name for name in begun | asked if begun.get(name) != asked.get(name)]
    if changed:
        raise InputError(
            f"--resume: {output} was begun with another {', '.join(changed)}; repeat the command as it was, or "
            "leave --resume out to start anew"
        )


def publish(folder: Path, final_names: dict[str, Path]) -> None:
    """Move finished files to their final names, in the order given.

    Parameters
    ----------
    folder : Path
        Of the run.
    final_names : dict
        Name in the folder -> final path.
    """
    write_json(folder / PUBLISHED, {name: str(path) for name, path in final_names.items()})
    finish_publishing(folder)


def finish_publishing(folder: Path) -> bool:
    """Do the moves that are left of a publication, if one has begun; tell whether one had."""
    try:
        final_names = json.loads((folder / PUBLISHED).read_text())
    except FileNotFoundError:
        return False
    for name, path in final_names.items():
        if (folder / name).exists():
            move_file(folder / name, Path(path))
    return True


def move_file(source: Path, final: Path) -> None:
    """Give a file, or a folder, its final name in one step, in another file system too."""
    if source.is_dir():
        move_folder(source, final)
        return
    try:
        os.replace(source, final)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with replace_when_complete(final) as temporary:
            shutil.copyfile(source, temporary)


def was_published(folder: Path) -> bool:
    """Tell whether the publication of a run's files has begun."""
    return (folder / PUBLISHED).exists()
