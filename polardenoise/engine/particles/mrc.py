"""Stacks of images and volumes in MRC files: checked headers, sequential reading, atomic writing.

The format is MRC2014 (Cheng et al., J. Struct. Biol. 192, 146, 2015): a header of 1024 bytes, an extended header, and
the pixels, x fastest. Read and written by our own code rather than by mrcfile's: nothing is allocated from what a
header claims before the file's size has borne it out, a packed map is unpacked only so far, images stream in large
pieces, and files take their names when they are complete, without the time of day in them.
"""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

import numpy as np

from polardenoise.engine.particles.file_state import open_unchanged, read_state, refuse_change
from polardenoise.engine.particles.mrc_header import (
    HEADER_BYTES,
    PixelStatistics,
    StackHeader,
    judge_header,
    make_header,
)
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import (
    Outputs,
    naming_a_full_disk,
    replace_when_complete,
)
from polardenoise.engine.runtime.input_files import open_input

BYTES_PER_READ = 32 * 1024 * 1024
# Images that are skipped are read through, rather than sought over, up to this many bytes.
BYTES_READ_THROUGH = 256 * 1024
#: Voxels of a volume, 1024 along each side, and bytes that a packed file may unpack to.
LARGEST_VOLUME = 2**30
LARGEST_UNPACKED = 512 * 2**20


def read_stack_header(path: Path | str) -> StackHeader:
    """Read and judge the header of an MRC file, without its pixels.

    Parameters
    ----------
    path : Path | str
        `.mrc`, `.mrcs` or `.map`, in either byte order, modes 0, 1, 2, 6 and 12. Faults that do no harm (no
        `MAP` word, a wrong space group, a voxel size of 0) are tolerated.

    Returns
    -------
    StackHeader
        `complete < count` tells a truncated file.

    Raises
    ------
    InputError
        If there is no such file, or it is no MRC file of a mode that holds images.
    """
    path = Path(path)
    try:
        with open_input(path) as file:
            raw = file.read(HEADER_BYTES)
            state = read_state(file)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return replace(judge_header(path, raw, state[0]), state=state)


