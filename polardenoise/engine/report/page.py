"""The page that `denoise --report` leaves: what was done, what to look at, and how to read it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np

from polardenoise.counts import word_count
from polardenoise.engine.denoise.finish import FinishedRun
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.denoise.report_folder import GENERATOR, PAGE
from polardenoise.engine.denoise.residual import LOWEST_RING, pick_rows, take_working
from polardenoise.engine.denoise.verdict import find_weak_halves
from polardenoise.engine.denoise.wording import (
    word_contrast,
    word_finest_detail,
    word_overlaps,
    word_set_size,
    word_verdict,
)
from polardenoise.engine.networks.checkpoint import ModelCard
from polardenoise.engine.report.figures import choose_grey_range, plot_residual_power
from polardenoise.engine.report.html import (
    Section,
    make_caution,
    make_facts,
    make_grid,
    make_listing,
    make_paragraph,
    make_picture,
    make_plot,
    make_threes,
    make_verdict,
    stack_parts,
    write_page,
)
from polardenoise.engine.report.images import Residual, find_faint, measure_residual, take_gallery
from polardenoise.engine.report.matches import (
    SCORE,
    show_classes,
    show_neighbours,
    show_scores,
)
from polardenoise.engine.report.residual_map import (
    doubt_residual_map,
    find_residual_map,
    show_residual_map,
)
from polardenoise.engine.runtime.files import make_folder, remove_tree
from polardenoise.engine.runtime.row_numbers import HOW_ROWS_COUNT

#: Particles in the gallery, chosen at random.
SHOWN = 8
#: The caption of what is delivered of an image in which no more was found than in pure noise.
TAKEN_FOR_NOISE = "taken for noise: raw, a hundredth as strong"
#: Power of the mean residual, where noise alone has 1, that stands at the top of the page, too.
LARGE_POWER = 2.0


def write_report(folder: Path, run: FinishedRun) -> None:
    """Write the page, which holds its pictures, into a folder: `index.html`, and nothing else."""
    remove_tree(folder)  # what a run that was killed has left
    make_folder(folder)
    job, summary, matches, classes = run.job, run.summary, run.matches, run.classes
    once = job.shared.first_row
    picked = once[pick_rows(len(once), SHOWN, job.plan.seed)]
    gallery = show_gallery(run, picked)
    averaged = run.averaged
    residual = measure_residual(averaged.noisy, averaged.estimates)
    as_map = find_residual_map(job, averaged.rows, averaged.noisy, averaged.estimates)
    doubts = [*doubt_residual(residual, summary), *(doubt_residual_map(as_map) if as_map else [])]
    sections = [tell_verdict(summary, matches, doubts), gallery, tell_warnings(summary)]
    if matches is not None and classes is not None:
        sections[1:2] = [show_classes(job, classes), gallery]
        if summary["median_score"] is not None:
            sections.insert(3, show_scores(matches, summary["classes"]))
    sections.append(show_mean_residual(job, residual))
    if as_map is not None:
        sections.append(show_residual_map(as_map, len(averaged.rows)))
    if matches is not None and summary["median_score"] is not None:
        sections.append(show_neighbours(run, matches, picked))
    sections += [tell_run(job, summary), explain_numbers(summary)]
    write_page(folder / PAGE, f"Denoised particles: {job.plan.output.name}", sections, GENERATOR)


def tell_verdict(
    summary: dict[str, Any], matches: dict[str, Any] | None, doubts: list[str]
) -> Section:
    """Say first whether the images are to be trusted, what there is, and what speaks against this run.

    `doubts` are those that the page itself has, for what it shows further down.
    """
    verdict = word_verdict(summary)
    found = ""
    if matches is not None:
        score, classes = summary["median_score"], summary["classes"]["shown"]
        found = f", {word_count(classes, 'class')}"
        found += "" if score is None else f", median score {score:.2f} (0 to 1)"
    count = f"{word_count(summary['particles'], 'particle')} denoised by {summary['model']}{found}."
    cautions = [*summary["warnings"], *doubts]
    use = "look, sort and align with them, reconstruct from the raw particles."
    if verdict:
        first = make_verdict(verdict, "bad")
    elif cautions:
        said = f"These images can be used, but mind what stands below: {use}"
        first = make_verdict(said, "mixed")
    else:
        first = make_verdict(f"No check speaks against these images: {use}", "good")
    lines = [first, make_paragraph(count)]
    lines += [make_caution(f"{caution[0].upper()}{caution[1:]}.") for caution in cautions]
    return Section("", "", stack_parts(lines))


def tell_warnings(summary: dict[str, Any]) -> Section:
    """Say what must not be forgotten of any denoised images."""
    cautions = [
        "Denoised images are an estimate by a trained network, not data. It can erase a ligand or paint what it was "
        "trained on. Look, sort, classify and align with them; reconstruct from the raw particles.",
        f"Nothing finer than {word_finest_detail(summary, 'Å')} is in them: that is the Nyquist limit of the "
        f"network's box of {summary['working_box']} px.",
        "The FSC between halves of denoised images is consistency, not resolution: one prior was applied to both.",
    ]
    body = stack_parts([make_caution(caution) for caution in cautions])
    return Section("Before you use them", "", body)


def tell_run(job: Job, summary: dict[str, Any]) -> Section:
    """Say what was done, and with what."""
    weak = find_weak_halves(summary)
    sigmas = [
        word_contrast(half, found, job.plan.contrast, half not in weak)
        for half, found in summary["contrast_of_halves"].items()
    ]
    as_given = [] if job.plan.contrast == "auto" else [f"{summary['contrast']}, as given"]
    *first, last = summary["half_counts"]
    counts = " and ".join([*map(str, first), word_count(last, "particle")])
    apart = ", which never met" if len(summary["half_counts"]) > 1 else ""
    rows = [
        ("particles", f"{summary['particles']} of {summary['input']}"),
        ("images", f"{summary['images']}, each denoised once; {word_overlaps(summary)}"),
        ("written to", summary["output"]),
        ("model", name_model(job.card)),
        ("trained on", word_training(job.card.trained_on)),
        ("grouped by", summary["group_by"]),
        ("K, images denoised together", word_set_size(summary)),
        ("halves", f"{summary['halves']}: {counts}{apart}"),
        ("CTF", f"{summary['ctf_state']} in, {summary['ctf_output']} out"),
        ("protein", "; ".join([*as_given, *sigmas])),
        (
            "box",
            f"{summary['box']} px in, {summary['working_box']} px inside, {summary['output_box']} px out "
            f"({summary['output_pixel_size']:.4g} Å/px)",
        ),
        ("computed on", f"{job.device.type}, convolutions in {summary['precision']}"),
        ("seed", str(job.plan.seed)),
    ]
    if summary["halves"] == "ignored":
        rows = [(name, "ignored" if name == "halves" else text) for name, text in rows]
    rows = [(name, text) for name, text in rows if text]
    parts = [make_facts(rows)]
    parts += [make_listing(shlex.join(job.plan.command))] if job.plan.command else []
    return Section("What was done, and with what", "", stack_parts(parts), folded=True)


def name_model(card: ModelCard) -> str:
    """Name a model: what it is, and the first digits of its weights' hash."""
    described = card.description or card.architecture
    return f"{card.name}: {described}; weights {card.weights_sha256[:16]}"


