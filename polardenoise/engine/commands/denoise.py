"""`polardenoise denoise`: a particle set in, the same set with denoised images out."""

import argparse
from pathlib import Path
from typing import Any

from polardenoise.architectures import DEFAULT_MODEL
from polardenoise.engine.commands.cryosparc_options import (
    add_cryosparc_options,
    read_cryosparc_options,
)
from polardenoise.engine.runtime.errors import InputError

HELP = "denoise a particle set jointly, random halves apart"
#: More images than that no memory compares with one another at every rotation, nor computes at once.
LARGEST_SET = LARGEST_BATCH = 1_000_000
#: Digits that the number of a row or of images has at most.
MOST_DIGITS = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the contract."""
    parser.add_argument(
        "particles",
        type=Path,
        metavar="PARTICLES.star",
        help="STAR file of the particles, or cryoSPARC's .cs; or a bare stack (.mrcs, .mrc) with --pixel-size, taken "
        "as without CTF",
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT.star")
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME|DIR",
        help=f"a shipped model, see `polardenoise models`, or a model's folder (default: {DEFAULT_MODEL})",
    )
    parser.add_argument(
        "--set-size",
        default="auto",
        metavar="auto|K",
        help="images of one half that are denoised together; auto (default): 32, or what the model was adapted to",
    )
    parser.add_argument(
        "--group-by",
        default="neighbours",
        metavar="neighbours|random|COLUMN",
        help="denoise each image among those that look most like it (neighbours, the default; from 4096 images in a "
        "half on, by the whole half as well), among random ones, or among rows with the same value of a STAR column, "
        "such as rlnClassNumber",
    )
    parser.add_argument(
        "--ctf-output",
        choices=["kept", "corrected"],
        default="kept",
        help="kept (default): estimates carry the particle's CTF as the input did; corrected: CTF-free, for looking",
    )
    parser.add_argument(
        "--ctf-state",
        choices=["auto", "none", "raw", "flipped"],
        default="auto",
        help="what was done to the input; auto (default) reads it from the STAR file",
    )
    parser.add_argument(
        "--contrast",
        choices=["auto", "bright", "dark"],
        default="auto",
        help="whether protein is bright or dark in the input, and then in the output; auto (default) tells it for "
        "each half from its own images",
    )
    parser.add_argument(
        "--ignore-halves",
        action="store_true",
        help="let random halves share information: the FSC between them means nothing afterwards",
    )
    parser.add_argument(
        "--output-box",
        choices=["original", "working"],
        default="original",
        help="box of the output: the input's (default), with nothing above the working Nyquist frequency, or the "
        "network's, with the pixel size and what is counted in pixels written for it",
    )
    parser.add_argument(
        "--pixel-size",
        type=float,
        metavar="ANGSTROM",
        help="of a bare stack, whose header is not believed",
    )
    add_cryosparc_options(parser)
    parser.add_argument(
        "--rows",
        default=":",
        metavar="A:B",
        help="denoise these rows only, counted from 0, B not included, either may be left out",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with a run of the same command that was killed or interrupted, if there is one",
    )
    parser.add_argument("--seed", type=int, default=0, help="fixes halves (if drawn) and sets")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument(
        "--precision",
        choices=["auto", "float32", "bfloat16"],
        default="auto",
        help="of the network's convolutions; auto (default): bfloat16 where the device multiplies in it, which changes "
        "a result by less than a thousandth; a resumed run keeps what it began with",
    )
    parser.add_argument(
        "--batch",
        default="auto",
        metavar="auto|N",
        help="images computed at once; never changes a result (a resumed run keeps what it began with)",
    )
    parser.add_argument(
        "--class-count",
        default="auto",
        metavar="auto|N",
        help="with --group-by neighbours: 2D classes of each half, written as OUT_2d_data.star, OUT_2d_classes.mrcs "
        "and OUT_2d_model.star with the raw images, and scores in OUT.star; auto (default): as many as can be told "
        "apart; 0: none",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="write a page with pictures to look at first, DIR/index.html",
    )
    parser.add_argument(
        "--matches",
        type=Path,
        metavar="FILE.npz",
        help="with --group-by neighbours: write neighbours, classes and scores of every particle",
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Denoise; returns the summary."""
    if arguments.matches and arguments.group_by != "neighbours":
        raise InputError(
            "--matches: is found by --group-by neighbours only; add it or leave this out"
        )
    set_size = parse_set_size(arguments.set_size)
    from polardenoise.engine.denoise.pipeline import denoise_particles
    from polardenoise.engine.denoise.plan import DenoisePlan
    from polardenoise.engine.report.page import write_report
    from polardenoise.engine.runtime.distributed import joined_processes, only_first_speaks

    cryosparc = read_cryosparc_options(arguments)
    if only_first_speaks():
        arguments.json = None
        arguments.files.outputs.clear()
    with joined_processes() as processes:
        plan = DenoisePlan(
            particles=arguments.particles,
            output=arguments.output,
            model=arguments.model,
            set_size=set_size,
            group_by=arguments.group_by,
            ctf_output=arguments.ctf_output,
            ctf_state=arguments.ctf_state,
            contrast=arguments.contrast,
            ignore_halves=arguments.ignore_halves,
            output_box=arguments.output_box,
            rows=parse_rows(arguments.rows),
            pixel_size=check_pixel_size(arguments.pixel_size),
            cryosparc=cryosparc,
            resume=arguments.resume,
            seed=arguments.seed,
            device=arguments.device,
            precision=arguments.precision,
            batch=parse_batch(arguments.batch),
            matches=arguments.matches,
            class_count=parse_class_count(arguments.class_count),
            report=arguments.report,
            command=tuple(arguments.command_line),
            files=arguments.files,
        )
        return denoise_particles(plan, processes, write_report)


