"""Configurations and images of Parakeet that are damaged: each is told in one line."""

import json
import os

import mrcfile
import numpy as np
import pytest

from polardenoise.engine.simulate.parakeet.exchange import write_configurations
from tests.simulate.parakeet_inputs import BOX, PIXEL_SIZE, call, make_plan, simulate, write_nexus

h5py = pytest.importorskip("h5py")

pytestmark = pytest.mark.usefixtures("few_a_micrograph")


def spoil(value, *names):
    """Put a value into a configuration, where these names lead."""

    def change(configuration):
        place = configuration
        for name in names[:-1]:
            place = place[name]
        place[names[-1]] = value

    return change


POSE = ("sample", "molecules", "local", 0, "instances", 0)


@pytest.mark.parametrize(
    "change",
    [
        spoil(["a", "b"], "microscope", "detector", "origin"),
        spoil([1, 2, 3], "microscope", "detector", "origin"),
        spoil([1e308, 0], "microscope", "detector", "origin"),
        spoil(0, "microscope", "detector", "pixel_size"),
        spoil(-4, "microscope", "detector", "pixel_size"),
        spoil(1e308, "microscope", "detector", "pixel_size"),
        spoil(10**30, "microscope", "detector", "nx"),
        spoil(True, "microscope", "detector", "ny"),
        spoil(1e300, "microscope", "lens", "c_30"),
        spoil(1e300, "microscope", "lens", "c_10"),
        spoil(1.0, "microscope", "lens", "c_12"),
        spoil(0, "microscope", "beam", "energy"),
        spoil([1e308] * 3, *POSE, "orientation"),
        spoil([0, 0, 0, 0], *POSE, "orientation"),
        spoil(["a", 1, 2], *POSE, "position"),
        spoil(1e308, *POSE, "position", 0),
        spoil([], *POSE[:-1]),
        spoil([], *POSE[:3]),
        spoil(None, "scan"),
        spoil(2, "scan", "num_images"),
        spoil(1, "scan", "axis"),
    ],
)
def test_a_spoilt_configuration_is_one_line(tmp_path, molecule, capsys, monkeypatch, change):
    path, atoms = molecule
    monkeypatch.chdir(tmp_path)
    (folder,) = write_configurations(make_plan(path, particles=4), tmp_path / "set")
    simulate(folder, atoms)
    configuration = json.loads((folder / "config.yaml").read_text())
    change(configuration)
    (folder / "config.yaml").write_text(json.dumps(configuration))
    assert call(path, "--box", str(BOX)) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "config.yaml" in message
    assert "simulate it again" in message
    assert not (tmp_path / "out").exists()


def write_entry(folder, name, make):
    """Write image.h5 with one of its entries as `make` says."""
    c_10 = json.loads((folder / "config.yaml").read_text())["microscope"]["lens"]["c_10"]
    write_nexus(folder / "image.h5", np.eye(64, dtype=np.float32), PIXEL_SIZE, c_10)
    with h5py.File(folder / "image.h5", "r+") as file:
        del file["entry/data"][name]
        make(file["entry/data"], name)


def put(value):
    return lambda group, name: group.__setitem__(name, value)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("data", put(["a", "b"])),
        ("data", put(5.0)),
        ("data", put(np.zeros(5))),
        ("data", put(np.zeros((2, 64, 64)))),
        ("data", put(np.zeros((1, 64, 64), [("a", "f4"), ("b", "f4")]))),
        ("data", put(np.eye(64) * (1 + 1j))),
        ("data", put(np.full((64, 64), np.nan))),
        ("data", put(np.zeros((32, 32)))),
        ("data", put(np.eye(64) * 1e308)),
        ("data", put(h5py.Empty("f4"))),
        ("data", lambda group, name: group.create_group(name)),
        ("data", lambda group, name: None),
        (
            "data",
            lambda group, name: group.create_dataset(
                name, (1, 200_000, 200_000), "f4", chunks=(1, 1000, 1000)
            ),
        ),
        ("data", put(h5py.SoftLink("/nowhere"))),
        ("data", put(h5py.ExternalLink("fifo", "/x"))),
        (
            "data",
            lambda group, name: group.create_dataset(
                name, (64, 64), "f4", external=[("fifo", 0, 4 * 64**2)]
            ),
        ),
        ("pixel_size_x", put(["a"])),
        ("pixel_size_x", put([0.0])),
        ("pixel_size_x", put([np.nan])),
        ("pixel_size_x", put(np.zeros(0))),
        ("pixel_size_x", lambda group, name: group.create_group(name)),
        ("c_10", put([np.nan])),
    ],
)
def test_a_spoilt_image_is_one_line(tmp_path, molecule, capfd, monkeypatch, name, make):
    path, _ = molecule
    monkeypatch.chdir(tmp_path)
    (folder,) = write_configurations(make_plan(path, particles=4), tmp_path / "set")
    os.mkfifo(folder / "fifo")
    write_entry(folder, name, make)
    assert call(path, "--box", str(BOX)) == 2
    message = capfd.readouterr().err
    assert message.count("\n") == 1
    assert "image.h5" in message
    assert "simulate it again" in message
    assert not any((tmp_path / "out").glob("*"))


def spoil_mrc(folder, how):
    image = folder / "image.mrc"
    raw = bytearray(image.read_bytes())
    image.unlink()
    if how == "fifo":
        os.mkfifo(image)
    elif how == "device":
        image.symlink_to("/dev/zero")
    elif how == "folder":
        image.mkdir()
    elif how == "loop":
        image.symlink_to("image.mrc")
    elif how == "short":
        image.write_bytes(raw[:5000])
    elif how == "empty":
        image.write_bytes(b"")
    elif how == "absurd":
        raw[:8] = np.array([2**31 - 1, 2**31 - 1], "<i4").tobytes()
        image.write_bytes(raw)
    elif how == "extended":
        raw[92:96] = np.array([2**31 - 1], "<i4").tobytes()
        image.write_bytes(raw)
    elif how == "complex":
        with mrcfile.new(image) as file:
            file.set_data(np.eye(64, dtype=np.complex64)[None])
            file.voxel_size = PIXEL_SIZE
    elif how == "counts for a wave":
        image.write_bytes(raw)
        (folder / "truth_exit_wave.mrc").write_bytes(raw)


@pytest.mark.parametrize(
    "how",
    [
        *("fifo", "device", "folder", "loop", "short", "empty", "absurd", "extended", "complex"),
        "counts for a wave",
    ],
)
def test_a_spoilt_mrc_image_is_one_line(tmp_path, molecule, capfd, monkeypatch, how):
    path, atoms = molecule
    monkeypatch.chdir(tmp_path)
    (folder,) = write_configurations(make_plan(path, particles=4), tmp_path / "set")
    simulate(folder, atoms, ".mrc", truth=False)
    spoil_mrc(folder, how)
    assert call(path, "--box", str(BOX)) == 2
    message = capfd.readouterr().err
    assert message.count("\n") == 1
    assert "micrograph_00001" in message
    assert not any((tmp_path / "out").glob("*"))


def test_an_image_that_is_longer_than_it_says_is_read_without_a_warning(
    tmp_path, molecule, capfd, monkeypatch
):
    path, atoms = molecule
    monkeypatch.chdir(tmp_path)
    (folder,) = write_configurations(make_plan(path, particles=4), tmp_path / "set")
    simulate(folder, atoms, ".mrc", truth=False)
    with (folder / "image.mrc").open("ab") as file:
        file.write(bytes(5000))
    assert call(path, "--box", str(BOX)) == 0
    assert capfd.readouterr().err == ""
