"""What `polardenoise denoise` can be asked for: each option once. Nothing here is slow to import."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from polardenoise.architectures import DEFAULT_MODEL
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.options import make_file_list, option, settle_plan

if TYPE_CHECKING:  # `--help` answers at once, and without the libraries of the engine
    from polardenoise.engine.particles.cryosparc.fields import CryosparcFiles
    from polardenoise.engine.runtime.file_list import FileList

#: More images than that no memory compares with one another at every rotation, nor computes at once.
LARGEST_SET = LARGEST_BATCH = 1_000_000
#: Digits that the number of a row or of images has at most.
MOST_DIGITS = 12


def name_no_cryosparc_files() -> CryosparcFiles:
    """Name nothing that belongs to a .cs."""
    from polardenoise.engine.particles.cryosparc.fields import CryosparcFiles

    return CryosparcFiles()


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
            f"--rows {text[:40]}: give A:B, two row numbers counted from 0, B not included, either may be left out; "
            "row 21 of a message is 20:21"
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


@dataclass(frozen=True)
class DenoisePlan:
    """What `polardenoise denoise` was asked for."""

    particles: Path = option(
        "particles",
        type=Path,
        metavar="PARTICLES.star",
        help="STAR file of the particles, or cryoSPARC's .cs; or a bare stack (.mrcs, .mrc) with --pixel-size, taken "
        "as without CTF",
    )
    output: Path = option("-o", "--output", required=True, type=Path, metavar="OUT.star")
    model: str = option(
        default=DEFAULT_MODEL,
        metavar="NAME|DIR",
        help=f"a shipped model, see `polardenoise models`, or a model's folder (default: {DEFAULT_MODEL})",
    )
    #: None: each image as many as show nearly the same, see `neighbours.set_sizes`; or what the model was adapted to.
    set_size: int | None = option(
        default=None,
        unset="auto",
        read=parse_set_size,
        is_fact=True,
        metavar="auto|K",
        help="images of one half that are denoised together; auto (default): 32, and up to 512 for images that so many "
        "others resemble as much as the nearest do; or what the model was adapted to",
    )
    group_by: str = option(
        default="neighbours",
        is_fact=True,
        metavar="neighbours|random|COLUMN",
        help="denoise each image among those that look most like it (neighbours, the default; from 900 images in a "
        "half on, by the whole half as well), among random ones, or among rows with the same value of a STAR column, "
        "such as rlnClassNumber",
    )
    ctf_output: str = option(
        default="kept",
        is_fact=True,
        choices=["kept", "corrected"],
        help="kept (default): estimates carry the particle's CTF as the input did; corrected: CTF-free, for looking",
    )
    ctf_state: str = option(
        default="auto",
        is_fact=True,
        choices=["auto", "none", "raw", "flipped"],
        help="what was done to the input; auto (default) reads it from the STAR file",
    )
    contrast: str = option(
        default="auto",
        is_fact=True,
        choices=["auto", "bright", "dark"],
        help="whether protein is bright or dark in the input, and then in the output; auto (default) tells it for "
        "each half from its own images",
    )
    ignore_halves: bool = option(
        default=False,
        is_fact=True,
        action="store_true",
        help="let random halves share information: the FSC between them means nothing afterwards",
    )
    output_box: str = option(
        default="original",
        is_fact=True,
        choices=["original", "working"],
        help="box of the output: the input's (default), with nothing above the working Nyquist frequency, or the "
        "network's, with the pixel size and what is counted in pixels written for it",
    )
    rows: slice = option(
        default_factory=lambda: slice(None),
        unset=":",
        read=parse_rows,
        is_fact=True,
        metavar="A:B",
        help="denoise these rows only, counted from 0, B not included, either may be left out; messages and the report "
        "count rows from 1: their row 21 is 20:21 here",
    )
    pixel_size: float | None = option(
        default=None,
        type=float,
        read=check_pixel_size,
        is_fact=True,
        metavar="ANGSTROM",
        help="of a bare stack, whose header is not believed",
    )
    #: What belongs to a .cs.
    cryosparc: CryosparcFiles = field(default_factory=name_no_cryosparc_files)
    resume: bool = option(
        default=False,
        action="store_true",
        help="go on with a run of the same command that was killed or interrupted, if there is one",
    )
    seed: int = option(default=0, is_fact=True, type=int, help="fixes halves (if drawn) and sets")
    device: str = option(default="auto", choices=["auto", "cpu", "cuda"])
    precision: str = option(
        default="auto",
        is_fact=True,
        choices=["auto", "float32", "bfloat16"],
        help="of the network's convolutions; auto (default): bfloat16 where the device multiplies in it, which changes "
        "a result by less than a thousandth; a resumed run keeps what it began with",
    )
    batch: int | None = option(
        default=None,
        unset="auto",
        read=parse_batch,
        metavar="auto|N",
        help="images computed at once; never changes a result (a resumed run keeps what it began with)",
    )
    #: None: as many as can be told apart; 0: none.
    class_count: int | None = option(
        default=None,
        unset="auto",
        read=parse_class_count,
        is_fact=True,
        metavar="auto|N",
        help="with --group-by neighbours: 2D classes of each half, written as OUT_2d_data.star, OUT_2d_classes.mrcs "
        "and OUT_2d_model.star with the raw images, and scores in OUT.star; auto (default): as many as can be told "
        "apart; 0: none",
    )
    report: Path | None = option(
        default=None,
        type=Path,
        metavar="DIR",
        help="write a page with pictures to look at first, DIR/index.html",
    )
    matches: Path | None = option(
        default=None,
        type=Path,
        metavar="FILE.npz",
        help="with --group-by neighbours: write neighbours, classes and scores of every particle; rows in it are those "
        "of OUT.star, counted from 0",
    )
    command: tuple[str, ...] = ()
    #: Images of pure noise have no contrast: nothing is said of what they seem to have by chance.
    tells_contrast: bool = True
    #: What the command line writes besides.
    files: FileList = field(default_factory=make_file_list)

    def __post_init__(self) -> None:
        """Take paths as text too, and refuse what the command line refuses."""
        settle_plan(self)

    @property
    def data_set(self) -> Path | None:
        """The .cs that joins the new images to a project of cryoSPARC; None where they are of none."""
        from polardenoise.engine.particles.cryosparc.new_images import name_data_set

        return name_data_set(self.particles, self.output)
