"""The STAR file of a particle set, or the one that its bare stack or data set of cryoSPARC amounts to."""

from __future__ import annotations

from pathlib import Path

from polardenoise.engine.particles.cryosparc.as_star import describe_cryosparc
from polardenoise.engine.particles.cryosparc.fields import (
    CryosparcFiles,
    Fields,
    is_cryosparc,
    read_fields,
)
from polardenoise.engine.particles.image_names import refuse_unquotable_stack
from polardenoise.engine.particles.mrc import read_stack_header
from polardenoise.engine.particles.star import (
    StarDocument,
    parse_star,
    quote_token,
    read_star,
    write_loop,
)
from polardenoise.engine.runtime.errors import InputError

STACK_ENDINGS = (".mrcs", ".mrc", ".st")


def is_bare_stack(path: Path | str) -> bool:
    """Tell whether a file is a stack of images by its name, rather than a STAR file."""
    return Path(path).suffix.lower() in STACK_ENDINGS


def describe_stack(path: Path | str, pixel_size: float | None) -> StarDocument:
    """Describe the images of a stack as a STAR file does: their pixel size, no CTF, nothing else.

    Parameters
    ----------
    path : Path | str
        The stack.
    pixel_size : float or None
        Angstrom.

    Returns
    -------
    StarDocument
        Of RELION 3.1, in memory; its path is the stack's.

    Raises
    ------
    InputError
        Without a pixel size: headers are often wrong. If the stack cannot be read.
    """
    path = Path(path)
    header = read_stack_header(path)
    if pixel_size is None:
        raise InputError(
            f"{path}: a stack without a STAR file, which says the pixel size; give the .star that names its images, or "
            "write one"
        )
    refuse_unquotable_stack("PARTICLES", path)
    optics = {
        "rlnOpticsGroup": ["1"],
        "rlnOpticsGroupName": ["opticsGroup1"],
        "rlnImagePixelSize": [f"{pixel_size:.6g}"],
        "rlnImageSize": [str(header.columns)],
    }
    stack = path.resolve()
    particles = {
        "rlnImageName": [quote_token(f"{place + 1}@{stack}") for place in range(header.count)],
        "rlnOpticsGroup": ["1"] * header.count,
    }
    lines = [*write_loop("optics", optics), "\n", *write_loop("particles", particles)]
    return parse_star(path, lines)


def refuse_unsaid_pixel_size(path: Path) -> None:
    """Refuse a bare stack in the words of a command that has --pixel-size, which was not given."""
    if is_bare_stack(path):
        size = read_stack_header(path).pixel_size
        said = f" (its header says {size:.4g})" if size else ""
        raise InputError(
            f"{path}: a stack without a STAR file; say its pixel size in Angstrom with --pixel-size{said}, or give the "
            ".star"
        )


def read_data_set(path: Path | str, cryosparc: CryosparcFiles | None) -> Fields | None:
    """Read a data set of cryoSPARC; None where the path is of another kind, which has none of its options."""
    files = cryosparc or CryosparcFiles()
    if is_cryosparc(path):
        return read_fields(Path(path), files.passthrough)
    for option, value in vars(files).items():
        if value is not None:
            raise InputError(f"--{option}: is for a .cs of cryoSPARC; leave it out with {path}")
    return None


def read_document(
    path: Path | str,
    pixel_size: float | None,
    fields: Fields | None,
    cryosparc: CryosparcFiles | None,
) -> StarDocument:
    """Read a STAR file, or make up that of a stack or of a data set of cryoSPARC, as `read_particles` is asked to."""
    if is_bare_stack(path):
        return describe_stack(path, pixel_size)
    if pixel_size is not None:
        if fields is None:
            read_star(path)  # what is no particle set at all is told so first
        raise InputError(f"--pixel-size: is for a stack; {path} states its own, correct it there")
    if fields is None:
        return read_star(path)
    return describe_cryosparc(fields, cryosparc.project if cryosparc else None)


def list_files(path: Path, fields: Fields | None) -> tuple[Path, ...]:
    """List what a set is read from besides its stacks; as `ParticleSet.files`."""
    if fields is not None:
        return fields.files
    return () if is_bare_stack(path) else (path,)