def parse_set_size(text: str) -> int | None:
    """Read `--set-size`: None for auto."""
    if text == "auto":
        return None
    number = int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else 0
    if not 1 <= number <= LARGEST_SET:
        raise InputError(f"--set-size {text[:40]}: give auto or a number from 1 to {LARGEST_SET}")
    return number


def parse_rows(text: str) -> slice:
    """Read `--rows A:B`, either of which may be empty."""
    first, colon, last = text.partition(":")
    try:
        if not colon or max(len(first), len(last)) > MOST_DIGITS:
            raise ValueError
        return slice(*(int(number) if number else None for number in (first, last)))
    except ValueError as error:
        raise InputError(
            f"--rows {text[:40]}: give A:B, two row numbers counted from 0, B not included, either may be left out"
        ) from error


def check_pixel_size(pixel_size: float | None) -> float | None:
    """Give a pixel size in Angstrom that images can have, or None; refuse others."""
    from polardenoise.engine.particles.star_columns import LIMITS

    least, most = LIMITS["pixel size"]
    if pixel_size is not None and not least <= pixel_size <= most:
        raise InputError(
            f"--pixel-size {pixel_size:g}: must be from {least:g} to {most:g} Angstrom"
        )
    return pixel_size


def parse_batch(text: str) -> int | None:
    """Read `--batch`: None for auto."""
    if text == "auto":
        return None
    number = int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else 0
    if not 1 <= number <= LARGEST_BATCH:
        raise InputError(
            f"--batch {text[:40]}: must be auto or a number of images from 1 to {LARGEST_BATCH}"
        )
    return number


def parse_class_count(text: str) -> int | None:
    """Read `--class-count`: None for auto."""
    from polardenoise.engine.classes.formation import LARGEST_COUNT

    if text == "auto":
        return None
    if not text.isdecimal() or len(text) > MOST_DIGITS or int(text) > LARGEST_COUNT:
        raise InputError(
            f"--class-count {text[:40]}: must be auto or a number of classes up to {LARGEST_COUNT} (0: none)"
        )
    return int(text)