def word_training(trained: dict[str, Any]) -> str:
    """Say what a model has learned from; nothing where its card does not say."""
    sources, recipe = trained.get("sources", []), trained.get("recipe", {})
    seen = [word_count(len(sources), "molecule")] if sources else []
    if "snr" in recipe:
        seen.append("at SNR {} to {}".format(*recipe["snr"]))
    if "steps" in trained:
        seen.append(f"in {word_count(trained['steps'], 'step')}")
    return " ".join(seen)


def find_faint_rows(run: FinishedRun, rows: np.ndarray) -> np.ndarray:
    """Tell which images of some rows were taken for noise, `(m,)` bool."""
    if not run.summary["faint"]:
        return np.zeros(len(rows), dtype=bool)
    return find_faint(*take_working(run.job, run.preparation, run.stack, rows))


def show_gallery(run: FinishedRun, rows: np.ndarray) -> Section:
    """Show some particles before and after; a line each."""
    job = run.job
    gallery, faint = take_gallery(job, run.stack, rows), find_faint_rows(run, rows)
    lines = []
    for row, is_faint, *images in zip(
        rows, faint, gallery.noisy, gallery.denoised, gallery.residual, strict=True
    ):
        number = job.particles.row_number(row)
        name = f"particle_{number:06d}"
        noisy, denoised, residual = images
        greys = choose_grey_range(noisy)
        panels = [
            make_picture(f"{name}_noisy", noisy, f"row {number}: raw", greys),
            make_picture(f"{name}_denoised", denoised, TAKEN_FOR_NOISE if is_faint else "denoised"),
            make_picture(f"{name}_residual", residual, "residual", greys),
        ]
        lines.append(make_threes(panels))
    without = (
        " The estimates are without CTF; for the residual they were given it again."
        if not job.handling.keeps_ctf and job.handling.ctf_state != "none"
        else ""
    )
    picked, drawn = f"{len(rows)} picked at random", f"Drawn with seed {job.plan.seed}, y"
    if len(rows) == len(job.shared):
        picked, drawn = word_count(len(rows), "image"), "Y is"
    return Section(
        "Particles",
        f"{picked}, side by side: raw, denoised (an estimate, not data), and what was taken away. "
        f"{drawn} up, in the units of the input. The residual is raw less denoised, in the "
        "greys of the raw image; the estimate has greys of its own, and is far weaker than the noise (values of black "
        f"and white: hold the pointer on a picture).{without} A residual in which the particle can be seen says that "
        f"the estimate lacks signal. {HOW_ROWS_COUNT}",
        stack_parts(lines),
    )


