"""The 1024 bytes at the head of an MRC file, read with suspicion and written by the book.

The format is MRC2014 (Cheng et al., J. Struct. Biol. 192, 146, 2015): this header, an extended header, and the pixels,
x fastest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.file_kinds import LABEL

HEADER_BYTES = 1024
IMOD_STAMP = 1146047817
PIXEL_TYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}


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
    state : tuple[int, int, int]
        Bytes, time of change and inode of the file when its header was read; zeros where that was not seen.
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
    state: tuple[int, int, int] = (0, 0, 0)

    @property
    def image_bytes(self) -> int:
        """Bytes of one image."""
        return self.columns * self.rows * self.pixel_type.itemsize


def judge_header(path: Path, raw: bytes, file_bytes: int) -> StackHeader:
    """Make sense of the first 1024 bytes of a file of `file_bytes` bytes."""
    if len(raw) < HEADER_BYTES:
        kind = (
            "a Git LFS pointer" if raw.startswith(b"version https://git-lfs") else "too short to be"
        )
        cure = "fetch the real file" if "LFS" in kind else "copy or make it again"
        raise InputError(f"{path}: {kind}{', not' if 'LFS' in kind else ''} an MRC file; {cure}")
    # A whole number that is plausible in one byte order is larger than 65535 in the other.
    for order in "<>":
        words = np.frombuffer(raw, f"{order}i4")
        columns, rows, count, mode = (int(word) for word in words[:4])
        if 0 < columns < 65536 and 0 < rows < 65536 and count > 0 and 0 <= mode < 128:
            break
    else:
        raise InputError(
            f"{path}: not an MRC file; convert it to an MRC stack (relion_image_handler does)"
        )
    if mode not in PIXEL_TYPES:
        raise InputError(
            f"{path}: MRC mode {mode} holds no real images; convert it to mode 2 (float32)"
        )
    pixel_type = np.dtype(order + PIXEL_TYPES[mode])
    least, most = np.frombuffer(raw, f"{order}f4", 2, 76)
    if mode == 0 and is_unsigned(words, float(least), float(most)):
        pixel_type = np.dtype("u1")
    offset = HEADER_BYTES + int(words[23])
    if words[23] < 0 or offset > file_bytes:
        raise InputError(
            f"{path}: truncated or corrupt, its extended header lies past its end; copy it again"
        )
    cell = np.frombuffer(raw, f"{order}f4", 1, 40)[0]
    intervals = int(words[7])
    pixel_size = (
        float(cell) / intervals if intervals > 0 and np.isfinite(cell) and cell > 0 else 0.0
    )
    axes = tuple(int(word) for word in words[16:19])
    return StackHeader(
        path=path,
        columns=columns,
        rows=rows,
        count=count,
        pixel_type=pixel_type,
        offset=offset,
        pixel_size=pixel_size,
        axes=axes if sorted(axes) == [1, 2, 3] else (1, 2, 3),  # type: ignore[arg-type]
        complete=min((file_bytes - offset) // (columns * rows * pixel_type.itemsize), count),
    )


def is_unsigned(words: np.ndarray, least: float, most: float) -> bool:
    """Tell whether bytes (mode 0) run from 0 to 255: the book says signed, older programs have written the other.

    Parameters
    ----------
    words : ndarray
        `(256,)` the header. IMOD's bytes are unsigned unless its stamp (word 39) comes with flag 1.
    least, most : float
        The smallest and largest pixel, as the header has them: what is above 127 is no signed byte.
    """
    if words[38] == IMOD_STAMP:
        return not words[39] & 1
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
    shape: tuple[int, ...], pixel_size: float, statistics: PixelStatistics, is_volume: bool
) -> bytes:
    """Write the 1024 bytes of an MRC2014 header, little-endian, mode 2; ispg 1 for a volume, 0 for a stack."""
    sections, rows, columns = shape
    intervals = (columns, rows, sections if is_volume else 1)
    least, most, mean, deviation = statistics.summary()
    whole, real = np.zeros(256, "<i4"), np.zeros(256, "<f4")
    whole[0:4] = columns, rows, sections, 2
    whole[7:10] = intervals
    real[10:13] = [pixel_size * interval for interval in intervals]
    real[13:16] = 90
    whole[16:19] = 1, 2, 3
    real[19:22] = least, most, mean
    whole[22] = 1 if is_volume else 0
    whole[27] = 20140
    real[54] = deviation
    raw = bytearray((whole.view("<u4") | real.view("<u4")).tobytes())
    raw[208:216] = b"MAP \x44\x44\x00\x00"
    raw[220:224] = (1).to_bytes(4, "little")
    raw[224 : 224 + 80] = LABEL.ljust(80)
    return bytes(raw)
