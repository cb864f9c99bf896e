"""What a command reads and writes: no two alike, and nothing that is there is replaced unless it is ours."""

import json
import os
import stat
import zipfile

import numpy as np
import pytest

from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.file_list import FileList
from polardenoise.engine.runtime.files import write_json


def check(inputs=(), outputs=()):
    files = FileList()
    files.read("IN", *inputs)
    for option, path, kind in outputs:
        files.write(option, path, kind)
    files.check()


@pytest.fixture
def star(tmp_path):
    path = tmp_path / "in.star"
    path.write_text("data_\nloop_\n_rlnImageName\n1@a.mrcs\n")
    return path


def rename(path, name):
    return path.rename(path.with_name(name))


def make_alike(folder, star, how):
    """Give another name of the same file."""
    other = folder / "other.star"
    if how == "hard link":
        os.link(star, other)
    elif how == "dots":
        (folder / "sub").mkdir()
        other = folder / "sub" / ".." / "in.star"
    elif how == "linked folder":
        (folder / "linked").symlink_to(folder, target_is_directory=True)
        other = folder / "linked" / "in.star"
    return star if how == "itself" else other


@pytest.mark.parametrize("how", ["itself", "hard link", "dots", "linked folder"])
def test_an_input_is_never_an_output_by_whatever_name(tmp_path, star, how):
    other = make_alike(tmp_path, star, how)
    with pytest.raises(InputError, match=r"-o .* would replace the input"):
        check([star], [("-o", other, "star")])
    assert star.read_text().startswith("data_")


def test_two_outputs_are_never_one(tmp_path):
    (tmp_path / "sub").mkdir()
    same = tmp_path / "sub" / ".." / "a.json"
    with pytest.raises(InputError, match=r"--json .* is also what -o writes"):
        check([], [("-o", tmp_path / "a.json", "star"), ("--json", same, "summary")])
    files = FileList()
    for option in ("-o", "--json"):  # they say the same
        files.write(option, tmp_path / "a.json", "summary", content="summary")
    files.check()


def test_what_is_no_file_is_never_replaced(tmp_path, star):
    link, dangling = tmp_path / "link.json", tmp_path / "dangling.json"
    link.symlink_to(star)
    dangling.symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "folder.json").mkdir()
    for path, word in [
        (link, "symbolic link"),
        (dangling, "symbolic link"),
        (tmp_path / "fifo.json", "FIFO"),
        (tmp_path / "folder.json", "is a folder"),
        ("/dev/null", "is a device"),
        ("/dev/full", "is a device"),
    ]:
        with pytest.raises(InputError, match=word):
            check([], [("--json", path, "summary")])
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def write_archive(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "x")


FOREIGN = {
    "star": b"loop_\n1 2\n",
    "mrc": b"x" * 2000,
    "summary": json.dumps({"architecture": "unet", "weights_sha256": ""}).encode(),
    "card": json.dumps({"program": "polardenoise"}).encode(),
    "state": b"{}",
    "matches": b"PK\x03\x04 no archive",
    "picture": b"GIF89a",
    "weights": b"\x80\x04 a pickle",
    "history": b"a,b\n1,2\n",
    "configuration": b"\x7fELF",
}


@pytest.mark.parametrize("kind", sorted(FOREIGN))
def test_a_file_of_another_kind_is_never_replaced_and_an_empty_one_may_be(tmp_path, kind):
    path = tmp_path / "target"
    path.write_bytes(FOREIGN[kind])
    with pytest.raises(InputError, match="is there and is no"):
        check([], [("-o", path, kind)])
    path.write_bytes(b"")
    check([], [("-o", path, kind)])


