"""cryoSPARC's particles through the commands: what their STAR file gives, and a .cs that joins it to the project."""

import json

import numpy as np
import pytest

from polardenoise.engine.cli import main
from polardenoise.engine.particles.mrc import read_volume
from polardenoise.engine.particles.particle_set import read_particles
from tests.cryosparc_files import fields_of, read_cs, write_cs
from tests.denoise_files import denoise, images_of, write_set
from tests.particle_files import write_particle_files


@pytest.fixture
def fields(folder):
    """Write a set as STAR and as a job of a project; give the fields of the latter."""
    write_set(folder)
    fields = fields_of("in.star", folder)
    write_cs(folder / "J3" / "set.cs", fields)
    return fields


def test_denoised_images_are_those_of_the_star_file(folder, model, fields, capsys):
    assert denoise(model) == 0
    capsys.readouterr()
    assert denoise(model, source="J3/set.cs", output="cs.star") == 0
    assert "cs.cs: names the new images by uid" in capsys.readouterr().out
    assert (images_of("cs.star") == images_of("out.star")).all()
    uids = [int(uid) for uid in read_particles("cs.star").column("ucsfUid")]
    assert uids == fields["uid"].tolist()


def test_uids_join_the_new_images_to_the_project(folder, model, fields):
    options = ("--rows", "3:13", "--output-box", "working")
    assert denoise(model, *options, source="J3/set.cs", output="part.star") == 0
    records = read_cs("part.cs")
    assert records["uid"].tolist() == fields["uid"][3:13].tolist()
    assert {path.decode() for path in records["blob/path"]} == {str(folder / "part.mrcs")}
    assert records["blob/idx"].tolist() == list(range(10))
    out = read_particles("part.star")
    assert (records["blob/shape"] == out.box).all()
    assert np.allclose(records["blob/psize_A"], out.pixel_size)
    assert (records["blob/sign"] == -1).all()  # as the input says: contrast is given back
    # It is a data set itself: the project's fields come from its passthrough.
    again = ["reconstruct", "part.cs", "-o", "map", "--passthrough", "J3/set.cs"]
    assert main(again) == 0


def test_what_the_set_says_of_its_pixels_stays_to_the_bit(folder, model, fields):
    fields["blob/psize_A"][:] = np.float32(1.3099979162216187)
    write_cs(folder / "J3" / "set.cs", fields)
    assert denoise(model, source="J3/set.cs") == 0
    assert (read_cs("out.cs")["blob/psize_A"] == fields["blob/psize_A"]).all()


def test_fields_are_named_as_the_data_set_has_them(folder, model, fields, capsys):
    """What `denoise` and `reconstruct` say of a .cs knows no columns of RELION."""
    assert denoise(model, source="J3/set.cs") == 0
    said = capsys.readouterr().out
    assert "overlaps were not checked: the file has no location/micrograph_path" in said
    assert "halves: alignments3D/split" in said
    assert "rln" not in said
    bare = {k: v for k, v in fields.items() if not k.startswith(("alignments3D", "ctf/"))}
    write_cs(folder / "J3" / "bare.cs", bare)
    for words, named in (
        (["reconstruct", "J3/bare.cs", "-o", "map"], "no angles (alignments3D/pose)"),
        (["denoise", "J3/bare.cs", "-o", "b.star", "--ctf-state", "raw"], "has no ctf/df1_A"),
    ):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert named in error
        assert "rln" not in error


def test_the_run_goes_on_and_its_data_set_is_written_again(folder, model, fields, capsys):
    assert denoise(model, source="J3/set.cs") == 0
    before = (folder / "out.cs").read_bytes()
    (folder / "out.cs").unlink()
    assert denoise(model, "--resume", source="J3/set.cs") == 0
    assert (folder / "out.cs").read_bytes() == before
    assert denoise(model, source="J3/set.cs") == 0  # replaces its own
    (folder / "other.cs").write_bytes(before)
    capsys.readouterr()
    assert denoise(model, source="J3/set.cs", output="other.star") == 2
    assert "is there and is no .cs that polardenoise wrote" in capsys.readouterr().err
    assert denoise(model, source="J3/set.cs", output="J3/set.star") == 2
    assert "would replace the input" in capsys.readouterr().err


def test_another_passthrough_is_another_run(folder, model, fields, capsys):
    rest = {name: values for name, values in fields.items() if not name.startswith("blob/")}
    write_cs(folder / "J3" / "blobs.cs", {k: v for k, v in fields.items() if k not in rest} | rest)
    write_cs(folder / "J3" / "own.cs", rest)
    words = ("--passthrough", "J3/blobs.cs", "--project", str(folder))
    assert denoise(model, *words, source="J3/own.cs") == 0
    facts = json.loads((folder / "out.json").read_text())
    assert facts["passthrough"].endswith("J3/blobs.cs")
    write_particle_files(folder / "clean.star", images_of("out.star").numpy(), 3.0)
    capsys.readouterr()
    assert main(["evaluate", "out.star", "--truth", "clean.star"]) == 0
    assert "noisy input" in capsys.readouterr().out  # found again, with its passthrough
    first = facts["run"]
    write_cs(folder / "J3" / "blobs.cs", fields | {"extra/x": fields["uid"]})
    assert denoise(model, *words, "--resume", source="J3/own.cs") == 2
    assert "was made with another input" in capsys.readouterr().err
    assert denoise(model, *words, source="J3/own.cs") == 0
    assert json.loads((folder / "out.json").read_text())["run"] != first


def test_reconstruct_and_evaluate_take_it(folder, fields):
    for source, output in (("J3/set.cs", "of_cs"), ("in.star", "of_star")):
        assert main(["reconstruct", source, "-o", output]) == 0
    maps = [read_volume(f"{name}/volume.mrc")[0] for name in ("of_cs", "of_star")]
    assert abs(maps[0] - maps[1]).max() < 1e-4 * abs(maps[1]).max()
    write_particle_files(folder / "clean.star", images_of("in.star").numpy(), 3.0)
    words = ["evaluate", "J3/set.cs", "--truth", "clean.star", "--json", "e.json"]
    assert main(words) == 0
    expected = ["evaluate", "in.star", "--truth", "clean.star", "--json", "f.json"]
    assert main(expected) == 0
    found = [
        json.loads((folder / name).read_text())["relative_mse"] for name in ("e.json", "f.json")
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-4)
