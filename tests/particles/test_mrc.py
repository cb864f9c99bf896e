"""MRC stacks and volumes: what is written is read back, by others too; what is broken is named."""

import bz2
import gzip
import os
import subprocess
import warnings
from dataclasses import replace

import mrcfile
import numpy as np
import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.particles.mrc import (
    StackWriter,
    read_images_at,
    read_stack_header,
    read_volume,
    write_stack,
    write_volume,
)
from polardenoise.engine.particles.mrc_header import PixelStatistics, make_header
from polardenoise.engine.runtime.errors import InputError
from tests.particle_files import write_tables


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(3, 2, (10, 8, 8)).astype(np.float32)


def read_all(path, indices):
    pieces = list(read_images_at(read_stack_header(path), np.asarray(indices)))
    assert [k for part, _ in pieces for k in range(part.start, part.stop)] == list(
        range(len(indices))
    )
    return np.concatenate([pixels for _, pixels in pieces])


def test_a_stack_is_read_back_and_is_valid_mrc2014(tmp_path, images, capsys):
    path = tmp_path / "stack.mrcs"
    write_stack(path, torch.from_numpy(images), 1.25)
    header = read_stack_header(path)
    assert (header.columns, header.rows, header.count, header.complete) == (8, 8, 10, 10)
    assert header.pixel_size == pytest.approx(1.25)
    np.testing.assert_array_equal(read_all(path, range(10)), images)
    assert mrcfile.validate(path), capsys.readouterr().out
    with mrcfile.open(path) as theirs:
        assert theirs.is_image_stack()
        assert theirs.voxel_size.x == pytest.approx(1.25)
        np.testing.assert_array_equal(theirs.data, images)
        assert theirs.header.dmean == pytest.approx(images.mean(), rel=1e-5)
        assert theirs.header.rms == pytest.approx(images.std(), rel=1e-5)
        assert (theirs.header.dmin, theirs.header.dmax) == (images.min(), images.max())


@pytest.mark.parametrize("is_volume", [False, True])
def test_a_header_has_every_byte_of_the_book(is_volume):
    """MRC2014, word by word; nothing else is set."""
    statistics = PixelStatistics()
    statistics.add(np.array([-1.0, 0.0, 4.0], dtype=np.float32))
    depth = 7 if is_volume else 1
    words = {0: 5, 1: 6, 2: 7, 3: 2, 7: 5, 8: 6, 9: depth, 16: 1, 17: 2, 18: 3, 27: 20140, 55: 1}
    words |= {22: 1} if is_volume else {}
    numbers = {10: 10.0, 11: 12.0, 12: 2.0 * depth, 13: 90, 14: 90, 15: 90, 19: -1, 20: 4, 21: 1}
    expected = np.zeros(256, "<i4")
    expected[list(words)] = list(words.values())
    expected[[*numbers, 54]] = np.array([*numbers.values(), (14 / 3) ** 0.5], "<f4").view("<i4")
    expected[52:54] = np.frombuffer(b"MAP DD\0\0", "<i4")
    raw = make_header((7, 6, 5), 2.0, statistics, is_volume=is_volume)
    assert raw[:224] == expected.tobytes()[:224]
    assert raw[224:304].startswith(b"polardenoise")
    assert not any(raw[304:])


def test_relion_reads_a_stack(relion, tmp_path, images):
    write_stack(tmp_path / "stack.mrcs", images, 1.25)
    command = [relion / "relion_image_handler", "--i", "stack.mrcs", "--stats"]
    said = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    lines = said.splitlines()
    assert len(lines) == 10
    for line, image in zip(lines, images, strict=True):
        assert "(x,y,z,n)= 8 x 8 x 1 x 1 " in line
        assert line.endswith("angpix = 1.25")
        assert float(line.split("avg=")[1].split()[0]) == pytest.approx(image.mean(), rel=1e-4)


def test_a_stack_may_be_written_in_any_order(tmp_path, images):
    path = tmp_path / "stack.mrcs"
    with StackWriter(path, 10, 8, 1.0) as writer:
        writer.write(6, images[6:])
        assert not path.exists()
        writer.write(0, torch.from_numpy(images[:2]))
        writer.write(2, images[2:6])
    np.testing.assert_array_equal(read_all(path, range(10)), images)


def write_pieces(path, *pieces):
    """Write a stack of 10 images of 8 px from pieces `(start row, images)`."""
    with StackWriter(path, 10, 8, 1.0) as writer:
        for start, pixels in pieces:
            writer.write(start, pixels)


