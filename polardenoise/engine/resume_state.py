"""What a killed training goes on from: weights, optimizer, counters, and what it must agree with."""

import pickle
from pathlib import Path
from typing import Any

import torch

from polardenoise.engine.errors import InputError
from polardenoise.engine.outputs import replace_when_complete
from polardenoise.engine.train import TrainingState


def save_resume_state(path: Path, state: TrainingState, facts: dict[str, Any]) -> None:
    """Write the resume state, atomically; `facts` are plain data that a resume must agree with."""
    with replace_when_complete(path) as temporary:
        torch.save(
            {
                "model": state.model.state_dict(),
                "optimizer": state.optimizer.state_dict(),
                "step": state.step,
                "seconds": state.seconds,
                "images": state.images,
                "facts": facts,
            },
            temporary,
        )


def read_resume_state(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a resume state; runs no code from the file.

    Raises
    ------
    InputError
        If there is none, or it is damaged.
    """
    if not path.is_file():
        raise InputError(f"{path}: nothing to resume; leave --resume out to start")
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
        if {"model", "optimizer", "step", "seconds", "images", "facts"} <= saved.keys():
            return dict(saved)
    except (RuntimeError, OSError, ValueError, EOFError, AttributeError, pickle.UnpicklingError):
        pass
    raise InputError(f"{path}: is damaged; copy it again, or leave --resume out to start anew")


def restore_state(saved: dict[str, Any], state: TrainingState) -> None:
    """Put a resume state that was read into a training of the same network."""
    state.model.load_state_dict(saved["model"])
    state.optimizer.load_state_dict(saved["optimizer"])
    state.step, state.seconds, state.images = saved["step"], saved["seconds"], saved["images"]
