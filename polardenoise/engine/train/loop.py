"""The training loop, resumable at any moment."""

import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from polardenoise.engine.networks.denoiser import Denoiser
from polardenoise.engine.runtime.devices import choose_precision
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.progress import format_duration
from polardenoise.engine.runtime.stopping import stopping_between_steps
from polardenoise.engine.train.averaging import (
    averaged_weights,
    choose_decay,
    copy_weights,
    update_average,
)
from polardenoise.engine.train.history import HISTORY_COLUMNS, truncate_history
from polardenoise.engine.train.loss import Objective, measure_objective, measure_validation
from polardenoise.engine.train.recipe import Recipe
from polardenoise.engine.train.simulated_sets import TrainingBatch

#: Seconds until the first report, soon enough to see that all is well.
FIRST_REPORT = 10.0

#: Seconds after which a training that waits asks again.
SECONDS_OF_WAITING = 1.0


@dataclass(frozen=True)
class Length:
    """How long to train: until any limit is reached.

    Attributes
    ----------
    steps : int or None
        Gradient steps.
    minutes : float or None
        Minutes of training, those before a resume included.
    pause_at : float
        Time of `time.monotonic` at which this run stops, however far the training is.
    """

    steps: int | None
    minutes: float | None
    pause_at: float = math.inf

    def fraction(self, step: int, seconds: float) -> float:
        """Fraction of the training that is done, 0 to 1."""
        done = 0.0
        if self.steps is not None:
            done = max(done, step / self.steps)
        if self.minutes is not None:
            done = max(done, seconds / (60 * self.minutes))
        return min(done, 1.0)


@dataclass
class TrainingState:
    """Everything a resumed training needs beside the recipe; it changes at every step."""

    model: Denoiser
    optimizer: torch.optim.Optimizer
    precision: torch.dtype = torch.float32
    step: int = 0
    seconds: float = 0.0
    images: int = 0
    #: Moving average of the weights, by name, where the recipe asks for one.
    average: dict[str, Tensor] | None = None


def start_training(model: Denoiser, recipe: Recipe) -> TrainingState:
    """Begin with AdamW on all parameters, of which only the filters are decayed, in what precision the device can."""
    filters = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": filters, "weight_decay": recipe.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
    )
    device = next(model.parameters()).device
    average = copy_weights(model) if recipe.averaging > 0 else None
    precision = choose_training_precision(device, recipe)
    return TrainingState(model, optimizer, precision, average=average)


def choose_training_precision(device: torch.device, recipe: Recipe) -> torch.dtype:
    """Choose the convolutions' precision: bfloat16 where the recipe asks for it and the device multiplies in it."""
    return choose_precision(device, "auto" if recipe.precision == "bfloat16" else "float32")