def read_images_at(header: StackHeader, indices: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Read images of one stack in the order of the file, in large sequential pieces.

    Parameters
    ----------
    header : StackHeader
        Of the stack.
    indices : ndarray
        `(m,)` image numbers, from 0, in ascending order; a number may come more than once.

    Yields
    ------
    tuple[slice, ndarray]
        Which of `indices` came, and their images, `(k, y, x)`, whichever of the two the file has first. At most
        about 32 MiB at a time.

    Raises
    ------
    InputError
        If the file has changed since its header was read.
    SystemFailureError
        If it is not there any more.
    """
    if len(indices) == 0:
        return
    furthest = max(BYTES_READ_THROUGH // header.image_bytes, 1)
    longest = max(BYTES_PER_READ // header.image_bytes, 1)
    pixels = header.rows * header.columns
    with open_unchanged(header) as file:
        for begin, end in _split_into_runs(indices, furthest, longest):
            first, last = int(indices[begin]), int(indices[end - 1])
            file.seek(header.offset + first * header.image_bytes)
            images = np.fromfile(file, header.pixel_type, (last - first + 1) * pixels)
            if images.size != (last - first + 1) * pixels:
                raise InputError(
                    f"{header.path}: ends before image {last + 1}; copy or make it again"
                )
            refuse_change(header, file)
            images = images.reshape(-1, header.rows, header.columns)
            if header.axes[0] == 2:
                images = images.swapaxes(1, 2)
            wanted = indices[begin:end] - first
            is_whole_run = np.array_equal(wanted, np.arange(len(images)))
            yield slice(begin, end), images if is_whole_run else images[wanted]


class StackWriter:
    """Write a stack of images, piece by piece, that takes its name when it is complete.

    Used as a context manager: `with StackWriter(path, count, box, pixel_size) as writer: writer.write(0, images)`.
    On an error, or if rows are missing at the end, nothing is left and an earlier file stays as it was.

    Parameters
    ----------
    path : Path | str
        The stack, `.mrcs`.
    count : int
        Images in all.
    box : int
        Their side, pixels.
    pixel_size : float
        Angstrom per pixel, for the header.
    outputs : Outputs, optional
        What the stack is to take its name together with.
    label : bytes, optional
        What the header says of the images, as for `make_header`.
    """

    def __init__(
        self,
        path: Path | str,
        count: int,
        box: int,
        pixel_size: float,
        outputs: Outputs | None = None,
        label: bytes | None = None,
    ) -> None:
        self.path, self._outputs, self._label = Path(path), outputs, label
        self.count, self.box, self.pixel_size = count, box, float(pixel_size)
        self._written = np.zeros(count, dtype=bool)
        self._statistics = PixelStatistics()
        self._cleanup = ExitStack()

    def __enter__(self) -> StackWriter:
        """Open the temporary file."""
        with self._cleanup as stack:
            outputs = self._outputs or stack.enter_context(Outputs())
            temporary = outputs.lend(self.path)
            stack.enter_context(naming_a_full_disk(self.path))
            self._file: BinaryIO = stack.enter_context(temporary.open("wb"))
            self._file.truncate(HEADER_BYTES + self.count * self.box * self.box * 4)
            self._cleanup = stack.pop_all()
        return self

    def write(self, start_row: int, images: Any) -> None:
        """Write consecutive images.

        Parameters
        ----------
        start_row : int
            Place of the first one in the stack, from 0.
        images : ndarray | Tensor
            `(k, box, box)`.

        Raises
        ------
        ValueError
            If the shape is wrong, the images lie outside the stack or were written before.
        """
        pixels = np.ascontiguousarray(_as_numpy(images), dtype="<f4")
        stop_row = start_row + len(pixels)
        if pixels.shape[1:] != (self.box, self.box) or start_row < 0 or stop_row > self.count:
            raise ValueError(
                f"images {pixels.shape} at {start_row} do not fit {self.count} of {self.box} px"
            )
        if self._written[start_row:stop_row].any():
            raise ValueError(f"images {start_row} to {stop_row - 1} were in part written before")
        self._file.seek(HEADER_BYTES + start_row * self.box * self.box * 4)
        with naming_a_full_disk(self.path):
            self._file.write(pixels.data)
        self._written[start_row:stop_row] = True
        self._statistics.add(pixels)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the header and give the stack its name, or leave nothing."""
        if error is not None:
            self._cleanup.__exit__(kind, error, trace)
            return
        with self._cleanup:
            if not self._written.all():
                missing = int((~self._written).sum())
                raise ValueError(f"{self.path}: {missing} images were never written")
            shape = (self.count, self.box, self.box)
            self._file.seek(0)
            head = make_header(shape, self.pixel_size, self._statistics, False, self._label)
            self._file.write(head)


def write_stack(path: Path | str, images: Any, pixel_size: float) -> None:
    """Write images `(n, N, N)` (ndarray or Tensor) as a stack, atomically; `pixel_size` in Angstrom."""
    pixels = _as_numpy(images)
    with StackWriter(path, len(pixels), pixels.shape[-1], pixel_size) as writer:
        writer.write(0, pixels)


def write_volume(path: Path | str, volume: Any, pixel_size: float) -> None:
    """Write a volume `(z, y, x)` (ndarray or Tensor) as an MRC map, atomically; `pixel_size` in Angstrom."""
    voxels = np.ascontiguousarray(_as_numpy(volume), dtype="<f4")
    if voxels.ndim != 3:
        raise ValueError(f"a volume has three axes, not {voxels.ndim}")
    statistics = PixelStatistics()
    statistics.add(voxels)
    with replace_when_complete(path) as temporary, temporary.open("wb") as file:
        file.write(make_header(voxels.shape, float(pixel_size), statistics, is_volume=True))
        file.write(voxels.data)


def read_volume(path: Path | str) -> tuple[np.ndarray, float]:
    """Read a volume, plain or compressed (.gz, .bz2).

    Parameters
    ----------
    path : Path | str
        An MRC or CCP4 map.

    Returns
    -------
    tuple[ndarray, float]
        `(z, y, x)` float32, axes put in this order whatever the file's, and the pixel size in Angstrom
        (0 where the header has none).

    Raises
    ------
    InputError
        If the file is missing, truncated, no map, or has voxels that are not finite.
    """
    path = Path(path)
    try:
        with open_input(path) as plain, open_unpacked(plain) as file:
            header, voxels = read_voxels(path, file, file is plain)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); copy it again") from error
    volume = voxels.reshape(header.count, header.rows, header.columns).astype(np.float32)
    # Array axes run sections, rows, columns; `axes` says which of z, y, x each of them is.
    sections, rows, columns = header.axes[::-1]
    volume = np.ascontiguousarray(
        volume.transpose([(sections, rows, columns).index(k) for k in (3, 2, 1)])
    )
    if not np.isfinite(volume).all():
        raise InputError(
            f"{path}: holds voxels that are not finite numbers; mask or make the map again"
        )
    return volume, header.pixel_size


