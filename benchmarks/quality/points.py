"""Where the quality benchmark measures: one factor varied at a time about a base point.

The base point is the one that the paper makes its claim at: sets of one view, 32 images, SNR 0.02, white noise, no CTF.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.simulate.options import NOISES
from polardenoise.engine.train.sources import FIRST_TEST_SEED

#: How a set's images are chosen.
ONE_VIEW, MIXED, NEIGHBOURS = "rlnClassNumber", "random", "neighbours"

#: Pixels, along x and along y.
LARGEST_SHIFT = 3.0

BASE_SNR = 0.02
BASE_SET_SIZE = 32

#: SNR at which random views are measured too: at 0.02 hardly any neighbour is found.
RANDOM_VIEWS_SNR = 0.1


@dataclass(frozen=True)
class Images:
    """What is simulated of one molecule; `polardenoise simulate` explains the terms.

    Attributes
    ----------
    particles, views : int
        Images, and viewing directions (0: uniformly random ones).
    snr, max_shift : float
        Mean squared pixel over noise variance; pixels.
    with_ctf : bool
        Whether there is a CTF.
    noise : str
        One of `simulation_plan.NOISES`.
    """

    particles: int
    views: int
    snr: float = BASE_SNR
    with_ctf: bool = False
    max_shift: float = 0.0
    noise: str = "gaussian"


@dataclass(frozen=True)
class Point:
    """A place on an axis: the images, the sets they are denoised in, and how many of them are judged.

    Attributes
    ----------
    axis, at : str
        The factor and its value: a row of the table.
    images : Images
        What is simulated.
    group_by : str
        As the option of `polardenoise denoise`: `ONE_VIEW`, `MIXED` or `NEIGHBOURS`.
    set_size : int
        K.
    judged : int
        The first so many images are compared with the truth.
    """

    axis: str
    at: str
    images: Images
    group_by: str = ONE_VIEW
    set_size: int = BASE_SET_SIZE
    judged: int = 128

    @property
    def denoised(self) -> int:
        """How many images, the first of them, are denoised together: no more than the judged ones need."""
        if self.group_by == NEIGHBOURS:
            return self.images.particles
        return min(max(self.judged, self.set_size), self.images.particles)


@dataclass(frozen=True)
class QualityPreset:
    """How much is measured.

    Attributes
    ----------
    molecules : int
        Real molecules of split `test`, where the shared data are, beside the test phantoms.
    phantoms : tuple of int
        Seeds.
    snrs : tuple of float
        Points of the axis SNR.
    set_sizes : tuple of int
        Points of the axis K.
    views, images_per_view : int
        Of every set but those of the axis K and of random views.
    largest : int
        Images of the one view of the axis K: at least the largest K.
    random_views : int
        Images of a set of random views.
    judged : int
        The most images of a set that are judged.
    trains : bool
        Whether networks that are missing are trained.
    """

    molecules: int
    phantoms: tuple[int, ...]
    snrs: tuple[float, ...]
    set_sizes: tuple[int, ...]
    views: int
    images_per_view: int
    largest: int
    random_views: int
    judged: int
    trains: bool


PRESETS = {
    "smoke": QualityPreset(
        molecules=0,
        phantoms=(10001, 10005),
        snrs=(0.02, 0.1),
        set_sizes=(8, 32, 128),
        views=2,
        images_per_view=32,
        largest=128,
        random_views=320,
        judged=64,
        trains=False,
    ),
    "full": QualityPreset(
        molecules=3,
        phantoms=(10001, 10005, 10013),
        snrs=(0.01, 0.02, 0.03, 0.05, 0.1),
        set_sizes=(8, 16, 32, 64, 128, 256, 512),
        views=2,
        images_per_view=32,
        largest=512,
        random_views=512,
        judged=64,
        trains=True,
    ),
}


def list_points(preset: QualityPreset) -> list[Point]:
    """List the points of every axis; the base point is on all of them but K, whose sets are larger."""
    images = Images(preset.views * preset.images_per_view, preset.views)
    base = Point("", "", images, judged=min(preset.judged, images.particles))

    def at(axis: str, value: str, point: Point = base, **other: Any) -> Point:
        return replace(point, axis=axis, at=value, images=replace(point.images, **other))

    points = [at("SNR", f"{snr:g}", snr=snr) for snr in preset.snrs]
    points += [
        at("sets", "one view"),
        *(
            at("sets", f"{views} views mixed", replace(base, group_by=MIXED), views=views)
            for views in (preset.views, 2 * preset.views)
        ),
        *at_random_views(preset),
    ]
    views = Point("K", "", Images(preset.largest, 1), judged=preset.judged)
    points += [replace(views, at=f"{size}", set_size=size) for size in preset.set_sizes]
    points += [
        at("CTF", "none"),
        at("CTF", "CTF", with_ctf=True),
        at("CTF", "CTF + shifts", with_ctf=True, max_shift=LARGEST_SHIFT),
        *(at("noise", noise, noise=noise) for noise in NOISES),
    ]
    return points


def at_random_views(preset: QualityPreset) -> Iterator[Point]:
    """Give the points of uniformly random views, grouped as `denoise` does by default."""
    for snr in (BASE_SNR, RANDOM_VIEWS_SNR):
        yield Point(
            "sets",
            f"random views, SNR {snr:g}",
            Images(preset.random_views, 0, snr),
            NEIGHBOURS,
            judged=preset.judged,
        )


def name_phantoms(seeds: tuple[int, ...]) -> list[str]:
    """Name phantoms that nothing is trained on.

    Raises
    ------
    InputError
        If a seed is one that networks are trained on.
    """
    for seed in seeds:
        if seed < FIRST_TEST_SEED:
            raise InputError(f"phantom:{seed}: is for training; judge on seeds from 10000 on")
    return [f"phantom:{seed}" for seed in seeds]
