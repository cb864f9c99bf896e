"""A stack of images without a STAR file: the file that would name its images, made up."""

from pathlib import Path

from polardenoise.engine.particles.image_names import refuse_unquotable_stack
from polardenoise.engine.particles.mrc import read_stack_header
from polardenoise.engine.particles.star import StarDocument, parse_star, quote_token, write_loop
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
        said = f" (its header says {header.pixel_size:.4g})" if header.pixel_size else ""
        raise InputError(
            f"{path}: a stack without a STAR file; say its pixel size in Angstrom with --pixel-size{said}, or give the "
            ".star"
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
