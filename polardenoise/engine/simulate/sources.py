"""From what the user names (a structure file, a map, a phantom) to a density on a grid.

A source is one of

- ``phantom:SEED``: a molecule that exists nowhere, built from geometry (:mod:`.phantoms`);
- ``.pdb``, ``.ent``, ``.cif``, ``.mmcif``, each also with ``.gz``: an atomic model, read with gemmi;
- ``.mrc``, ``.map``, ``.ccp4``, ``.rec``, each also with ``.gz`` or ``.bz2``: a map (:mod:`.map_source`).

Which copies make the molecule: a file may be listed in a ``MANIFEST.tsv`` beside it (tab separated, columns ``file``
and ``use``); ``use`` = ``assembly1`` builds biological assembly 1, ``asu`` takes the coordinates as they are. A file
that no list mentions becomes its biological assembly 1 if its header declares one, else its coordinates.
"""

from __future__ import annotations

import csv
import functools
import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.runtime.errors import InputError, TooLargeError
from polardenoise.engine.runtime.input_files import read_description
from polardenoise.engine.simulate.atoms import Atoms, density_of_atoms
from polardenoise.engine.simulate.phantoms import build_phantom
from polardenoise.engine.simulate.source_names import PHANTOM_PREFIX

STRUCTURE_ENDINGS = (".pdb", ".ent", ".cif", ".mmcif")
MAP_ENDINGS = (".mrc", ".map", ".ccp4", ".rec")
#: Digits of a phantom's seed, at most.
MOST_DIGITS = 18

# More atoms than any assembly in the archive has (HIV capsid: 2.4 million): a wrong assembly, not a molecule.
MOST_ATOMS = 3_000_000
#: Angstrom: wider than any single particle.
LARGEST_DIAMETER = 50_000.0
#: Bytes that a packed structure may unpack to.
LARGEST_UNPACKED = 512 * 2**20


@dataclass(frozen=True)
class Density:
    """A molecule on a grid.

    Attributes
    ----------
    volume : Tensor
        `(N, N, N)` float32, axes z, y, x, protein bright, background 0, centre at voxel (N // 2,) * 3.
    pixel_size : float
        Angstrom.
    """

    volume: Tensor
    pixel_size: float


def read_density(
    source: str, box: int, pixel_size: float | None, b_factor: float, fill: float = 0.7
) -> Density:
    """Make the density of a source on the grid asked for.

    Parameters
    ----------
    source : str
        Structure file, map file or ``phantom:SEED``.
    box : int
        Voxels along one side.
    pixel_size : float or None
        Angstrom. None: atoms fill `fill` of the box; a map keeps its field of view.
    b_factor : float
        Blur in Angstrom^2: ``exp(-b_factor k^2 / 4)``. A map already has its own fall-off and is not blurred again.
    fill : float
        Diameter of the molecule (twice the distance of its farthest atom from its centre of mass) over the box.

    Returns
    -------
    Density
        Centred on the centre of mass (atoms) or on the map's own centre (maps).

    Raises
    ------
    InputError
        Unreadable or empty file, or a molecule that is larger than the box.
    """
    if source.startswith(PHANTOM_PREFIX):
        atoms = build_phantom(_phantom_seed(source))
    else:
        path = Path(source)
        ending = _ending_without_compression(path)
        if ending in MAP_ENDINGS:
            from polardenoise.engine.simulate.map_source import read_map_density

            volume, map_pixel_size = read_map_density(path, box, pixel_size)
            return Density(torch.from_numpy(np.ascontiguousarray(volume)), map_pixel_size)
        if ending not in STRUCTURE_ENDINGS:
            raise InputError(
                f"{source}: not a source that can be simulated; give a .pdb or .cif model, a .mrc or .map map"
                " (each may be .gz), or phantom:SEED"
            )
        atoms = read_atoms(path)

    diameter = 2 * atoms.radius()
    if not diameter <= LARGEST_DIAMETER:
        raise InputError(
            f"{source}: its atoms are up to {diameter:.3g} A apart, no single particle; repair the file"
        )
    if pixel_size is None:
        # A single atom has no size: give it the pixel of a small molecule rather than divide by zero.
        pixel_size = round(max(diameter, 10.0) / (fill * box), 4)
    elif diameter > box * pixel_size:
        fitting = math.ceil(100 * diameter / (fill * box)) / 100
        raise TooLargeError(
            f"{source}: the molecule is {diameter:.0f} A wide and does not fit the box of {box * pixel_size:.0f} A"
            f" ({box} px at {pixel_size:g} A); use --pixel-size {fitting:g} or larger, or --pixel-size auto",
            diameter,
        )
    return Density(density_of_atoms(atoms, box, pixel_size, b_factor), float(pixel_size))


