"""What a file that is already there is, told from its first bytes: ours to replace, or something else."""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.input_files import name_kind, open_input, read_json
from polardenoise.engine.runtime.running_command import name_running_command

#: What the summaries and provenances of this program say of themselves.
PROGRAM = "polardenoise"
#: The first label of its MRC files.
LABEL = PROGRAM.encode()
#: The same label, of 80 characters at most, in stacks of denoised images: it goes where the pixels go.
DENOISED_LABEL = LABEL + b" denoise: denoised images, estimates and not data"
#: And that of stacks of simulated particles without their noise.
TRUTH_LABEL = LABEL + b" simulate: truth without noise, and not data"
HEAD_BYTES = 65_536


def name_label() -> bytes:
    """Name this program, and the command at work, as the first label of an MRC file."""
    return b" ".join([LABEL, name_running_command().encode()]).rstrip()


def refuse_to_replace(path: Path, kind: str, option: str = "-o") -> str | None:
    """Say why a path cannot become a file of ours; None where nothing is there, or what may be replaced.

    Parameters
    ----------
    path : Path
        The target. Links are not followed: what they point to is not ours.
    kind : str
        A key of `KINDS`: only a file of the same kind, or an empty one, is replaced.
    option : str, optional
        What named it, "-o", for the cure.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return None
    if stat.S_ISLNK(status.st_mode):
        return "is a symbolic link; name the file itself"
    special = name_kind(status.st_mode)
    if special is not None:
        return f"is {special}; give the name of a file to write"
    if status.st_size == 0:
        return None
    word, fits = KINDS[kind]
    try:
        with open_input(path) as file:
            head = file.read(HEAD_BYTES)
        if fits(path, head):
            return refuse_other_command(find_command(path, kind, head), option)
    except OSError as error:
        return f"is there and cannot be read ({error.strerror}); choose another name"
    return f"is there and is no {word}; remove it or choose another name"


def refuse_other_command(command: str, option: str) -> str | None:
    """Say why the command at work does not replace a file of ours; None where it may, or nobody knows whose it is."""
    running = name_running_command()
    if not running or command in ("", running):
        return None
    return f"is there and is of `{PROGRAM} {command}`, which `{running}` does not replace; give another {option}"


def find_command(path: Path, kind: str, head: bytes) -> str:
    """Find which command wrote a file of ours; empty where nothing says so.

    MRC files say it in their label, summaries and provenances in their command line, of STAR files the stack of their
    name does; comments do not, they go with the rows into the files of other commands. The other kinds are of one
    command each, or lie beside files that say it; a model is never replaced by `train`, and one of `train` never by
    `adapt`.
    """
    if kind == "mrc":
        return read_label(head)
    if kind == "summary":
        return read_command(path)
    if kind == "star":
        return read_label(read_head(path.with_suffix(".mrcs")))
    return ""


def read_label(head: bytes) -> str:
    """Read which command the first label of an MRC file names behind the program; empty where it names none."""
    found = re.match(LABEL + rb" ([a-z]+)", head[224:304])
    return "" if found is None else found[1].decode()


def read_command(path: Path) -> str:
    """Read which command a summary or provenance of this program is of; empty where it does not say."""
    stated = read_object(path)
    if stated.get("program") != PROGRAM:
        return ""
    inner = stated.get("provenance")
    words = (inner if isinstance(inner, dict) else stated).get("command")
    return str(words[1]) if isinstance(words, list) and len(words) > 1 else ""


def is_star(path: Path, head: bytes) -> bool:
    """Tell a text with a data block that is an output of this program: the rows are the input's, and say nothing.

    What tells is a word of ours in it, or the stack or provenance of its name that lies beside it.
    """
    lines = head.removeprefix(b"\xef\xbb\xbf").splitlines()
    if b"\0" in head or not any(line.lstrip().startswith(b"data_") for line in lines):
        return False
    return LABEL in head or is_beside_ours(path)


def is_beside_ours(path: Path) -> bool:
    """Tell whether a stack or a provenance of this program has the name of a file, but for the ending."""
    return is_mrc(path, read_head(path.with_suffix(".mrcs"))) or is_summary(
        path.with_suffix(".json"), b""
    )


def is_mrc(_path: Path, head: bytes) -> bool:
    """Tell an MRC file whose first label names this program (see `mrc_header`)."""
    return len(head) >= 1024 and head[208:211] == b"MAP" and head[224:304].startswith(LABEL)


def read_head(path: Path) -> bytes:
    """Read the first bytes of a file; none of one that is not there."""
    try:
        with open_input(path) as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def read_object(path: Path) -> dict[str, object]:
    """Read a JSON object; empty if it is none."""
    try:
        return read_json(path, dict, "")
    except InputError:
        return {}


def is_summary(path: Path, _head: bytes) -> bool:
    """Tell a summary or provenance of this program."""
    return read_object(path).get("program") == PROGRAM


def is_card(path: Path, _head: bytes) -> bool:
    """Tell a model.json."""
    return {"architecture", "weights_sha256"} <= read_object(path).keys()


def is_state(path: Path, _head: bytes) -> bool:
    """Tell a state.json of a training."""
    return {"step", "parts", "facts"} <= read_object(path).keys()


def is_matches(path: Path, _head: bytes) -> bool:
    """Tell an .npz of matches."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {"neighbours.npy", "class_number.npy"} <= set(archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False


