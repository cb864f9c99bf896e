"""A stack of images that is written batch by batch, in any order, by several processes and over several runs."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Self

import msgspec
import numpy as np

from polardenoise.engine.particles.mrc_header import HEADER_BYTES, PixelStatistics, make_header
from polardenoise.engine.particles.scratch_file import split_into_runs, write_at
from polardenoise.engine.runtime.file_kinds import DENOISED_LABEL

IMAGES = "images.mrcs"
JOURNAL_NAME = re.compile(r"journal\.\d+")
DIGEST_BYTES = 16
Count = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True)
class CompleteBatch:
    """What a journal says of a batch.

    Attributes
    ----------
    number, images : int
        Which it is, from 0, and how many images it has.
    statistics : list of float
        Of their pixels, see `PixelStatistics`.
    counts : dict
        How many of them are "faint" (raw, see `noise.guard`) or "dotted" (see `verdict`).
    digest : str
        Of their pixels.
    """

    number: Count
    images: Count
    statistics: Annotated[list[float], msgspec.Meta(min_length=5, max_length=5)]
    counts: dict[str, Count]
    digest: str


class UnfinishedStack:
    """The images of a run that is under way, and each process's journal of the batches that are complete.

    Used as a context manager.

    Parameters
    ----------
    folder : Path
        Of the run.
    rank : int
        This process, from 0.
    count, box : int
        Images in all, and their side in pixels.
    """

    def __init__(self, folder: Path, rank: int, count: int, box: int) -> None:
        self.folder, self.rank, self.count, self.box = folder, rank, count, box

    def __enter__(self) -> Self:
        """Open the stack, made if it is not there, and this process's journal."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.folder / IMAGES, flags, 0o666)
        self._file: BinaryIO = os.fdopen(descriptor, "r+b", buffering=0)
        self._file.truncate(HEADER_BYTES + self.count * self._bytes_of_image)
        journal = self.folder / f"journal.{self.rank}"
        close_last_line(journal)
        self._journal = journal.open("a")
        return self

    def __exit__(self, *_: object) -> None:
        """Close both."""
        self._journal.close()
        self._file.close()

    @property
    def _bytes_of_image(self) -> int:
        return 4 * self.box * self.box

    def write(
        self, batch: int, rows: np.ndarray, images: np.ndarray, counts: Mapping[str, int]
    ) -> None:
        """Write the images `(k, box, box)` of `(k,)` rows, and that the batch of this number is complete.

        `counts` says how many of them are something that the summary tells, see `CompleteBatch`.
        """
        pixels = np.ascontiguousarray(images, dtype="<f4")
        for run in split_into_runs(rows):
            write_at(self._file, pixels[run], self._place(rows[run[0]]))
        statistics = PixelStatistics()
        statistics.add(pixels)
        entry = CompleteBatch(
            batch, len(rows), statistics.as_list(), dict(counts), hash_pixels(pixels)
        )
        self._journal.write(msgspec.json.encode(entry).decode() + "\n")
        self._journal.flush()

    def holds(self, batch: CompleteBatch, rows: np.ndarray) -> bool:
        """Tell whether the images of `(k,)` rows are those that a batch has written: a crash may have lost some."""
        if batch.images != len(rows):
            return False
        digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        for row in rows:
            digest.update(os.pread(self._file.fileno(), self._bytes_of_image, self._place(row)))
        return digest.hexdigest() == batch.digest

    def _place(self, row: int) -> int:
        return HEADER_BYTES + int(row) * self._bytes_of_image

    def finish(
        self, pixel_size: float, batches: int | None = None, shown: np.ndarray | None = None
    ) -> None:
        """Complete the stack, once all batches of all processes are in the journals.

        Parameters
        ----------
        pixel_size : float
            Angstrom, for the header.
        batches : int, optional
            How many batches the run has; journals may speak of others.
        shown : ndarray, optional
            `(n,)` for each row the row whose image it shows, itself where it was written.
        """
        shown = np.arange(self.count) if shown is None else shown
        copies = np.flatnonzero(shown != np.arange(self.count)).tolist()
        statistics, written = PixelStatistics(), len(copies)
        for _, batch in sorted(read_journals(self.folder, batches).items()):
            statistics.merge(PixelStatistics.from_list(batch.statistics))
            written += batch.images
        if written != self.count:
            raise ValueError(f"{self.folder}: {written} images of {self.count} were written")
        for row in copies:
            statistics.add(self._copy(int(shown[row]), row))
        shape = (self.count, self.box, self.box)
        header = make_header(shape, pixel_size, statistics, is_volume=False, label=DENOISED_LABEL)
        write_at(self._file, np.frombuffer(header, "u1"), 0)

    def _copy(self, source: int, row: int) -> np.ndarray:
        """Write the image of one row to another row, and give its pixels."""
        raw = os.pread(self._file.fileno(), self._bytes_of_image, self._place(source))
        pixels = np.frombuffer(raw, "<f4")
        write_at(self._file, pixels, self._place(row))
        return pixels


def is_whole(stack: Path, count: int, box: int) -> bool:
    """Tell whether a stack of ours of `count` images is there in its full size."""
    return stack.is_file() and stack.stat().st_size == HEADER_BYTES + count * 4 * box**2


def hash_pixels(pixels: np.ndarray) -> str:
    """Hash pixels, hexadecimal."""
    return hashlib.blake2b(pixels.data, digest_size=DIGEST_BYTES).hexdigest()


def read_journals(folder: Path, batches: int | None = None) -> dict[int, CompleteBatch]:
    """Read which batches are complete, by their numbers, of the first so many; a line cut short does not count."""
    complete = {}
    for journal in sorted(folder.glob("journal.*")):
        if not JOURNAL_NAME.fullmatch(journal.name):
            continue
        for line in journal.read_bytes().splitlines():
            try:
                batch = msgspec.json.decode(line, type=CompleteBatch)
            except (msgspec.MsgspecError, RecursionError, ValueError):
                continue
            if batches is None or batch.number < batches:
                complete[batch.number] = batch
    return complete


def close_last_line(journal: Path) -> None:
    """Let a line that a killed process left unfinished end, so that the next one stands by itself."""
    if journal.exists() and not journal.read_bytes().endswith(b"\n"):
        with journal.open("a") as file:
            file.write("\n")
