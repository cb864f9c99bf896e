"""`select` of cryoSPARC's particles: rows to the bit, joined by uid, in files that the project takes back."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from polardenoise.engine.cli import main
from polardenoise.engine.particles.cryosparc.fields import CryosparcFiles
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.star import read_star
from polardenoise.engine.particles.star_writing import write_star
from tests.cryosparc_files import fields_of, read_cs, write_cs
from tests.denoise_files import denoise, save_tiny_model, write_set

COUNT = 24
SCORES = np.linspace(0.1, 0.9, COUNT).round(4)
CLASSES = np.arange(COUNT) % 4 + 1
GOOD = SCORES >= 0.5
GROUP = """created: 2026-01-31 09:26:53.589793
group:
  description: 'Particles: all of them'
  name: particles_selected
  title: All particles
  type: particle
results:
  alignments3D:
    num_items: 24
    metafile: '>J3_particles.cs'
    type: particle.alignments3D
  blob:
    metafile: ">J3_passthrough_particles.cs"
    num_items: 30
    type: particle.blob
  ctf:
    metafile: '>J3_passthrough_particles.cs'
    num_items: 30
    type: particle.ctf
version: v4.7.0
"""


@pytest.fixture
def fields(tmp_path, monkeypatch):
    """A job's particles, J3/set.cs, and out.star, as `denoise` writes it of them."""
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path, count=COUNT)
    fields = fields_of("in.star", tmp_path)
    fields["blob/path"] = np.array([b"stack.mrcs"] * COUNT)  # from the project's folder
    fields["alignments3D/note"] = np.arange(3 * COUNT, dtype=">i2").reshape(COUNT, 3)
    write_cs(tmp_path / "J3/set.cs", fields)
    write_scored("J3/set.cs")
    return fields


def write_scored(source, target="out.star", files=None, order=slice(None), **more):
    """Write scores and classes beside the columns of a set of cryoSPARC, its rows in some order."""
    document = read_particles(source, cryosparc=files).document
    write_star(document, target, [(document.tables[-1], columns_of_scores() | more)])
    lines = Path(target).read_text().splitlines(keepends=True)
    rows = [place for place, line in enumerate(lines) if "@" in line]
    for place, line in zip(rows, np.array(lines)[rows][order], strict=False):
        lines[place] = line
    Path(target).write_text("".join(lines))


def columns_of_scores():
    return {
        "polardenoiseScore": [str(score) for score in SCORES],
        "polardenoiseClass": [str(number) for number in CLASSES],
    }


def split(fields, folder, extra=6):
    """Write the set as a job that has changed poses only, and a passthrough in another order with more particles."""
    own = {name: v for name, v in fields.items() if name == "uid" or name.startswith("align")}
    more = np.append(np.random.default_rng(1).permutation(COUNT), np.arange(extra))
    rest = {name: v[more] for name, v in fields.items() if not name.startswith("align")}
    rest["uid"] = rest["uid"].copy()
    rest["uid"][COUNT:] = np.arange(extra) + 5
    return (
        write_cs(folder / "J3_particles.cs", own),
        write_cs(folder / "J3_passthrough_particles.cs", rest),
    )


def select(*words, raw="J3/set.cs", output="clean.cs", scored="out.star"):
    words = words or ("--min-score", "0.5")
    return main(["select", str(scored), "--particles", str(raw), "-o", str(output), *words])


def check_rows(path, source, uids):
    """The rows of some particles, and nothing else, byte by byte, in the order of the file that they come from."""
    found, raw = read_cs(path), read_cs(source)
    assert found.dtype == raw.dtype
    assert found.dtype.descr == raw.dtype.descr
    kept = np.flatnonzero(np.isin(raw["uid"], uids))
    assert found["uid"].tolist() == raw["uid"][kept].tolist()
    assert sorted(found["uid"].tolist()) == sorted(np.asarray(uids).tolist())
    size = raw.dtype.itemsize
    raw_bytes = Path(source).read_bytes()[-len(raw) * size :]
    expected = b"".join(raw_bytes[row * size : (row + 1) * size] for row in kept)
    assert Path(path).read_bytes()[-len(found) * size :] == expected


