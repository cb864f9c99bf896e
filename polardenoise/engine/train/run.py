"""A training from its plan to its files: the network, what it learns from, the loop, the model."""

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from polardenoise.architectures import DEFAULT_ARCHITECTURE
from polardenoise.engine.evaluate.noise_energy import measure_noise_energy
from polardenoise.engine.networks.checkpoint import (
    ModelCard,
    find_model,
    hash_file,
    load_model,
    read_card,
    save_model,
)
from polardenoise.engine.networks.compiling import compile_convolutions
from polardenoise.engine.networks.denoiser import Denoiser
from polardenoise.engine.networks.model_limits import check_sizes, list_shapes
from polardenoise.engine.networks.registry import (
    as_joint,
    build_model,
    describe_sizes,
    is_joint,
    start_model_from,
)
from polardenoise.engine.runtime.devices import choose_device, name_precision
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.file_list import FileList, list_model_files
from polardenoise.engine.runtime.files import make_folder, telling_to_resume
from polardenoise.engine.runtime.provenance import provenance
from polardenoise.engine.simulate.source_names import PHANTOM_PREFIX
from polardenoise.engine.train.acquisition import (
    Likeness,
    feed_from_likeness,
    fit_recipe,
    read_likeness,
)
from polardenoise.engine.train.averaging import averaged_weights
from polardenoise.engine.train.history import plot_history, read_last_error
from polardenoise.engine.train.loop import Length, TrainingState, start_training, train
from polardenoise.engine.train.options import TrainingPlan
from polardenoise.engine.train.paired_feed import feed_from_pair
from polardenoise.engine.train.paired_sets import ParticlePair, read_pair
from polardenoise.engine.train.recipe import Recipe, choose_preset, lay_file_over
from polardenoise.engine.train.resume_state import (
    check_same_training,
    read_resume_state,
    refuse_linked_folder,
    restore_state,
    save_resume_state,
    tell_kept_step,
)
from polardenoise.engine.train.simulated_feed import TrainingFeed, feed_from_sources
from polardenoise.engine.train.sources import TrainingSources, expand_sources


@dataclass(frozen=True)
class Given:
    """What a training is given to learn from, read and checked: sources, perhaps with a likeness, or a pair."""

    sources: TrainingSources | None = None
    likeness: Likeness | None = None
    pair: ParticlePair | None = None
    #: What a resume must agree with.
    facts: dict[str, Any] = field(default_factory=dict)


