"""`polardenoise denoise`: a particle set in, the same set with denoised images out."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polardenoise.counts import choose_verb, word_count
from polardenoise.engine.commands.cryosparc_options import (
    add_cryosparc_options,
    read_cryosparc_options,
)
from polardenoise.engine.denoise.options import DenoisePlan
from polardenoise.engine.denoise.wording import (
    word_finest_detail,
    word_noise_kinds,
    word_overlaps,
    word_set_size,
    word_verdict,
)
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.options import add_options, read_options
from polardenoise.engine.runtime.running_command import word_warnings

if TYPE_CHECKING:
    from polardenoise.engine.denoise.finish import ReportWriter

HELP = "denoise a particle set jointly, random halves apart"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the contract."""
    add_options(parser, DenoisePlan)
    add_cryosparc_options(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Denoise; returns the summary."""
    if arguments.matches and arguments.group_by != "neighbours":
        raise InputError(
            "--matches: is found by --group-by neighbours only; add it or leave this out"
        )
    from polardenoise.engine.denoise.pipeline import denoise_particles
    from polardenoise.engine.particles.set_document import refuse_unsaid_pixel_size
    from polardenoise.engine.runtime.distributed import joined_processes, only_first_speaks

    asked, cryosparc = read_options(arguments, DenoisePlan), read_cryosparc_options(arguments)
    if arguments.pixel_size is None:
        refuse_unsaid_pixel_size(arguments.particles)
    if only_first_speaks():
        arguments.json = None
        arguments.files.outputs.clear()
    with joined_processes() as processes:
        plan = DenoisePlan(
            **asked,
            cryosparc=cryosparc,
            command=tuple(arguments.command_line),
            files=arguments.files,
        )
        return denoise_particles(plan, processes, find_report_writer(plan))


def find_report_writer(plan: DenoisePlan) -> "ReportWriter | None":
    """Import what writes the page of a report, and the libraries that this takes, where one is asked for."""
    if plan.report is None:
        return None
    from polardenoise.engine.report.page import write_report

    return write_report


def word_grouping(summary: dict[str, Any]) -> str:
    """Say which images were denoised together."""
    if not summary["joint"]:
        return "each by itself"
    if summary["searched"]:
        neighbours = word_set_size(summary, less=1)
        clusters = word_count(summary["sets"], "cluster")
        whole = [half for half in summary["whole_halves"].values() if half["used"]]
        templates = [one for half in whole for one in half["templates"]]
        views = max((half["views"] for half in whole), default=0)
        through = (
            f"through {word_count(max(templates), 'image')} of another fold of its half, "
            f"{word_count(views, 'view')} of a volume of both others, and "
            if templates
            else ""
        )
        if neighbours == "0":
            return f"each {through}by itself"
        nearest = f"{neighbours} nearest neighbours" if neighbours != "1" else "nearest neighbour"
        return f"each {through}with its {nearest}, found in {clusters} of related images"
    return f"in {word_count(summary['sets'], 'set')} of up to {summary['set_size']} (grouped by {summary['group_by']})"


def summarise(summary: dict[str, Any]) -> str:
    """Put the summary into a few lines; what speaks against the result comes first."""
    from polardenoise.engine.particles.cryosparc.new_images import name_data_set

    verdict = word_verdict(summary)
    lines = [verdict] if verdict else []
    lines += [
        f"{summary['output']}: {word_count(summary['particles'], 'particle')} denoised by {summary['model']}, "
        f"{word_grouping(summary)}",
        f"halves: {summary['halves']}; CTF: {summary['ctf_state']} in, {summary['ctf_output']} out; "
        f"protein {summary['contrast']}; noise {word_noise_kinds(summary)}; nothing finer than "
        f"{word_finest_detail(summary)} can come back",
    ]
    if summary["images"] < summary["particles"]:
        lines.append(
            f"{summary['particles']} rows show {word_count(summary['images'], 'image')}: each was denoised once, and "
            "counts once"
        )
    lines.append(word_overlaps(summary))
    lines += word_warnings(summary["warnings"])
    data_set = name_data_set(Path(summary["input"]), Path(summary["output"]))
    if data_set is not None:
        lines.append(f"{data_set}: names the new images by uid, for your cryoSPARC project")
    if summary["halves"] == "drawn":
        lines.append("random halves were drawn and written as rlnRandomSubset")
    classes = summary.get("classes") or {}
    if classes.get("files"):
        lines += [word_classes(summary), word_proposal(summary)]
    if summary.get("report"):
        lines.append(f"report: {summary['report']}/index.html")
    cost = word_cost(summary)
    if cost is not None:
        lines.append(cost)
    lines.append("these are estimates, not data: align on them, reconstruct from the raw particles")
    return "\n".join(lines)


def word_cost(summary: dict[str, Any]) -> str | None:
    """Say how long each stage took, and how much memory; None where nothing took a second."""
    from polardenoise.engine.runtime.progress import format_duration

    stages = [
        f"{stage} {format_duration(spent)}"
        for stage, spent in summary.get("seconds", {}).items()
        if spent >= 1
    ]
    if not stages:
        return None
    memory = summary.get("peak_memory_bytes")
    return "time: " + ", ".join(stages) + (f"; memory: {memory / 1e9:.1f} GB" if memory else "")


def word_classes(summary: dict[str, Any]) -> str:
    """Say which classes there are and where."""
    classes = summary["classes"]
    alone = classes["shown"] - classes["twins"]
    found = word_count(classes["shown"], "class")
    if len(classes["of_halves"]) > 1:
        found += f", {classes['twins']} found in both halves, {alone} in one"
    data = next(name for name in classes["files"] if name.endswith("_data.star"))
    score = summary["median_score"]
    scored = "" if score is None else f"; median score {score:.2f}"
    return f"{found}{scored}: {data}, raw images, laid out as by RELION Class2D"


def word_proposal(summary: dict[str, Any]) -> str:
    """Say which particles and classes look good enough; nobody has to take it so."""
    proposed = summary["classes"]["proposed"]
    if proposed is None:
        why_not = summary["classes"]["nothing_proposed"]
        if summary["verdict"]:  # it stands above
            why_not = "scores say as little as the images"
        return (
            f"proposed: nothing, {why_not}: look at the classes, and choose some by "
            "`polardenoise select --classes`"
        )
    count, of_classes = proposed["particles"], len(proposed["classes"])
    return (
        f"proposed: the {word_count(count, 'particle')} that {choose_verb(count, 'scores', 'score')} "
        f"{proposed['min_score']:g} or more ({of_classes} of {word_count(summary['classes']['shown'], 'class')} "
        f"{choose_verb(of_classes, 'is', 'are')} mostly theirs); look, then "
        "`polardenoise select --proposed`, or choose a score or classes of your own"
    )
