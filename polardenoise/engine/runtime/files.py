"""Files and folders that appear complete or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from polardenoise.engine.runtime.errors import (
    InputError,
    SystemFailureError,
    describe_system_error,
)
from polardenoise.engine.runtime.stopping import Terminated

#: What the system says where a disk, a quota or the largest size of a file is reached.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: This machine, in the names of unfinished files: a process is known by its number only where it runs.
HOST = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:32] or "here"
LEFTOVER = re.compile(
    r"\..+\.(?P<host>[A-Za-z0-9]+)-(?P<process>\d{1,10})\.(partial|former|copy)(\..*)?"
)


class Outputs:
    """Files that take their final names together, when all of them are complete.

    Used as a context manager: `with Outputs() as outputs: write(outputs.lend(path))`. Each is written beside its final
    name, in the same file system, handed to the disk, and only then renamed. After an error, Ctrl-C included, what was
    written is removed and earlier files are as they were.
    """

    def __init__(self) -> None:
        self._lent: dict[Path, Path] = {}

    def __enter__(self) -> Outputs:
        """Begin."""
        return self

    def lend(self, path: Path | str) -> Path:
        """Lend a temporary path for a file.

        Parameters
        ----------
        path : Path | str
            The final name. Its folder is made if need be; an existing file is replaced in one step.

        Returns
        -------
        Path
            A hidden name in the same folder with the same ending (programs choose formats by the ending).

        Raises
        ------
        InputError
            If the folder cannot be made or written, or `path` is a folder.
        """
        final = Path(path)
        if final.is_dir():
            raise InputError(f"{final}: is a folder; give the name of a file to write")
        make_folder(final.parent)
        if not os.access(final.parent, os.W_OK | os.X_OK):
            raise SystemFailureError(f"{final.parent}: cannot be written; choose another folder")
        remove_leftovers(final.parent, final)
        temporary = name_hidden(final)
        # Whoever had this number of a process before us: what lies there is not written through.
        remove_quietly(temporary)
        self._lent[final] = temporary
        return temporary

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give all files their names, or remove them."""
        try:
            if error is None:
                self._publish()
        finally:
            for temporary in self._lent.values():
                remove_quietly(temporary)
            self._lent.clear()

    def _publish(self) -> None:
        for final, temporary in self._lent.items():
            with naming_a_full_disk(final):
                write_through(temporary)
        for final, temporary in self._lent.items():
            os.replace(temporary, final)
        for folder in {final.parent for final in self._lent}:
            write_through(folder)


@contextmanager
def replace_when_complete(path: Path | str) -> Iterator[Path]:
    """Lend a temporary path that takes the final name when the block ends without an error.

    Parameters, result and errors are those of `Outputs.lend`.

    Raises
    ------
    SystemFailureError
        If the disk is full.
    """
    with naming_a_full_disk(Path(path)), Outputs() as outputs:
        yield outputs.lend(path)


def name_hidden(final: Path, word: str = "partial") -> Path:
    """Name what this process keeps beside a final name until that is complete."""
    return final.with_name(f".{final.stem}.{HOST}-{os.getpid()}.{word}{final.suffix}")


def remove_leftovers(folder: Path, final: Path | None = None) -> None:
    """Remove what processes of this machine that are no more have left unfinished in a folder.

    Parameters
    ----------
    folder : Path
        Where to look.
    final : Path, optional
        Only what was to become this file or folder; without, all of it: for folders that are ours alone.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        found = LEFTOVER.fullmatch(name)
        if found is None or found["host"] != HOST or is_running(int(found["process"])):
            continue
        # Files that are written inside such a file's block have its name behind a further dot.
        mine = f"{'' if final is None else final.stem.lstrip('.')}.{HOST}-{found['process']}."
        if final is None or name.lstrip(".").startswith(mine):
            remove_tree(folder / name)


@contextmanager
def temporary_folder(word: str, place: Path | None = None) -> Iterator[Path]:
    """Make a folder for temporary files, removed at the end; those that our killed processes have left go first.

    It lies in the folder `place`, or where the system has such files.
    """
    place = place or Path(tempfile.gettempdir())
    for path in place.glob(f".polardenoise-{word}.{HOST}-*"):
        found = LEFTOVER.fullmatch(path.name)
        if found and not is_running(int(found["process"])) and path.lstat().st_uid == os.geteuid():
            remove_tree(path)
    hidden = name_hidden(place / f"polardenoise-{word}").name
    folder = Path(tempfile.mkdtemp(prefix=f"{hidden}.", dir=place))
    try:
        yield folder
    finally:
        remove_tree(folder)


def is_running(process: int) -> bool:
    """Tell whether a process of this number runs on this machine."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def remove_quietly(path: Path) -> None:
    """Remove a file if it is there; a disk that does not let us is no reason to fail."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def write_through(path: Path) -> None:
    """Have the system bring a file, or the names of a folder, to the disk: a rename must not outrun its bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise  # these say that the file system has no such thing
    finally:
        os.close(descriptor)