def test_an_error_leaves_nothing_and_an_earlier_stack_alone(tmp_path, images):
    write_pieces(tmp_path / "stack.mrcs", (0, images))
    with (
        pytest.raises(RuntimeError, match="elsewhere"),
        StackWriter(tmp_path / "stack.mrcs", 10, 8, 1.0),
    ):
        raise RuntimeError("elsewhere")
    assert os.listdir(tmp_path) == ["stack.mrcs"]
    np.testing.assert_array_equal(read_all(tmp_path / "stack.mrcs", range(10)), images)


def test_an_incomplete_stack_is_an_error_and_leaves_nothing(tmp_path, images):
    with pytest.raises(ValueError, match="3 images were never written"):
        write_pieces(tmp_path / "stack.mrcs", (0, images[:7]))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("start", "shape"), [(9, (2, 8, 8)), (0, (1, 8, 9)), (2, (2, 8, 8)), (-1, (1, 8, 8))]
)
def test_images_that_do_not_fit_are_refused(tmp_path, start, shape):
    with pytest.raises(ValueError, match="images"):
        write_pieces(tmp_path / "stack.mrcs", (2, np.zeros((1, 8, 8))), (start, np.zeros(shape)))


@pytest.mark.parametrize("mode", ["i1", "i2", "f4", "u2", "f2"])
def test_every_mode_is_read_in_both_byte_orders(tmp_path, mode):
    values = np.random.default_rng(1).integers(0, 100, (5, 6, 6)).astype(mode)
    with mrcfile.new(tmp_path / "a.mrcs", values) as mrc:
        mrc.set_image_stack()
    np.testing.assert_array_equal(read_all(tmp_path / "a.mrcs", [0, 2, 4]), values[[0, 2, 4]])
    raw = (tmp_path / "a.mrcs").read_bytes()
    words = np.frombuffer(raw[:1024], "<i4").astype(">i4").tobytes()
    swapped = (
        words[:208] + b"MAP \x11\x11\x00\x00" + words[216:] + values.astype(">" + mode).tobytes()
    )
    (tmp_path / "b.mrcs").write_bytes(swapped)
    np.testing.assert_array_equal(read_all(tmp_path / "b.mrcs", range(5)), values)


def test_extended_headers_are_passed_over(tmp_path, images):
    with mrcfile.new(tmp_path / "a.mrcs", images) as mrc:
        mrc.set_extended_header(np.frombuffer(b"x" * 160, dtype="V160"))
    np.testing.assert_array_equal(read_all(tmp_path / "a.mrcs", range(10)), images)


def test_unsigned_bytes_of_imod_are_unsigned(tmp_path):
    values = np.array([[[0, 200], [127, 128]]], dtype=np.uint8)
    with mrcfile.new(tmp_path / "a.mrc", values.view(np.int8)):
        pass
    raw = bytearray((tmp_path / "a.mrc").read_bytes())
    raw[152:156] = (1146047817).to_bytes(4, "little")
    (tmp_path / "a.mrc").write_bytes(raw)
    np.testing.assert_array_equal(read_all(tmp_path / "a.mrc", [0]), values)


def test_gaps_repeats_and_long_runs_keep_their_order(tmp_path, images, monkeypatch):
    write_stack(tmp_path / "stack.mrcs", images, 1.0)
    monkeypatch.setattr("polardenoise.engine.particles.mrc.BYTES_PER_READ", 3 * 256)
    monkeypatch.setattr("polardenoise.engine.particles.mrc.BYTES_READ_THROUGH", 2 * 256)
    for indices in ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 0, 0, 0, 0, 2, 9, 9], [3], [1, 3, 4, 8]):
        np.testing.assert_array_equal(read_all(tmp_path / "stack.mrcs", indices), images[indices])
    assert list(read_images_at(read_stack_header(tmp_path / "stack.mrcs"), np.array([], int))) == []