def error_of(capsys, *words, **names):
    """One line, exit code 2, and nothing written anywhere."""
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    capsys.readouterr()
    assert select(*words, **names) == 2
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (("--min-score", "0.5"), GOOD),
        (("--classes", "2,4"), np.isin(CLASSES, [2, 4])),
        (("--top-fraction", "0.25"), np.sort(SCORES)[-6] <= SCORES),
    ],
)
def test_rows_are_kept_to_the_bit(fields, capsys, words, kept):
    source = Path("J3/set.cs").read_bytes()
    assert select(*words, "--json", "said.json") == 0
    check_rows("clean.cs", "J3/set.cs", fields["uid"][kept])
    assert Path("J3/set.cs").read_bytes() == source
    said = json.loads(Path("said.json").read_text())
    assert said["kept"] == kept.sum()
    assert said["files"] == ["clean.cs", "clean.csg"]
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0].startswith(f"clean.cs: {kept.sum()} of 24 raw particles kept")
    assert lines[1].startswith("clean.csg: names clean.cs; import it")


def test_the_join_is_by_uid_whatever_the_order(fields):
    order = np.random.default_rng(3).permutation(COUNT)
    write_scored("J3/set.cs", order=order)
    scored = read_particles("out.star")
    good = scored.numbers("polardenoiseScore") >= 0.5
    uids = [int(uid) for uid in scored.column("ucsfUid")]
    assert uids == fields["uid"][order].tolist()
    assert select() == 0
    check_rows("clean.cs", "J3/set.cs", np.array(uids, dtype=np.uint64)[good])
    assert select(output="clean.star") == 0  # in the raw set's order as well
    kept = np.isin(fields["uid"], np.array(uids, dtype=np.uint64)[good])
    clean = [int(uid) for uid in read_particles("clean.star").column("ucsfUid")]
    assert clean == fields["uid"][kept].tolist()


def test_uids_of_64_bits_are_told_apart_whatever_their_sign(fields):
    """Neighbouring numbers above 2**53 and 2**63, which are one as floating-point numbers; signed in the raw file."""
    fields["uid"] = np.arange(2**63 - 12, 2**63 + 12, dtype=np.uint64)
    write_cs(Path("J3/set.cs"), fields)
    write_scored("J3/set.cs")
    write_cs(Path("J3/set.cs"), fields | {"uid": fields["uid"].view(np.int64)})
    assert select() == 0
    check_rows("clean.cs", "J3/set.cs", fields["uid"].view(np.int64)[GOOD])


def test_bytes_between_fields_stay_and_long_headers_are_written(fields):
    """Records with padding, and more fields than version 1 of the format has room for."""
    extra = [(f"alignments_class_{number}/some_long_field_name", "<u4") for number in range(1500)]
    kinds = [(name, v.dtype, v.shape[1:]) for name, v in fields.items()]
    records = np.zeros(COUNT, dtype=np.dtype([*kinds, *extra, ("x/flag", "?")], align=True))
    for name, values in fields.items():
        records[name] = values
    raw = np.frombuffer(records.tobytes(), dtype=np.uint8).reshape(COUNT, -1).copy()
    raw[:, -1] = np.arange(COUNT)  # behind the last field
    with open("J3/set.cs", "wb") as file:
        np.lib.format.write_array(file, raw.reshape(-1).view(records.dtype), version=(2, 0))
    assert select() == 0
    check_rows("clean.cs", "J3/set.cs", fields["uid"][GOOD])
    assert Path("clean.cs").read_bytes()[-records.dtype.itemsize :] == raw[-1].tobytes()


