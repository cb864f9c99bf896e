"""The speed tables of the README: angular attention, the polar map, whole sets from disk to disk, ASPIRE beside them.

Each section is a table of its own (CSV and rst), ratios first; `speed.json` holds all of them, with the machine.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.tables import Row, write_table
from benchmarks.common.timing import describe_device
from benchmarks.speed.aspire import compare_with_aspire
from benchmarks.speed.attention import (
    AttentionSize,
    compare_forms,
    find_crossover,
    gain_over_direct,
    measure_machine,
    measure_memory,
)
from benchmarks.speed.denoise import measure_sets
from benchmarks.speed.polar_map import time_polar_map
from polardenoise.engine.runtime.files import write_json
from polardenoise.engine.runtime.provenance import provenance

#: A test phantom: nothing is trained on seeds of 10,000 and above.
SOURCE = "phantom:10001"


@dataclass(frozen=True)
class SpeedPreset:
    """How much is measured.

    Attributes
    ----------
    forms : tuple of AttentionSize
        Sets on which the forms of attention are compared.
    large_set : AttentionSize
        The set whose memory is measured.
    repeats : int
        Rounds of alternate timing.
    polar_images : int
        Images that the polar map is timed on.
    denoised : tuple of int
        Particles of the sets denoised from disk to disk.
    compared : int
        Particles that ASPIRE gets too; it needs more than 300.
    """

    forms: tuple[AttentionSize, ...]
    large_set: AttentionSize
    repeats: int
    polar_images: int
    denoised: tuple[int, ...]
    compared: int


PRESETS = {
    "smoke": SpeedPreset(
        forms=(AttentionSize(32, 128), AttentionSize(128, 128)),
        large_set=AttentionSize(2048, 32, 8, 8),
        repeats=2,
        polar_images=128,
        denoised=(500, 2000),
        compared=400,
    ),
    "full": SpeedPreset(
        forms=(
            AttentionSize(32, 64),
            AttentionSize(32, 128),
            AttentionSize(128, 64),
            AttentionSize(128, 128),
            AttentionSize(128, 128, 64, 160),  # the shipped network's
            AttentionSize(128, 256),
            AttentionSize(512, 128),
        ),
        large_set=AttentionSize(2048, 128),
        repeats=3,
        polar_images=2048,
        denoised=(2000, 10000, 20000),
        compared=1000,
    ),
}


def measure_speed(
    preset: SpeedPreset,
    folder: Path,
    device: torch.device,
    aspire_python: str | None,
    command: list[str],
) -> dict[str, Any]:
    """Measure every section and write its table as soon as it is there.

    Parameters
    ----------
    preset : SpeedPreset
        How much.
    folder : Path
        Of the tables; the particle sets lie in it while they are needed.
    device : torch.device
        Where we compute.
    aspire_python : str or None
        An interpreter that imports `aspire`.
    command : list of str
        What was typed, for the provenance.

    Returns
    -------
    dict
        What `speed.json` holds.
    """
    tables: dict[str, Sequence[Row]] = {}

    def keep(name: str, rows: Sequence[Row]) -> None:
        tables[name] = rows
        write_table(rows, folder, name)
        print(f"{name}: {folder / name}.csv", flush=True)

    rates = measure_machine(device)
    compared = [compare_forms(size, preset.repeats, device, rates) for size in preset.forms]
    keep("attention", [row for rows in compared for row in rows])
    keep("attention_crossover", find_crossover((1, 2, 4, 8), (32, 64, 128), 5, device))
    keep("attention_memory", [measure_memory(preset.large_set, device)])
    keep("polar_map", time_polar_map(preset.polar_images, preset.repeats, device, rates))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".sets-") as name:
        scratch = Path(name).absolute()
        sets = measure_sets(SOURCE, preset.denoised, device.type, scratch)
        keep("denoise", sets)
        many = sets[min(1, len(sets) - 1)]
        rows = compare_with_aspire(
            SOURCE, preset.compared, aspire_python, many, device.type, scratch
        )
        keep("aspire", rows)
    gains = {
        f"attention_gain_{size.images}x{size.angles}x{size.query}x{size.value}": gain_over_direct(
            rows
        )
        for size, rows in zip(preset.forms, compared, strict=True)
    }
    facts = provenance(
        command,
        device=describe_device(device),
        threads=torch.get_num_threads(),
        tflops=rates.flops / 1e12,
        gigabytes_per_second=rates.bytes / 1e9,
        **gains,
        tables=tables,
    )
    write_json(folder / "speed.json", facts)
    return facts
