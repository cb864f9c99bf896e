"""cryoSPARC's group files, and uids of any kind: every slot from the data set that has it, each row from its own."""

import numpy as np
import pytest

from polardenoise.engine.cli import main
from polardenoise.engine.particles.cryosparc.fields import find_rows, find_uids
from polardenoise.engine.particles.cryosparc.groups import read_group
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.file_list import FileList
from tests.cryosparc_files import fields_of, read_cs, write_cs
from tests.denoise_files import save_tiny_model, write_set
from tests.particle_files import write_particle_files

#: As cryoSPARC writes one.
HEAD = """created: 2026-01-31 09:26:53.589793
group:
  description: 'Particles: all of them'
  name: particles
  title: All particles
  type: particle
results:
"""
TAIL = "version: v4.4.1\n"


def write_group(path, slots):
    """Write a group file: which data set, beside it, has each slot."""
    blocks = [
        f"  {slot}:\n    metafile: '>{name}'\n    num_items: 24\n    type: particle.{slot}\n"
        for slot, name in slots.items()
    ]
    path.write_text(HEAD + "".join(blocks) + TAIL)
    return path


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A job of a project: its own set has poses and stale CTFs, its passthrough images and true CTFs, shuffled."""
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path)
    fields = fields_of("in.star", tmp_path)
    order = np.random.default_rng(0).permutation(len(fields["uid"]))
    own = {name: v for name, v in fields.items() if not name.startswith("blob/")}
    own["ctf/df1_A"] = own["ctf/df1_A"] + 5000
    rest = {name: v[order] for name, v in fields.items() if not name.startswith("align")}
    folder = tmp_path / "J4"
    write_cs(folder / "J4_particles.cs", own)
    write_cs(folder / "J4_passthrough_particles.cs", rest)
    slots = {
        "alignments3D": "J4_particles.cs",
        "blob": "J4_passthrough_particles.cs",
        "ctf": "J4_passthrough_particles.cs",
    }
    return write_group(folder / "J4_particles.csg", slots)


def test_each_slot_comes_from_the_set_that_the_group_names(job):
    """Joined by uid, in the order of the images' rows; what another set says of the slot is not believed."""
    found, expected = read_particles(job), read_particles("in.star")
    uids = [int(uid) for uid in found.column("ucsfUid")]
    assert uids == read_cs(job.parent / "J4_passthrough_particles.cs")["uid"].tolist()
    of_row = np.argsort(fields_of("in.star", job.parents[1])["uid"]).argsort()
    places = {uid: row for row, uid in enumerate(fields_of("in.star", job.parents[1])["uid"])}
    rows = [places[uid] for uid in uids]
    assert len(of_row) == len(rows)
    assert (read_images(found, slice(None)) == read_images(expected, slice(None))[rows]).all()
    assert np.allclose(found.ctf.defocus_u, expected.ctf.defocus_u[rows], rtol=1e-5)
    assert np.allclose(found.origins, expected.origins[rows], atol=1e-5)
    assert {path.name for path in found.files} == {
        "J4_particles.csg",
        "J4_particles.cs",
        "J4_passthrough_particles.cs",
    }


def test_commands_take_a_group_and_leave_its_files_alone(job, tmp_path, capsys):
    model = save_tiny_model(tmp_path / "model")
    words = ["--model", str(model), "--device", "cpu", "--group-by", "random", "--set-size", "8"]
    assert main(["denoise", str(job), "-o", "out.star", *words]) == 0
    assert "out.cs: names the new images by uid" in capsys.readouterr().out
    assert read_cs("out.cs")["uid"].tolist() == [
        int(uid) for uid in read_particles("out.star").column("ucsfUid")
    ]
    before = {path: path.read_bytes() for path in job.parent.iterdir()}
    for output in ("J4_particles", "J4_passthrough_particles"):
        assert main(["denoise", str(job), "-o", f"J4/{output}.star", *words]) == 2
        assert "would replace the input" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in job.parent.iterdir()} == before
    assert main(["reconstruct", str(job), "-o", "map"]) == 0
    assert main(["denoise", str(job), "-o", "o.star", "--passthrough", "J4/x.cs"]) == 2
    assert "names the passthrough of its job itself" in capsys.readouterr().err


WRONG = {
    "": "names no data set",
    "results:\n": "names no data set",
    HEAD + "  blob:\n    num_items: 3\n" + TAIL: "names no data set",
    HEAD + "  blob:\n    metafile: '>J4\n": "line 9: metafile '>J4 has no end",
    HEAD + "  blob:\n    metafile: '>'\n": "line 9: metafile names no data set",
    HEAD + "  blob:\n    metafile: '>none.cs'\n": "none.cs: no such file",
    HEAD + "  blob:\n    metafile: '>../in.star'\n": "in.star: not a cryoSPARC data set",
    HEAD
    + "  ctf:\n    metafile: '>J4_particles.cs'\n": "has no field blob/psize_A; give the group",
    "\xff\xfe": "is no text",
}


@pytest.mark.parametrize("text", WRONG, ids=list(WRONG.values()))
def test_what_is_wrong_with_a_group_is_told_in_one_line(job, capsys, text):
    job.write_bytes(text.encode("latin-1"))
    assert main(["reconstruct", str(job), "-o", "map"]) == 2
    error = capsys.readouterr().err
    assert WRONG[text] in error
    assert error.count("\n") == 1


