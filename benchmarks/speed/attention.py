"""How fast angular attention is: every form beside the others, beside what the machine could do, and its memory."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.common.tables import Row
from benchmarks.common.timing import run_python, time_alternately
from polardenoise.engine.networks.angular_attention import attend, attend_blocked, attend_fourier
from polardenoise.engine.networks.attention_direct import (
    attend_by_matrix_product,
    repeat_turn,
    softmax_over_images_and_rotations,
)


@dataclass(frozen=True)
class AttentionSize:
    """One set of `images` images of `angles` angles, with `query` and `value` channels."""

    images: int
    angles: int
    query: int = 64
    value: int = 64


@dataclass(frozen=True)
class MachineRates:
    """What the machine was measured to do in this run.

    Attributes
    ----------
    flops : float
        Of a large float32 matrix product, per second.
    bytes : float
        Read and written by a large copy, per second.
    """

    flops: float
    bytes: float


def measure_machine(device: torch.device) -> MachineRates:
    """Time a large matrix product and a large copy: the floors that the forms are held to."""
    one, other = (torch.randn(1024, 1024, device=device) for _ in range(2))
    product = torch.empty_like(one)
    source = torch.randn(2**25, device=device)
    copy = torch.empty_like(source)
    works: list[Callable[[], object]] = [
        lambda: torch.mm(one, other, out=product),
        lambda: copy.copy_(source),
    ]
    multiply_time, copy_time = time_alternately(works, 10, device)
    return MachineRates(2 * 1024**3 / multiply_time, 2 * source.nbytes / copy_time)


def draw_features(size: AttentionSize, device: torch.device) -> list[Tensor]:
    """Draw queries, keys and values `(1, images, channels, angles)`; logits have a standard deviation of about 1."""
    generator = torch.Generator().manual_seed(0)
    channels = (size.query, size.query, size.value)
    drawn = [
        torch.randn(1, size.images, count, size.angles, generator=generator).to(device)
        for count in channels
    ]
    drawn[0].div_((size.query * size.angles) ** 0.5)
    return drawn


def compare_forms(
    size: AttentionSize, repeats: int, device: torch.device, rates: MachineRates
) -> list[Row]:
    """Time every form on the same features, alternately.

    Returns
    -------
    list of Row
        A row a form: time, its ratio to the form that `attend` chooses, and which share of the floor it reaches: the
        time that its own products would take at the machine's measured rate (FLOP), or its input and output at the rate
        of copies (bytes), over its time. The bfloat16 rows are there for the reader: their weights are wrong by
        1e-2, so that no result may come from them.
    """
    query, key, value = draw_features(size, device)
    half = [one.to(torch.bfloat16) for one in (query, key, value)]
    queries = max(1, size.images // 4)
    forms: dict[str, Callable[[], Tensor]] = {
        "chosen": lambda: attend(query, key, value),
        "Fourier, whole": lambda: attend_fourier(query, key, value),
        "Fourier, blocked 4 x 4": lambda: attend_blocked(query, key, value, queries, queries),
        "direct, matrix product": lambda: attend_by_matrix_product(query, key, value),
        "direct, convolution": lambda: attend_by_convolution(query[0], key[0], value[0])[None],
        "direct, convolution, bfloat16": lambda: attend_by_convolution(*(one[0] for one in half)),
    }
    with torch.inference_mode():
        times = time_alternately(list(forms.values()), repeats, device)
        expected = attend_fourier(query, key, value)
        errors = [float((form() - expected).abs().max()) for form in forms.values()]
    floor_bytes = sum(one.nbytes for one in (query, key, value, value))
    rows: list[Row] = []
    for (name, seconds), error in zip(zip(forms, times, strict=True), errors, strict=True):
        flops = count_flops(size, direct=name.startswith("direct"))
        rows.append(
            {
                "images": size.images,
                "angles": size.angles,
                "D": size.query,
                "C": size.value,
                "form": name,
                "times slower": seconds / times[0],
                "ms": 1e3 * seconds,
                "GFLOP": flops / 1e9,
                "share of FLOP floor": flops / rates.flops / seconds,
                "share of byte floor": floor_bytes / rates.bytes / seconds,
                "difference": error,
            }
        )
    return rows


def count_flops(size: AttentionSize, direct: bool) -> float:
    """FLOP of the products over images, channels and rotations or frequencies; transforms and softmax come on top."""
    pairs = size.images**2 * (size.query + size.value)
    frequencies = size.angles // 2 + 1
    return 2.0 * pairs * size.angles**2 if direct else 8.0 * pairs * frequencies


def gain_over_direct(rows: list[Row]) -> float:
    """How many times the chosen form is faster than the fastest direct form of the same precision."""
    direct = [
        float(str(row["times slower"]))
        for row in rows
        if str(row["form"]).startswith("direct") and "bfloat16" not in str(row["form"])
    ]
    return min(direct)


def find_crossover(
    images: tuple[int, ...], angles: tuple[int, ...], repeats: int, device: torch.device
) -> list[Row]:
    """Time the direct form against the FFT on small sets: where `attend` changes from one to the other."""
    rows: list[Row] = []
    for angle in angles:
        for count in images:
            features = draw_features(AttentionSize(count, angle, value=128), device)
            works: list[Callable[[], object]] = [
                lambda features=features: attend_by_matrix_product(*features),  # type: ignore[misc]
                lambda features=features: attend_fourier(*features),  # type: ignore[misc]
            ]
            with torch.inference_mode():
                direct, fourier = time_alternately(works, repeats, device)
            rows.append(
                {
                    "images": count,
                    "angles": angle,
                    "direct / Fourier": direct / fourier,
                    "direct ms": 1e3 * direct,
                    "Fourier ms": 1e3 * fourier,
                }
            )
    return rows


def measure_memory(size: AttentionSize, device: torch.device) -> Row:
    """Measure the peak memory of attention over one large set beyond inputs and output, in a process of its own."""
    numbers = [str(one) for one in (size.images, size.angles, size.query, size.value)]
    measured = run_python(["-m", "benchmarks.speed.attention_memory", *numbers, device.type])
    weights = 4 * size.images**2 * size.angles
    return {
        "images": size.images,
        "angles": size.angles,
        "D": size.query,
        "C": size.value,
        "peak / all weights": measured["peak_bytes"] / weights,
        "peak MB": measured["peak_bytes"] / 1e6,
        "all weights MB": weights / 1e6,
        "seconds": measured["seconds"],
        "FLOP/s": count_flops(size, direct=False) / measured["seconds"],
    }


def attend_by_convolution(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Angular attention of one set as two circular convolutions along the angle.

    Parameters
    ----------
    query, key : Tensor
        `(images, D, angles)`: the queries are the filters.
    value : Tensor
        `(images, C, angles)`.

    Returns
    -------
    Tensor
        `(images, C, angles)`, equal to `attend_direct`.
    """
    logits = F.conv1d(repeat_turn(key), query)  # (keys, queries, angles), rotated by -s
    weights = softmax_over_images_and_rotations(logits.transpose(0, 1))
    turns = repeat_turn(value).transpose(0, 1).contiguous()  # (C, keys, 2 angles - 1)
    return F.conv1d(turns, weights.contiguous()).transpose(0, 1)
