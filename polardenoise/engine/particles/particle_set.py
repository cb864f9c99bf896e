"""Particle sets: a STAR file and the stacks it names, checked before anything is computed.

Reading the set looks at everything cheap: the STAR file's form, numbers, and the header, size and reach of every stack.
Pixels are for `particle_images`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from polardenoise.counts import word_count
from polardenoise.engine.imaging.ctf import CtfParameters
from polardenoise.engine.particles.cryosparc.column_names import name_column
from polardenoise.engine.particles.cryosparc.fields import CryosparcFiles, Fields
from polardenoise.engine.particles.cryosparc.new_images import keep_image_fields
from polardenoise.engine.particles.image_names import check_stacks
from polardenoise.engine.particles.mrc_header import StackHeader
from polardenoise.engine.particles.set_document import list_files, read_data_set, read_document
from polardenoise.engine.particles.star import StarDocument, StarTable, keep_rows
from polardenoise.engine.particles.star_columns import (
    find_angles,
    find_ctf,
    find_ctf_state,
    find_origins,
    find_pixel_size,
    find_random_subset,
)
from polardenoise.engine.particles.star_numbers import (
    has_defocus,
    read_columns,
    refuse_lone_defocus,
)
from polardenoise.engine.particles.star_tables import (
    find_optics_table,
    find_particle_table,
    refuse_other_capitals,
)
from polardenoise.engine.particles.token_numbers import number_tokens, numbers_or_nan
from polardenoise.engine.runtime.errors import InputError

#: A column that not every command uses: its numbers, what is wrong with them, or None where it is not there.
Given = np.ndarray | InputError | None
Found = TypeVar("Found")


def use_given(values: Given) -> np.ndarray | None:
    """Give the numbers of a column; raise what is wrong with them."""
    if isinstance(values, InputError):
        raise values
    return values


@dataclass(frozen=True)
class ParticleSet:
    """A set of `n` particle images and what is known about them.

    Attributes
    ----------
    star_path : Path
        The STAR file.
    document : StarDocument
        Its text.
    table : StarTable
        The table whose rows are the particles.
    optics : StarTable | None
        The table of optics groups, where there is one (RELION 3.1 and later).
    optics_row : ndarray
        `(n,)` each particle's row of it, from 0; empty without one.
    headers : tuple[StackHeader, ...]
        Of every stack named.
    stack_of_row, index_in_stack : ndarray
        `(n,)` int64: which stack, and which of its images (from 0).
    box : int
        `N`, pixels.
    pixel_size : ndarray
        `(n,)` Angstrom per pixel.
    halves_given : ndarray | InputError | None
        `(n,)` 1 or 2, the half-set; what is wrong with the column, raised where `random_subset` is asked for.
    ctf : CtfParameters | None
        None where the images carry no CTF.
    ctf_state : str
        "none", "raw", "flipped" or "corrected".
    angles_given : ndarray | InputError | None
        `(n, 3)` rot, tilt, psi in degrees, RELION's Euler angles; or what is wrong with them, as above.
    origins_given : ndarray | InputError
        `(n, 2)` x, y in Angstrom, RELION's sign; zeros where there are none; or what is wrong with them.
    first_row : int
        The row of the file, from 0, that the first particle stands in: not 0 where `select_rows` took a part.
    cryosparc : Fields | None
        What a data set of cryoSPARC says of the images of all its particles; None for other sets.
    files : tuple[Path, ...]
        What the set was read from besides the stacks: the STAR file; or the data set of cryoSPARC, its passthrough, its
        group file; nothing for a bare stack.
    """

    star_path: Path
    document: StarDocument
    table: StarTable
    optics: StarTable | None
    optics_row: np.ndarray
    headers: tuple[StackHeader, ...]
    stack_of_row: np.ndarray
    index_in_stack: np.ndarray
    box: int
    pixel_size: np.ndarray
    halves_given: Given
    ctf: CtfParameters | None
    ctf_state: str
    angles_given: Given
    origins_given: Given
    first_row: int = 0
    cryosparc: Fields | None = None
    files: tuple[Path, ...] = ()

    def __len__(self) -> int:
        """Count the particles."""
        return len(self.stack_of_row)

    @property
    def random_subset(self) -> np.ndarray | None:
        """The half-set of each particle, `(n,)` 1 or 2; None without the column. An `InputError` if it is wrong."""
        return use_given(self.halves_given)

    @property
    def angles(self) -> np.ndarray | None:
        """Euler angles `(n, 3)` rot, tilt, psi in degrees; None without them. An `InputError` if they are wrong."""
        return use_given(self.angles_given)

    @property
    def origins(self) -> np.ndarray:
        """Origins `(n, 2)` x, y in Angstrom. An `InputError` if they are wrong."""
        origins = use_given(self.origins_given)
        return np.zeros((len(self), 2)) if origins is None else origins

    @property
    def has_poses(self) -> bool:
        """Whether there are angles, and angles and origins can be used."""
        return isinstance(self.angles_given, np.ndarray) and not isinstance(
            self.origins_given, InputError
        )

    @property
    def stacks(self) -> tuple[Path, ...]:
        """Where the stacks lie."""
        return tuple(header.path for header in self.headers)

    @property
    def inputs(self) -> tuple[Path, ...]:
        """All files that the set was read from, stacks and all: no command may write over them."""
        return (*self.files, *self.stacks)

    def row_number(self, row: int) -> int:
        """Give the number that people know a row of this set (from 0) by: from 1, in the whole file."""
        return self.first_row + int(row) + 1

    def column(self, label: str) -> list[str] | None:
        """Give a column as text.

        Parameters
        ----------
        label : str
            Without the leading underscore.

        Returns
        -------
        list[str] | None
            One value for each particle, from its own row, else from its optics group; None if neither
            table has the column.
        """
        if label in self.table.labels:
            return self.table.column(label)
        if self.optics is not None and label in self.optics.labels:
            values = self.optics.column(label)
            return [values[row] for row in self.optics_row]
        return None

    def has(self, label: str) -> bool:
        """Tell whether either table has a column, without reading it."""
        tables = (self.table, self.optics)
        return any(table is not None and label in table.labels for table in tables)

    def numbers(self, label: str) -> np.ndarray | None:
        """Give a column as numbers, `(n,)` float64, NaN where a token is none; None if neither table has it."""
        if label in self.table.labels:
            return numbers_or_nan(self.table.column(label))
        if self.optics is not None and label in self.optics.labels:
            return numbers_or_nan(self.optics.column(label))[self.optics_row]
        return None

    def number_optics_groups(self) -> tuple[np.ndarray, list[str]]:
        """Give each particle the number of its optics group, `(n,)` from 0, and the names of the groups."""
        tokens = self.column("rlnOpticsGroup")
        if tokens is None:
            return np.zeros(len(self), dtype=np.int64), ["1"]
        return number_tokens(tokens), sorted(set(tokens))


def read_particles(
    star_path: Path | str,
    ctf_state: str = "auto",
    pixel_size: float | None = None,
    cryosparc: CryosparcFiles | None = None,
) -> ParticleSet:
    """Read a particle set and check all of it but the pixels.

    Parameters
    ----------
    star_path : Path | str
        A STAR file of RELION 3.0, 3.1 or later, or of a program that writes the same; or a stack without one; or a
        data set of cryoSPARC (.cs).
    ctf_state : str
        What was done about the CTF of the images, where somebody knows; "auto" reads it from the file.
    pixel_size : float, optional
        Angstrom, of a stack without a STAR file.
    cryosparc : CryosparcFiles, optional
        What belongs to a .cs.

    Returns
    -------
    ParticleSet
        Whose stacks are there, whole, and hold every image named.

    Raises
    ------
    InputError
        Names the file, the row and the cure. A pixel size is needed; voltage and spherical aberration only
        with a defocus. An `UnclearCtfError` if the file does not say clearly what was done about the CTF.
    """
    fields = read_data_set(star_path, cryosparc)
    document = read_document(star_path, pixel_size, fields, cryosparc)
    refuse_other_capitals(document)
    table = find_particle_table(document)
    optics = find_optics_table(document, table)
    names, columns, stated = read_columns(document, table, optics)
    dimensions = columns.find("rlnImageDimensionality")
    if dimensions is not None:
        columns.refuse_where(
            dimensions > 2,
            "a 3D subtomogram (rlnImageDimensionality); polardenoise takes 2D particles",
        )
    pixel_sizes = find_pixel_size(columns)
    if ctf_state == "auto":
        ctf_state = find_ctf_state(columns, stated, has_defocus(columns))
    if ctf_state == "none":
        # What is known of the images goes before what the columns say: they need not even be right.
        usable = look_for(find_ctf, columns)
        ctf = None if isinstance(usable, InputError) else usable
    else:
        refuse_lone_defocus(columns)
        ctf = find_ctf(columns)
    headers, index_in_stack = check_stacks(names)
    particles = ParticleSet(
        star_path=document.path,
        document=document,
        table=table,
        optics=optics,
        optics_row=columns.optics_row,
        headers=headers,
        stack_of_row=names.file_of_row,
        index_in_stack=index_in_stack,
        box=headers[0].columns,
        pixel_size=pixel_sizes,
        halves_given=look_for(find_random_subset, columns),
        ctf=ctf,
        ctf_state=ctf_state,
        angles_given=look_for(find_angles, columns),
        origins_given=look_for(find_origins, columns, pixel_sizes),
        cryosparc=None if fields is None else keep_image_fields(fields),
        files=list_files(document.path, fields),
    )
    refuse_other_size(particles)
    return particles


def refuse_other_size(particles: ParticleSet) -> None:
    """Fail if the file says that its images have another size: then its pixel size is another's too."""
    sizes = particles.numbers("rlnImageSize")
    if sizes is None:
        return
    rows = np.flatnonzero(np.isfinite(sizes) & (sizes != particles.box))
    if rows.size:
        row = int(rows[0])
        header = particles.headers[particles.stack_of_row[row]]
        label = name_column(particles.star_path, "rlnImageSize")
        said = f" (its header says {header.pixel_size:.4g} A a pixel)" if header.pixel_size else ""
        raise InputError(
            f"{particles.star_path}: row {row + 1}: {label} is {sizes[row]:g}, but the images of {header.path} "
            f"are {particles.box} px{said}; correct {label} and the pixel size ({particles.pixel_size[row]:.4g} A)"
        )