def test_a_passthrough_is_kept_beside_and_named_by_a_group(fields):
    """The three are a set: what a group says of them is read as what the two files said."""
    folder = Path("J3")
    own, rest = split(fields, folder)
    write_scored(own, files=CryosparcFiles(rest))
    assert select("--min-score", "0.5", "--passthrough", str(rest), raw=own) == 0
    check_rows("clean.cs", own, fields["uid"][GOOD])
    check_rows("clean_passthrough.cs", rest, fields["uid"][GOOD])
    group = yaml.safe_load(Path("clean.csg").read_text())
    assert group["group"]["type"] == "particle"
    told = {slot: fact["metafile"] for slot, fact in group["results"].items()}
    assert told == {
        "alignments3D": ">clean.cs",
        "blob": ">clean_passthrough.cs",
        "ctf": ">clean_passthrough.cs",
    }
    assert {fact["num_items"] for fact in group["results"].values()} == {GOOD.sum()}
    assert group["results"]["ctf"]["type"] == "particle.ctf"
    clean, raw = read_particles("clean.csg"), read_particles(own, cryosparc=CryosparcFiles(rest))
    kept = np.isin([int(uid) for uid in raw.column("ucsfUid")], fields["uid"][GOOD])
    assert sorted(clean.column("ucsfUid")) == sorted(np.array(raw.column("ucsfUid"))[kept])
    order = np.argsort(np.argsort([int(uid) for uid in clean.column("ucsfUid")]))
    rows = np.flatnonzero(kept)[np.argsort(np.array(fields["uid"])[kept])][order]
    assert (read_images(clean, slice(None)) == read_images(raw, slice(None))[rows]).all()
    assert clean.random_subset.tolist() == raw.random_subset[rows].tolist()


def test_slots_of_classes_are_alignments(fields):
    fields["alignments_class_0/pose"] = fields["alignments3D/pose"]
    write_cs(Path("J3/set.cs"), fields)
    assert select() == 0
    results = yaml.safe_load(Path("clean.csg").read_text())["results"]
    assert results["alignments_class_0"]["type"] == "particle.alignments3D"
    assert set(results) == {"alignments3D", "alignments_class_0", "blob", "ctf"}


@pytest.mark.parametrize("output", ["clean.cs", "clean.csg", "deep/it's.cs"])
def test_a_group_is_kept_with_all_that_it_says(fields, output):
    own, rest = split(fields, Path("J3"), extra=0)
    Path("J3/J3_particles.csg").write_text(GROUP)
    write_scored("J3/J3_particles.csg")
    scored = read_particles("out.star")
    uids = np.array([int(uid) for uid in scored.column("ucsfUid")], dtype=np.uint64)[GOOD]
    for _ in range(2):  # its own are replaced
        assert select(raw="J3/J3_particles.csg", output=output) == 0
        stem = output.rpartition(".")[0]
        check_rows(f"{stem}.cs", own, uids)
        check_rows(f"{stem}_passthrough.cs", rest, uids)
    said, expected = (yaml.safe_load(text) for text in (Path(f"{stem}.csg").read_text(), GROUP))
    for slot, name in (("alignments3D", ""), ("blob", "_passthrough"), ("ctf", "_passthrough")):
        assert said["results"][slot]["metafile"] == f">{Path(stem).name}{name}.cs"
        assert said["results"][slot]["num_items"] == GOOD.sum()
        for key in ("metafile", "num_items"):
            expected["results"][slot][key] = said["results"][slot][key]
    assert said == expected
    again = read_particles(f"{stem}.csg", cryosparc=CryosparcFiles(project=Path()))
    assert sorted(int(uid) for uid in again.column("ucsfUid")) == sorted(uids.tolist())


