"""Whether the result that a resumed run is to write is there already: its own, or one that it must not replace."""

from pathlib import Path
from typing import Any

from polardenoise.engine.denoise.finish import name_outputs
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.denoise.report_folder import PAGE
from polardenoise.engine.denoise.resume_folder import (
    name_unfinished,
    read_facts,
    word_other_facts,
)
from polardenoise.engine.denoise.resume_stack import is_whole
from polardenoise.engine.denoise.verdict import says_all
from polardenoise.engine.networks.checkpoint import hash_file
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import as_plain_data, is_real_folder
from polardenoise.engine.runtime.provenance import read_provenance

#: What is said, behind its name, of a result that is complete.
NOTHING_DONE = "complete, of the same input and options: nothing was done; what that run said:"
#: What to do where a result must not be replaced.
KEEP_OR_REPLACE = "name another -o, or leave --resume out to denoise anew and replace it"


def is_complete(job: Job, facts: dict[str, Any]) -> bool:
    """Tell whether the outputs of exactly this run are there already, the stack in its full size.

    A report, matches and classes are made of what the folder of a run holds, which goes with its end: where one of them
    is missing all is done again, and a line says so.

    Raises
    ------
    InputError
        If the result of another run is there, or a table of it has been changed since: what was asked to go on replaces
        neither.
    """
    output, asked = job.plan.output, as_plain_data(facts)
    if not (output.exists() or job.stack.exists()):
        return False
    provenance = read_provenance(output)
    made_with, begun = provenance.get("made_with"), read_begun(output)
    if not isinstance(made_with, dict) or word_other_facts(made_with, asked):
        if begun is None:
            refuse_other_result(output, made_with, asked)
        return False
    refuse_changed_tables(job, provenance.get("tables"))
    gap = find_gap(job, provenance)
    if gap is not None and begun is None:
        print(
            f"{output}: complete, but {gap}, and a finished run does not keep what that is made of: all images are "
            "denoised again",
            flush=True,
        )
    return gap is None


def read_begun(output: Path) -> dict[str, Any] | None:
    """Read what an unfinished run of an output was begun with; None where there is none."""
    folder = name_unfinished(output)
    return read_facts(folder) if is_real_folder(folder) else None


def refuse_other_result(output: Path, made_with: Any, asked: dict[str, Any]) -> None:
    """Refuse to go on where nothing is unfinished and the result of another run lies; say what differs."""
    if not isinstance(made_with, dict):
        raise InputError(
            f"--resume: {output} is there, and {output.with_suffix('.json')} does not say what it was made with; "
            f"{KEEP_OR_REPLACE}"
        )
    raise InputError(
        f"--resume: {output} is complete, and was made with {word_other_facts(made_with, asked)}; repeat the command "
        f"as it was, {KEEP_OR_REPLACE}"
    )


def refuse_changed_tables(job: Job, tables: Any) -> None:
    """Refuse to go on where a table that the run wrote is another one now: somebody has worked on it."""
    for name, path in name_outputs(job).items():
        written = tables.get(name) if isinstance(tables, dict) else None
        if written is not None and path.is_file() and hash_file(path) != written:
            raise InputError(
                f"--resume: {path} was changed since this very command wrote it; nothing was done: use it as it is, "
                f"{KEEP_OR_REPLACE}"
            )


def find_gap(job: Job, provenance: dict[str, Any]) -> str | None:
    """Say what lacks of a result; None where it is complete."""
    for path in name_outputs(job).values():
        shown = path / PAGE if path == job.plan.report else path
        if not shown.exists():
            return f"{shown} is not there"
    if not is_whole(job.stack, len(job.particles), job.box):
        return f"{job.stack} is cut short"
    if not says_all(provenance):
        return f"{job.plan.output.with_suffix('.json')} does not say all of it"
    return None
