"""The device that a command computes on."""

import ctypes
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.runtime.errors import InputError

CPU = torch.device("cpu")

Made = TypeVar("Made", bound=Callable[..., object])


def keep_made(most: int) -> Callable[[Made], Made]:
    """Keep the last `most` things that a function makes of sizes and a device: a copy for each batch makes a GPU wait.

    Made outside of inference mode, whoever asks first: what is made in it could take part in no gradient later.
    """
    return lambda make: lru_cache(maxsize=most)(torch.inference_mode(False)(make))  # type: ignore[return-value]


def choose_device(name: str, process: int = 0) -> torch.device:
    """Turn `--device auto|cpu|cuda` into a device; auto is the GPU where there is one.

    Of several processes on a machine, `process` (from 0) takes the GPU of its number.

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
    if name == "cuda" and process:
        return torch.device("cuda", process % torch.cuda.device_count())
    return torch.device(name)


def choose_precision(device: torch.device, name: str = "auto") -> torch.dtype:
    """Turn `--precision auto|float32|bfloat16` into the precision of the network's convolutions on a device.

    Attention, matching and what networks give are float32 in any case. Auto is bfloat16 on GPUs and on processors that
    multiply in it (AMX or AVX512-BF16): twice as fast there (docs/speed.rst). Other processors are slower with it.
    """
    if name != "auto":
        return torch.float32 if name == "float32" else torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    multiplies = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if multiplies else torch.float32


def name_precision(precision: torch.dtype) -> str:
    """Name a precision as `--precision` does."""
    return str(precision).removeprefix("torch.")


def mixed_precision(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """Let torch compute convolutions in a precision that `choose_precision` has given."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16)


def full_precision(device: torch.device) -> torch.autocast:
    """Let torch compute in float32 whatever `mixed_precision` is around: attention, matching and polar maps need it."""
    return torch.autocast(device.type, enabled=False)


def send_to_device(values: np.ndarray, device: torch.device) -> Tensor:
    """Send numbers to a device, as float32 unless they are whole; the program does not wait for a GPU."""
    whole = np.issubdtype(values.dtype, np.integer)
    tensor = torch.from_numpy(values if whole else values.astype(np.float32))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor


def count_at_once(budget: Mapping[str, int], device: torch.device, values_each: int) -> int:
    """Count how many things are computed at once, at least one.

    Parameters
    ----------
    budget : mapping
        From the kind of a device to the values that it may hold; kinds that are not in it count as "cuda".
    device : torch.device
        The one that computes.
    values_each : int
        Values that each takes.
    """
    kind = device.type if device.type in budget else "cuda"
    return max(1, budget[kind] // values_each)


def release_freed_memory() -> None:
    """Let the C library return what it keeps of freed memory; where it cannot (not glibc), nothing happens.

    Tensors of many sizes leave a heap in pieces: over twenty clusters the peak grew by a tenth without this.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def read_process_memory(name: str) -> int | None:
    """Read an amount of memory of this process as Linux has it, bytes; None where the system does not tell.

    Parameters
    ----------
    name : str
        `VmHWM`, the largest so far (`ru_maxrss` is inherited from a larger parent), or `VmRSS`, as it is now.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    return 1024 * int(status.split(f"{name}:")[1].split()[0])