def test_truncation_shows_in_the_header(tmp_path, images):
    write_stack(tmp_path / "stack.mrcs", images, 1.0)
    whole = (tmp_path / "stack.mrcs").read_bytes()
    (tmp_path / "stack.mrcs").write_bytes(whole[:-300])
    header = read_stack_header(tmp_path / "stack.mrcs")
    assert (header.count, header.complete) == (10, 8)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"short", "too short to be an MRC file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"not a stack but text\n" * 100, "not an MRC file"),
        (bytes(4096), "not an MRC file"),
        # As whole numbers the size of a stack, but no image of it is there, nor the word of a header.
        (np.array([64, 64, 10, 2], "<i4").tobytes() + bytes(4096), "not an MRC file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(4096), "an HDF5 file, not an MRC file; .*e2proc2d"),
        (b"II*\0" + bytes(4096), "a TIFF file, not an MRC file; .*relion_image_handler"),
        (b"\x1f\x8b" + bytes(4096), "a gzip file, not an MRC file; unpack it"),
        (np.array([8, 8, 1, 4], "<i4").tobytes() + bytes(4096), "mode 4"),
    ],
)
def test_what_is_no_stack_is_named(tmp_path, content, complaint):
    (tmp_path / "x.mrcs").write_bytes(content)
    with pytest.raises(InputError, match=complaint) as caught:
        read_stack_header(tmp_path / "x.mrcs")
    assert "x.mrcs" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_stack_of_spider_is_named_before_anything_is_asked_of_it(tmp_path, order, capsys):
    """Its header of float32 would be one of MRC with 32,000 pixels a side: every command says what it is."""
    header = np.zeros(256, order + "f4")
    header[[0, 1, 4, 11, 12, 21, 22, 25]] = [1, 64, 1, 64, 4, 1024, 256, 10]
    raw = header.tobytes() + 10 * (1024 + 64 * 64 * 4) * b"\0"
    for name in ("x.mrcs", "x.spi"):
        (tmp_path / name).write_bytes(raw)
    write_tables(tmp_path / "x.star", {"rlnImageName": [f"1@{tmp_path / 'x.mrcs'}"]}, 3.0, 64)
    stack, other, star = (str(tmp_path / name) for name in ("x.mrcs", "x.spi", "x.star"))
    output = ["-o", str(tmp_path / "out.star")]
    for words in (
        ["denoise", stack, *output],
        ["denoise", other, "--pixel-size", "3", *output],
        ["denoise", other, *output],
        ["denoise", star, *output],
        ["reconstruct", stack, *output],
        ["adapt", star, *output],
        ["evaluate", star, "--truth", stack],
        ["evaluate", stack, "--null", "base"],
        ["simulate", "phantom:1", "--like", stack, *output],
        ["simulate", "phantom:1", "--noise-boxes", stack, *output],
        ["train", "--pairs", stack, star, *output],
    ):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1, words
        assert "a SPIDER file, n" in said, words
        assert "convert it to MRC" in said, words


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.mrcs: no such file"):
        read_stack_header(tmp_path / "gone.mrcs")
    with pytest.raises(InputError, match="is a folder"):
        read_stack_header(tmp_path)


def test_a_volume_is_read_back_also_compressed(tmp_path):
    volume = np.random.default_rng(2).normal(size=(4, 6, 8)).astype(np.float32)
    write_volume(tmp_path / "a.mrc", torch.from_numpy(volume), 2.5)
    assert mrcfile.validate(tmp_path / "a.mrc")
    raw = (tmp_path / "a.mrc").read_bytes()
    (tmp_path / "a.mrc.gz").write_bytes(gzip.compress(raw))
    (tmp_path / "a.mrc.bz2").write_bytes(bz2.compress(raw))
    for name in ("a.mrc", "a.mrc.gz", "a.mrc.bz2"):
        read, pixel_size = read_volume(tmp_path / name)
        np.testing.assert_array_equal(read, volume)
        assert pixel_size == pytest.approx(2.5)


def test_axes_come_out_as_z_y_x_whatever_the_file_has(tmp_path):
    volume = np.random.default_rng(3).normal(size=(4, 6, 8)).astype(np.float32)
    # Columns run along z, rows along x, sections along y.
    with mrcfile.new(tmp_path / "a.mrc", np.ascontiguousarray(volume.transpose(1, 2, 0))) as mrc:
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = 3, 1, 2
    np.testing.assert_array_equal(read_volume(tmp_path / "a.mrc")[0], volume)


def test_broken_volumes_are_named(tmp_path):
    write_volume(tmp_path / "a.mrc", np.zeros((4, 4, 4)), 1.0)
    raw = (tmp_path / "a.mrc").read_bytes()
    (tmp_path / "cut.mrc").write_bytes(raw[:-10])
    (tmp_path / "cut.gz").write_bytes(gzip.compress(raw)[:-10])
    write_volume(tmp_path / "nan.mrc", np.full((4, 4, 4), np.nan), 1.0)
    for name, complaint in [
        ("cut.mrc", "truncated"),
        ("cut.gz", "cannot be read"),
        ("nan.mrc", "not finite"),
        ("gone.mrc", "no such file"),
    ]:
        with pytest.raises(InputError, match=complaint):
            read_volume(tmp_path / name)


