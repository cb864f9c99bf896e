"""All of what `adapt` is asked for that can be checked before the work starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polardenoise.counts import word_count
from polardenoise.engine.adapt.options import AdaptPlan
from polardenoise.engine.denoise.options import DenoisePlan
from polardenoise.engine.denoise.plan import Job, check_plan
from polardenoise.engine.networks.checkpoint import find_model, read_card
from polardenoise.engine.networks.registry import is_joint
from polardenoise.engine.particles.particle_set import ParticleSet, read_particles
from polardenoise.engine.particles.set_checks import check_match, refuse_denoised
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.file_list import FileList, list_model_files

#: Images that a half has at least: fewer tell neither the numbers nor whether these are better.
FEWEST_IN_A_HALF = 100


@dataclass(frozen=True)
class Adaptation:
    """A plan that has been checked.

    Attributes
    ----------
    plan : AdaptPlan
        What was asked for.
    job : Job
        The particles and the model as `denoise` would take them: halves, drawn ones too, and who may not meet whom.
    half_frames : ParticleSet or None
        The same particles from the other half of the movie frames.
    """

    plan: AdaptPlan
    job: Job
    half_frames: ParticleSet | None


def check_adaptation(plan: AdaptPlan) -> Adaptation:
    """Read and check everything that the plan names but the pixels.

    Raises
    ------
    InputError
        If anything given cannot be used.
    """
    refuse_training(plan.output)
    card = read_card(find_model(plan.model))
    if not is_joint(card.architecture):
        raise InputError(
            f"--model {plan.model}: is a {card.architecture}, which denoises each image by itself; adapt a polar "
            "transformer"
        )
    if card.adapted:
        raise InputError(
            f"--model {plan.model}: was adapted already, to {card.adapted['particles']}; adapt the model that it came "
            "from"
        )
    job = check_plan(
        DenoisePlan(
            particles=plan.particles,
            output=plan.output / ".adapt.star",  # nothing is written there
            model=plan.model,
            ctf_state=plan.ctf_state,
            contrast=plan.contrast,
            class_count=0,
            seed=plan.seed,
            device=plan.device,
        )
    )
    check_halves(job)
    other = None
    if plan.half_frames is not None:
        other = read_half_frames(plan.half_frames, job.particles, plan.ctf_state)
    files = FileList([*plan.files.inputs], [*plan.files.outputs])
    files.read("PARTICLES.star", *job.particles.inputs)
    files.read("--model", *list_model_files(find_model(plan.model)))
    if other is not None:
        files.read("--half-frames", *other.inputs)
    files.write("-o", plan.model_folder / "model.json", "card")
    files.write("-o", plan.model_folder / "weights.safetensors", "weights")
    files.write("-o", plan.output / "summary.json", "summary", content="summary")
    files.check()
    files.probe()
    return Adaptation(plan, job, other)


def refuse_training(folder: Path) -> None:
    """Refuse the folder of a training, whose model would be replaced."""
    if any((folder / name).exists() for name in ("resume", "history.csv")):
        raise InputError(f"-o {folder}: holds a training; name another folder")


def check_halves(job: Job) -> None:
    """Refuse halves that are too small to tell anything."""
    of_images = job.halves[job.shared.first_row]
    for half, count in zip(*np.unique(of_images, return_counts=True), strict=True):
        if count < FEWEST_IN_A_HALF:
            raise InputError(
                f"{job.particles.star_path}: half {half} has {word_count(count, 'image')}; at least "
                f"{FEWEST_IN_A_HALF} are needed to adapt a model to it: give more particles, or denoise with the "
                "model as it is"
            )


def read_half_frames(path: Path, particles: ParticleSet, ctf_state: str) -> ParticleSet:
    """Read the same particles from the other frames and see that they are the same."""
    other = read_particles(path, ctf_state)
    refuse_denoised(other, "--half-frames")
    check_match(particles, other)
    if other.ctf_state != particles.ctf_state:
        raise InputError(
            f"--half-frames {path}: its CTF is {other.ctf_state}, that of {particles.star_path} {particles.ctf_state}; "
            "give images that were treated alike"
        )
    both = zip(particles.stacks, other.stacks, strict=False)
    if any(one.samefile(two) for one, two in both):
        raise InputError(
            f"--half-frames {path}: names the stack of {particles.star_path} itself; give images of the other frames"
        )
    return other
