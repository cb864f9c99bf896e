"""Adaptation of one half: how many images are denoised together, then the numbers, then the gates."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.adapt.draws import (
    Draw,
    NetworkSettings,
    decode_draw,
    draw_pair,
    gather_draw,
    hold_out,
    measure_losses,
)
from polardenoise.engine.adapt.gates import LEAST_ERRORS, Behaviour, Verdict, judge, observe
from polardenoise.engine.adapt.learning import learn_numbers
from polardenoise.engine.adapt.recorruption import (
    STRENGTH,
    ClusterImages,
    NoisyPair,
    recorrupt,
)
from polardenoise.engine.networks.adapted_numbers import give_numbers, list_numbers
from polardenoise.engine.networks.polar_transformer import PolarTransformer

#: Images denoised together that are tried, one after another, while the loss falls.
SET_SIZES = (64, 128)
#: Share of the images that are held out.
HELD_OUT = 0.25
#: How often each image is gone through while numbers are learned.
EPOCHS = 6
#: Images without a particle, of each cluster: to learn from, and others to judge by.
NOISE_IMAGES = 128
#: Of the draws: one to choose and learn by, one to judge by; noise to learn from, and to judge by.
CHOOSING, JUDGING, NOISE_LEARNED, NOISE_JUDGED = 1, 2, 3, 4
#: What noise takes beside the images in the gates, and how many times as long twice as large sets take at most.
WITH_NOISE, SLOWER = 1.3, 2.0
#: What a machine may take longer than it has taken before.
MARGIN = 1.2


@dataclass(frozen=True)
class AdaptedModel:
    """What a half gets.

    Attributes
    ----------
    numbers : dict of Tensor
        The adapted numbers by name, or those that the model came with.
    set_size : int
        K.
    verdict : Verdict
        Of the gates, on what was tried last.
    learned_from, held_out : int
        Images.
    """

    numbers: dict[str, Tensor]
    set_size: int
    verdict: Verdict
    learned_from: int
    held_out: int

    @property
    def is_taken(self) -> bool:
        """Whether the half gets anything new."""
        return not self.verdict.refusals


def adapt_half(
    model: PolarTransformer,
    clusters: list[ClusterImages],
    computing: NetworkSettings,
    seconds: float,
    tell: Callable[[str], None],
    predict_minutes: Callable[[float], float],
) -> AdaptedModel:
    """Adapt a model to the images of one half.

    Parameters
    ----------
    model : PolarTransformer
        As it came.
    clusters : list of ClusterImages
        The half's images.
    computing : NetworkSettings
        How networks are run; with the K that the model came with.
    seconds : float
        All that this may take.
    tell : callable
        Told in words what is done.
    predict_minutes : callable
        From the seconds that a half needs to the minutes that the run needs.
    """
    began = time.monotonic()
    end = began + seconds
    parts = [hold_out(one, HELD_OUT, computing.seed) for one in clusters]
    learned, held = ([part[side] for part in parts] for side in (0, 1))
    counts = [sum(map(len, side)) for side in (learned, held)]
    old = {name: value.detach().clone() for name, value in list_numbers(model).items()}
    chosen = choose_set_size(model, clusters, learned, computing, end, tell)
    needed = time.monotonic() - began + chosen.seconds_per_pass + chosen.predict_gates(1)
    size = chosen.set_size
    ours = replace(computing, images_per_set=size)
    tries = 1 if size == computing.images_per_set else 2
    while tries > 1 and time.monotonic() + chosen.predict_gates(tries) > end:
        tries -= 1
    learn_until = end - chosen.predict_gates(tries)
    tried: list[tuple[dict[str, Tensor], int]] = []
    if time.monotonic() + chosen.seconds_per_pass < learn_until:
        tell(f"learns {sum(value.numel() for value in old.values())} numbers")
        empty = [
            leave_empty(one, one.draw_noise(computing.seed + NOISE_LEARNED), one.left_power)
            for one in clusters
        ]
        numbers = learn_numbers(
            model,
            [
                one.select(torch.from_numpy(places))
                for one, places in zip(chosen.draws, learned, strict=True)
            ],
            join_draws([gather_draw(model, pair_up(one), one, ours) for one in empty]),
            EPOCHS,
            computing.seed,
            learn_until,
            ours,
        )
        tried.append((numbers, size))
    if size != computing.images_per_set and len(tried) < tries:
        tried.append((old, size))
    if not tried:
        verdict = refuse_for_time(predict_minutes(MARGIN * needed))
        return AdaptedModel(old, computing.images_per_set, verdict, *counts)
    del chosen
    tell("judges by images held out and by noise")
    pairs = [recorrupt(one, computing.seed + JUDGING) for one in clusters]
    number = computing.seed + NOISE_JUDGED
    noise = (
        [leave_empty(one, one.draw_white_noise(number), None) for one in clusters],
        [leave_empty(one, one.draw_noise(number), one.left_power) for one in clusters],
    )

    def see(network: PolarTransformer, one: NetworkSettings) -> Behaviour:
        return observe(network, clusters, pairs, held, noise, one)

    constant = 1 + 1 / STRENGTH**2 if clusters[0].other is None else 1.0
    before = see(model, computing)
    for own, one in tried:
        after = see(give_numbers(model, own), replace(ours, images_per_set=one))
        verdict = judge(before, after, constant)
        if not verdict.refusals:
            return AdaptedModel(own, one, verdict, *counts)
    return AdaptedModel(old, computing.images_per_set, verdict, *counts)


def refuse_for_time(minutes: float) -> Verdict:
    """Refuse what was neither learned nor judged, and say how many minutes would do for both, upwards to two digits."""
    step = 10.0 ** (math.floor(math.log10(max(minutes, 0.1))) - 1)
    enough = f"{math.ceil(minutes / step) * step:.6g}"
    return Verdict(
        gain=0.0,
        gain_error=0.0,
        error_share=0.0,
        noise_before=0.0,
        noise_after=0.0,
        own_noise_before=0.0,
        own_noise_after=0.0,
        particle_energy=0.0,
        residual_change=0.0,
        refusals=(
            f"the minutes do not suffice to learn and to judge; give about --minutes {enough}, or more",
        ),
    )


@dataclass(frozen=True)
class ChosenSize:
    """How many images are denoised together, and what it took to find out.

    Attributes
    ----------
    set_size : int
        K.
    draws : list of Draw
        Of the clusters at this K.
    first_pass, seconds_per_pass : float
        Seconds that all clusters take once, with the K that the model came with and with this one.
    """

    set_size: int
    draws: list[Draw]
    first_pass: float
    seconds_per_pass: float

    def predict_gates(self, tries: int) -> float:
        """Predict the seconds that the gates take: the model as it came, and so many tries, on images and noise."""
        return WITH_NOISE * (self.first_pass + tries * self.seconds_per_pass)


def choose_set_size(
    model: PolarTransformer,
    clusters: list[ClusterImages],
    learned: list[np.ndarray],
    computing: NetworkSettings,
    end: float,
    tell: Callable[[str], None],
) -> ChosenSize:
    """Choose how many images are denoised together: larger sets while the loss of the images learned from falls.

    Of a molecule whose views come again and again, or that looks alike from many sides, more images than 32 show the
    same; of others, further ones only blur. Nothing is tried that would leave the gates no time before `end`.
    """

    def draw(size: int) -> tuple[list[Draw], Tensor, float]:
        tell(f"denoises recorrupted images, {size} together")
        began = time.monotonic()
        ours = replace(computing, images_per_set=size)
        draws = [draw_pair(model, one, CHOOSING, ours) for one in clusters]
        losses = [
            measure_draw(model, one, torch.from_numpy(places), ours)
            for one, places in zip(draws, learned, strict=True)
        ]
        return draws, torch.cat(losses), time.monotonic() - began

    size = computing.images_per_set
    draws, losses, first = draw(size)
    chosen = ChosenSize(size, draws, first, first)
    for larger in SET_SIZES:
        expected = replace(chosen, seconds_per_pass=SLOWER * chosen.seconds_per_pass)
        needed = expected.seconds_per_pass + expected.predict_gates(1)
        if larger <= size or time.monotonic() + needed > end:
            continue
        tried, new, seconds = draw(larger)
        gains = losses - new
        if not gains.mean() > LEAST_ERRORS * gains.std() / len(gains) ** 0.5:
            break
        chosen, losses = ChosenSize(larger, tried, first, seconds), new
    return chosen


@torch.no_grad()
def measure_draw(
    model: PolarTransformer, draw: Draw, places: Tensor, computing: NetworkSettings
) -> Tensor:
    """Measure the losses of some images of a draw, `(m,)`, some at a time."""
    losses = []
    for some in places.split(128):
        part = draw.select(some)
        losses.append(
            measure_losses(decode_draw(model, part, computing), part.ctf_rings, part.target)
        )
    return torch.cat(losses).cpu()


def leave_empty(cluster: ClusterImages, noise: Tensor, left_power: Tensor | None) -> ClusterImages:
    """Put noise `(n, box, box)` in the place of some of a cluster's images, which keep their CTFs.

    `left_power` is that of the noise, as `ClusterImages` has it.
    """
    places = np.arange(min(len(cluster.rows), NOISE_IMAGES))
    some = torch.from_numpy(places)
    return replace(
        cluster,
        rows=cluster.rows[places],
        images=noise[some],
        ctf_rings=cluster.ctf_rings[some],
        shared=cluster.shared.select(places),
        other=None,
        left_power=left_power,
    )


def pair_up(empty: ClusterImages) -> NoisyPair:
    """Give images without a particle the target that they have: nothing."""
    return NoisyPair(empty.images, 1.0, torch.zeros_like(empty.images))


def join_draws(draws: list[Draw]) -> Draw:
    """Join draws of equal scale into one."""
    names = ("conditioned", "features", "attended", "ctf_rings", "target")
    parts = {name: torch.cat([getattr(one, name) for one in draws]) for name in names}
    return Draw(**parts, scale=draws[0].scale)