def test_volumes_of_the_field_are_read_as_mrcfile_reads_them(shared_data):
    paths = sorted((shared_data / "particles/volumes").glob("*.m*"))
    assert paths
    for path in paths:
        ours, pixel_size = read_volume(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old headers: no map word, no machine stamp
            theirs = mrcfile.open(path, permissive=True)
        with theirs:
            header = theirs.header
            if (header.mapc, header.mapr, header.maps) == (1, 2, 3):
                np.testing.assert_array_equal(ours, theirs.data.astype(np.float32))
            assert ours.size == theirs.data.size
            assert pixel_size == pytest.approx(float(theirs.voxel_size.x), rel=1e-5)


def test_broken_files_of_the_field_are_never_allocated(shared_data):
    for name in ("sfftk_corrupt_header.map", "imp_header_only.mrc", "pytom_header_only.mrc"):
        with pytest.raises(InputError):
            read_volume(shared_data / "particles/broken" / name)


def write_header_words(path, words, numbers=None):
    """Overwrite words (from 0) of a header, whole numbers and floats."""
    raw = bytearray(path.read_bytes())
    for place, value in words.items():
        raw[4 * place : 4 * place + 4] = np.int32(value).tobytes()
    for place, value in (numbers or {}).items():
        raw[4 * place : 4 * place + 4] = np.float32(value).tobytes()
    path.write_bytes(bytes(raw))


BYTES = np.random.default_rng(1).integers(0, 256, (3, 8, 8)).astype(np.uint8)


@pytest.mark.parametrize(
    ("words", "statistics", "signed"),
    [
        ({}, (-128, 127), True),
        ({}, (0, 0), True),  # the header does not know: by the book
        ({}, (5, 255), False),  # no signed byte is 255
        ({}, (0, 200), False),
        ({}, (3, 100), True),  # either way the same
        ({}, (-100, 200), True),  # nonsense: by the book
        ({38: 1146047817, 39: 0}, (5, 255), False),
        ({38: 1146047817, 39: 1}, (5, 255), True),  # IMOD's word goes before
    ],
)
@pytest.mark.parametrize("volume", [False, True])
def test_bytes_are_signed_unless_the_header_says_otherwise(
    tmp_path, words, statistics, signed, volume
):
    path = tmp_path / "bytes.mrcs"
    with mrcfile.new(path) as file:
        file.set_data(BYTES.view(np.int8))
    write_header_words(path, words, dict(zip((19, 20), statistics, strict=True)))
    expected = (BYTES.view(np.int8) if signed else BYTES).astype(float)
    found = read_volume(path)[0] if volume else read_all(path, range(3))
    np.testing.assert_array_equal(found, expected)


def test_images_whose_rows_run_along_x_are_turned(tmp_path, images):
    """mapc, mapr, maps 2, 1, 3: the first pixels of the file are a column of the image."""
    path = tmp_path / "stack.mrcs"
    write_stack(path, images, 1.0)
    write_header_words(path, {16: 2, 17: 1, 18: 3})
    np.testing.assert_array_equal(read_all(path, [0, 4, 5]), images[[0, 4, 5]].swapaxes(1, 2))
    write_header_words(path, {16: 0, 17: 0, 18: 0})  # not stated
    np.testing.assert_array_equal(read_all(path, range(10)), images)


@pytest.mark.parametrize("change", ["written", "longer", "replaced", "gone"])
@pytest.mark.parametrize("when", ["before", "between"])
def test_a_stack_that_changes_while_it_is_read_is_refused(tmp_path, images, change, when):
    path = tmp_path / "stack.mrcs"
    write_stack(path, images, 1.0)
    header = read_stack_header(path)

    def change_it():
        if change == "written":
            with path.open("r+b") as file:
                file.seek(2000)
                file.write(b"1234")
            os.utime(path, ns=(header.state[1] + 1000, header.state[1] + 1000))
        elif change == "longer":
            with path.open("ab") as file:
                file.write(b"1234")
        elif change == "replaced":
            write_stack(path, images[::-1], 1.0)
        else:
            path.unlink()

    if when == "before":
        change_it()
        with pytest.raises(InputError, match=r"stack.mrcs: (has changed|is not there)"):
            next(read_images_at(header, np.array([0, 1])))
    elif change in ("written", "longer"):
        # Two runs: images far apart are read in two pieces.
        far = replace(header, count=10**6, complete=10**6)
        with path.open("r+b") as file:
            file.truncate(1024 + 10**6 * 256)
        far = replace(far, state=read_state(path))
        pieces = read_images_at(far, np.array([0, 999_999]))
        next(pieces)
        with path.open("ab") as file:
            file.write(b"1234")
        with pytest.raises(InputError, match="has changed while it was read"):
            next(pieces)


def read_state(path):
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev
