"""What `polardenoise adapt` can be asked for: each option once. Nothing here is slow to import."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from polardenoise.architectures import DEFAULT_MODEL
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.options import make_file_list, option, settle_plan

if TYPE_CHECKING:
    from polardenoise.engine.runtime.file_list import FileList

#: A day.
MOST_MINUTES = 24 * 60


def check_minutes(minutes: float) -> float:
    """Give minutes that a run can take; refuse others."""
    if not 0 < minutes <= MOST_MINUTES:
        raise InputError(f"--minutes {minutes}: must be more than 0 and at most {MOST_MINUTES}")
    return minutes


@dataclass(frozen=True)
class AdaptPlan:
    """What `polardenoise adapt` was asked for."""

    particles: Path = option(
        "particles",
        type=Path,
        metavar="PARTICLES.star",
        help="the particles as they will be denoised",
    )
    output: Path = option(
        "-o", "--output", required=True, type=Path, metavar="DIR", help="receives DIR/model"
    )
    model: str = option(
        default=DEFAULT_MODEL,
        metavar="NAME|DIR",
        help=f"the model to adapt, one that compares images (default: {DEFAULT_MODEL})",
    )
    minutes: float = option(
        default=15.0,
        type=float,
        read=check_minutes,
        metavar="M",
        help="at most so many minutes, reading included (default: 15)",
    )
    half_frames: Path | None = option(
        default=None,
        type=Path,
        metavar="OTHER.star",
        help="the same particles in the same order from the other half of the movie frames: what is denoised is then "
        "judged by them",
    )
    ctf_state: str = option(
        default="auto",
        choices=["auto", "none", "raw", "flipped"],
        help="as for denoise, to which the same is to be said",
    )
    contrast: str = option(
        default="auto", choices=["auto", "bright", "dark"], help="as for denoise"
    )
    seed: int = option(
        default=0, type=int, help="fixes halves (if drawn, as denoise draws them) and noise"
    )
    device: str = option(default="auto", choices=["auto", "cpu", "cuda"])
    command: tuple[str, ...] = ()
    #: What the command line writes besides.
    files: FileList = field(default_factory=make_file_list)

    def __post_init__(self) -> None:
        """Take paths as text too, and refuse what the command line refuses."""
        settle_plan(self)

    @property
    def model_folder(self) -> Path:
        """What `denoise --model` is given."""
        return self.output / "model"