def look_for(find: Callable[..., Found], *where: object) -> Found | InputError:
    """Find a column that not every command uses: what is wrong with it is given back, not raised."""
    try:
        return find(*where)
    except InputError as error:
        return error


def select_rows(particles: ParticleSet, rows: slice) -> ParticleSet:
    """Take some consecutive particles, as if the file held no others.

    Parameters
    ----------
    particles : ParticleSet
        The whole set.
    rows : slice
        Of step 1, as Python's: from 0, the end not included.

    Raises
    ------
    InputError
        If there are none.
    """
    start, stop, _ = rows.indices(len(particles))
    if stop <= start:
        raise InputError(
            f"--rows: selects none of the {word_count(len(particles), 'row')} of {particles.star_path}; give "
            f"A:B inside 0:{len(particles)}"
        )
    if stop - start == len(particles):
        return particles
    document = keep_rows(particles.document, particles.table, slice(start, stop))
    table = find_particle_table(document)

    def part(values: Any) -> Any:
        return values[start:stop] if isinstance(values, np.ndarray) else values

    return replace(
        particles,
        document=document,
        table=table,
        optics=find_optics_table(document, table),
        optics_row=part(particles.optics_row),
        stack_of_row=part(particles.stack_of_row),
        index_in_stack=part(particles.index_in_stack),
        pixel_size=part(particles.pixel_size),
        halves_given=part(particles.halves_given),
        ctf=None if particles.ctf is None else particles.ctf.select(slice(start, stop)),
        angles_given=part(particles.angles_given),
        origins_given=part(particles.origins_given),
        first_row=particles.first_row + start,
    )