def run_training(plan: TrainingPlan) -> dict[str, Any]:
    """Train a model into `plan.output`.

    Writes model/, history.csv, history.png and resume/; killed at any moment, a run with `resume` goes on from the last
    checkpoint. At the end it is measured with how much energy pure noise comes out of a joint network (see
    `denoise.noise.guard`).

    Returns
    -------
    dict
        The summary.

    Raises
    ------
    InputError
        Before any work, if something given cannot be used.
    """
    architecture = choose_architecture(plan)
    recipe = choose_recipe_of(plan, architecture)
    check_folder(plan)
    device = choose_device(plan.device)
    if device.type == "cuda" and recipe.precision == "bfloat16":
        torch.set_float32_matmul_precision("high")  # TF32 for what autocast leaves in float32
    resume = plan.output / "resume"
    saved = read_resume_state(resume) if plan.resume else None
    torch.manual_seed(plan.seed)
    model = start_model(plan, architecture, recipe).to(device)
    given = read_given(plan, model.config.box)
    if given.likeness is not None:
        recipe = fit_recipe(recipe, given.likeness.particles)
    facts = {
        **given.facts,
        "architecture": architecture,
        "recipe": recipe.as_dict(),
        "seed": plan.seed,
    }
    if saved is not None:
        check_same_training(resume, saved["facts"], facts)
    files = list_files(plan, given)
    files.check()
    files.probe()
    if plan.compile:
        compile_convolutions(model, architecture)
    state = start_training(model, recipe)
    if saved is not None:
        restore_state(saved, state)
    history = plan.output / "history.csv"
    started = time.strftime("%Y-%m-%d")
    with ExitStack() as resources:
        feed = make_feed(plan, given, recipe, model.config.box, device, resources)
        make_folder(plan.output)
        if saved is None:
            save_resume_state(resume, state, facts)  # a kill in the first minute loses nothing

        def checkpoint(state: TrainingState) -> None:
            save_resume_state(resume, state, facts)
            card = describe_model(plan, architecture, state, feed, started, history)
            with averaged_weights(state.model, state.average):
                save_model(plan.output / "model", state.model, card)
            if history.exists():
                plot_history(history, plan.output / "history.png")

        length = begin_length(plan)
        if saved is not None and length.fraction(state.step, state.seconds) >= 1.0:
            print(f"train: step {state.step} is kept, and no more is asked for: nothing is trained")
        with telling_to_resume(plan.output, partial(tell_kept_step, resume)):
            train(
                state,
                feed.draw,
                feed.validation,
                recipe,
                length,
                history,
                checkpoint,
                seconds_between_reports=plan.seconds_between_reports,
                must_wait=plan.must_wait,
            )
            ended = length.fraction(state.step, state.seconds) >= 1.0
            if ended and is_joint(architecture):
                card = describe_model(plan, architecture, state, feed, started, history)
                save_with_noise_energy(plan, state, card, recipe.noise_images)
    return {
        "model": str(plan.output / "model"),
        "architecture": architecture,
        "steps": state.step,
        "images": state.images,
        "minutes": state.seconds / 60,
        "paused": not ended,
        "validation_relative_mse": read_last_error(history),
        **feed.counts,
    }


def begin_length(plan: TrainingPlan) -> Length:
    """Say how long a training is, and when this run of it pauses, counted from now."""
    pause_after = math.inf if plan.pause_after is None else 60 * plan.pause_after
    return Length(plan.steps, plan.all_minutes, min(plan.pause_at, time.monotonic() + pause_after))


def save_with_noise_energy(
    plan: TrainingPlan, state: TrainingState, card: ModelCard, images: int
) -> None:
    """Measure what a joint network makes of so many images of pure noise, and save it with that in its card."""
    print("train: measuring what the network makes of pure noise", flush=True)
    with averaged_weights(state.model, state.average):
        noise_energy = measure_noise_energy(
            as_joint(state.model.eval()), images=images, seed=plan.seed
        )
        save_model(plan.output / "model", state.model, replace(card, noise_energy=noise_energy))


def check_folder(plan: TrainingPlan) -> None:
    """Refuse a folder whose training would be lost, or that is none of ours.

    Raises
    ------
    InputError
        If it holds a model, or a training that has taken a step, and is not to go on; or its folders are links.
    """
    for name in ("resume", "model"):
        refuse_linked_folder(plan.output / name)
    if plan.resume:
        return
    begun = (plan.output / "model" / "model.json").exists()
    state = plan.output / "resume" / "state.json"
    if begun or (state.exists() and read_resume_state(state.parent)["step"] > 0):
        raise InputError(
            f"-o {plan.output}: holds a training; add --resume to go on with it, or name another folder"
        )


def list_files(plan: TrainingPlan, given: Given) -> FileList:
    """List all that a training reads and writes."""
    files = FileList([*plan.files.inputs], [*plan.files.outputs])
    if given.sources is not None:
        files.read("SOURCE", *(one for one in plan.sources if not one.startswith(PHANTOM_PREFIX)))
        molecules = (*given.sources.training, *given.sources.validation)
        files.read("SOURCE", *(one for one in molecules if not one.startswith(PHANTOM_PREFIX)))
    if given.likeness is not None:
        files.read("--like", *given.likeness.particles.inputs)
    if given.pair is not None:
        files.read("--pairs", *given.pair.noisy.inputs, *given.pair.clean.inputs)
    files.read("--recipe", plan.recipe)
    if plan.init is not None:
        files.read("--init", *list_model_files(find_model(plan.init)))
    files.write("-o", plan.output / "model" / "model.json", "card")
    files.write("-o", plan.output / "model" / "weights.safetensors", "weights")
    files.write("-o", plan.output / "history.csv", "history")
    files.write("-o", plan.output / "history.png", "picture")
    files.write("-o", plan.output / "resume" / "state.json", "state")
    return files