def test_a_star_file_is_that_which_the_set_amounts_to(fields):
    assert select(output="clean.star") == 0
    assert sorted(path.name for path in Path().glob("clean*")) == ["clean.star"]
    clean, raw = read_star("clean.star"), read_particles("J3/set.cs").document
    assert clean.tables[-1].labels == raw.tables[-1].labels
    kept = np.array(list(raw.tables[-1].rows))[GOOD].tolist()
    assert list(clean.tables[-1].rows) == kept
    assert list(clean.tables[0].rows) == list(raw.tables[0].rows)
    own, rest = split(fields, Path("J3"))
    assert select("--classes", "1", "--passthrough", str(rest), raw=own, output="clean.star") == 0
    assert len(read_particles("clean.star")) == 6


def test_halves_that_were_drawn_are_told_and_go_into_a_star_file(fields, capsys):
    bare = {name: v for name, v in fields.items() if name != "alignments3D/split"}
    write_cs(Path("J3/set.cs"), bare)
    halves = np.arange(COUNT) // 3 % 2 + 1
    write_scored("J3/set.cs", rlnRandomSubset=[str(half) for half in halves])
    Path("out.json").write_text(json.dumps({"program": "polardenoise", "halves": "drawn"}))
    assert select() == 0
    assert "drawn for denoising: a .cs has no place for them" in capsys.readouterr().out
    check_rows("clean.cs", "J3/set.cs", fields["uid"][GOOD])
    assert select(output="clean.star") == 0
    assert "written as rlnRandomSubset" in capsys.readouterr().out
    assert read_particles("clean.star").random_subset.tolist() == halves[GOOD].tolist()


def test_a_part_of_the_rows_is_found_by_its_provenance(fields, capsys):
    lines = Path("out.star").read_text().splitlines(keepends=True)
    rows = [line for line in lines if "@" in line]
    Path("part.star").write_text("".join(one for one in lines if one not in rows[:4] + rows[16:]))
    assert "set.cs: row 1: particle" in error_of(capsys, scored="part.star")
    Path("part.json").write_text(json.dumps({"program": "polardenoise", "first_row": 4}))
    assert select("--classes", "1", scored="part.star") == 0
    check_rows("clean.cs", "J3/set.cs", fields["uid"][[4, 8, 12]])
    Path("part.json").write_text(json.dumps({"program": "polardenoise", "first_row": 3}))
    assert "is not among the 12 of part.star (24 there)" in error_of(capsys, scored="part.star")


def test_particles_of_one_side_only_are_refused(fields, capsys):
    uids = fields["uid"]
    fewer = {name: v[np.arange(COUNT) != 5] for name, v in fields.items()}
    write_cs(Path("J3/fewer.cs"), fewer)
    error = error_of(capsys, raw="J3/fewer.cs")
    assert f"out.star: row 6: particle {uids[5]} (_ucsfUid) is not among the 23 of" in error
    assert "J3/fewer.cs; give --particles the file that was denoised" in error
    more = {name: np.concatenate([v, v[:1]]) for name, v in fields.items()}
    more["uid"][-1] = 77
    write_cs(Path("J3/more.cs"), more)
    error = error_of(capsys, raw="J3/more.cs")
    assert "J3/more.cs: row 25: particle 77 (uid) is not among the 24 of out.star" in error
    for output in ("clean.cs", "clean.star"):
        more["uid"][-1] = uids[2]
        write_cs(Path("J3/twice.cs"), more)
        error = error_of(capsys, raw="J3/twice.cs", output=output)
        assert f"twice.cs: row 25: uid {uids[2]} is also that of row 3; remove" in error


def test_what_is_wrong_with_uids_of_the_scored_file_is_told(fields, capsys):
    text, uids = Path("out.star").read_text(), [str(uid) for uid in fields["uid"].tolist()]
    for token in ("none", "1.5e19", "-3", str(2**64)):
        Path("out.star").write_text(text.replace(uids[3], token))
        error = error_of(capsys)
        assert f"out.star: row 4: _ucsfUid is {token}, not the uid of a particle" in error
    Path("out.star").write_text(text.replace(uids[3], uids[1]))
    assert f"row 4: _ucsfUid {uids[1]} is also that of row 2" in error_of(capsys)
    Path("out.star").write_text(text.replace("_ucsfUid", "_ucsfOther"))
    assert "out.star: has no _ucsfUid, by which particles of cryoSPARC" in error_of(capsys)