def train(
    state: TrainingState,
    draw: Callable[[int], TrainingBatch],
    validation: TrainingBatch,
    recipe: Recipe,
    length: Length,
    history: Path,
    checkpoint: Callable[[TrainingState], None],
    seconds_between_checkpoints: float = 60.0,
    objective: Objective | None = None,
    seconds_between_reports: float | None = None,
    must_wait: Callable[[], bool] = lambda: False,
) -> None:
    """Train until the length is reached.

    Parameters
    ----------
    state : TrainingState
        Changed in place.
    draw : callable
        From a step number to its training sets.
    validation : TrainingBatch
        Fixed sets that the history's relative MSE is measured on.
    recipe : Recipe
        Learning rate and clipping.
    length : Length
        When to stop, and the pace of the learning rate's decay.
    history : Path
        history.csv, one row per report; rows past `state.step` (of a run that was killed after them) are dropped.
    checkpoint : callable
        Called now and then, at every report, at the end, and when Ctrl-C or SIGTERM ends the run, which they do
        between two steps. What came after the last one is lost to a kill.
    seconds_between_checkpoints : float
        Wall-clock time between checkpoints.
    objective : Objective, optional
        What is minimised; `measure_objective` is the rule.
    seconds_between_reports : float, optional
        Wall-clock time between reports, that between checkpoints by default; the first comes sooner.
    must_wait : callable, optional
        Asked between two steps; while it says so no step is taken. Waiting is not counted as training.
    """
    device = next(state.model.parameters()).device
    truncate_history(history, state.step)
    losses: list[Tensor] = []
    clock = time.monotonic()
    if seconds_between_reports is None:
        seconds_between_reports = seconds_between_checkpoints
    next_report = clock + min(FIRST_REPORT, seconds_between_reports)
    next_checkpoint = clock + seconds_between_checkpoints
    objective = objective or partial(measure_objective, floor_snr=recipe.floor_snr)
    state.model.train()
    with stopping_between_steps() as stop_if_told:

        def leave_if_told() -> None:
            try:
                stop_if_told()
            except BaseException:
                if is_sound(state.model, losses):
                    checkpoint(state)
                raise

        while (
            time.monotonic() < length.pause_at
            and (fraction := length.fraction(state.step, state.seconds)) < 1.0
        ):
            if must_wait():
                leave_if_told()
                time.sleep(SECONDS_OF_WAITING)
                clock = time.monotonic()
                continue
            learning_rate = schedule_learning_rate(recipe, state.step, fraction)
            for group in state.optimizer.param_groups:
                group["lr"] = learning_rate
            batch = draw(state.step).map(lambda tensor: tensor.to(device))
            losses.append(take_step(state, batch, recipe, objective))
            state.step += 1
            state.images += batch.noisy.shape[0] * batch.noisy.shape[1]
            now = time.monotonic()
            state.seconds += now - clock
            clock = now
            reports = now >= next_report
            if reports:
                report(state, losses, validation, length, learning_rate, history)
                losses.clear()
            if reports or (now >= next_checkpoint and is_sound(state.model, losses)):
                checkpoint(state)
                clock = time.monotonic()  # reports do not count as training time
                next_checkpoint = clock + seconds_between_checkpoints
                next_report = clock + seconds_between_reports if reports else next_report
            leave_if_told()
        if losses:
            report(state, losses, validation, length, learning_rate, history)
        checkpoint(state)


def take_step(
    state: TrainingState, batch: TrainingBatch, recipe: Recipe, objective: Objective
) -> Tensor:
    """Take one gradient step; returns the loss, detached."""
    loss = objective(state.model, batch, state.precision)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.model.parameters(), recipe.gradient_norm)
    state.optimizer.step()
    if state.average is not None:
        update_average(state.average, state.model, choose_decay(recipe.averaging, state.step))
    return loss.detach()


def schedule_learning_rate(recipe: Recipe, step: int, fraction: float) -> float:
    """Linear warm-up over the first steps, then a cosine decay to zero over the length."""
    warm = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    return recipe.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * fraction))


def is_sound(model: Denoiser, losses: list[Tensor]) -> bool:
    """Tell whether the losses since the last report and the network's parameters are all finite, and may be kept."""
    return all(bool(tensor.isfinite().all()) for tensor in (*losses, *model.parameters()))


def refuse_divergence(history: Path, step: int, name: str, value: float) -> None:
    """Fail where a figure of the training is no finite number: the last checkpoint stays as it is.

    Raises
    ------
    InputError
        Says what was kept.
    """
    if not math.isfinite(value):
        raise InputError(
            f"{history}: the training diverged by step {step} ({name} {value}); the last good model is kept: lower the"
            " recipe's learning_rate, and start from it with --init or go on with --resume"
        )


def report(
    state: TrainingState,
    losses: list[Tensor],
    validation: TrainingBatch,
    length: Length,
    learning_rate: float,
    history: Path,
) -> None:
    """Append a row to the history and print one line with rate and time to go."""
    loss = float(torch.stack(losses).mean())
    refuse_divergence(history, state.step, "loss", loss)
    with averaged_weights(state.model, state.average):
        error = measure_validation(state.model, validation, state.precision)
    refuse_divergence(history, state.step, "validation relative MSE", error)
    row = (state.step, f"{state.seconds:.1f}", state.images, f"{learning_rate:.3e}")
    new = not history.exists()
    with history.open("a", newline="") as stream:
        writer = csv.writer(stream)
        if new:
            writer.writerow(HISTORY_COLUMNS)
        writer.writerow([*row, f"{loss:.5f}", f"{error:.5f}"])
    fraction = length.fraction(state.step, state.seconds)
    to_go = state.seconds * (1 - fraction) / max(fraction, 1e-9)
    print(
        f"train: step {state.step}, loss {loss:.4f}, validation relative MSE {error:.4f}, "
        f"{state.images / max(state.seconds, 1e-9):.0f} images/s, {format_duration(to_go)} to go",
        flush=True,
    )