def read_given(plan: TrainingPlan, box: int) -> Given:
    """Read and check what the training learns from, all but the molecules and the pixels."""
    if plan.pairs is not None:
        pair = read_pair(*plan.pairs, plan.seed)
        hashes = [hash_file(path) for path in plan.pairs]
        return Given(pair=pair, facts={"sources": [], "--pairs": hashes})
    sources = expand_sources(list(plan.sources))
    facts: dict[str, Any] = {"sources": list(sources.training)}
    if plan.like is None:
        return Given(sources, facts=facts)
    facts["--like"] = hash_file(plan.like)
    return Given(sources, read_likeness(plan.like, box), facts=facts)


def make_feed(
    plan: TrainingPlan,
    given: Given,
    recipe: Recipe,
    box: int,
    device: torch.device,
    resources: ExitStack,
) -> TrainingFeed:
    """Load the molecules or prepare the images that were given; `resources` closes scratch files."""
    if given.pair is not None:
        return feed_from_pair(given.pair, recipe, box, plan.seed, plan.output, device, resources)
    assert given.sources is not None
    if given.likeness is not None:
        return feed_from_likeness(given.sources, given.likeness, recipe, plan.seed, device)
    return feed_from_sources(given.sources, recipe, box, plan.seed, device)


def describe_model(
    plan: TrainingPlan,
    architecture: str,
    state: TrainingState,
    feed: TrainingFeed,
    started: str,
    history: Path,
) -> ModelCard:
    """Write the card of the model as it is now."""
    return ModelCard(
        name=plan.output.name,
        architecture=architecture,
        sizes={},
        trained_on={
            **provenance(list(plan.command)),
            "started": started,
            **feed.trained_on,
            "init": plan.init,
            "seed": plan.seed,
            "steps": state.step,
            "images": state.images,
            "minutes": round(state.seconds / 60, 2),
            "threads": torch.get_num_threads(),
            "precision": name_precision(state.precision),
            "device": str(next(state.model.parameters()).device),
        },
        figures={"validation_relative_mse": read_last_error(history)},
        description=f"{architecture}, {state.model.config.box} px, {feed.description}",
    )


def choose_architecture(plan: TrainingPlan) -> str:
    """Choose the architecture: the one named, or that of the model to start from, or the default one."""
    if plan.init is None:
        return plan.architecture or DEFAULT_ARCHITECTURE
    architecture = read_card(find_model(plan.init)).architecture
    if plan.architecture not in (None, architecture):
        raise InputError(
            f"--init {plan.init}: is a {architecture}; leave --architecture {plan.architecture} out"
        )
    return architecture


def choose_recipe_of(plan: TrainingPlan, architecture: str) -> Recipe:
    """Choose the recipe; a network that starts from another has its sizes, not those of the preset."""
    recipe = choose_preset(plan.preset, architecture)
    if plan.init is not None:
        recipe = replace(recipe, sizes={})
    return lay_file_over(recipe, architecture, plan.recipe)


def start_model(plan: TrainingPlan, architecture: str, recipe: Recipe) -> Denoiser:
    """Build the network, with the weights of the one that it starts from where there is one."""
    try:
        if plan.init is None:
            list_shapes(architecture, recipe.sizes)  # before any memory is taken
            return build_model(architecture, recipe.sizes)
        trained, _ = load_model(plan.init)
        sizes = describe_sizes(trained) | recipe.sizes
        check_sizes(architecture, sizes, str(plan.recipe))
        list_shapes(architecture, sizes)
        return start_model_from(trained, architecture, recipe.sizes)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        start = "be built" if plan.init is None else f"start from {plan.init}"
        raise InputError(
            f"{plan.recipe}: no {architecture} can {start} with its 'sizes' ({reason}); mend them"
        ) from error