def read_atoms(path: Path) -> Atoms:
    """Read the heavy atoms of a molecule from a PDB or mmCIF file.

    First model only; waters, hydrogens and alternative conformations are dropped; biological assembly as the module
    says. Occupancies and B-factors of the file are not used.

    Parameters
    ----------
    path : Path
        ``.pdb``, ``.ent``, ``.cif`` or ``.mmcif``, also with ``.gz``.

    Returns
    -------
    Atoms
        Positions in Angstrom, as in the file (assembly operators applied).

    Raises
    ------
    InputError
        Missing, damaged or empty file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the name of the structure")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; fetch the structure again")
    refuse_bomb(path)
    try:
        structure = gemmi.read_structure(str(path))
    except (
        Exception
    ) as error:  # gemmi raises RuntimeError, ValueError, OSError, UnicodeDecodeError...
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: not a readable PDB or mmCIF file ({reason[:160]}); fetch the structure again"
        ) from error
    if len(structure) == 0 or structure[0].count_atom_sites() == 0:
        raise InputError(f"{path}: holds no atoms; give a PDB or mmCIF file with coordinates")
    if structure[0].count_atom_sites() > MOST_ATOMS:
        raise InputError(f"{path}: holds more than {MOST_ATOMS} atoms, no single particle")
    while len(structure) > 1:
        del structure[-1]
    structure.remove_alternative_conformations()
    structure.remove_hydrogens()
    structure.remove_waters()
    structure.remove_empty_chains()

    positions, strengths, masses = _gather_atoms(structure[0]) if len(structure) else ([], [], [])
    if len(positions) == 0:
        raise InputError(
            f"{path}: holds no atoms but hydrogens and waters; give the molecule's coordinates"
        )
    atoms = Atoms(np.array(positions), np.array(strengths), np.array(masses))
    if not np.isfinite(atoms.positions).all():
        raise InputError(f"{path}: an atom has a position that is not a number; repair the file")

    use = _use_in_list(path)
    if use == "asu" or (use is None and not structure.assemblies):
        return atoms
    if not structure.assemblies:
        raise InputError(
            f"{path}: its list MANIFEST.tsv asks for assembly 1 but the file declares none; set use to asu"
        )
    return _build_assembly(structure, path)


def refuse_bomb(path: Path) -> None:
    """Refuse a packed file that unpacks to more than any structure is; nothing of it is kept.

    Raises
    ------
    InputError
        If it is too large, or not what its ending says.
    """
    if path.suffix.lower() != ".gz":
        return
    unpacked = 0
    try:
        with gzip.open(path) as file:
            while unpacked <= LARGEST_UNPACKED and (piece := file.read(2**20)):
                unpacked += len(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: cannot be unpacked ({error}); fetch the structure again"
        ) from error
    if unpacked > LARGEST_UNPACKED:
        raise InputError(
            f"{path}: unpacks to more than {LARGEST_UNPACKED // 2**20} MiB; fetch the structure again"
        )


def _build_assembly(structure: gemmi.Structure, path: Path) -> Atoms:
    """Apply the operators of biological assembly 1 (else of the first one declared)."""
    named = [assembly for assembly in structure.assemblies if assembly.name == "1"]
    assembly = named[0] if named else structure.assemblies[0]
    copies = sum(len(generator.operators) for generator in assembly.generators)
    if copies * structure[0].count_atom_sites() > MOST_ATOMS:
        raise InputError(
            f"{path}: assembly {assembly.name} has {copies} copies, too large for a single particle; list the file"
            " with use = asu in a MANIFEST.tsv beside it"
        )
    # Subchains of waters are gone from the model; an operator that still names one could not be applied.
    present = {residues.subchain_id() for residues in structure[0].subchains()}
    for generator in assembly.generators:
        generator.subchains = [name for name in generator.subchains if name in present]
    try:
        model = gemmi.make_assembly(assembly, structure[0], gemmi.HowToNameCopiedChain.Dup)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: assembly {assembly.name} cannot be built ({reason[:120]}); repair the header's operators"
        ) from error
    positions, strengths, masses = _gather_atoms(model)
    if len(positions) == 0:
        raise InputError(
            f"{path}: assembly {assembly.name} names no chain of the file; list the file with use = asu in a"
            " MANIFEST.tsv beside it"
        )
    return Atoms(np.array(positions), np.array(strengths), np.array(masses))


def _gather_atoms(
    model: gemmi.Model,
) -> tuple[list[list[float]], list[float], list[float]]:
    """List positions, strengths and masses of all atoms of a model."""
    positions, strengths, masses = [], [], []
    for chain in model:
        for residue in chain:
            for atom in residue:
                positions.append(atom.pos.tolist())
                strength, mass = _strength_and_mass(atom.element.name)
                strengths.append(strength)
                masses.append(mass)
    return positions, strengths, masses


@functools.cache
def _strength_and_mass(element_name: str) -> tuple[float, float]:
    """Give an element's electron scattering at zero angle (carbon = 1) and its mass; unknown elements as carbon."""
    element = gemmi.Element(element_name)
    coefficients = element.c4322
    if element_name == "X" or coefficients is None or element.weight <= 0:
        return 1.0, 12.011
    carbon = gemmi.Element("C").c4322
    return float(sum(coefficients.a) / sum(carbon.a)), float(element.weight)