@contextmanager
def naming_a_full_disk(path: Path) -> Iterator[None]:
    """Turn the system's word for a full disk into a `SystemFailureError` that names the file being written."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise SystemFailureError(
            f"{path}: the disk is full; make room or write elsewhere"
        ) from error


@dataclass(frozen=True)
class Kept:
    """What is kept of a run that is stopped.

    Attributes
    ----------
    words : str
        How much of how much, "12 of 24 images are kept".
    is_any : bool
        Whether it is anything.
    """

    words: str
    is_any: bool = True


@contextmanager
def telling_to_resume(folder: Path, tell_kept: Callable[[], Kept]) -> Iterator[None]:
    """Have what stops a run say what is kept, and how to go on.

    Errors of the system become a `SystemFailureError` that says it; Ctrl-C and SIGTERM get it as a note, which the
    command line prints.

    Parameters
    ----------
    folder : Path
        Where it is kept.
    tell_kept : callable
        Says what is kept.
    """
    try:
        yield
    except SystemFailureError as error:
        raise SystemFailureError(f"{error}; {advise_to_resume(tell_kept, folder)}") from error
    except OSError as error:
        reason = describe_system_error(error)
        room = "; make room" if error.errno in FULL else ""
        raise SystemFailureError(
            f"{reason}{room}; {advise_to_resume(tell_kept, folder)}"
        ) from error
    except (KeyboardInterrupt, Terminated) as error:
        error.add_note(advise_to_resume(tell_kept))
        raise


def advise_to_resume(tell_kept: Callable[[], Kept], folder: Path | None = None) -> str:
    """Say what is kept, and in which folder, and how to go on; where nobody can tell how much, that something is."""
    try:
        kept = tell_kept()
    except (OSError, InputError):
        kept = Kept("what is done is kept")
    if not kept.is_any:
        return f"{kept.words}; repeat the command, with --resume or without"
    if folder is None:
        return f"{kept.words}; --resume goes on from there"
    return f"{kept.words}, in {folder}: the same command with --resume goes on from there"


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where they are not there yet.

    Raises
    ------
    InputError
        If that cannot be done, or a file has the name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"{folder}: cannot be made ({error.strerror}); choose another folder"
        ) from error
    except OSError as error:
        raise SystemFailureError(
            f"{folder}: cannot be made ({error.strerror}); choose another folder"
        ) from error


def write_text_atomically(path: Path | str, text: str) -> None:
    """Write a text file that appears complete or not at all (UTF-8, line ends as given)."""
    with replace_when_complete(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", errors="surrogateescape"))


def write_json(path: Path | str, data: Any) -> None:
    """Write data as JSON, atomically.

    Parameters
    ----------
    path : Path | str
        The file.
    data : Any
        Dictionaries, lists, numbers, text; numpy and torch numbers and arrays, paths and tuples are turned
        into them. Numbers that JSON does not know (NaN, infinities) become `null`.
    """
    write_text_atomically(path, json.dumps(as_plain_data(data), indent=2, allow_nan=False) + "\n")


def as_plain_data(value: Any) -> Any:
    """Turn what the engine works with into what JSON knows, as `write_json` writes it."""
    if isinstance(value, dict):
        return {str(key): as_plain_data(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain_data(entry) for entry in value]
    if hasattr(value, "tolist"):  # numpy and torch numbers and arrays
        return as_plain_data(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        # Names of files that are no UTF-8 hold what no JSON may: their bytes are spelt out.
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if value is None or isinstance(value, bool | int):
        return value
    return as_plain_data(str(value))


def is_real_folder(path: Path) -> bool:
    """Tell whether a path is a folder itself, not a link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def move_folder(source: Path, final: Path) -> None:
    """Give a complete folder its final name, from another file system too; one that is there is replaced.

    The source goes last: a move that was killed can be done again.
    """
    beside, former = name_hidden(final), name_hidden(final, "former")
    remove_leftovers(final.parent, final)
    for left_over in (beside, former):
        remove_tree(left_over)
    moved = source
    if source.stat().st_dev != final.parent.stat().st_dev:
        copy_folder(source, beside)
        moved = beside
    if final.exists():
        os.replace(final, former)
    os.replace(moved, final)
    remove_tree(former)
    remove_tree(source)


def copy_folder(source: Path, copy: Path) -> None:
    """Copy a folder to the disk that it is to lie on; after an error nothing of the copy is left."""
    try:
        with naming_a_full_disk(copy):
            shutil.copytree(source, copy)
            for path in copy.rglob("*"):
                write_through(path)
    except shutil.Error as error:
        remove_tree(copy)
        raise SystemFailureError(
            f"{copy.parent}: cannot be written ({error}); make room"
        ) from error
    except BaseException:
        remove_tree(copy)
        raise


def remove_tree(path: Path) -> None:
    """Remove a file or a folder with all that is in it; of a link only the link."""
    if is_real_folder(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        remove_quietly(path)
