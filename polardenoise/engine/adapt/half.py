"""Adaptation of one half: how many images are denoised together, then the numbers, then the gates."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.adapt.draws import (
    Computing,
    Draw,
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
#: Share of a half's time after which nothing more is tried or learned: the gates take the rest.
TIME_TO_LEARN = 0.6


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
    computing: Computing,
    seconds: float,
    tell: Callable[[str], None],
) -> AdaptedModel:
    """Adapt a model to the images of one half.

    Parameters
    ----------
    model : PolarTransformer
        As it came.
    clusters : list of ClusterImages
        The half's images.
    computing : Computing
        How networks are run; with the K that the model came with.
    seconds : float
        All that this may take.
    tell : callable
        Told in words what is done.
    """
    began = time.monotonic()
    learn_until = began + TIME_TO_LEARN * seconds
    parts = [hold_out(one, HELD_OUT, computing.seed) for one in clusters]
    learned, held = ([part[side] for part in parts] for side in (0, 1))
    old = {name: value.detach().clone() for name, value in list_numbers(model).items()}
    size, draws = choose_set_size(model, clusters, learned, computing, learn_until, tell)
    ours = replace(computing, images_per_set=size)
    noise = [leave_empty(one, one.draw_noise(computing.seed + NOISE_LEARNED)) for one in clusters]
    empty = join_draws([gather_draw(model, pair_up(one), one, ours) for one in noise])
    tell(f"learns {sum(value.numel() for value in old.values())} numbers")
    numbers = learn_numbers(
        model,
        [one.select(torch.from_numpy(places)) for one, places in zip(draws, learned, strict=True)],
        empty,
        EPOCHS,
        computing.seed,
        learn_until,
        ours,
        lambda count: None,
    )
    del draws, empty
    tell("judges by images held out and by noise")
    pairs = [recorrupt(one, computing.seed + JUDGING) for one in clusters]
    number = computing.seed + NOISE_JUDGED
    noise = (
        [leave_empty(one, one.draw_white_noise(number)) for one in clusters],
        [leave_empty(one, one.draw_noise(number)) for one in clusters],
    )

    def see(network: PolarTransformer, one: Computing) -> Behaviour:
        return observe(network, clusters, pairs, held, noise, one)

    constant = 1 + 1 / STRENGTH**2 if clusters[0].other is None else 1.0
    before = see(model, computing)
    tried = (
        [(numbers, size)] if size == computing.images_per_set else [(numbers, size), (old, size)]
    )
    for own, one in tried:
        verdict = judge(
            before, see(give_numbers(model, own), replace(ours, images_per_set=one)), constant
        )
        taken = not verdict.refusals
        if taken:
            break
    else:
        own, one = old, computing.images_per_set
    counts = (sum(map(len, side)) for side in (learned, held))
    return AdaptedModel(own, one, verdict, *counts)


def choose_set_size(
    model: PolarTransformer,
    clusters: list[ClusterImages],
    learned: list[np.ndarray],
    computing: Computing,
    deadline: float,
    tell: Callable[[str], None],
) -> tuple[int, list[Draw]]:
    """Choose how many images are denoised together: larger sets while the loss of the images learned from falls.

    Of a molecule whose views come again and again, or that looks alike from many sides, more images than 32 show the
    same; of others, further ones only blur.

    Returns
    -------
    tuple
        K, and the draws of the clusters at this K.
    """

    def draw(size: int) -> tuple[list[Draw], Tensor]:
        tell(f"denoises recorrupted images, {size} together")
        ours = replace(computing, images_per_set=size)
        draws = [draw_pair(model, one, CHOOSING, ours) for one in clusters]
        losses = [
            measure_draw(model, one, torch.from_numpy(places), ours)
            for one, places in zip(draws, learned, strict=True)
        ]
        return draws, torch.cat(losses)

    size = computing.images_per_set
    began = time.monotonic()
    draws, losses = draw(size)
    for larger in SET_SIZES:
        spent = time.monotonic() - began
        # A pass takes as long as all before it together, or less.
        if larger <= size or time.monotonic() + spent > deadline:
            continue
        tried, new = draw(larger)
        gains = losses - new
        if not gains.mean() > LEAST_ERRORS * gains.std() / len(gains) ** 0.5:
            break
        size, draws, losses = larger, tried, new
    return size, draws


@torch.no_grad()
def measure_draw(
    model: PolarTransformer, draw: Draw, places: Tensor, computing: Computing
) -> Tensor:
    """Measure the losses of some images of a draw, `(m,)`, some at a time."""
    losses = []
    for some in places.split(128):
        part = draw.select(some)
        losses.append(
            measure_losses(decode_draw(model, part, computing), part.ctf_rings, part.target)
        )
    return torch.cat(losses).cpu()


def leave_empty(cluster: ClusterImages, noise: Tensor) -> ClusterImages:
    """Put noise `(n, box, box)` in the place of some of a cluster's images, which keep their CTFs."""
    places = np.arange(min(len(cluster.rows), NOISE_IMAGES))
    some = torch.from_numpy(places)
    return replace(
        cluster,
        rows=cluster.rows[places],
        images=noise[some],
        ctf_rings=cluster.ctf_rings[some],
        shared=cluster.shared.select(places),
        other=None,
    )


def pair_up(empty: ClusterImages) -> NoisyPair:
    """Give images without a particle the target that they have: nothing."""
    return NoisyPair(empty.images, 1.0, torch.zeros_like(empty.images))


def join_draws(draws: list[Draw]) -> Draw:
    """Join draws of equal scale into one."""
    names = ("conditioned", "features", "attended", "ctf_rings", "target")
    parts = {name: torch.cat([getattr(one, name) for one in draws]) for name in names}
    return Draw(**parts, scale=draws[0].scale)
