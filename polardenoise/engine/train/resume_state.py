"""Resume state of a training: weights, the optimizer's moments, counters, and what a resume must agree with.

A folder with state.json and three parts, four where the weights are averaged, each small enough to be copied from
machine to machine with a model of four million parameters (16 MB). The parts carry their step in their names, and
state.json, written last, names them: killed at any moment, the folder holds one whole state, the last or that before.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import torch
from msgspec import Meta
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from polardenoise.engine.networks.checkpoint import hash_file
from polardenoise.engine.runtime.changed_facts import word_changes
from polardenoise.engine.runtime.devices import name_precision
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import (
    Kept,
    as_plain_data,
    is_real_folder,
    remove_leftovers,
    replace_when_complete,
    write_json,
)
from polardenoise.engine.runtime.input_files import read_json
from polardenoise.engine.train.loop import TrainingState
from polardenoise.engine.train.recipe import Recipe

#: What AdamW calls the moments, by the part that they are kept in.
MOMENTS = {"first_moments": "exp_avg", "second_moments": "exp_avg_sq"}

#: What the parts are called; nothing else in the folder is ours.
PART_NAME = re.compile(r"(weights|first_moments|second_moments|average)-(\d{8,12})\.safetensors")
#: What to do with a state that cannot be used.
CURE = "copy it again, or leave --resume out and name another -o to start anew"


class StateFile(msgspec.Struct):
    """What state.json says: counters, the hash of each part by its name, and what a resume must agree with."""

    step: Annotated[int, Meta(ge=0, le=10**9)]
    seconds: Annotated[float, Meta(ge=0, le=1e10)]
    images: Annotated[int, Meta(ge=0, le=10**15)]
    precision: Literal["bfloat16", "float32"]
    parts: dict[str, str]
    facts: dict[str, Any]


def save_resume_state(folder: Path, state: TrainingState, facts: dict[str, Any]) -> None:
    """Write the resume state into a folder, as a whole; `facts` are plain data that a resume must agree with."""
    moments = {
        name: state.optimizer.state[parameter]
        for name, parameter in state.model.named_parameters()
        if parameter in state.optimizer.state
    }
    tensors = {"weights": state.model.state_dict()} | {
        part: {name: kept[key] for name, kept in moments.items()} for part, key in MOMENTS.items()
    }
    if state.average is not None:
        tensors["average"] = state.average
    parts = {}
    for part, named in tensors.items():
        path = folder / f"{part}-{state.step:08d}.safetensors"
        copies = {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
        with replace_when_complete(path) as temporary:
            temporary.write_bytes(save(copies))
            parts[path.name] = hash_file(temporary)
    counters = {"step": state.step, "seconds": state.seconds, "images": state.images}
    precision = name_precision(state.precision)
    write_json(
        folder / "state.json",
        {**counters, "precision": precision, "parts": parts, "facts": facts},
    )
    for path in folder.iterdir():
        if PART_NAME.fullmatch(path.name) and path.name not in parts:
            path.unlink()
    remove_leftovers(folder)


def read_resume_state(folder: Path) -> dict[str, Any]:
    """Read a resume state; runs no code from the files.

    Returns
    -------
    dict
        "source" (the file), "step", "seconds", "images", "precision", "facts", and by parameter "weights",
        "first_moments", "second_moments", and "average" where the weights are averaged.

    Raises
    ------
    InputError
        If there is none, or it is damaged.
    """
    path = folder / "state.json"
    if not path.is_file():
        raise InputError(f"{path}: nothing to resume; leave --resume out to start")
    refuse_linked_folder(folder)
    try:
        state = read_json(path, StateFile, CURE)
    except InputError as error:
        raise InputError(f"{path}: is damaged ({str(error).removeprefix(f'{path}: ')})") from error
    saved: dict[str, Any] = {
        "step": state.step,
        "seconds": state.seconds,
        "images": state.images,
        "precision": state.precision,
        "facts": state.facts,
        "source": path,
    }
    for name, digest in state.parts.items():
        found = PART_NAME.fullmatch(name)
        path = folder / name
        try:
            # The name is ours, and so lies in this folder: a state is not obeyed where it names others.
            if found is None or path.is_symlink() or not path.is_file():
                raise ValueError(name)
            if hash_file(path) != digest:
                raise ValueError(name)
            saved[found[1]] = load(path.read_bytes())
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise InputError(f"{path}: is damaged; {CURE}") from error
    if not {"weights", *MOMENTS} <= saved.keys():
        raise InputError(f"{folder / 'state.json'}: is damaged, parts are missing; {CURE}")
    return saved


def tell_kept_step(folder: Path) -> Kept:
    """Say up to which step a training is kept, as its state on the disk says; errors as `read_json`."""
    step = read_json(folder / "state.json", StateFile, CURE).step
    return Kept(f"step {step} is kept") if step else Kept("no step is kept yet", is_any=False)


def refuse_linked_folder(folder: Path) -> None:
    """Refuse a folder of a training that is a link: what lies behind it is not ours.

    Raises
    ------
    InputError
        Names it.
    """
    if folder.is_symlink() or (folder.exists() and not is_real_folder(folder)):
        raise InputError(
            f"{folder}: is no folder that a training has made; move it away or name another -o"
        )


def restore_state(saved: dict[str, Any], state: TrainingState) -> None:
    """Put a resume state that was read into a training of the same network.

    Raises
    ------
    InputError
        If it is not one of this network, or holds numbers that are not finite.
    """
    source = saved["source"]
    parameters = dict(state.model.named_parameters())
    check_tensors(saved["weights"], state.model.state_dict(), source, all_of_them=True)
    if saved["first_moments"].keys() != saved["second_moments"].keys():
        raise InputError(f"{source}: its moments do not belong together; {CURE}")
    for part in MOMENTS:
        check_tensors(saved[part], parameters, source, all_of_them=False)
    state.model.load_state_dict(saved["weights"])
    if state.average is not None:
        check_tensors(saved.get("average", {}), state.average, source, all_of_them=True)
        for name, tensor in saved["average"].items():
            state.average[name].copy_(tensor)
    state.step, state.seconds, state.images = saved["step"], saved["seconds"], saved["images"]
    state.precision = getattr(torch, saved["precision"])
    names = {parameter: name for name, parameter in parameters.items()}
    groups = state.optimizer.param_groups
    in_order = [names[parameter] for group in groups for parameter in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {
        # AdamW has taken as many steps as the training.
        place: {
            "step": torch.tensor(float(state.step)),
            **{key: saved[part][name] for part, key in MOMENTS.items()},
        }
        for place, name in enumerate(in_order)
        if name in saved["first_moments"]
    }
    known = state.optimizer.state_dict()
    state.optimizer.load_state_dict({"state": moments, "param_groups": known["param_groups"]})


def check_tensors(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: Path, all_of_them: bool
) -> None:
    """Refuse tensors that are not those of a network, or not finite; errors as `restore_state`."""
    fits = found.keys() == wanted.keys() if all_of_them else found.keys() <= wanted.keys()
    if not fits or any(tensor.shape != wanted[name].shape for name, tensor in found.items()):
        raise InputError(f"{source}: is of another network; {CURE}")
    if not all(tensor.isfinite().all() for tensor in found.values()):
        raise InputError(f"{source}: holds numbers that are not finite; {CURE}")


def list_defaults() -> dict[str, Any]:
    """List what the settings of a recipe are where it does not name them: those that came after a training began."""
    defaults = {one.name: one.default for one in fields(Recipe) if one.default is not MISSING}
    plain: dict[str, Any] = json.loads(json.dumps(as_plain_data(defaults)))
    return plain


def check_same_training(resume: Path, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse to go on with another recipe, architecture, seed, other sources or sets than a training began with."""
    wanted = json.loads(json.dumps(as_plain_data(wanted)))  # as it was saved: lists, no tuples
    saved = {**saved, "recipe": {**list_defaults(), **saved["recipe"]}}
    changes = word_changes(name_settings(saved), name_settings(wanted))
    if changes:
        raise InputError(
            f"--resume: {resume} was begun with {changes}; give the same as before, or another -o to "
            "start anew"
        )


def name_settings(facts: dict[str, Any]) -> dict[str, Any]:
    """Name the facts of a training as they are given: options, and settings of the recipe each for itself.

    Facts of two trainings that differ do so under these names, too.
    """
    named = {
        f"--{name}" if name in ("architecture", "seed") else name: value
        for name, value in facts.items()
        if name != "recipe"
    }
    for name, value in facts["recipe"].items():
        # What is not said of a network's sizes is the architecture's own; two networks are told by what was said.
        inside = value.items() if name == "sizes" and isinstance(value, dict) else [("", value)]
        for part, one in inside:
            named[f"{name}{'.' if part else ''}{part} of the recipe (--preset, --recipe)"] = one
    return named
