"""The rows of raw particles that denoised ones come from: found, and written again as they are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from polardenoise.engine.classes.joined_images import join_raw_rows
from polardenoise.engine.classes.joined_uids import join_uids, read_uids
from polardenoise.engine.classes.raw_pixels import doubt_raw_pixels
from polardenoise.engine.classes.scored_set import read_run
from polardenoise.engine.particles.cryosparc.fields import CryosparcFiles, is_cryosparc
from polardenoise.engine.particles.cryosparc.tables import (
    ENDINGS,
    DataTables,
    list_tables,
    name_new_group,
    name_new_tables,
    read_tables,
    refuse_denoised_images,
    refuse_lost_images,
    write_tables,
)
from polardenoise.engine.particles.image_names import (
    is_there,
    name_in_star,
    refuse_unquotable_stack,
)
from polardenoise.engine.particles.particle_set import ParticleSet, read_particles
from polardenoise.engine.particles.set_checks import refuse_computed
from polardenoise.engine.particles.set_document import is_bare_stack
from polardenoise.engine.particles.star import keep_rows
from polardenoise.engine.particles.star_tables import find_particle_table
from polardenoise.engine.particles.star_writing import write_star
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.running_command import comment_maker

#: Says at the head of the output what it is: the rows are the input's, and say nothing.
SELECTED = "raw particles, selected"
STAR_ENDING = ".star"


class RawRows(Protocol):
    """The raw row of every denoised particle."""

    @property
    def gains_halves(self) -> bool:
        """Whether the rows get the random halves of denoising, where there are any."""

    @property
    def lacks_halves(self) -> bool:
        """Whether halves were drawn for denoising that the rows do not get."""

    @property
    def not_denoised(self) -> int:
        """How many raw rows are of no denoised particle: they are left out."""

    def doubt_pixels(self, denoised: ParticleSet) -> list[str]:
        """Word that the images are not those that were denoised; refuse them if nothing says what they are."""

    def refuse_lost_stacks(self, output: Path) -> None:
        """Refuse an output in a folder from which its stacks would not be found, where names are kept as they are."""

    def write(self, output: Path, kept: np.ndarray, halves: np.ndarray | None) -> None:
        """Write the rows of some denoised particles, `(m,)` from 0; `halves` are those of all of them, `(n,)`."""


def refuse_other_files(scored: Path, raw: Path, output: Path, cryosparc: CryosparcFiles) -> None:
    """Refuse an output that the raw particles cannot be written to, and particles whose rows nothing can hold."""
    if is_cryosparc(scored):
        raise InputError(
            f"{scored}: a file of cryoSPARC holds no scores; give the .star that `denoise` wrote of it"
        )
    if is_bare_stack(raw):
        raise InputError(
            f"--particles {raw}: has no rows of a STAR file to keep; give the _2d_data.star that lies beside {scored}, "
            "which names the same images"
        )
    if not is_cryosparc(raw):
        for option, value in vars(cryosparc).items():
            if value is not None:
                raise InputError(f"--{option}: is for a .cs of cryoSPARC; leave it out with {raw}")
        if output.suffix in ENDINGS:
            raise InputError(
                f"-o {output}: {raw} is no data set of cryoSPARC, whose rows a {output.suffix} could hold; name a "
                f"{STAR_ENDING}, or give --particles the .cs that was denoised"
            )
    endings = (STAR_ENDING, *(ENDINGS if is_cryosparc(raw) else ()))
    if output.suffix not in endings:
        raise InputError(f"-o {output}: must end in {' or '.join(endings)}")
    if output.suffix in ENDINGS and not output.name.isprintable():
        raise InputError(f"-o {output}: no group file (.csg) can hold this name; choose another")


def list_raw_files(
    raw: Path, output: Path, cryosparc: CryosparcFiles
) -> tuple[list[Path], dict[Path, str]]:
    """List what the raw particles are read from, and what is written: path -> a key of `file_kinds.KINDS`."""
    if not is_cryosparc(raw):
        return [raw], {output: "star"}
    tables = list_tables(raw, cryosparc.passthrough)
    inputs = list(dict.fromkeys([raw, *tables]))
    if output.suffix == STAR_ENDING:
        return inputs, {output: "star"}
    new = dict.fromkeys(name_new_tables(output, tables).values(), "selected")
    return inputs, {**new, name_new_group(output): "group"}


def read_raw_rows(
    denoised: ParticleSet, raw: Path, output: Path, cryosparc: CryosparcFiles
) -> RawRows:
    """Read the raw particles and find the row of each denoised one.

    Raises
    ------
    InputError
        If they are denoised, or not the same particles: of the same images, or in the same order; or, where they are of
        cryoSPARC, of the same uids.
    """
    if not is_cryosparc(raw):
        particles = read_particles(raw, "none")
        refuse_computed(particles, "--particles")
        return StarRows(particles, join_raw_rows(denoised, particles))
    if output.suffix == STAR_ENDING:
        particles = read_particles(raw, "none", cryosparc=cryosparc)
        refuse_computed(particles, "--particles")
        return StarRows(particles, join_uids(denoised, raw, read_uids(particles)), by_uid=True)
    tables = read_tables(raw, cryosparc.passthrough)
    refuse_denoised_images(tables)
    uids = tables.particles.values["uid"]
    # Where halves were given to `denoise`, the rows hold them already.
    drawn = read_run(denoised.star_path).get("halves") == "drawn"
    return TableRows(tables, uids[join_uids(denoised, raw, uids)], drawn)


def name_lost_images(particles: ParticleSet, rows: list[int], folder: Path) -> dict[str, list[str]]:
    """Name the images of rows so that a STAR file in a folder finds them; nothing where it does as they are named."""
    names = particles.column("rlnImageName") or []
    files = {int(particles.stack_of_row[row]): split_name(names[row])[1] for row in rows}
    new = {stack: name_for(particles.stacks[stack], file, folder) for stack, file in files.items()}
    if new == files:
        return {}
    places = [(split_name(names[row])[0], new[int(particles.stack_of_row[row])]) for row in rows]
    return {"rlnImageName": [number + file for number, file in places]}


def split_name(name: str) -> tuple[str, str]:
    """Split an image name into its number, with the @, and its file; into nothing and the file where it has none."""
    file = name.partition("@")[2] or name
    return name.removesuffix(file), file


def name_for(stack: Path, file: str, folder: Path) -> str:
    """Name a stack for a STAR file in a folder: as it was called, else from the working directory, else in full."""
    for name in (file, name_in_star(stack)):
        found = [one for one in (Path(name), folder / name) if is_there(one)]
        if found and all(one.samefile(stack) for one in found):
            return name
    full = stack.resolve()
    refuse_unquotable_stack("--particles", full)
    return str(full)


@dataclass(frozen=True)
class StarRows:
    """The row of a STAR file, or of that which a data set of cryoSPARC amounts to, of every denoised particle.

    Attributes
    ----------
    particles : ParticleSet
        The raw set.
    of_row : ndarray
        `(n,)` the row of each denoised particle, from 0.
    by_uid : bool
        Whether it was found by uids.
    """

    particles: ParticleSet
    of_row: np.ndarray
    by_uid: bool = False
    lacks_halves: bool = False

    @property
    def gains_halves(self) -> bool:
        """Whether the rows have no halves of their own."""
        return not self.particles.has("rlnRandomSubset")

    @property
    def not_denoised(self) -> int:
        """How many rows are of no denoised particle."""
        return len(self.particles) - len(self.of_row)

    def doubt_pixels(self, denoised: ParticleSet) -> list[str]:
        """Hold a few images against what the provenance knows of those that were denoised."""
        return doubt_raw_pixels(denoised, self.particles, self.of_row, self.by_uid)

    def refuse_lost_stacks(self, output: Path) -> None:
        """Refuse nothing: stacks that would not be found are written by names that lead to them."""

    def write(self, output: Path, kept: np.ndarray, halves: np.ndarray | None) -> None:
        """Write the rows, in the raw set's order, with the random halves that were drawn for denoising.

        Reconstructing with other halves than images were denoised, and aligned, in would mix them. Stacks that would
        not be found from the output's folder get names that lead to them.
        """
        kept = kept[np.argsort(self.of_row[kept])]
        rows = self.of_row[kept].tolist()
        document = keep_rows(self.particles.document, self.particles.table, rows)
        columns = name_lost_images(self.particles, rows, output.parent)
        if halves is not None and self.gains_halves:
            columns["rlnRandomSubset"] = [str(half) for half in halves[kept]]
        changes = [(find_particle_table(document), columns)]
        write_star(document, output, changes, SELECTED)


@dataclass(frozen=True)
class TableRows:
    """The row of a data set of cryoSPARC of every denoised particle.

    Attributes
    ----------
    tables : DataTables
        The raw set.
    uids : ndarray
        `(n,)` uint64, of each denoised particle.
    lacks_halves : bool
        Whether halves were drawn for denoising: the rows stay as they are, to the bit.
    """

    tables: DataTables
    uids: np.ndarray
    lacks_halves: bool
    gains_halves: bool = False

    @property
    def not_denoised(self) -> int:
        """How many rows are of no denoised particle."""
        return len(self.tables.particles.values["uid"]) - len(self.uids)

    def doubt_pixels(self, denoised: ParticleSet) -> list[str]:
        """Doubt nothing: the uids are those of the set that was denoised, and no image is read for its rows."""
        return []

    def refuse_lost_stacks(self, output: Path) -> None:
        """Refuse an output from whose folder a stack would not be found that is named from the set's own."""
        refuse_lost_images(self.tables, output)

    def write(self, output: Path, kept: np.ndarray, halves: np.ndarray | None) -> None:
        """Write the rows to the bit, each table's in its own order; no field of theirs could tell `halves`."""
        write_tables(self.tables, self.uids[kept], output, comment_maker(SELECTED))
