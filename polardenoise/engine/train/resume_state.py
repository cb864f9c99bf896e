"""Resume state of a training: weights, the optimizer's moments, counters, and what a resume must agree with.

A folder with state.json and three parts, each small enough to be copied from machine to machine with a model of four
million parameters (16 MB). The parts carry their step in their names, and state.json, written last, names them: killed
at any moment, the folder holds one whole state, the last or the one before.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from polardenoise.engine.networks.checkpoint import hash_file
from polardenoise.engine.runtime.devices import name_precision
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import replace_when_complete, write_json
from polardenoise.engine.train.loop import TrainingState

#: What AdamW calls the moments, by the part that they are kept in.
MOMENTS = {"first_moments": "exp_avg", "second_moments": "exp_avg_sq"}


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
    for path in folder.glob("*.safetensors"):
        if path.name not in parts:
            path.unlink()


def read_resume_state(folder: Path) -> dict[str, Any]:
    """Read a resume state; runs no code from the files.

    Returns
    -------
    dict
        "step", "seconds", "images", "precision", "facts", and by parameter "weights", "first_moments",
        "second_moments".

    Raises
    ------
    InputError
        If there is none, or it is damaged.
    """
    path = folder / "state.json"
    if not path.is_file():
        raise InputError(f"{path}: nothing to resume; leave --resume out to start")
    try:
        saved = json.loads(path.read_text())
        for name, digest in saved["parts"].items():
            path = folder / name
            if hash_file(path) != digest:
                raise ValueError(name)
            saved[name.rpartition("-")[0]] = load(path.read_bytes())
        needed = {"step", "seconds", "images", "precision", "facts", "weights", *MOMENTS}
        if needed <= saved.keys():
            return dict(saved)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, SafetensorError):
        pass
    raise InputError(f"{path}: is damaged; copy it again, or leave --resume out to start anew")


def restore_state(saved: dict[str, Any], state: TrainingState) -> None:
    """Put a resume state that was read into a training of the same network."""
    state.model.load_state_dict(saved["weights"])
    state.step, state.seconds, state.images = saved["step"], saved["seconds"], saved["images"]
    state.precision = getattr(torch, saved["precision"])
    names = {parameter: name for name, parameter in state.model.named_parameters()}
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
