"""Learning of the adapted numbers of one half, from draws of its images and from noise without a particle."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.adapt.draws import Draw, NetworkSettings, decode_draw, measure_losses
from polardenoise.engine.networks.adapted_numbers import copy_network, list_numbers
from polardenoise.engine.networks.polar_transformer import PolarTransformer

#: Images of one step, and images without a particle beside them.
IMAGES_AT_ONCE, NOISE_AT_ONCE = 64, 16
#: What the loss of images without a particle counts beside that of those with one: no more may come out of noise.
NOISE_WEIGHT = 4.0
#: Largest step of Adam; it falls to zero as half a cosine wave.
LEARNING_RATE = 3e-3
#: What a number is drawn back to its old value with: the loss of a step, whose unit is the noise's variance, grows by
#: so much where a number has changed by 1.
PULL = 1e-3


def learn_numbers(
    model: PolarTransformer,
    draws: Sequence[Draw],
    noise: Draw,
    epochs: int,
    seed: int,
    deadline: float,
    computing: NetworkSettings,
) -> dict[str, Tensor]:
    """Learn the numbers of one half.

    Parameters
    ----------
    model : PolarTransformer
        Whose numbers are begun with, and drawn to.
    draws : sequence of Draw
        Of images that are learned from.
    noise : Draw
        Of images without a particle; their target is zero.
    epochs : int
        How often each draw is gone through.
    seed : int
        Fixes the order of the images.
    deadline : float
        Time of `time.monotonic` at which the learning ends, however far it is.
    computing : NetworkSettings
        How networks are run.

    Returns
    -------
    dict of Tensor
        The numbers by name.
    """
    learner = copy_network(model)
    learner.requires_grad_(False)
    numbers = list_numbers(learner)
    old = {name: value.detach().clone() for name, value in numbers.items()}
    for value in numbers.values():
        value.requires_grad_(True)
    optimizer = torch.optim.Adam(numbers.values(), lr=LEARNING_RATE)
    generator = np.random.default_rng([seed, 15])
    batches = [
        (draw, torch.from_numpy(places))
        for _ in range(epochs)
        for draw in draws
        for places in split_evenly(generator.permutation(len(draw)))
    ]
    began = time.monotonic()
    for step, (draw, places) in enumerate(batches):
        now = time.monotonic()
        if now >= deadline:
            break
        done = max(step / len(batches), (now - began) / (deadline - began))
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * done))
        beside = torch.from_numpy(generator.choice(len(noise), NOISE_AT_ONCE))
        losses = [
            weight
            * measure_losses(
                decode_draw(learner, part, computing), part.ctf_rings, part.target
            ).mean()
            for weight, part in (
                (1.0, draw.select(places)),
                (NOISE_WEIGHT, noise.select(beside)),
            )
        ]
        changes = [(value - old[name]).square().sum() for name, value in numbers.items()]
        loss = torch.stack(losses).sum() + PULL * torch.stack(changes).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {name: value.detach().clone() for name, value in numbers.items()}


def split_evenly(order: np.ndarray) -> list[np.ndarray]:
    """Split an order of images into steps of about `IMAGES_AT_ONCE`."""
    return np.array_split(order, max(1, round(len(order) / IMAGES_AT_ONCE)))