def test_only_results_are_read(tmp_path):
    """A word `metafile` elsewhere, deeper keys and other orders change nothing."""
    text = (
        "group:\n  blob:\n    metafile: '>no.cs'\n"
        "results:\n    blob:\n        num_items: 3\n        more:\n            deep: 1\n"
        '        metafile: >-quoted.cs\n    ctf:\n        metafile: ">b.cs"\nversion: v4\n'
    )
    (tmp_path / "a.csg").write_text(text.replace(">-quoted", "plain"))
    assert read_group(tmp_path / "a.csg") == {
        "blob": tmp_path / "plain.cs",
        "ctf": tmp_path / "b.cs",
    }


def test_uids_of_64_bits_are_told_apart_whatever_their_sign(tmp_path):
    """Neighbouring numbers above 2**53, one table signed: as floating-point numbers they would all be one."""
    uids = np.arange(2**63 + 2**60, 2**63 + 2**60 + 64, dtype=np.uint64)
    signed = np.zeros(64, dtype=[("uid", "<i8")])
    signed["uid"] = uids[::-1].view(np.int64)
    found = find_uids(tmp_path, signed)
    assert found.tolist() == uids[::-1].tolist()
    assert find_rows(found, uids).tolist() == list(range(63, -1, -1))
    assert find_rows(found, uids + np.uint64(1)).tolist() == [*range(62, -1, -1), -1]


def test_a_passthrough_with_signed_uids_is_of_the_same_particles(job):
    fields = fields_of("in.star", job.parents[1])
    close = np.arange(2**63 + 2**60, 2**63 + 2**60 + 24, dtype=np.uint64)
    write_cs(job.parent / "J4_particles.cs", fields | {"uid": close})
    write_cs(job.parent / "J4_passthrough_particles.cs", fields | {"uid": close.view(np.int64)})
    found = read_particles(job)
    assert found.column("ucsfUid") == [str(uid) for uid in close.tolist()]
    assert np.allclose(found.origins, read_particles("in.star").origins, atol=1e-5)


@pytest.mark.parametrize(
    "words",
    [
        ["simulate", "phantom:10001", "-o", "sim", "--like"],
        ["train", "phantom:1", "-o", "training", "--minutes", "0.01", "--like"],
    ],
    ids=["simulate", "train"],
)
def test_what_advises_a_group_takes_one(job, capsys, words):
    """Commands without the option --passthrough say what helps there: the group file, which is named."""
    assert main([*words, "J4/J4_particles.cs"]) == 2
    error = capsys.readouterr().err
    assert "give the group file of the same job (J4_particles.csg lies beside it)" in error


def test_noise_like_a_set_takes_what_belongs_to_it(job, tmp_path, capsys):
    model = save_tiny_model(tmp_path / "model")
    words = ["evaluate", "--null", str(model), "--images", "16", "--device", "cpu"]
    passthrough = ["--passthrough", "J4/J4_passthrough_particles.cs"]
    assert main([*words, "J4/J4_particles.cs"]) == 2
    assert "with --passthrough" in capsys.readouterr().err
    assert main([*words, "J4/J4_particles.cs", *passthrough]) == 0
    assert main([*words, *passthrough]) == 2
    assert "--passthrough: is for a .cs of cryoSPARC" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "J4/J4_particles.cs", "--truth", "truth.star"],
        ["evaluate", "J4/J4_particles.cs", "--null", "model", "--images", "16"],
        ["reconstruct", "J4/J4_particles.cs", "-o", "map"],
    ],
    ids=["truth", "null", "reconstruct"],
)
def test_all_that_a_set_is_read_from_is_guarded(job, tmp_path, monkeypatch, words):
    """Each is among the inputs that outputs are held against, the passthrough too."""
    save_tiny_model(tmp_path / "model")
    rows = read_particles(job)
    write_particle_files(tmp_path / "truth.star", read_images(rows, slice(None)), 3.0)
    listed = []
    check = FileList.check

    def check_and_list(files):
        listed.extend(one.path.name for one in files.inputs)
        check(files)

    monkeypatch.setattr(FileList, "check", check_and_list)
    assert main([*words, "--passthrough", "J4/J4_passthrough_particles.cs"]) == 0
    assert {"J4_particles.cs", "J4_passthrough_particles.cs", "stack.mrcs"} <= set(listed)


def test_the_set_is_read_once(job, monkeypatch, tmp_path):
    """What is written of it at the end is what was read at the beginning."""
    from polardenoise.engine.particles.cryosparc import fields

    read, seen = fields.read_records, []
    monkeypatch.setattr(fields, "read_records", lambda path: seen.append(path.name) or read(path))
    model = save_tiny_model(tmp_path / "model")
    words = ["--model", str(model), "--device", "cpu", "--group-by", "random", "--set-size", "8"]
    assert main(["denoise", str(job), "-o", "out.star", *words]) == 0
    assert sorted(seen) == ["J4_particles.cs", "J4_passthrough_particles.cs"]


def test_a_group_without_uids_is_refused(job):
    write_cs(job.parent / "J4_passthrough_particles.cs", {"uid": np.zeros(3, np.float32)})
    with pytest.raises(InputError, match=r"J4_passthrough_particles\.cs: has no field uid"):
        read_particles(job)
