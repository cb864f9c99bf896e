"""How fast images are mapped to the polar grid and back."""

from collections.abc import Callable

import torch

from benchmarks.common.tables import Row
from benchmarks.common.timing import time_alternately
from benchmarks.speed.attention import MachineRates
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.networks.polar_transformer import PolarTransformerConfig


def time_polar_map(
    images: int, repeats: int, device: torch.device, rates: MachineRates
) -> list[Row]:
    """Time the polar map of 64 px images and its inverse, beside the rate of copies: what they read and write."""
    config = PolarTransformerConfig()
    grid = PolarGrid(
        config.box, config.rings, config.angles, regularisation=config.regularisation
    ).to(device)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(images, grid.box, grid.box, generator=generator).to(device)
    with torch.inference_mode():
        polar = grid.to_polar(pixels)
        works: dict[str, Callable[[], object]] = {
            "to the polar grid": lambda: grid.to_polar(pixels),
            "back to images": lambda: grid.to_images(polar),
        }
        times = time_alternately(list(works.values()), repeats, device)
    floor = (pixels.nbytes + polar.nbytes) / rates.bytes
    return [
        {
            "map": name,
            "images": images,
            "share of byte floor": floor / seconds,
            "images/s": images / seconds,
            "ms": 1e3 * seconds,
        }
        for name, seconds in zip(works, times, strict=True)
    ]
