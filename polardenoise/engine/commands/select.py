"""`polardenoise select`: the raw particles whose classes and scores are good enough."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from polardenoise.counts import choose_verb, word_count
from polardenoise.engine.commands.cryosparc_options import (
    add_cryosparc_options,
    read_cryosparc_options,
)
from polardenoise.engine.runtime.errors import InputError

HELP = "keep the raw particles of good classes and scores, every column as it was"
#: Characters of `--classes`, and digits of a class.
LONGEST_LIST, MOST_DIGITS = 10_000, 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "scored",
        type=Path,
        metavar="OUT.star",
        help="what `polardenoise denoise` wrote, with scores and classes; its OUT_2d_data.star will do",
    )
    parser.add_argument(
        "--particles",
        type=Path,
        required=True,
        metavar="RAW.star",
        help="the particles that were denoised, in any order: their rows are kept; .star, or cryoSPARC's .csg or .cs",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="CLEAN.star",
        help="or, of cryoSPARC's particles, CLEAN.cs: their rows to the bit, and CLEAN.csg, which cryoSPARC imports",
    )
    parser.add_argument(
        "--proposed",
        action="store_true",
        help="keep particles of the score that `denoise` proposes: well below most of them, see its summary and its "
        "report before you take it",
    )
    parser.add_argument(
        "--min-score",
        type=float,
        metavar="S",
        help="keep particles of at least this score, 0 to 1, instead of the one that is proposed",
    )
    parser.add_argument(
        "--classes",
        metavar="N,N-N",
        help="keep particles of these classes, such as 1-12,15: the numbers of OUT_2d_classes.mrcs and "
        "_polardenoiseClass",
    )
    parser.add_argument(
        "--top-fraction",
        type=float,
        metavar="F",
        help="keep this share of the particles (of --classes, where given), those of the best scores",
    )
    add_cryosparc_options(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Select; returns what went where."""
    from polardenoise.engine.classes.selection import Selection, select_particles

    selection = Selection(
        parse_classes(arguments.classes),
        check_share("--min-score", arguments.min_score),
        check_share("--top-fraction", arguments.top_fraction, is_nothing_refused=True),
        arguments.proposed,
    )
    if selection.proposed and selection.min_score is not None:
        raise InputError("--proposed, --min-score: both name a least score; leave one of them out")
    if selection == Selection():
        raise InputError(
            "nothing to select by; give --proposed, --min-score, --classes or --top-fraction"
        )
    return select_particles(
        arguments.scored,
        arguments.particles,
        arguments.output,
        selection,
        arguments.files,
        read_cryosparc_options(arguments),
    )


def parse_classes(text: str | None) -> tuple[int, ...]:
    """Read a list of classes, single ones and ranges."""
    if text is None:
        return ()
    classes: set[int] = set()
    for word in text[:LONGEST_LIST].split(","):
        found = re.fullmatch(rf"\s*(\d{{1,{MOST_DIGITS}}})(?:-(\d{{1,{MOST_DIGITS}}}))?\s*", word)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last or len(text) > LONGEST_LIST:
            raise InputError(
                f"--classes {text[:40]}: give numbers from 1, and ranges, such as 1-12,15"
            )
        classes.update(range(first, last + 1))
    return tuple(sorted(classes))


def check_share(option: str, value: float | None, is_nothing_refused: bool = False) -> float | None:
    """Give a number from 0 to 1 back, or None; refuse others, and 0 where nothing would be left."""
    if value is not None and (not 0 <= value <= 1 or (is_nothing_refused and value == 0)):
        but = " and not 0" if is_nothing_refused else ""
        raise InputError(f"{option} {value:g}: must be from 0 to 1{but}")
    return value


def summarise(summary: dict[str, Any]) -> str:
    """Say what went where, in one line, and in another where scores are not to be trusted."""
    parts = [
        f"{summary[name]} {choose_verb(summary[name], *verb)} {words}"
        for name, verb, words in (
            ("in_other_classes", ("is", "are"), "in other classes"),
            ("below_min_score", ("scores", "score"), "less"),
            ("below_top_fraction", ("is", "are"), "not among the best"),
        )
        if summary[name]
    ]
    line = f"{summary['output']}: {summary['kept']} of {word_count(summary['particles'], 'raw particle')} kept"
    if summary["proposed"]:
        line += f" at the proposed score of {summary['min_score']:g}"
    if parts:
        line += f"; {', '.join(parts)}"
    more = summary["not_denoised"]
    if more:
        line += f"; {more} more of {summary['input']} {choose_verb(more, 'was', 'were')} not denoised, and left out"
    if summary["halves"]:
        line += f"; halves {' and '.join(map(str, summary['halves']))}"
    if summary["gains_halves"]:
        line += ", those that were drawn for denoising, written as rlnRandomSubset"
    if summary["lacks_halves"]:
        line += ", drawn for denoising: a .cs has no place for them, -o CLEAN.star has"
    *tables, group = summary["files"]
    if tables:
        line += f"\n{group}: names {' and '.join(tables)}; import it into your cryoSPARC project"
    if summary["verdict"] and not summary["in_other_classes"]:
        line += (
            f"\nWARNING: `denoise` said not to trust these images ({summary['verdict'][0]}), and scores say as little: "
            "look at the classes, and choose some by --classes"
        )
    return "\n".join([line, *(f"WARNING: {doubt}" for doubt in summary["doubts"])])
