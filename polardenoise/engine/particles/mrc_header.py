"""The 1024 bytes at the head of an MRC file, read with suspicion and written by the book.

The format is MRC2014 (Cheng et al., J. Struct. Biol. 192, 146, 2015): this header, an extended header, and the pixels,
x fastest. Its fields are mrcfile's; they are judged here, because a header is untrusted input: mrcfile takes the byte
order from the machine stamp, which is often wrong, and bytes for signed ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.utils import dtype_from_mode, machine_stamp_from_byte_order

from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.file_kinds import DENOISED_LABEL, TRUTH_LABEL, name_label
from polardenoise.engine.runtime.foreign_formats import CONVERT, MAP_WORD, name_foreign_format

HEADER_BYTES = 1024
IMOD_STAMP = 1146047817
#: Modes that hold real numbers; the others hold complex ones, or are not in the book.
REAL_MODES = (0, 1, 2, 6, 12)


@dataclass(frozen=True)
class StackHeader:
    """What the header of an MRC file says, and what the file can hold.

    Attributes
    ----------
    path : Path
        The file.
    columns, rows, count : int
        Pixels along x and y, and images (of a volume: sections).
    pixel_type : np.dtype
        As stored, byte order included.
    offset : int
        Bytes before the first pixel.
    pixel_size : float
        Angstrom per pixel along x; 0 where the header has none.
    axes : tuple[int, int, int]
        The axis (1 = x, 2 = y, 3 = z) that columns, rows and sections run along.
    complete : int
        Whole images that the file's size leaves room for; less than `count` in a truncated file.
    state : tuple[int, int, int, int]
        Bytes, time of change, inode and device of the file when its header was read; zeros where that was not seen.
    is_denoised : bool
        Whether a label says that `denoise` has made these images.
    is_truth : bool
        Whether a label says that these are simulated images without their noise.
    """

    path: Path
    columns: int
    rows: int
    count: int
    pixel_type: np.dtype
    offset: int
    pixel_size: float
    axes: tuple[int, int, int]
    complete: int
    state: tuple[int, int, int, int] = (0, 0, 0, 0)
    is_denoised: bool = False
    is_truth: bool = False

    @property
    def image_bytes(self) -> int:
        """Bytes of one image."""
        return self.columns * self.rows * self.pixel_type.itemsize


def judge_header(path: Path, raw: bytes, file_bytes: int) -> StackHeader:
    """Make sense of the first 1024 bytes of a file of `file_bytes` bytes."""
    foreign = name_foreign_format(raw)
    if foreign is not None:
        name, cure = foreign
        raise InputError(f"{path}: {name}, not an MRC file; {cure}")
    if len(raw) < HEADER_BYTES:
        kind = (
            "a Git LFS pointer" if raw.startswith(b"version https://git-lfs") else "too short to be"
        )
        cure = "fetch the real file" if "LFS" in kind else "copy or make it again"
        raise InputError(f"{path}: {kind}{', not' if 'LFS' in kind else ''} an MRC file; {cure}")
    # A whole number that is plausible in one byte order is larger than 65535 in the other.
    orders: tuple[Literal["<"], Literal[">"]] = ("<", ">")
    for order in orders:
        header = np.frombuffer(raw, HEADER_DTYPE.newbyteorder(order), 1)[0]
        columns, rows, count, mode = (int(header[name]) for name in ("nx", "ny", "nz", "mode"))
        if 0 < columns < 65536 and 0 < rows < 65536 and count > 0 and 0 <= mode < 128:
            break
    else:
        raise InputError(f"{path}: not an MRC file; {CONVERT}")
    if mode not in REAL_MODES:
        raise InputError(
            f"{path}: MRC mode {mode} holds no real images; convert it to mode 2 (float32)"
        )
    pixel_type = np.dtype(dtype_from_mode(mode)).newbyteorder(order)
    if mode == 0 and is_unsigned(header, order):
        pixel_type = np.dtype("u1")
    offset = HEADER_BYTES + int(header["nsymbt"])
    if offset < HEADER_BYTES or offset > file_bytes:
        raise InputError(
            f"{path}: truncated or corrupt, its extended header lies past its end; copy it again"
        )
    complete = min((file_bytes - offset) // (columns * rows * pixel_type.itemsize), count)
    if not complete and raw[MAP_WORD] != b"MAP":
        raise InputError(f"{path}: not an MRC file; {CONVERT}")
    cell, intervals = float(header["cella"]["x"]), int(header["mx"])
    pixel_size = cell / intervals if intervals > 0 and np.isfinite(cell) and cell > 0 else 0.0
    axes = tuple(int(header[name]) for name in ("mapc", "mapr", "maps"))
    return StackHeader(
        path=path,
        columns=columns,
        rows=rows,
        count=count,
        pixel_type=pixel_type,
        offset=offset,
        pixel_size=pixel_size,
        axes=axes if sorted(axes) == [1, 2, 3] else (1, 2, 3),  # type: ignore[arg-type]
        complete=complete,
        # Any of the ten labels: programs that change a stack put theirs before or behind those that they find.
        is_denoised=DENOISED_LABEL in header["label"].tobytes(),
        is_truth=TRUTH_LABEL in header["label"].tobytes(),
    )


def is_unsigned(header: np.void, order: str) -> bool:
    """Tell whether bytes (mode 0) run from 0 to 255: the book says signed, older programs have written the other.

    IMOD's bytes are unsigned unless its stamp (the 39th word of a header in this byte order) comes with flag 1. Of
    others the smallest and largest pixel tell, as the header has them: what is above 127 is no signed byte.
    """
    stamp, flags = np.frombuffer(header["extra2"].tobytes(), f"{order}i4", 2, 40)
    if stamp == IMOD_STAMP:
        return not flags & 1
    least, most = float(header["dmin"]), float(header["dmax"])
    return 0 <= least < most <= 255 and most > 127


class PixelStatistics:
    """Running minimum, maximum, mean and root-mean-square deviation of pixels."""

    def __init__(self) -> None:
        self.count, self.total, self.squares = 0, 0.0, 0.0
        self.least, self.most = np.inf, -np.inf

    def add(self, pixels: np.ndarray) -> None:
        """Count pixels in; sums are in float64 over parts, so that nothing of the size of `pixels` is made."""
        if pixels.size == 0:
            return
        for part in np.array_split(pixels.reshape(-1), max(pixels.size // 2**20, 1)):
            wide = part.astype(np.float64)
            self.total += float(wide.sum())
            self.squares += float(wide @ wide)
        self.count += pixels.size
        self.least = min(self.least, float(pixels.min()))
        self.most = max(self.most, float(pixels.max()))

    def as_list(self) -> list[float]:
        """Give the numbers kept, for a journal; `from_list` takes them back exactly."""
        return [self.count, self.total, self.squares, self.least, self.most]

    @classmethod
    def from_list(cls, numbers: list[float]) -> PixelStatistics:
        """Take what `as_list` gave."""
        statistics = cls()
        statistics.count = int(numbers[0])
        statistics.total, statistics.squares, statistics.least, statistics.most = numbers[1:]
        return statistics

    def merge(self, other: PixelStatistics) -> None:
        """Count in what another one has counted."""
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        self.least, self.most = min(self.least, other.least), max(self.most, other.most)

    def summary(self) -> tuple[float, float, float, float]:
        """Give minimum, maximum, mean and root-mean-square deviation; zeros if nothing was counted."""
        if self.count == 0:
            return 0.0, 0.0, 0.0, 0.0
        mean = self.total / self.count
        return self.least, self.most, mean, max(self.squares / self.count - mean**2, 0.0) ** 0.5


def make_header(
    shape: tuple[int, ...],
    pixel_size: float,
    statistics: PixelStatistics,
    is_volume: bool,
    label: bytes | None = None,
) -> bytes:
    """Write the 1024 bytes of an MRC2014 header, little-endian, mode 2; ispg 1 for a volume, 0 for a stack.

    Without a label of its own it names the program, and the command at work.
    """
    sections, rows, columns = shape
    intervals = (columns, rows, sections if is_volume else 1)
    header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
    header["nx"], header["ny"], header["nz"], header["mode"] = columns, rows, sections, 2
    header["mx"], header["my"], header["mz"] = intervals
    header["cella"] = tuple(pixel_size * interval for interval in intervals)
    header["cellb"] = (90, 90, 90)
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["dmin"], header["dmax"], header["dmean"], header["rms"] = statistics.summary()
    header["ispg"] = 1 if is_volume else 0
    header["nversion"] = 20140
    header["map"], header["machst"] = b"MAP ", machine_stamp_from_byte_order("<")
    header["nlabl"] = 1
    header["label"][0] = (label or name_label()).ljust(80)
    return header.tobytes()
