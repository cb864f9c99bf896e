"""The device that a command computes on."""

import torch

from polardenoise.engine.errors import InputError


def choose_device(name: str) -> torch.device:
    """Turn `--device auto|cpu|cuda` into a device; auto is the GPU where there is one.

    Raises
    ------
    InputError
        If a GPU is asked for and none can be used.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "--device cuda: no GPU that this torch can use; check nvidia-smi and CUDA_VISIBLE_DEVICES, or --device cpu"
        )
    return torch.device(name)
