"""Sources become densities: the right atoms, centred, blurred, without aliasing; maps resampled; faults told."""

import gzip
import shutil
import time

import numpy as np
import pytest
import torch

from polardenoise.engine.particles.mrc import write_volume
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.simulate.atoms import (
    CARBON_FALL_OFF,
    CARBON_STRENGTH,
    Atoms,
    density_of_atoms,
)
from polardenoise.engine.simulate.sources import read_atoms, read_density

B_FACTOR = 150.0

# One residue with every kind of atom that must go, a ligand, and two copies by symmetry (around z).
SMALL_PDB = """\
REMARK 350 BIOMOLECULE: 1
REMARK 350 APPLY THE FOLLOWING TO CHAINS: A
REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000
REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000
REMARK 350   BIOMT1   2 -1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   2  0.000000 -1.000000  0.000000        0.00000
REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        0.00000
MODEL        1
ATOM      1  N   SER A   1      10.000   0.000   0.000  1.00 20.00           N
ATOM      2  CA  SER A   1      11.400   0.000   0.000  1.00 20.00           C
ATOM      3  C   SER A   1      12.000   1.400   0.000  1.00 20.00           C
ATOM      4  O   SER A   1      11.300   2.400   0.000  1.00 20.00           O
ATOM      5  OG ASER A   1      12.000  -1.000   1.000  0.60 20.00           O
ATOM      6  OG BSER A   1      12.000  -1.000  -1.000  0.40 20.00           O
ATOM      7  H   SER A   1       9.600   0.800   0.000  1.00 20.00           H
TER
HETATM    8 ZN    ZN A   2      14.000   0.000   0.000  1.00 20.00          ZN
HETATM    9  O   HOH A   3      30.000   0.000   0.000  1.00 20.00           O
ENDMDL
MODEL        2
ATOM      1  N   SER A   1      90.000   0.000   0.000  1.00 20.00           N
ENDMDL
END
"""


def kilodaltons(atoms):
    """Mass with the hydrogens that were dropped."""
    return atoms.masses.sum() * 1.07 / 1000


def cloud(count=300, radius=20.0, seed=0):
    positions = np.random.default_rng(seed).normal(size=(count, 3)) * radius / 2
    return Atoms(positions, np.ones(count), np.full(count, 12.0))


def carbon_density(distance, b_factor):
    """The blurred carbon atom, in closed form, in units of its own scattering."""
    width = CARBON_FALL_OFF + b_factor
    height = CARBON_STRENGTH / CARBON_STRENGTH.sum() * (4 * np.pi / width) ** 1.5
    return (height * np.exp(-4 * np.pi**2 * distance[..., None] ** 2 / width)).sum(-1)


def grid_distance(box, pixel_size, centre=(0.0, 0.0, 0.0)):
    x = (np.arange(box) - box // 2) * pixel_size
    return np.sqrt(
        (x[:, None, None] - centre[2]) ** 2
        + (x[None, :, None] - centre[1]) ** 2
        + (x[None, None, :] - centre[0]) ** 2
    )


@pytest.mark.parametrize("box", [32, 33])
def test_one_atom_is_a_blurred_carbon_at_the_centre_voxel(box):
    atom = Atoms(np.array([[7.0, -3.0, 2.0]]), np.ones(1), np.full(1, 12.0))
    density = density_of_atoms(atom, box, 1.0, B_FACTOR).numpy()
    expected = carbon_density(grid_distance(box, 1.0), B_FACTOR)
    assert np.unravel_index(density.argmax(), density.shape) == (box // 2,) * 3
    assert np.abs(density - expected).max() < 0.01 * expected.max()
    assert density.sum() == pytest.approx(1.0, rel=1e-4)


def test_atoms_lie_where_they_are_between_voxels():
    positions = np.array([[5.3, -4.1, 2.7], [-5.3, 4.1, -2.7]])
    density = density_of_atoms(
        Atoms(positions, np.array([1.0, 2.0]), np.full(2, 12.0)), 32, 1.0, 150
    )
    expected = sum(
        strength * carbon_density(grid_distance(32, 1.0, place), B_FACTOR)
        for place, strength in zip(positions, (1.0, 2.0), strict=True)
    )
    assert np.abs(density.numpy() - expected).max() < 0.01 * expected.max()


@pytest.mark.parametrize("b_factor", [0.0, 150.0])
def test_coarse_pixels_do_not_alias(b_factor):
    """A coarse density is the fine one with its high frequencies taken away, and nothing else."""
    atoms = cloud()
    coarse = density_of_atoms(atoms, 16, 6.0, b_factor)
    fine = density_of_atoms(atoms, 64, 1.5, b_factor)
    transform = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(fine)))[24:40, 24:40, 24:40]
    transform[0], transform[:, 0], transform[:, :, 0] = 0, 0, 0
    expected = torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(transform))).real / 64
    assert (coarse - expected).square().sum() / expected.square().sum() < 1e-4