def doubt_residual(residual: Residual, summary: dict[str, Any]) -> list[str]:
    """Word that structure is left in the mean residual, where the summary does not say so; as `warnings`."""
    power = residual.low_power
    if power < LARGE_POWER or (summary["residual"] or {}).get("said"):
        return []
    return [
        f"what was taken away is not noise alone: the mean residual has {power:.2g} times the power of noise at low "
        "frequencies (see What was taken away, on average)"
    ]


def show_mean_residual(job: Job, residual: Residual) -> Section:
    """Show the mean residual and its power by ring."""
    box = job.handling.box
    pixel_size = job.working_pixel_size
    rings = np.arange(LOWEST_RING, box // 2)
    power = plot_residual_power(
        rings / (box * pixel_size),
        residual.of_mean[LOWEST_RING:],
        residual.of_each[LOWEST_RING:],
    )
    expected = 1 / np.sqrt(residual.count)
    panel = make_picture(
        "residual_mean",
        residual.mean,
        f"mean residual of {residual.count}",
        (-5 * expected, 5 * expected),
    )
    return Section(
        "What was taken away, on average",
        "Noise alone is grey grain, and 1 in the curve; a disk or ring about the centre is signal that was lost "
        f"(bright) or invented (dark). The picture is the mean over {word_count(residual.count, 'particle')} "
        "(at random; phases flipped, not aligned) of raw less estimate, in standard deviations of the noise. "
        f"Noise alone leaves grains of {expected:.3g}, a fifth of the way from grey to white. The curve is its "
        "power by ring, times the number of particles, over the noise's (measured in the corners outside the disk): 1 "
        "is noise alone, above 1 is structure left in the residual. Mean to half the network's Nyquist frequency: "
        f"{residual.low_power:.3g}. Signal that differs from particle to particle averages out here: for that, "
        "look at single residuals (grey: 1 if only noise was taken away; below 1 if noise was kept, above 1 "
        "if signal was taken).",
        make_plot("residual_power", power, "power of the residual relative to noise by ring")
        + make_grid([panel]),
    )


def explain_numbers(summary: dict[str, Any]) -> Section:
    """Say in a line each what the numbers of the page mean."""
    rows = [
        ("K", "images that are denoised together; more neighbours, less noise, less detail"),
        ("halves", "the random half-sets of rlnRandomSubset; no pixel of one changes the other"),
        (
            "sigma of the contrast",
            "how surely protein is bright (+) or dark (-); below 5 it cannot be told",
        ),
        (
            "residual power",
            "what was taken away over what noise alone would have; 1 is noise alone",
        ),
        (
            "score",
            f"{SCORE}; junk is low",
        ),
        ("class, twin", "images that agree within a half; the most similar class of the other"),
        (
            "finest detail",
            f"{word_finest_detail(summary, 'Å')}, twice the working pixel: a limit, not a resolution",
        ),
    ]
    return Section("What the numbers mean", "", make_facts(rows), folded=True)
