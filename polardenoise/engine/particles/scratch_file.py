"""Working images of a whole set in a temporary file, so that memory does not grow with the set."""

import errno
import os
import tempfile
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import torch
from torch import Tensor


class ScratchImages:
    """Working images and their CTF rings, row by row in a file.

    Used as a context manager. Written once while the input is read in large sequential chunks, then read by sets in
    random order: 16.5 kB a row at 64 px, whatever the input's box.

    Parameters
    ----------
    folder : Path
        Where the file lies.
    count, box : int
        Rows, and their side in pixels.
    name : str, optional
        Of the file, which stays and may be there already. Without, it has none and vanishes with the process.
    """

    def __init__(self, folder: Path, count: int, box: int, name: str | None = None):
        self.folder, self.count, self.box, self.name = folder, count, box, name
        self._pixels = box * box
        self._values = self._pixels + box // 2  # of one row: the image, then its CTF rings

    def __enter__(self) -> Self:
        """Open the file."""
        self._file: BinaryIO
        if self.name is None:
            self._file = tempfile.TemporaryFile(dir=self.folder)
        else:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.fdopen(os.open(self.folder / self.name, flags, 0o666), "r+b")
        self._signs: Tensor | None = None
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._file.close()

    def holds(self, row: int) -> bool:
        """Tell whether the named file is there and reaches to the end of a row; asked before it is opened."""
        assert self.name is not None
        path = self.folder / self.name
        return path.is_file() and path.stat().st_size >= 4 * self._values * (row + 1)

    def clear(self) -> None:
        """Forget what a run that was killed has written."""
        self._file.truncate(0)

    def set_signs(self, signs: np.ndarray) -> None:
        """Have every image multiplied by its sign, `(n,)`, from now on: protein is bright in what is read."""
        self._signs = torch.from_numpy(signs.astype(np.float32))

    def append(self, images: Tensor, ctf_rings: Tensor | None = None) -> None:
        """Write images `(m, box, box)` and their CTF rings `(m, box // 2)` behind what is there.

        Without CTF rings the images have no CTF: ones are written.
        """
        self._file.seek(0, os.SEEK_END)
        self._file.write(self._join(images, ctf_rings).data)

    def write(self, rows: np.ndarray, images: Tensor, ctf_rings: Tensor) -> None:
        """Write the images and CTF rings of `(m,)` rows to their places, in any order."""
        values = self._join(images, ctf_rings)
        for run in split_into_runs(rows):
            write_at(self._file, values[run], 4 * int(rows[run[0]]) * self._values)

    def _join(self, images: Tensor, ctf_rings: Tensor | None) -> np.ndarray:
        """Put each image and its CTF rings into one row of values."""
        if ctf_rings is None:
            ctf_rings = images.new_ones(len(images), self.box // 2)
        values = torch.cat([images.flatten(1), ctf_rings.to(images)], dim=1)
        return values.float().contiguous().cpu().numpy()

    def flush(self) -> None:
        """Hand all that was written to the system, where other processes see it."""
        self._file.flush()

    def write_through(self) -> None:
        """Bring all that was written to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def read(self, rows: np.ndarray) -> Tensor:
        """Read the images of `(m,)` rows in any order as `(m, box, box)` float32."""
        return self.read_with_ctf_rings(rows)[0]

    def read_with_ctf_rings(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Read `(m,)` rows in any order: images `(m, box, box)` and ctf_rings `(m, box // 2)`, float32."""
        values = self._read_values(rows)
        images = values[:, : self._pixels].unflatten(1, (self.box, self.box))
        if self._signs is not None:
            images *= self._signs[torch.from_numpy(rows)][:, None, None]
        return images, values[:, self._pixels :]

    def _name(self) -> Path:
        return self.folder if self.name is None else self.folder / self.name

    def _read_values(self, rows: np.ndarray) -> Tensor:
        """Read `(m, values)` of some rows, neighbouring rows in one piece."""
        self._file.flush()
        values = np.empty((len(rows), self._values), dtype=np.float32)
        for run in split_into_runs(rows):
            read = os.pread(
                self._file.fileno(),
                4 * len(run) * self._values,
                4 * int(rows[run[0]]) * self._values,
            )
            if len(read) != 4 * len(run) * self._values:
                raise OSError(errno.EIO, "is cut short", str(self._name()))
            values[run] = np.frombuffer(read, dtype=np.float32).reshape(-1, self._values)
        return torch.from_numpy(values)


def split_into_runs(rows: np.ndarray) -> list[np.ndarray]:
    """Divide `(m,)` rows into runs that follow one another in a file.

    Returns
    -------
    list of ndarray
        Places in `rows`, so that `rows[run]` counts up by one.
    """
    order = np.argsort(rows, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(rows[order]) != 1) + 1)


def write_at(file: BinaryIO, values: np.ndarray, place: int) -> None:
    """Write all bytes of an array at a place of a file; the system may take a part at a time."""
    rest = np.ascontiguousarray(values).data.cast("B")
    while len(rest):
        written = os.pwrite(file.fileno(), rest, place)
        rest, place = rest[written:], place + written
