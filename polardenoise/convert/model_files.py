"""A model's folder, seen from Scipion: found, read and checked without torch."""

import hashlib
import json
import os
import struct

from polardenoise.architectures import ARCHITECTURES

CARD, WEIGHTS = "model.json", "weights.safetensors"


def find_model_folder(path):
    """Find the folder of a model where a user points near it.

    Parameters
    ----------
    path : str
        The folder, its `model.json`, or the folder of a training, which holds the model in `model`.

    Returns
    -------
    str
        The folder with `model.json`; `path` itself where there is none.
    """
    path = os.path.expanduser((path or "").strip())
    folder = os.path.dirname(path) if os.path.basename(path) == CARD else path
    for candidate in (folder, os.path.join(folder, "model")):
        if os.path.isfile(os.path.join(candidate, CARD)):
            return candidate
    return folder


def read_card(folder):
    """Read a model's `model.json`.

    Raises
    ------
    OSError, ValueError
        If it is not there, or is no JSON object.
    """
    with open(os.path.join(folder, CARD), encoding="utf-8") as file:
        card = json.load(file)
    if not isinstance(card, dict):
        raise ValueError(f"{os.path.join(folder, CARD)} is no model description.")
    return card


def check_model_folder(path):
    """Check that a folder holds a whole model: its card, and the weights that the card names.

    Parameters
    ----------
    path : str
        As for `find_model_folder`.

    Returns
    -------
    list of str
        What is wrong and what to do; empty for a model that can be read.
    """
    folder = find_model_folder(path)
    if not os.path.isfile(os.path.join(folder, CARD)):
        return [f"{folder} holds no {CARD}: name the folder that `polardenoise train` wrote."]
    try:
        card = read_card(folder)
        architecture, box = card["architecture"], int(card["sizes"]["box"])
        stated = card["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        return [f"{os.path.join(folder, CARD)} is no model description ({error}): export it again."]
    if architecture not in ARCHITECTURES or box < 2:
        return [
            f"{os.path.join(folder, CARD)} describes a {architecture} of {box} px, which this "
            "version of polardenoise does not know: update it."
        ]
    weights = os.path.join(folder, WEIGHTS)
    if not os.path.isfile(weights):
        return [f"{weights} is missing: copy the whole folder of the model."]
    if hash_file(weights) != stated:
        return [f"{weights} is not the file that {CARD} describes: copy the model's folder again."]
    if not is_safetensors(weights):
        return [f"{weights} cannot be read as safetensors: export the model again."]
    return []


def is_safetensors(path):
    """Tell whether a file is laid out as safetensors: a header that describes all bytes behind it."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        start = file.read(8)
        if len(start) < 8:
            return False
        length = struct.unpack("<Q", start)[0]
        if length > size - 8:
            return False
        try:
            header = json.loads(file.read(length))
            ends = [
                entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"
            ]
            return bool(ends) and max(ends) == size - 8 - length
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            return False


def hash_file(path):
    """Return the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()
