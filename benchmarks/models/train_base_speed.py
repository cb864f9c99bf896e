"""How fast a training would be on this machine: simulation, step, and whether compiling pays.

    python -m benchmarks.models.train_base_speed .carry/molecules/MANIFEST.tsv --name base-next \
        --images-per-step 512 -o speed-base-next.json

Measures images a second of the simulation alone, of gradient steps on images that are there, of both as a training does
them, and again with the convolutions compiled, if that works here. The file's "compile" says what to train with.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.models.stages import STAGES, lay_recipe, read_stages
from polardenoise.engine.networks.checkpoint import find_model, read_card
from polardenoise.engine.networks.compiling import compile_convolutions
from polardenoise.engine.networks.registry import build_model
from polardenoise.engine.runtime.devices import choose_device
from polardenoise.engine.runtime.files import write_json
from polardenoise.engine.train.loop import start_training, take_step
from polardenoise.engine.train.loss import measure_objective
from polardenoise.engine.train.recipe import Recipe, choose_preset, recipe_from_dict
from polardenoise.engine.train.simulated_sets import (
    TrainingBatch,
    draw_batch,
    load_molecule,
    stack_molecules,
)
from polardenoise.engine.train.sources import expand_sources

#: Molecules that are loaded: the speed does not depend on how many there are.
MOLECULES = 8
#: Compiling takes a minute or more of every call of nine: it has to gain more than that.
WORTH_COMPILING = 1.25


def measure_rate(
    take: Callable[[int], TrainingBatch], seconds: float, device: torch.device
) -> float:
    """Images a second of `take`, which is called with 0, 1, ... for about so many seconds, at least twice."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start, step, images = time.perf_counter(), 0, 0
    while step < 2 or time.perf_counter() - start < seconds:
        batch = take(step)
        images += batch.noisy.shape[0] * batch.noisy.shape[1]
        step += 1
        if step % 20 == 0:
            wait()  # what is queued has to be done within the seconds
    wait()
    return images / (time.perf_counter() - start)


def measure_speed(
    architecture: str, recipe: Recipe, sources: list[str], seconds: float, device: torch.device
) -> dict:
    """Measure all of it; images a second, and GB of the GPU's memory."""
    torch.manual_seed(0)
    model = build_model(architecture, recipe.sizes).to(device)
    state = start_training(model.train(), recipe)
    loaded = expand_sources(sources).training[:MOLECULES]
    densities = [load_molecule(one, model.config.box, recipe.fill[1]) for one in loaded]
    molecules = stack_molecules(densities, device)
    drawn = [draw_batch(molecules, recipe, 0, step) for step in range(24)]

    def draw(step: int) -> TrainingBatch:
        return draw_batch(molecules, recipe, 0, step)

    def learn(step: int) -> TrainingBatch:
        take_step(state, drawn[step % len(drawn)], recipe, measure_objective)
        return drawn[step % len(drawn)]

    def train(step: int) -> TrainingBatch:
        batch = draw(step)
        take_step(state, batch, recipe, measure_objective)
        return batch

    one_of_each_size = {batch.noisy.shape: step for step, batch in enumerate(drawn)}.values()
    for step in one_of_each_size:
        learn(step)  # plans and kernels are chosen now
    speed: dict = {"device": str(device), "images_per_step": recipe.images_per_step}
    if device.type == "cuda":
        speed["device"] = torch.cuda.get_device_name(device)
    speed["simulation"] = measure_rate(draw, seconds, device)
    speed["step"] = measure_rate(learn, seconds, device)
    speed["training"] = measure_rate(train, seconds, device)
    speed["simulation_share"] = (1 / speed["simulation"]) / (
        1 / speed["simulation"] + 1 / speed["step"]
    )
    if device.type == "cuda":
        speed["gigabytes"] = torch.cuda.max_memory_allocated(device) / 1e9
        start = time.perf_counter()
        try:
            compile_convolutions(model, architecture)
            for step in one_of_each_size:
                learn(step)
            torch.cuda.synchronize()
            speed["seconds_to_compile"] = time.perf_counter() - start
            speed["training_compiled"] = measure_rate(train, seconds, device)
        except Exception as error:  # whatever is missing for compiling, the training does without
            speed["compiling_failed"] = str(error).splitlines()[0] if str(error) else repr(error)
    gain = speed.get("training_compiled", 0.0) / speed["training"]
    speed["compile"] = gain > WORTH_COMPILING
    return speed


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.models.train_base_speed", description=__doc__.splitlines()[0]
    )
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--name", default="base-next", help="one of the list's models")
    parser.add_argument("--stages", type=Path, default=STAGES, help="the list of stages")
    parser.add_argument("--images-per-step", type=int, help="other than the list's")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    device = choose_device("auto")
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    found = read_stages(arguments.stages)
    model, stage = found.models[arguments.name], found.stages[0]
    card = read_card(find_model(model.start))
    laid = lay_recipe(found, model, stage, card.sizes, arguments.images_per_step)
    preset = choose_preset("base", card.architecture)
    recipe = recipe_from_dict(laid, preset, str(arguments.stages))
    speed = measure_speed(card.architecture, recipe, arguments.sources, arguments.seconds, device)
    write_json(arguments.output, speed)
    for name, value in speed.items():
        said = f"{value:.4g}" if isinstance(value, float) else value
        print(f"speed of {arguments.name}: {name} {said}", flush=True)


if __name__ == "__main__":
    main()
