"""Archives, maps and structures that unpack to more than they should, or are not what they say."""

import bz2
import gzip
import io
import resource
import time
import zipfile

import numpy as np
import pytest

from polardenoise.engine.particles.mrc import read_volume, write_volume
from polardenoise.engine.runtime.arrays import read_arrays
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.input_files import read_description
from polardenoise.engine.simulate.sources import read_atoms
from tests.particle_files import lumps

WANTED = {"a": ("f", 2)}


def refuse(read, *arguments):
    """Read what must be refused in seconds, in one line, without memory."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(InputError) as caught:
        read(*arguments)
    assert time.process_time() - started < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 * 1024
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_member(path, raw, name="a.npy", compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(name, raw)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_arrays_of_the_form_that_is_wanted_are_read(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.eye(3), b=np.arange(3))
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.npz", WANTED, "")["a"], np.eye(3))
    np.savez_compressed(tmp_path / "a.npz", a=np.eye(3, dtype=">f4"))
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.npz", WANTED, "")["a"], np.eye(3))


@pytest.mark.parametrize(
    "raw",
    [
        npy(np.eye(3))[:90],
        npy(np.eye(3))[:20],
        npy(np.arange(3)),
        npy(np.array([["a"]])),
        npy(np.eye(3).astype(complex)),
        npy(np.eye(3)).replace(b"(3, 3)", b"(3,-3)"),
        npy(np.eye(3)).replace(b"(3, 3), ", b"(3, 10**9), "),
        npy(np.eye(3)).replace(b"<f8", b"|O8"),
        npy(np.eye(3)).replace(b"(3, 3), ", b"(3, (3,  "),
        b"\x93NUMPY\x09\x09",
        b"",
    ],
)
def test_arrays_of_another_form_are_refused(tmp_path, raw):
    write_member(tmp_path / "a.npz", raw)
    assert "a.npz" in refuse(read_arrays, tmp_path / "a.npz", WANTED, "write it again")


def test_pickled_arrays_run_nothing(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([[print]], dtype=object))
    refuse(read_arrays, tmp_path / "a.npz", WANTED, "")


def test_a_bomb_is_not_unpacked(tmp_path):
    write_member(tmp_path / "a.npz", npy(np.zeros((100, 2**18), np.float32)))
    assert (tmp_path / "a.npz").stat().st_size < 2**20
    assert "would take" in refuse(read_arrays, tmp_path / "a.npz", WANTED, "")


def test_a_description_has_a_largest_size(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(2**40)
    assert "more than 16 MiB" in refuse(read_description, tmp_path / "a.json", "mend it")


def change_header(path, word, value):
    raw = bytearray(path.read_bytes())
    raw[4 * word : 4 * word + 4] = int(value).to_bytes(4, "little", signed=True)
    path.write_bytes(bytes(raw))
    return bytes(raw)


@pytest.mark.parametrize("ending", ["", ".gz", ".bz2"])
def test_maps_are_read_plain_and_packed(tmp_path, ending):
    path = tmp_path / "a.mrc"
    write_volume(path, lumps(16), 2.0)
    raw = path.read_bytes()
    packed = {"": raw, ".gz": gzip.compress(raw), ".bz2": bz2.compress(raw)}[ending]
    (tmp_path / f"b.mrc{ending}").write_bytes(packed)
    volume, pixel_size = read_volume(tmp_path / f"b.mrc{ending}")
    np.testing.assert_array_equal(volume, lumps(16).numpy())
    assert pixel_size == 2
    (tmp_path / f"b.mrc{ending}").write_bytes(packed[: len(packed) * 2 // 3])
    refuse(read_volume, tmp_path / f"b.mrc{ending}")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_packed_map_is_unpacked_no_further_than_its_header_says(tmp_path, pack):
    path = tmp_path / "a.mrc"
    write_volume(path, lumps(16), 2.0)
    # Packed parts one after another unpack to one stream, and are packed once.
    (tmp_path / "b.mrc.gz").write_bytes(pack(path.read_bytes()) + 10 * pack(bytes(60 * 2**20)))
    assert read_volume(tmp_path / "b.mrc.gz")[0].shape == (16, 16, 16)
    raw = change_header(path, 2, 2**30)
    (tmp_path / "b.mrc.gz").write_bytes(pack(raw))
    assert "million" in refuse(read_volume, tmp_path / "b.mrc.gz")
    for word in range(3):
        raw = change_header(path, word, 800)
    (tmp_path / "b.mrc.gz").write_bytes(pack(raw))
    assert "unpacks to more than" in refuse(read_volume, tmp_path / "b.mrc.gz")


def test_a_structure_that_is_a_bomb_is_not_unpacked(tmp_path):
    (tmp_path / "a.pdb.gz").write_bytes(10 * gzip.compress(bytes(70 * 2**20), compresslevel=1))
    assert "unpacks to more than 512 MiB" in refuse(read_atoms, tmp_path / "a.pdb.gz")
    (tmp_path / "b.pdb.gz").write_bytes((tmp_path / "a.pdb.gz").read_bytes()[:-50_000])
    refuse(read_atoms, tmp_path / "b.pdb.gz")