def is_records(path: Path, head: bytes) -> bool:
    """Tell a .cs beside a stack, or a provenance, of this program and its name: a numpy table says nothing itself."""
    return head.startswith(b"\x93NUMPY") and is_beside_ours(path)


def is_selected(path: Path, head: bytes) -> bool:
    """Tell a .cs that is named by a group file of this program, which lies beside it."""
    if not head.startswith(b"\x93NUMPY"):
        return False
    name = b">%b'" % os.fsencode(path.name).replace(b"'", b"''")
    groups = (read_head(group) for group in path.parent.glob("*.csg"))
    return any(is_group(path, group) and name in group for group in groups)


def is_group(_path: Path, head: bytes) -> bool:
    """Tell a group file of cryoSPARC that this program wrote: its first line, a comment, says so."""
    return head.startswith(b"#") and LABEL in head.splitlines()[0] and b"\nresults:" in head


def is_picture(_path: Path, head: bytes) -> bool:
    """Tell a PNG, PDF or SVG."""
    return head.startswith((b"\x89PNG\r\n", b"%PDF-")) or b"<svg" in head


def is_safetensors(path: Path, head: bytes) -> bool:
    """Tell a length, and behind it a JSON object of that length that the file can hold."""
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and head[8:9] == b"{" and length <= path.stat().st_size - 8


def is_history(_path: Path, head: bytes) -> bool:
    """Tell a history.csv."""
    return head.startswith(b"step,seconds,images")


def is_configuration(_path: Path, head: bytes) -> bool:
    """Tell what `simulate --parakeet` writes: JSON, or the script that runs it."""
    return head.startswith((b"{", b"#!/bin/sh")) and b"\0" not in head


#: What a message calls a kind, and how it is told from the path and its first bytes.
KINDS: dict[str, tuple[str, Callable[[Path, bytes], bool]]] = {
    "star": ("STAR file that polardenoise wrote", is_star),
    "mrc": ("MRC file that polardenoise wrote", is_mrc),
    "summary": ("summary that polardenoise wrote", is_summary),
    "card": ("model.json", is_card),
    "state": ("state of a training", is_state),
    "matches": ("file of matches", is_matches),
    "records": (".cs that polardenoise wrote", is_records),
    "selected": (".cs of selected particles that polardenoise wrote", is_selected),
    "group": (".csg that polardenoise wrote", is_group),
    "picture": ("picture", is_picture),
    "weights": ("safetensors file", is_safetensors),
    "history": ("history.csv", is_history),
    "configuration": ("configuration of Parakeet", is_configuration),
}