def word_grouping(summary: dict[str, Any]) -> str:
    """Say which images were denoised together."""
    if not summary["joint"]:
        return "each by itself"
    if summary["searched"]:
        neighbours = min(summary["set_size"], summary["largest_set"]) - 1
        clusters = f"{summary['sets']} clusters" if summary["sets"] > 1 else "1 cluster"
        templates = [one for half in summary["whole_halves"].values() for one in half["templates"]]
        through = (
            f"through {max(templates)} images of another fold of its half and " if templates else ""
        )
        return f"each {through}with its {neighbours} nearest neighbours, found in {clusters} of related images"
    sets = f"{summary['sets']} sets" if summary["sets"] > 1 else "1 set"
    return f"in {sets} of up to {summary['set_size']} (grouped by {summary['group_by']})"


def summarise(summary: dict[str, Any]) -> str:
    """Put the summary into a few lines; what speaks against the result comes first."""
    from polardenoise.engine.denoise.verdict import (
        list_warnings,
        word_finest_detail,
        word_verdict,
    )
    from polardenoise.engine.particles.cryosparc.new_images import name_data_set

    verdict = word_verdict(summary)
    lines = [verdict] if verdict else []
    lines += [
        f"{summary['output']}: {summary['particles']} particles denoised by {summary['model']}, "
        f"{word_grouping(summary)}",
        f"halves: {summary['halves']}; CTF: {summary['ctf_state']} in, {summary['ctf_output']} out; "
        f"protein {summary['contrast']}; nothing finer than {word_finest_detail(summary)} can come back",
        f"noise: {summary['noise']}",
    ]
    if summary["images"] < summary["particles"]:
        lines.append(
            f"{summary['particles']} rows show {summary['images']} images: each was denoised once, and counts once"
        )
    lines.append(word_overlaps(summary))
    if summary["faint"]:
        lines.append(
            f"{summary['faint']} particles show no more than pure noise would: their raw images stand there, faint"
        )
    if not summary["noise_guard"]:
        lines.append(
            f"WARNING: the card of {summary['model']} does not state what it makes of pure noise: nothing keeps it "
            "from drawing particles into noise"
        )
    lines += [f"WARNING: {warning}" for warning in list_warnings(summary)]
    if summary["ctf_output"] == "corrected":
        lines.append(
            "the images are CTF-corrected: reconstruct them without CTF (RELION: no --ctf)"
        )
    data_set = name_data_set(Path(summary["input"]), Path(summary["output"]))
    if data_set is not None:
        lines.append(f"{data_set}: names the new images by uid, for your cryoSPARC project")
    if summary["halves"] == "ignored":
        lines.append("WARNING: halves shared information: the FSC between them means nothing")
    elif summary["halves"] == "drawn":
        lines.append("random halves were drawn and written as rlnRandomSubset")
    classes = summary.get("classes") or {}
    if classes.get("files"):
        lines.append(word_classes(summary))
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
    found = f"{classes['shown']} classes"
    if len(classes["of_halves"]) > 1:
        found += f", {classes['twins']} found in both halves, {alone} in one"
    data = next(name for name in classes["files"] if name.endswith("_data.star"))
    return f"{found}; median score {summary['median_score']:.2f}: {data}, raw images, laid out as by RELION Class2D"


def word_overlaps(summary: dict[str, Any]) -> str:
    """Say how many boxes overlap others, and what could not be checked."""
    count, across = summary["overlapping"], summary["overlapping_across_halves"]
    said = []
    if count:
        said.append(f"{count} images share pixels with others: these never met")
    if across:
        said.append(f"{across} overlap one of the other half: their noise is in both")
    if not said and not summary["overlaps_unchecked"]:
        said.append("no boxes overlap")
    return "; ".join(filter(None, [*said, summary["overlaps_unchecked"]]))
