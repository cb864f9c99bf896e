"""What a run has done so far, in a hidden folder beside its output: a run that was stopped goes on from there.

The folder `.OUT.unfinished` holds the plan's facts, the working images, the sets, the images written so far and, for
each process, a journal of the batches that are complete. When all is done its files move to their final names and it
goes. A folder of this name is touched only if it is ours: a folder itself, not a link to one, of this user, with our
mark in it. Nothing that lies in it says where something is to be written.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polardenoise.engine.denoise.plan import KEEPS_MATCHES, START_ANEW
from polardenoise.engine.denoise.resume_stack import read_journals
from polardenoise.engine.denoise.whole_halves.estimates import PATTERN
from polardenoise.engine.runtime.changed_facts import list_some, word_changes
from polardenoise.engine.runtime.errors import InputError, SystemFailureError, says_out_of_memory
from polardenoise.engine.runtime.files import (
    Kept,
    as_plain_data,
    copy_folder,
    is_real_folder,
    make_folder,
    move_folder,
    name_hidden,
    naming_a_full_disk,
    remove_leftovers,
    remove_quietly,
    remove_tree,
    telling_to_resume,
    write_json,
    write_through,
)
from polardenoise.engine.runtime.input_files import read_json

FACTS = "facts.json"
PUBLISHED = "published.json"
LOCK = "lock"
MARK = "polardenoise.unfinished"
#: The one folder that lies in the folder of a run, besides files.
FOLDERS = ("report",)


def name_unfinished(output: Path) -> Path:
    """Name the folder of a run that writes `output`."""
    return output.with_name(f".{output.stem}.unfinished")


@contextmanager
def unfinished_run(
    output: Path, facts: dict[str, Any], resume: bool, tell_kept: Callable[[], Kept]
) -> Iterator[Path]:
    """Open the folder of a run's unfinished results.

    It is kept if the run is killed, interrupted, or stopped by the system, and if any batch has been denoised; else,
    where something given cannot be used, it is removed.

    Parameters
    ----------
    output : Path
        The run's main output, beside which the folder lies.
    facts : dict
        All that the result depends on: a run is continued only if they are the same.
    resume : bool
        Whether to go on with what is there. Where nothing is there, the run starts anew.
    tell_kept : callable
        Says how much of the run is kept, asked when it is stopped.

    Yields
    ------
    Path
        The folder.

    Raises
    ------
    InputError
        If the folder is not ours, another process is at work on the same output, or the facts have changed.
    SystemFailureError
        If the system has stopped the run, which can go on.
    """
    folder = name_unfinished(output)
    open_own_folder(folder)
    with locked(folder):
        remove_leftovers(folder)
        if not resume:
            remove_contents(folder)
        begun = read_facts(folder)
        if begun is None:
            remove_contents(folder)
        else:
            refuse_strangers(folder)
            refuse_other_facts(output, begun, as_plain_data(facts))
        write_json(folder / FACTS, facts)
        with keeping_what_is_done(folder, tell_kept):
            yield folder
        remove_tree(folder)


def discard_unfinished(output: Path, facts: dict[str, Any]) -> None:
    """Remove what a run has left whose results are there already; not of another run, and not while one is at work."""
    folder = name_unfinished(output)
    if is_real_folder(folder):
        with contextlib.suppress(InputError):
            open_own_folder(folder)
            with locked(folder):
                begun = read_facts(folder)
                if begun is None or not word_other_facts(begun, as_plain_data(facts)):
                    remove_tree(folder)


@contextmanager
def keeping_what_is_done(folder: Path, tell_kept: Callable[[], Kept]) -> Iterator[None]:
    """Keep the folder after errors that a run can go on from, and say so; remove it after others."""
    try:
        with telling_to_resume(folder, tell_kept):
            yield
    except SystemFailureError:
        raise
    except Exception as error:
        begun = bool(read_journals(folder)) or any(folder.glob(PATTERN))
        if not begun and (isinstance(error, InputError) or says_out_of_memory(error)):
            remove_tree(folder)
        raise


def open_own_folder(folder: Path) -> None:
    """Make the folder of a run, or see that the one which is there is ours.

    Raises
    ------
    InputError
        If something else has its name.
    """
    try:
        status = os.lstat(folder)
    except FileNotFoundError:
        make_folder(folder)
        status = os.lstat(folder)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; choose another -o") from error
    own = stat.S_ISDIR(status.st_mode) and status.st_uid == find_own_user(folder.parent)
    if own:
        names = set(os.listdir(folder))
        own = MARK in names or names <= {LOCK}
    if not own:
        raise InputError(
            f"{folder}: is not a folder that polardenoise has made; move it away or choose another -o"
        )
    mark = os.open(folder / MARK, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    os.close(mark)


def find_own_user(folder: Path) -> int:
    """Find the user that files of ours have in a folder: some file systems know us by another number."""
    with tempfile.TemporaryFile(dir=folder) as trial:
        return os.fstat(trial.fileno()).st_uid


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; the lock goes with the process, however that ends."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise InputError(
            f"{folder}: another run is at work on this output; wait for it or choose another -o"
        ) from error
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(lock)


def remove_contents(folder: Path) -> None:
    """Empty the folder, but for the lock and the mark; of links only the links."""
    for path in folder.iterdir():
        if path.name not in (LOCK, MARK):
            remove_tree(path)


def refuse_strangers(folder: Path) -> None:
    """Refuse to go on where something in the folder is no file of its own: a link, a device, a FIFO.

    Raises
    ------
    InputError
        Names it.
    """
    for entry in os.scandir(folder):
        regular = entry.is_file(follow_symlinks=False)
        if not regular and not (entry.name in FOLDERS and entry.is_dir(follow_symlinks=False)):
            raise InputError(f"{entry.path}: is no file that a run has written; {START_ANEW}")


def read_facts(folder: Path) -> dict[str, Any] | None:
    """Read what a run was begun with; None if it was killed before it had said so."""
    return read_own(folder / FACTS)


def read_own(path: Path) -> dict[str, Any] | None:
    """Read a JSON object of a run's folder; None where there is none, or a link."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        found: dict[str, Any] = read_json(path, dict, "")
    except InputError:
        return None
    return found