def open_unpacked(plain: BinaryIO) -> BinaryIO:
    """Give a file that is read, or what gzip or bzip2 has packed into it."""
    magic = plain.read(3)
    plain.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return cast(BinaryIO, gzip.GzipFile(fileobj=plain))
    return cast(BinaryIO, bz2.BZ2File(plain)) if magic == b"BZh" else plain


def read_voxels(path: Path, file: BinaryIO, is_plain: bool) -> tuple[StackHeader, np.ndarray]:
    """Read the header of a volume and as many voxels as it speaks of, `(m,)` as stored: no more is unpacked."""
    raw = file.read(HEADER_BYTES)
    if is_plain:
        file_bytes = path.stat().st_size
    else:
        file_bytes = (
            LARGEST_UNPACKED  # as many as there may be: what is missing shows when they are read
        )
    header = judge_header(path, raw, file_bytes)
    size = header.count * header.image_bytes
    if header.count * header.rows * header.columns > LARGEST_VOLUME:
        raise InputError(
            f"{path}: the header speaks of {header.count} x {header.rows} x {header.columns} voxels; give a map of at"
            f" most {LARGEST_VOLUME // 2**20} million, or bin it"
        )
    if not is_plain and header.offset + size > LARGEST_UNPACKED:
        raise InputError(
            f"{path}: unpacks to more than {LARGEST_UNPACKED // 2**20} MiB; unpack it first (gunzip, bunzip2)"
        )
    skip_bytes(file, header.offset - HEADER_BYTES)
    if header.complete == header.count:
        voxels = np.frombuffer(file.read(size), np.uint8)
        if len(voxels) == size:
            return header, voxels.view(header.pixel_type)
        header = replace(header, complete=len(voxels) // header.image_bytes)
    raise InputError(
        f"{path}: truncated, the header says {header.count} sections of {header.columns} x {header.rows}"
        f" and the file holds {header.complete}; copy it again"
    )


def skip_bytes(file: BinaryIO, count: int) -> None:
    """Read over some bytes of a file that may not know how to seek."""
    while count > 0 and (passed := len(file.read(min(count, BYTES_READ_THROUGH)))):
        count -= passed


def _split_into_runs(indices: np.ndarray, furthest: int, longest: int) -> Iterator[tuple[int, int]]:
    """Cut ascending `indices` where a gap exceeds `furthest` images or a read would exceed `longest`."""
    breaks = np.flatnonzero(np.diff(indices) > furthest) + 1
    for begin, end in zip([0, *breaks], [*breaks, len(indices)], strict=True):
        while begin < end:
            stop = int(np.searchsorted(indices[begin:end], indices[begin] + longest)) + int(begin)
            stop = min(stop, int(begin) + longest)  # repeated images take memory each time
            yield int(begin), stop
            begin = stop


def _as_numpy(pixels: Any) -> np.ndarray:
    """Take a Tensor, wherever it is, or anything numpy understands."""
    if hasattr(pixels, "detach"):
        pixels = pixels.detach().cpu().numpy()
    return np.asarray(pixels)