def test_density_scales_with_b_factor_in_fourier_space():
    atoms = cloud()
    sharp, blurred = (torch.fft.rfftn(density_of_atoms(atoms, 24, 3.0, b)) for b in (50.0, 250.0))
    k = np.fft.fftfreq(24, 3.0)
    squared = k[:, None, None] ** 2 + k[None, :, None] ** 2 + np.fft.rfftfreq(24, 3.0) ** 2
    expected = sharp * torch.from_numpy(np.exp(-200 * squared / 4)).float()
    assert (blurred - expected).abs().max() < 1e-5 * sharp.abs().max()


def test_centre_of_mass_is_the_centre_voxel():
    density = read_density("phantom:10002", 40, None, B_FACTOR)
    x = torch.arange(40.0) - 20
    total = density.volume.sum()
    for axes in ((1, 2), (0, 2), (0, 1)):
        assert abs(float((density.volume.sum(axes) * x).sum() / total)) < 0.05
    assert density.volume.max() > 8 * -density.volume.min()
    assert density.volume.dtype == torch.float32


def test_auto_pixel_size_fills_seven_tenths():
    from polardenoise.engine.simulate.phantoms import build_phantom

    diameter = 2 * build_phantom(10_002).radius()
    density = read_density("phantom:10002", 40, None, B_FACTOR)
    assert diameter / (40 * density.pixel_size) == pytest.approx(0.7, abs=1e-3)


def test_molecule_larger_than_the_box_is_refused():
    with pytest.raises(InputError, match=r"phantom:10002: .*95 A wide.*box of 20 A.*--pixel-size"):
        read_density("phantom:10002", 20, 1.0, B_FACTOR)
    assert read_density("phantom:10002", 40, 2.6, B_FACTOR).pixel_size == 2.6


def test_waters_hydrogens_alternatives_and_further_models_are_dropped(tmp_path):
    path = tmp_path / "small.pdb"
    path.write_text(SMALL_PDB.replace("REMARK 350", "REMARK 999"))
    atoms = read_atoms(path)
    # N CA C O OG and the zinc.
    assert len(atoms.positions) == 6
    assert atoms.masses.sum() == pytest.approx(14.007 + 2 * 12.011 + 2 * 15.999 + 65.4, abs=0.1)
    assert atoms.positions[:, 0].max() == 14.0


@pytest.mark.parametrize(
    ("manifest", "count"),
    [
        (None, 12),
        ("# a comment\nfile\tuse\nsmall.pdb\tasu\n", 6),
        ("# a comment\nfile\tuse\nsmall.pdb\tassembly1\n", 12),
        ("file\tuse\nother.pdb\tasu\n", 12),
    ],
)
def test_the_list_beside_the_file_decides_the_assembly(tmp_path, manifest, count):
    (tmp_path / "small.pdb").write_text(SMALL_PDB)
    if manifest:
        (tmp_path / "MANIFEST.tsv").write_text(manifest)
    atoms = read_atoms(tmp_path / "small.pdb")
    assert len(atoms.positions) == count
    if count == 12:
        np.testing.assert_allclose(atoms.positions[6:, :2], -atoms.positions[:6, :2])


def test_a_list_that_asks_for_an_assembly_that_is_not_there(tmp_path):
    (tmp_path / "small.pdb").write_text(SMALL_PDB.replace("REMARK 350", "REMARK 999"))
    (tmp_path / "MANIFEST.tsv").write_text("file\tuse\nsmall.pdb\tassembly1\n")
    with pytest.raises(InputError, match=r"small\.pdb.*MANIFEST\.tsv.*asu"):
        read_atoms(tmp_path / "small.pdb")


@pytest.mark.parametrize(
    ("name", "kilodalton"),
    [("1bxn.pdb.gz", 514), ("6b0i.pdb.gz", 140), ("4hhb.cif.gz", 64), ("4en8.cif.gz", 203)],
)
def test_real_structures_have_the_mass_that_their_list_states(shared_data, name, kilodalton):
    atoms = read_atoms(shared_data / "structures" / name)
    assert kilodaltons(atoms) == pytest.approx(kilodalton, rel=0.02)


def test_a_whole_virus_is_quick(shared_data):
    started = time.process_time()
    density = read_density(str(shared_data / "structures" / "7cth.cif.gz"), 64, None, B_FACTOR)
    assert time.process_time() - started < 20
    assert density.pixel_size == pytest.approx(523 / 0.7 / 64, rel=0.03)