def _use_in_list(path: Path) -> str | None:
    """Find what a MANIFEST.tsv beside the file says about it: 'assembly1', 'asu' or None (not listed)."""
    manifest = path.parent / "MANIFEST.tsv"
    if not manifest.is_file():
        return None
    for row in read_manifest(manifest):
        if row.get("file") == path.name:
            use = (row.get("use") or "").strip()
            if use in ("assembly1", "asu"):
                return use
            if use:
                raise InputError(
                    f"{manifest}: the row of {path.name} says use = {use!r}; write assembly1 or asu"
                )
    return None


def read_manifest(manifest: Path) -> list[dict[str, str]]:
    """Read the rows of a MANIFEST.tsv, tab-separated; comment lines start with `#`.

    Raises
    ------
    InputError
        If it is no text, or no table.
    """
    cure = "repair or remove it"
    try:
        text = read_description(manifest, cure).decode("utf-8")
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{manifest}: cannot be read as a table ({error}); {cure}") from error


def _phantom_seed(source: str) -> int:
    """Read the seed of ``phantom:SEED``."""
    text = source[len(PHANTOM_PREFIX) :]
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        raise InputError(
            f"{source[:60]}: the seed of a phantom is a whole number; write for example phantom:10001"
        )
    return int(text)


def _ending_without_compression(path: Path) -> str:
    """Give the lower-case file ending under a .gz or .bz2."""
    name = path.name.lower()
    for compression in (".gz", ".bz2"):
        if name.endswith(compression):
            name = name[: -len(compression)]
    return Path(name).suffix
