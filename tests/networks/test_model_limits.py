"""Model files that nobody exported: one line, before any memory is taken, and no code runs."""

import json
import os
import pickle
import resource
import shutil
import struct
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from polardenoise.engine.cli import main
from polardenoise.engine.networks.checkpoint import hash_file, list_shipped_models, load_model
from polardenoise.engine.networks.model_limits import LIMITS, find_config, list_shapes, read_shapes
from polardenoise.engine.networks.registry import ARCHITECTURES, build_model
from polardenoise.engine.runtime.errors import InputError
from tests.denoise_files import TINY, save_tiny_model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("made"))


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "model")


def change_card(folder, **facts):
    card = folder / "model.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | facts))


def put_weights(folder, raw):
    """Give a model other weights, with the hash that is right for them."""
    (folder / "weights.safetensors").write_bytes(raw)
    change_card(folder, weights_sha256=hash_file(folder / "weights.safetensors"))


def refuse(folder):
    """Load a model that must be refused quickly and in one line; give the line."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(InputError) as caught:
        load_model(str(folder))
    assert time.process_time() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_shapes_are_those_of_the_network_and_take_no_memory(architecture):
    default = find_config(architecture)()
    assert set(vars(default)) <= set(LIMITS)
    for name, value in vars(default).items():
        assert LIMITS[name][0] <= value <= LIMITS[name][1]
    small = {"box": 32} | ({} if architecture in ("dncnn", "unet") else {"rings": 8, "angles": 32})
    tensors = build_model(architecture, small).state_dict()
    assert list_shapes(architecture, small) == {
        name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()
    }
    # A grid whose shapes were asked for is a grid still.
    assert build_model(architecture, small).state_dict().keys() == tensors.keys()


def test_shapes_are_listed_without_a_compiler():
    """Arithmetic on the meta device imports torch's compiler, four seconds before any model is loaded."""
    code = (
        "import sys\n"
        "from polardenoise.architectures import ARCHITECTURES\n"
        "from polardenoise.engine.networks.model_limits import list_shapes\n"
        "for name in ARCHITECTURES:\n"
        "    list_shapes(name, {})\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_shipped_models_are_within_the_limits():
    for name in list_shipped_models():
        assert load_model(name)[1].name == name


@pytest.mark.parametrize(
    "sizes",
    [
        *(
            {"box": box}
            for box in (0, -2, 33, 10**9, 2.5, "64", None, True, [64], {"a": 1}, 10**400)
        ),
        {"hidden": 10**6},
        {"before": 10**9},
        {"angles": 63},
        {"angles": 1024, "rings": 256, "box": 96},
        {"hidden": 1024, "before": 32, "after": 32},
        {"regularisation": 0},
        {"regularisation": float("inf")},
        {"depth": 3},
        {"": 1},
    ],
)
def test_sizes_that_no_network_has_are_refused_before_it_is_built(folder, sizes):
    text = json.loads((folder / "model.json").read_text()) | {"sizes": TINY | sizes}
    (folder / "model.json").write_text(json.dumps(text))
    assert "model" in refuse(folder)


@pytest.mark.parametrize(
    "facts",
    [
        {"architecture": ["polar-transformer"]},
        {"architecture": {"a": 1}},
        {"name": 3},
        {"sizes": []},
        {"trained_on": {"sources": 3}},
        {"trained_on": {"recipe": {"snr": 1}}},
        {"trained_on": []},
        {"noise_energy": {"none": -1, "ctf": 1}},
        {"noise_energy": {"none": 1}},
        {"noise_energy": {"none": "x", "ctf": 1}},
        {"figures": 3},
        {"format": None},
        {"weights_sha256": 5},
    ],
)
def test_ill_typed_cards_are_one_line(folder, facts):
    change_card(folder, **facts)
    assert "model.json" in refuse(folder)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 200_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"null",
        b"3",
        b"\xff\xfe",
        b'{"name": "\\ud800"}',
        b"9" * 10_000,
        b"",
        b"NaN",
        b"\x80\x04.",
    ],
)
def test_cards_that_are_no_cards_are_one_line(folder, raw):
    (folder / "model.json").write_bytes(raw)
    assert "is not a model description" in refuse(folder)


class Runs:
    def __reduce__(self):
        return (os.mkdir, ("pickled",))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00" * 7,
        b"\xff" * 64,
        pickle.dumps(Runs()),
        struct.pack("<Q", 10) + b'{"a": 1}  ',
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 200_000) + b"[" * 200_000,
    ],
)
def test_weights_that_are_no_safetensors_are_one_line_and_run_nothing(folder, raw, monkeypatch):
    monkeypatch.chdir(folder)
    put_weights(folder, raw)
    assert "weights" in refuse(folder)
    assert not (folder / "pickled").exists()


def test_weights_of_other_shapes_types_or_numbers_are_named(folder):
    path = folder / "weights.safetensors"
    right = load_file(path)
    first = sorted(right)[0]
    for change, word in [
        (lambda: right[first].repeat(2, *[1] * (right[first].dim() - 1)), "not torch.float32"),
        (lambda: right[first].double(), "not torch.float32"),
        (lambda: None, "is missing"),
        (lambda: right[first] * float("nan"), "not finite"),
    ]:
        tensors = dict(right)
        value = change()
        if value is None:
            del tensors[first]
        else:
            tensors[first] = value
        save_file(tensors, path)
        change_card(folder, weights_sha256=hash_file(path))
        assert word in refuse(folder)
    save_file(right, path)
    change_card(folder, weights_sha256=hash_file(path))
    assert load_model(str(folder))


def test_a_header_that_speaks_of_more_than_the_file_holds_is_refused(folder):
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})
    raw = struct.pack("<Q", len(header)) + header.encode() + bytes(16)
    put_weights(folder, raw)
    assert "cut short" in refuse(folder)
    with pytest.raises(InputError, match="cut short"):
        read_shapes(folder / "weights.safetensors")


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_fifos_and_devices_are_not_waited_for(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refuse(folder)
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    refuse(folder)


def test_the_report_of_a_model_without_history_is_written(folder, tmp_path, monkeypatch):
    from tests.denoise_files import denoise, write_set

    monkeypatch.chdir(tmp_path)
    write_set(tmp_path, count=8)
    change_card(folder, trained_on={})
    assert denoise(str(folder), "--set-size", "4", "--report", "report") == 0


def test_a_training_does_not_start_from_what_is_no_model(folder, tmp_path, capsys):
    put_weights(folder, b"\xff" * 64)
    words = ["train", "phantom:1", "--preset", "tiny", "--init", str(folder), "--steps", "1"]
    assert main([*words, "-o", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "run").exists()
    assert torch.get_default_device().type == "cpu"
