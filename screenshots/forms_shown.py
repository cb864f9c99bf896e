"""Which form each picture of the guide shows, and the hash of that form: a picture is out of date when its hash is.

`make screenshots` writes the hashes beside the pictures that it takes; `tests/repository/test_screenshots.py` compares
them with the forms as they are.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from dataclasses import astuple
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs"))

from forms import Field, list_fields, list_protocols

REPOSITORY = Path(__file__).resolve().parents[1]
#: Beside the pictures.
RECORD = "forms.json"
#: Pictures of a form, or of the tree of protocols, by the first word of their names; the others show what a run gave.
SHOWS_FORM = re.compile(r"(form|viewer|clicks_form|project)(_|$)")
#: Digits of SHA-256 that are kept.
DIGITS = 16


def hash_fields(fields: list[Field]) -> str:
    """Hash all that a form defines, in its order."""
    text = json.dumps([astuple(field) for field in fields])
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def hash_tree() -> str:
    """Hash what the tree of protocols shows of ours: places and labels."""
    places = (REPOSITORY / "polardenoise" / "protocols.conf").read_text(encoding="utf-8")
    labels = [protocol._label for protocol in list_protocols().values()]
    return hashlib.sha256(json.dumps([places.split(), labels]).encode()).hexdigest()[:DIGITS]


def hash_forms() -> dict[str, str]:
    """Hash each form of the plugin as it is defined now.

    Returns
    -------
    dict of str to str
        Hashes by the names of their pictures, without the number of a tab: `form_denoise`, `viewer_denoise`, ...
    """
    hashes = {"project": hash_tree()}
    for name, protocol in list_protocols().items():
        hashes[f"form_{name}"] = hash_fields(list_fields(protocol().getDefinition()))
    for name, form in define_viewer_forms().items():
        hashes[f"viewer_{name}"] = hash_fields(list_fields(form))
    hashes["clicks_form"] = hashes["form_denoise"]
    hashes["clicks_form_select"] = hashes["form_select"]
    return hashes


def define_viewer_forms() -> dict[str, Any]:
    """Define the forms of the viewers, without a run: Scipion defines them when a run is looked at."""
    from pyworkflow.protocol.params import Form
    from pyworkflow.viewer import ProtocolViewer

    from polardenoise import viewers

    forms = {}
    names = {protocol: name for name, protocol in list_protocols().items()}
    for viewer in (getattr(viewers, name) for name in viewers.__all__):
        if issubclass(viewer, ProtocolViewer):
            (protocol,) = viewer._targets
            form = Form(protocol())
            viewer._defineParams(object.__new__(viewer), form)
            forms[names[protocol]] = form
    return forms


def find_form(picture: str) -> str | None:
    """Find the form that a picture shows, as `hash_forms` names it; None where it shows none."""
    return re.sub(r"_\d+$", "", picture) if SHOWS_FORM.match(picture) else None


def record_forms(folder: Path, taken: list[str]) -> None:
    """Note for the pictures just taken which forms they show; notes of pictures that are gone go too."""
    path = folder / RECORD
    notes = json.loads(path.read_text()) if path.exists() else {}
    hashes = hash_forms()
    for picture in taken:
        form = find_form(picture)
        if form is not None:
            notes[picture] = hashes[form]
    kept = {name: notes[name] for name in sorted(notes) if (folder / f"{name}.png").exists()}
    path.write_text(json.dumps(kept, indent=1) + "\n")


def find_old_pictures(folder: Path) -> list[str]:
    """Find the pictures whose form is no longer what it was when they were taken.

    Returns
    -------
    list of str
        Their names; also those of pictures of forms of which nothing is noted.
    """
    notes, hashes = json.loads((folder / RECORD).read_text()), hash_forms()
    pictures = sorted(path.stem for path in folder.glob("*.png"))
    return [
        picture
        for picture in pictures
        if (form := find_form(picture)) is not None and notes.get(picture) != hashes.get(form)
    ]