def test_a_passthrough_of_other_particles_is_refused(fields, capsys):
    own, rest = split(fields, Path("J3"), extra=0)
    spoiled = {name: read_cs(rest)[name].copy() for name in read_cs(rest).dtype.names}
    lost = spoiled["uid"][3]
    spoiled["uid"][3] = 12345
    write_cs(Path("J3/other.cs"), spoiled)
    words = ("--min-score", "0.5", "--passthrough", "J3/other.cs")
    assert f"other.cs: has no particle {lost} (uid of row" in error_of(capsys, *words, raw=own)
    spoiled["uid"][3] = spoiled["uid"][7]
    write_cs(Path("J3/other.cs"), spoiled)
    assert "other.cs: row 8: uid" in error_of(capsys, *words, raw=own)
    nothing = error_of(capsys, "--min-score", "0.5", "--passthrough", "J3/none.cs")
    assert "J3/none.cs: no such file" in nothing
    Path("J3/J3_particles.csg").write_text(GROUP)
    error = error_of(capsys, *words, raw="J3/J3_particles.csg")
    assert "names the passthrough of its job itself" in error


def test_files_that_do_not_fit_are_one_line(fields, capsys):
    assert "must end in .star or .cs or .csg" in error_of(capsys, output="clean.txt")
    assert "in.star is no data set of cryoSPARC" in error_of(capsys, raw="in.star")
    words = ("--min-score", "0.5", "--passthrough", "J3/set.cs")
    error = error_of(capsys, *words, raw="in.star", output="clean.star")
    assert "--passthrough: is for a .cs of cryoSPARC; leave it out with in.star" in error
    assert "no particle is left of 24" in error_of(capsys, "--min-score", "0.95")
    error = error_of(capsys, output="a\tb.cs")
    assert "no group file (.csg) can hold this name" in error
    Path("J3/cut.cs").write_bytes(Path("J3/set.cs").read_bytes()[:-9])
    assert "J3/cut.cs: cut short" in error_of(capsys, raw="J3/cut.cs")


def test_inputs_and_files_of_others_are_not_replaced(fields, capsys):
    own, rest = split(fields, Path("J3"))
    Path("J3/J3_particles.csg").write_text(GROUP)
    words = ("--min-score", "0.5", "--passthrough", str(rest))
    for raw, output in (("set.cs", "J3/set.cs"), ("set.cs", "J3/set.csg")):
        assert "would replace the input" in error_of(capsys, raw=f"J3/{raw}", output=output)
    for output in (own, rest):
        error = error_of(capsys, *words, raw=own, output=output)
        assert "would replace the input" in error
    for output in ("J3/J3_particles.cs", "J3/J3_particles.csg"):
        error = error_of(capsys, raw="J3/J3_particles.csg", output=output)
        assert "would replace the input" in error
    write_cs(Path("clean.cs"), fields)
    assert "is there and is no .cs of selected particles" in error_of(capsys)
    Path("clean.cs").unlink()
    Path("clean.csg").write_text(GROUP)
    assert "is there and is no .csg that polardenoise wrote" in error_of(capsys)
    Path("clean.csg").unlink()
    assert select() == 0
    write_cs(Path("clean_passthrough.cs"), fields)
    error = error_of(capsys, *words, raw=own)
    assert "clean_passthrough.cs: is there and is no .cs of selected particles" in error
    Path("clean_passthrough.cs").unlink()
    assert select("--classes", "1") == 0  # its own are


