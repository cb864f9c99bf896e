"""What a model file may say: ranges of every size, and weights of just the shapes that these sizes make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from msgspec import Meta

from polardenoise.engine.networks.registry import ARCHITECTURES, build_model
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.input_files import decode_json, open_input, shorten

#: Ranges of the sizes of networks, by name; whole numbers where the default is one. Others have `OTHER_LIMITS`.
LIMITS = {
    "box": (8, 512),
    "rings": (1, 256),
    "angles": (4, 1024),
    "hidden": (1, 1024),
    "query": (1, 1024),
    "value": (1, 1024),
    "length": (1, 129),
    "before": (1, 32),
    "after": (1, 32),
    "blocks": (1, 32),
    "passes": (1, 8),
    "regularisation": (1e-9, 10.0),
    "depth": (2, 64),
    "channels": (1, 1024),
    "levels": (1, 8),
}
OTHER_LIMITS = (0, 1024)
#: Numbers of the two dense polar maps, `box^2 x rings x angles`: 96 px with 48 x 192 samples, 1.4 GB.
LARGEST_POLAR_MAP = 96**2 * 48 * 192
#: Parameters of a network, at most: a hundred times what is shipped.
MOST_PARAMETERS = 100_000_000
#: Bytes of the header of a safetensors file.
LARGEST_HEADER = 16 * 2**20
#: Types of tensors as safetensors names them.
TYPES = {"F32": torch.float32, "I64": torch.int64}

Whole = Annotated[int, Meta(ge=0)]


class TensorEntry(msgspec.Struct):
    """What the header of a safetensors file says of one tensor."""

    dtype: str
    shape: list[Whole]
    data_offsets: tuple[Whole, Whole]


def check_sizes(architecture: str, sizes: dict[str, Any], source: str) -> None:
    """Refuse sizes that no network of an architecture has; `source` is what an error names.

    Raises
    ------
    InputError
        Names the size and its range.
    """
    known: dict[str, Any] = {
        entry.name: entry.default for entry in fields(find_config(architecture))
    }
    for name, value in sizes.items():
        if name not in known:
            raise InputError(
                f"{source}: sizes: {architecture} has no size '{shorten(name)}'; known are {', '.join(known)}"
            )
        least, most = LIMITS.get(name, OTHER_LIMITS)
        whole = isinstance(known[name], int)
        number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not number or not least <= value <= most:
            kind = "whole number" if whole else "number"
            raise InputError(
                f"{source}: sizes: '{name}' is {shorten(repr(value))}; give a {kind} from {least} to {most}"
            )
    full = known | sizes
    if "rings" in full and full["box"] ** 2 * full["rings"] * full["angles"] > LARGEST_POLAR_MAP:
        raise InputError(
            f"{source}: sizes: box {full['box']} with {full['rings']} rings of {full['angles']} angles take too much"
            " memory; give fewer"
        )


def find_config(architecture: str) -> type:
    """Find the dataclass of an architecture's sizes."""
    entry = ARCHITECTURES[architecture]
    config: type = getattr(import_module(entry.module), entry.config)
    return config


def list_shapes(
    architecture: str, sizes: dict[str, Any]
) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """List the tensors of a network of checked sizes, type and shape by name; no memory is taken for them.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        If the sizes do not go together, or make a network larger than any.
    """
    with torch.device("meta"):
        tensors = build_model(architecture, sizes).state_dict()
    if sum(tensor.numel() for tensor in tensors.values()) > MOST_PARAMETERS:
        raise ValueError(f"more than {MOST_PARAMETERS // 10**6} million parameters")
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


def read_shapes(path: Path) -> dict[str, tuple[torch.dtype | None, tuple[int, ...]]]:
    """Read from the header of a safetensors file which tensors it holds; as `list_shapes`.

    Raises
    ------
    InputError
        If it is no safetensors file, or not whole.
    """
    cure = "export the model again"
    try:
        with open_input(path) as file:
            size = path.stat().st_size
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(size - 8, LARGEST_HEADER):
                raise InputError(f"{path}: is no safetensors file; {cure}")
            raw = file.read(length)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {cure}") from error
    header: dict[str, msgspec.Raw] = decode_json(raw, dict[str, msgspec.Raw], str(path), cure)
    header.pop("__metadata__", None)
    entries = {
        name: decode_json(bytes(entry), TensorEntry, f"{path}: {shorten(name)}", cure)
        for name, entry in header.items()
    }
    if max((entry.data_offsets[1] for entry in entries.values()), default=0) != size - 8 - length:
        raise InputError(f"{path}: is cut short or longer than its header says; {cure}")
    return {name: (TYPES.get(entry.dtype), tuple(entry.shape)) for name, entry in entries.items()}


def check_weights(path: Path, wanted: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]) -> None:
    """Refuse weights that are not of the types and shapes that are wanted, before either takes memory.

    Raises
    ------
    InputError
        If the file is no safetensors file.
    ValueError
        If a tensor does not fit; names the first.
    """
    found = read_shapes(path)
    wrong = sorted(
        name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
    )
    if wrong:
        raise ValueError(
            f"{shorten(wrong[0])} is {word_shape(found.get(wrong[0]))}, not {word_shape(wanted.get(wrong[0]))}"
        )


def word_shape(form: tuple[Any, tuple[int, ...]] | None) -> str:
    """Say what a tensor is."""
    return "missing" if form is None else f"{form[0]} {list(form[1])}"
