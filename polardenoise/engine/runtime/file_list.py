"""All that a command reads and writes, checked before the work: no two alike, nothing of others replaced."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from polardenoise.engine.runtime.errors import InputError, describe_system_error
from polardenoise.engine.runtime.file_kinds import refuse_to_replace
from polardenoise.engine.runtime.files import HOST, name_hidden, remove_leftovers, remove_quietly


@dataclass(frozen=True)
class Named:
    """A file of a command.

    Attributes
    ----------
    option : str
        What it was named by: "-o", "--json".
    path : Path
        As it was named.
    kind : str
        Of an output, a key of `file_kinds.KINDS`; "folder" for one that is replaced as a whole.
    content : str
        Outputs that say the same may be one file.
    size : int
        Bytes that an output will take, as far as is known.
    """

    option: str
    path: Path
    kind: str = ""
    content: str = ""
    size: int = 0


@dataclass
class FileList:
    """All files that a command reads, and all that it writes."""

    inputs: list[Named] = field(default_factory=list)
    outputs: list[Named] = field(default_factory=list)

    def read(self, option: str, *paths: Path | str | None) -> None:
        """Add files or folders that are read; None is none."""
        self.inputs += [Named(option, Path(path)) for path in paths if path is not None]

    def write(
        self, option: str, path: Path | str | None, kind: str, content: str = "", size: int = 0
    ) -> None:
        """Add a file that is written, as `Named`; None is none."""
        if path is not None:
            self.outputs.append(Named(option, Path(path), kind, content, size))

    def mark_inputs(self) -> dict[object, Named]:
        """Give what an input is known by, whatever it is called (`find_marks`), and the first input that it is of."""
        read: dict[object, Named] = {}
        for one in self.inputs:
            for mark in find_marks(one.path):
                read.setdefault(mark, one)
        return read

    def check(self) -> None:
        """Refuse outputs that would replace an input, one another, or what is not ours.

        Raises
        ------
        InputError
            Names the option, the path and the reason.
        """
        read = self.mark_inputs()
        written: dict[object, Named] = {}
        for one in self.outputs:
            marks = find_marks(one.path)
            for mark in marks:
                if mark in read:
                    raise InputError(
                        f"{one.option} {one.path}: would replace the input {read[mark].path}; choose another name"
                    )
                other = written.setdefault(mark, one)
                if other is not one and not (one.content and one.content == other.content):
                    raise InputError(
                        f"{one.option} {one.path}: is also what {other.option} writes; choose another name"
                    )
        self._refuse_foreign_targets()
        self._refuse_nested()

    def _refuse_foreign_targets(self) -> None:
        for one in self.outputs:
            refuse_lost_folders(one)
            if one.kind == "folder":
                continue  # its owner looks into it
            reason = refuse_to_replace(one.path, one.kind, one.option)
            if reason is not None:
                raise InputError(f"{one.option} {one.path}: {reason}")

    def _refuse_nested(self) -> None:
        """Refuse what lies in a folder that is replaced as a whole."""
        for folder in (one for one in self.outputs if one.kind == "folder"):
            whole = resolve(folder.path)
            for one in [*self.inputs, *self.outputs]:
                if one is not folder and whole in resolve(one.path).parents:
                    raise InputError(
                        f"{folder.option} {folder.path}: is replaced as a whole, and {one.option} {one.path} lies in"
                        " it; name another"
                    )

    def probe(self) -> None:
        """See that every output can be written where it is to lie, and that there is room for all.

        Of a folder that is not there yet, the nearest that is. To be called when all that was given can be used.

        Raises
        ------
        InputError
            Names the folder that cannot be written or has no room, or the file whose name is too long for the hidden
            one that it has until it is complete.
        """
        needed: dict[int, tuple[Path, int]] = {}
        probed: set[Path] = set()
        for one in self.outputs:
            folder = find_nearest_folder(one.path)
            if folder not in probed:
                probe_folder(folder)
                probed.add(folder)
            probe_name(one, folder)
            device = folder.stat().st_dev
            first, size = needed.get(device, (folder, 0))
            needed[device] = first, size + one.size
        for folder, size in needed.values():
            check_room(folder, size)


def find_marks(path: Path) -> list[object]:
    """Give what two names of one file have in common: its resolved name, and the file itself where it is there."""
    marks: list[object] = [resolve(path)]
    try:
        status = path.stat()
    except (OSError, ValueError):
        return marks
    return [*marks, (status.st_dev, status.st_ino)]


def resolve(path: Path) -> Path:
    """Resolve all links of a path; of one that goes in circles, none."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return path.absolute()


def find_nearest_folder(path: Path) -> Path:
    """Find the nearest thing above a path that is there, which should be a folder."""
    return next((folder for folder in path.absolute().parents if folder.exists()), Path("/"))


def refuse_lost_folders(one: Named) -> None:
    """Refuse a target whose folder is none: a file has its name, or it cannot be written."""
    try:
        nearest = find_nearest_folder(one.path)
    except (OSError, ValueError) as error:
        raise InputError(f"{one.option} {one.path}: {error}; name another") from error
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(
            f"{one.option} {one.path}: {nearest} is no folder that can be written; name another"
        )


def probe_folder(folder: Path) -> None:
    """Write a few bytes into a folder, to the disk, and remove them."""
    trial = folder / f".polardenoise.{HOST}-{os.getpid()}.partial"
    remove_quietly(trial)
    remove_leftovers(folder, Path("polardenoise"))
    try:
        descriptor = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, bytes(4096))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"{folder}: the disk is full; make room or write elsewhere") from error
        raise InputError(
            f"{folder}: cannot be written ({describe_system_error(error)}); choose another folder"
        ) from error
    finally:
        remove_quietly(trial)


def probe_name(one: Named, folder: Path) -> None:
    """See that an output's folder, or the nearest to it, takes the name that it has until it is complete."""
    hidden = name_hidden(one.path.absolute())
    try:
        for path in (hidden, folder / hidden.name):
            remove_quietly(path)
        os.close(
            os.open(
                folder / hidden.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
        )
        if hidden.parent != folder:
            with suppress(FileNotFoundError):
                os.lstat(hidden)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise InputError(
                f"{one.option} {one.path}: cannot be written ({describe_system_error(error)}); name another"
            ) from error
        more = len(os.fsencode(hidden.name)) - len(os.fsencode(one.path.name))
        raise InputError(
            f"{one.option} {one.path}: the name is too long, until it is complete it has {more} characters more; choose"
            " a shorter one"
        ) from error
    finally:
        remove_quietly(folder / hidden.name)


def check_room(folder: Path, size: int) -> None:
    """Refuse to start where the disk of a folder cannot hold so many bytes."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise InputError(
            f"{folder}: {size / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free; make room or choose another -o"
        )


def list_model_files(folder: Path) -> Iterable[Path]:
    """Name the files of a model, by its folder (`checkpoint.find_model`)."""
    return folder / "model.json", folder / "weights.safetensors"