def test_nothing_is_left_where_the_last_file_cannot_be_written(fields, monkeypatch, capsys):
    """All three appear together, or none, and those of an earlier run stay."""
    from polardenoise.engine.particles.cryosparc import tables

    def fail(path, text):
        raise OSError(28, "No space left on device")

    assert select("--classes", "1") == 0
    monkeypatch.setattr(tables, "write_text_atomically", fail)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert select("--classes", "2,3") != 0
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_images_that_are_named_from_the_folder_of_the_set_are_not_lost(fields, capsys):
    """As in an exported group: `>` begins a name that counts from there."""
    write_cs(Path("J3/set.cs"), fields | {"blob/path": np.array([b">x/a.mrcs"] * COUNT)})
    Path("J3/x").mkdir()
    Path("stack.mrcs").rename("J3/x/a.mrcs")
    assert "x/a.mrcs lies beside J3/set.cs and would not be found" in error_of_scored(capsys)
    assert select(output="J3/clean.cs") == 0
    assert len(read_particles("J3/clean.csg")) == GOOD.sum()


def error_of_scored(capsys):
    write_scored("J3/set.cs")
    return error_of(capsys)


def test_what_denoise_leaves_goes_back_to_cryosparc(fields, capsys):
    """The two commands of the README, with a job's particles."""
    source = fields | {"uid": fields["uid"][::-1]}
    write_cs(Path("J3/set.cs"), source)
    save_tiny_model(Path("model"))
    assert denoise("model", "--set-size", "6", "--class-count", "3", source="J3/set.cs") == 0
    score = read_particles("out.star").numbers("polardenoiseScore")
    kept = np.sort(np.argsort(-score, kind="stable")[: COUNT // 2])
    for scored in ("out.star", "out_2d_data.star"):
        assert select("--top-fraction", "0.5", scored=scored) == 0
        check_rows("clean.cs", "J3/set.cs", source["uid"][kept])
    assert len(read_particles("clean.csg")) == COUNT // 2
    # What denoise wrote is neither raw nor in the way.
    words = ("--top-fraction", "0.5")
    for output in ("out.cs", "out.csg"):
        error = error_of(capsys, *words, output=output)
        assert "out.cs: is there and is no .cs of selected particles" in error
    for output in ("clean.cs", "clean.star"):
        error = error_of(capsys, *words, raw="out.cs", output=output)
        assert "out.cs: holds denoised images" in error


@pytest.mark.shared_data
@pytest.mark.parametrize(
    "name", ["cryosparc_P12_J24_001_particles.cs", "cryosparc_J2_particles_exported.cs"]
)
def test_real_rows_are_kept_to_the_bit(shared_data, tmp_path, monkeypatch, name):
    """Of jobs whose images are not here: rows are theirs, with every field that cryoSPARC keeps."""
    monkeypatch.chdir(tmp_path)
    source = shared_data / "particles" / "cs" / name
    uids = read_cs(source)["uid"]
    generator = np.random.default_rng(0)
    order, score = generator.permutation(len(uids)), generator.uniform(size=len(uids)).round(4)
    write_stack("out.mrcs", np.ones((len(uids), 8, 8), dtype=np.float32), 3.0)
    rows = [
        f"{place + 1}@out.mrcs {uid} {value}\n"
        for place, (uid, value) in enumerate(zip(uids[order], score, strict=True))
    ]
    labels = "_rlnImageName\n_ucsfUid\n_polardenoiseScore\n"
    optics = "data_optics\n\n_rlnOpticsGroup 1\n_rlnImagePixelSize 3.0\n\n"
    Path("out.star").write_text(f"{optics}data_particles\n\nloop_\n{labels}{''.join(rows)}")
    assert select("--top-fraction", "0.4", raw=source) == 0
    best = np.argsort(-score, kind="stable")[: int(np.ceil(0.4 * len(uids)))]
    check_rows("clean.cs", source, uids[order][best])
    slots = yaml.safe_load(Path("clean.csg").read_text())["results"]
    assert set(slots) == {n.partition("/")[0] for n in read_cs(source).dtype.names} - {"uid"}