def refuse_other_facts(output: Path, begun: dict[str, Any], asked: dict[str, Any]) -> None:
    """Fail if a run would go on with other input, model or options than it was begun with."""
    changes = word_other_facts(begun, asked)
    if changes:
        raise InputError(
            f"--resume: {output} was begun with {changes}; repeat the command as it was, or {START_ANEW}"
        )


def word_other_facts(begun: dict[str, Any], asked: dict[str, Any]) -> str:
    """Word what of two runs is not the same, see `plan.state_facts`; empty where all is.

    Matches may be asked for later, or no more: batches whose matches were not kept are computed again.
    """
    begun = begun | {KEEPS_MATCHES: asked.get(KEEPS_MATCHES)}
    other = word_other_input(begun.pop("input", None), asked["input"])
    changes = word_changes(begun, {name: one for name, one in asked.items() if name != "input"})
    return " and ".join(filter(None, (other, changes)))


def word_other_input(begun: Any, asked: list[Any]) -> str:
    """Word what of the input is not what it was, see `plan.state_facts`; empty where all is."""
    if begun == asked:
        return ""
    known = begun if isinstance(begun, list) else []
    changed = [one for one in asked if one not in known]
    stacks = [one[0] for one in changed if isinstance(one, list)]
    files = ["the file of the particles"] if len(stacks) < len(changed) else []
    said = list_some([*files, *stacks]) or "with other stacks"
    return f"another input ({said}: not as then)"


def publish(folder: Path, final_names: dict[str, Path], run: str, former: list[Path]) -> None:
    """Move finished files to their final names, in the order given, and remove those of an earlier run.

    What is to lie in another file system is copied there first: a disk that is full there stops the run before the
    first name is given.

    Parameters
    ----------
    folder : Path
        Of the run.
    final_names : dict
        Name in the folder -> final path.
    run : str
        Hash of the run's facts.
    former : list of Path
        What an earlier run of this output has left, and this one does not replace.
    """
    copies = {}
    try:
        for name, final in final_names.items():
            make_folder(final.parent)
            if lies_elsewhere(folder / name, final):
                copies[name] = copy_beside(folder / name, final)
            elif (folder / name).is_file():
                write_through(folder / name)
        write_json(folder / PUBLISHED, {"run": run})
    except BaseException:
        for copy in copies.values():
            remove_tree(copy)
        raise
    for name, copy in copies.items():
        move_file(copy, final_names[name])
        remove_tree(folder / name)
    finish_publishing(folder, final_names, run, former)


def lies_elsewhere(source: Path, final: Path) -> bool:
    """Tell whether a final name is in another file system than what is to get it."""
    return source.stat().st_dev != final.parent.stat().st_dev


def finish_publishing(
    folder: Path, final_names: dict[str, Path], run: str, former: list[Path]
) -> bool:
    """Do what is left of a publication, if one has begun; tell whether one had. The parameters are those of `publish`.

    What is `former` goes first: new images never lie beside it.
    """
    if not was_published(folder, run):
        return False
    for path in former:
        remove_quietly(path)
    for name, final in final_names.items():
        if (folder / name).exists():
            move_file(folder / name, final)
    for parent in {final.parent for final in final_names.values()}:
        write_through(parent)
    return True


def copy_beside(source: Path, final: Path) -> Path:
    """Copy a file or a folder to a hidden name beside its final one; after an error nothing of it is left."""
    copy = name_hidden(final, "copy")
    remove_leftovers(final.parent, final)
    remove_tree(copy)
    if source.is_dir():
        copy_folder(source, copy)
        return copy
    try:
        with naming_a_full_disk(final):
            shutil.copyfile(source, copy)
            write_through(copy)
    except BaseException:
        remove_quietly(copy)
        raise
    return copy


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
        os.replace(copy_beside(source, final), final)
        remove_quietly(source)


def was_published(folder: Path, run: str) -> bool:
    """Tell whether the publication of this very run has begun: all that it makes was complete then."""
    return (read_own(folder / PUBLISHED) or {}).get("run") == run