@pytest.mark.parametrize("sign", ["stack", "provenance", "word"])
def test_a_star_is_replaced_only_where_something_says_that_it_is_ours(tmp_path, star, sign):
    outputs = [("-o", star, "star")]
    with pytest.raises(InputError, match="no STAR file that polardenoise wrote"):
        check([], outputs)
    stack = tmp_path / "in.mrcs"
    write_stack(stack, np.zeros((1, 8, 8), np.float32), 1.0)
    raw = bytearray(stack.read_bytes())
    raw[224:304] = b"RELION 5.0".ljust(80)
    stack.write_bytes(raw)  # a stack of somebody else's beside it
    with pytest.raises(InputError, match="no STAR file that polardenoise wrote"):
        check([], outputs)
    with pytest.raises(InputError, match="no MRC file that polardenoise wrote"):
        check([], [("-o", stack, "mrc")])
    if sign == "stack":
        write_stack(stack, np.zeros((1, 8, 8), np.float32), 1.0)
        check([], [("-o", stack, "mrc")])
    if sign == "provenance":
        write_json(tmp_path / "in.json", {"program": "polardenoise"})
    if sign == "word":
        star.write_text("# polardenoise\n" + star.read_text())
    check([], outputs)


def test_an_earlier_output_of_the_same_kind_is_replaced(tmp_path, star):
    write_json(tmp_path / "in.json", {"program": "polardenoise", "particles": 3})
    write_json(tmp_path / "a.json", {"program": "polardenoise", "particles": 3})
    write_archive(tmp_path / "m.npz", "neighbours.npy", "class_number.npy", "score.npy")
    check(
        [],
        [
            ("-o", star, "star"),
            ("--json", tmp_path / "a.json", "summary"),
            ("--matches", tmp_path / "m.npz", "matches"),
        ],
    )
    write_archive(tmp_path / "m.npz", "photographs/1.jpg")
    with pytest.raises(InputError, match="no file of matches"):
        check([], [("--matches", tmp_path / "m.npz", "matches")])


def test_what_lies_in_a_folder_that_is_replaced_as_a_whole_is_refused(tmp_path, star):
    with pytest.raises(InputError, match="lies in it"):
        check([star], [("--report", tmp_path, "folder")])
    with pytest.raises(InputError, match="lies in it"):
        check(
            [], [("--report", tmp_path / "r", "folder"), ("-o", tmp_path / "r" / "a.star", "star")]
        )


def test_every_destination_is_probed_before_the_work(tmp_path, monkeypatch):
    files = FileList()
    files.write("-o", tmp_path / "new" / "deep" / "a.star", "star")
    files.probe()
    assert os.listdir(tmp_path) == []
    files.write("-o", tmp_path / "b.mrcs", "mrc", size=10**18)
    with pytest.raises(InputError, match="GB are needed"):
        files.probe()
    monkeypatch.setattr(
        os, "fsync", lambda _number: (_ for _ in ()).throw(OSError(30, "Read-only"))
    )
    with pytest.raises(InputError, match="cannot be written"):
        FileList(outputs=files.outputs[:1]).probe()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("folder", ["", "new"])
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("q" * 250 + ".star", "star"),
        ("q" * 245 + ".npz", "matches"),
        ("é" * 122 + ".json", "summary"),
        ("q" * 250, "folder"),
    ],
)
def test_a_name_too_long_for_its_hidden_one_is_refused_before_the_work(
    tmp_path, folder, name, kind
):
    files = FileList()
    files.write("-o", tmp_path / folder / "short.star", "star")
    files.write("-o", tmp_path / folder / name, kind)
    files.check()
    with pytest.raises(InputError, match=r"the name is too long.*choose a shorter one"):
        files.probe()
    assert os.listdir(tmp_path) == []


def test_a_path_too_long_for_its_hidden_name_is_refused_before_the_work(tmp_path, monkeypatch):
    deep = tmp_path
    while len(str(deep)) < 3800:
        deep /= "d" * 200
    deep /= "d" * (4095 - len(str(deep)) - 10)
    deep.mkdir(parents=True)
    files = FileList()
    files.write("-o", deep / "a.star", "star")
    files.check()
    with pytest.raises(InputError, match=r"(?i)name (is )?too long"):
        files.probe()