BAD_FILES = {
    "missing.pdb": None,
    "empty.pdb": b"",
    "words.pdb": b"these are words\n",
    "words.cif": b"these are words\n",
    "noise.cif.gz": bytes(range(256)) * 8,
    "cut.pdb.gz": gzip.compress(SMALL_PDB.encode())[:200],
    "water.pdb": b"HETATM    1  O   HOH A   1       1.0     2.000   3.000  1.00  0.00           O\nEND\n",
    "unfit.docx": b"PK",
    "noise.mrc": bytes(range(256)) * 8,
    "short.map": b"\0" * 100,
    "noise.map.gz": bytes(range(256)) * 8,
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_told_in_one_line(tmp_path, name):
    if BAD_FILES[name] is not None:
        (tmp_path / name).write_bytes(BAD_FILES[name])
    with pytest.raises(InputError) as caught:
        read_density(str(tmp_path / name), 16, None, B_FACTOR)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["phantom:", "phantom:x", "phantom:-1", "phantom:1.5"])
def test_bad_seeds_are_told(source):
    with pytest.raises(InputError, match="whole number"):
        read_density(source, 16, None, B_FACTOR)


@pytest.mark.parametrize(
    "name",
    [
        "imp_header_only.mrc",
        "pytom_header_only.mrc",
        "sfftk_corrupt_header.map",
        "cryodrgn_50S-vol_nonstandard_dims.mrc",
        "xmipp_smallVolumeStackCorrupted.stk",
        "drgnai_tilts/00256_Ribosomes_1.70A.mrcs",
        "../volumes/maptools_int8.mrc",
        "../volumes/EMD-3001.map",
        "../volumes/clean70SRibosome_vol_65p.mrc",
    ],
)
def test_real_broken_or_unfit_files_are_told_in_one_line(shared_data, name):
    path = shared_data / "particles" / "broken" / name
    assert path.exists()
    with pytest.raises(InputError) as caught:
        read_density(str(path), 32, None, B_FACTOR)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def written_map(tmp_path):
    """A phantom as a map of 48 voxels of 4 A, on a background of 3."""
    density = read_density("phantom:10002", 48, 4.0, B_FACTOR)
    write_volume(tmp_path / "map.mrc", density.volume + 3.0, 4.0)
    return tmp_path / "map.mrc", density.volume


def test_a_map_at_its_own_size_comes_back_without_its_background(written_map):
    path, volume = written_map
    density = read_density(str(path), 48, None, B_FACTOR)
    assert density.pixel_size == pytest.approx(4.0)
    assert (density.volume - volume).abs().max() < 1e-3 * volume.max()
    padded = read_density(str(path), 60, 4.0, B_FACTOR).volume
    assert (padded[6:54, 6:54, 6:54] - volume).abs().max() < 1e-3 * volume.max()


def test_a_map_is_resampled_to_what_the_molecule_would_be(written_map):
    path, _ = written_map
    resampled = read_density(str(path), 30, 5.5, B_FACTOR).volume
    direct = read_density("phantom:10002", 30, 5.5, B_FACTOR).volume
    assert (resampled - direct).square().sum() / direct.square().sum() < 2e-3


def test_auto_keeps_the_field_of_view_of_a_map(written_map):
    path, _ = written_map
    assert read_density(str(path), 32, None, B_FACTOR).pixel_size == pytest.approx(6.0)


def test_a_map_with_a_molecule_larger_than_the_box_is_refused(written_map):
    path, _ = written_map
    with pytest.raises(InputError, match=r"map\.mrc.*A wide.*box of 64 A"):
        read_density(str(path), 16, 4.0, B_FACTOR)


def test_a_map_without_voxel_size_needs_its_own(tmp_path, written_map):
    _, volume = written_map
    write_volume(tmp_path / "unknown.mrc", volume, 0.0)
    with pytest.raises(InputError, match="--pixel-size"):
        read_density(str(tmp_path / "unknown.mrc"), 48, None, B_FACTOR)
    density = read_density(str(tmp_path / "unknown.mrc"), 48, 4.0, B_FACTOR)
    assert (density.volume - volume).abs().max() < 1e-3 * volume.max()


def test_a_map_that_is_not_a_cube_is_padded(tmp_path, written_map):
    _, volume = written_map
    write_volume(tmp_path / "brick.mrc", volume[8:40, :, 4:44], 4.0)
    density = read_density(str(tmp_path / "brick.mrc"), 48, None, B_FACTOR)
    assert (density.volume - volume)[8:40, :, 4:44].abs().max() < 2e-3 * volume.max()


def test_compressed_maps_are_the_same_map(shared_data):
    folder = shared_data / "particles" / "volumes"
    plain, *others = (
        read_density(str(folder / name), 24, None, B_FACTOR).volume
        for name in ("EMD-3197.map", "EMD-3197.map.bz2", "emd_3197.map.gz")
    )
    assert all(torch.equal(plain, other) for other in others)


def test_a_structure_moved_away_from_its_list_is_its_declared_assembly(shared_data, tmp_path):
    shutil.copy(shared_data / "structures" / "4en8.cif.gz", tmp_path)
    assert kilodaltons(read_atoms(tmp_path / "4en8.cif.gz")) == pytest.approx(203, rel=0.02)
