"""STAR files: every dialect is read, and what is not changed keeps its bytes."""

import os
import time

import pytest

from polardenoise.engine.particles.star import read_star
from polardenoise.engine.particles.star_writing import write_star
from polardenoise.engine.runtime.errors import InputError

# RELION ends its lines with a space, shown as ~.
RELION_31 = b""".replace(b"~", b" ")
# version 30001

data_optics

loop_~
_rlnOpticsGroupName #1~
_rlnOpticsGroup #2~
_rlnVoltage #3~
opticsGroup1            1   300.000000~
opticsGroup2            2   200.000000~
~

# version 30001

data_particles

loop_~
_rlnCoordinateX #1~
_rlnImageName #2~
_rlnOpticsGroup #3~
_someProgram #4~
  10.000000 000001@a.mrcs            1 001~
  20.500000 000002@a.mrcs            2 1e3~
  30.000000 000003@b.mrcs            1 -.5~
~
""".replace(b"~", b" ")


def read(tmp_path, content, name="in.star"):
    (tmp_path / name).write_bytes(content)
    return read_star(tmp_path / name)


def rewrite(document, tmp_path, *changes):
    write_star(document, tmp_path / "out.star", changes)
    return (tmp_path / "out.star").read_bytes()


def test_tables_are_found_with_their_columns(tmp_path):
    optics, particles = read(tmp_path, RELION_31).tables
    assert (optics.name, particles.name) == ("optics", "particles")
    assert particles.labels == ("rlnCoordinateX", "rlnImageName", "rlnOpticsGroup", "someProgram")
    assert particles.column("rlnImageName") == ["000001@a.mrcs", "000002@a.mrcs", "000003@b.mrcs"]
    assert particles.column("someProgram") == ["001", "1e3", "-.5"]
    assert optics.column("rlnVoltage") == ["300.000000", "200.000000"]
    with pytest.raises(KeyError):
        optics.column("rlnImageName")


def test_writing_without_changes_gives_the_bytes_back(tmp_path):
    document = read(tmp_path, RELION_31)
    assert rewrite(document, tmp_path) == RELION_31


def test_replacing_touches_only_the_tokens_asked_for(tmp_path):
    document = read(tmp_path, RELION_31)
    names = ["1@out.mrcs", "2@out.mrcs", "3@out.mrcs"]
    written = rewrite(document, tmp_path, (document.tables[1], {"rlnImageName": names}))
    expected = RELION_31
    for old, new in zip(
        [b"000001@a", b"000002@a", b"000003@b"], [b"1@out", b"2@out", b"3@out"], strict=True
    ):
        expected = expected.replace(old, new)
    assert written == expected


def test_new_columns_come_last_in_any_table(tmp_path):
    document = read(tmp_path, RELION_31)
    optics, particles = document.tables
    written = rewrite(
        document,
        tmp_path,
        (particles, {"class": ["1", "2", "1"], "note": ["a b", "", "c"]}),
        (optics, {"state": ["raw", "raw"], "rlnVoltage": ["300", "200"]}),
    )
    lines = written.decode().splitlines()
    assert "_state #4 " in lines
    assert "_class #5 " in lines
    assert "_note #6 " in lines
    assert "opticsGroup1            1   300 raw " in lines
    assert '  10.000000 000001@a.mrcs            1 001 1 "a b" ' in lines
    new_optics, new_particles = read(tmp_path, written, "again.star").tables
    assert new_particles.column("note") == ["a b", "", "c"]
    assert new_particles.column("someProgram") == ["001", "1e3", "-.5"]
    assert new_optics.labels == (*optics.labels, "state")


def test_a_file_may_be_written_over_itself(tmp_path):
    document = read(tmp_path, RELION_31)
    write_star(document, document.path, [(document.tables[1], {"new": list("abc")})])
    assert read_star(document.path).tables[1].column("new") == list("abc")


def test_columns_of_the_wrong_length_are_refused_and_nothing_is_written(tmp_path):
    document = read(tmp_path, RELION_31)
    with pytest.raises(ValueError, match="2 values for 3 rows"):
        rewrite(document, tmp_path, (document.tables[1], {"new": ["a", "b"]}))
    assert os.listdir(tmp_path) == ["in.star"]


DIALECTS = {
    "relion 3.0": b"data_\n\nloop_\n_rlnImageName #1\n_rlnX #2\n1@a.mrcs 1\n2@a.mrcs 2\n",
    "odd block name": b"data_model_class_1\nloop_\n_rlnImageName\n_rlnX\n1@a.mrcs 1\n2@a.mrcs 2\n",
    "tabs": b"data_images\nloop_\n_rlnImageName\t#1\n_rlnX\t#2\n1@a.mrcs\t1\n2@a.mrcs\t2\n",
    "no newline at the end": b"data_\nloop_\n_rlnImageName\n_rlnX\n1@a.mrcs 1\n2@a.mrcs 2",
    "crlf": b"data_\r\n\r\nloop_\r\n_rlnImageName #1\r\n_rlnX #2\r\n1@a.mrcs 1\r\n2@a.mrcs 2\r\n\r\n",
    "blank lines and comments": b"# v\n\ndata_\n\nloop_\n\n# c\n_rlnImageName\n_rlnX # c\n\n 1@a.mrcs 1\n"
    b"\n# c\n2@a.mrcs 2\n",
    "quotes": b"data_\nloop_\n_rlnImageName\n_rlnX\n\"1@a.mrcs\"  '1'\n'2@a.mrcs'  \"2\"\n",
    "text before the first block": b"co1\tco2\ndata_images\t\t\nloop_\t\n_rlnImageName #1\t\n_rlnX #2\n"
    b"1@a.mrcs 1\t\n2@a.mrcs 2\t\n",
    "indented": b"data_\nloop_\n _rlnImageName\n _rlnX\n   1@a.mrcs 1\n   2@a.mrcs 2\n",
    "byte order mark": b"\xef\xbb\xbfdata_\nloop_\n_rlnImageName\n_rlnX\n1@a.mrcs 1\n2@a.mrcs 2\n",
    "rows like keywords": b"data_\nloop_\n_rlnImageName\n_rlnX\n1@a.mrcs 1\n2@a.mrcs 2\n\ndata_more\nloop_\n_a\n_b\n"
    b"data_001.mrc 1\nloop_2.mrc 2\n_under 3\nDATA.mrc 4\n",
    "optics last": b"data_particles\nloop_\n_rlnImageName\n_rlnX\n1@a.mrcs 1\n2@a.mrcs 2\n"
    b"\ndata_optics\n\n_rlnOpticsGroup 1\n",
    "latin-1": b"data_\nloop_\n_rlnImageName\n_rlnX\n_who\n1@a.mrcs 1 Mich\xe8le\n2@a.mrcs 2 Jos\xe9\n",
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_is_read_and_rewritten(tmp_path, dialect):
    content = DIALECTS[dialect]
    document = read(tmp_path, content)
    table = document.tables[0]
    assert table.column("rlnImageName") == ["1@a.mrcs", "2@a.mrcs"]
    assert table.column("rlnX") == ["1", "2"]
    assert rewrite(document, tmp_path) == content
    written = rewrite(document, tmp_path, (table, {"rlnX": ["7", "8"], "new": ["p", "q"]}))
    again = read(tmp_path, written, "again.star")
    assert again.tables[0].column("rlnImageName") == ["1@a.mrcs", "2@a.mrcs"]
    assert again.tables[0].column("rlnX") == ["7", "8"]
    assert again.tables[0].column("new") == ["p", "q"]
    assert written.count(b"\r\n") == (9 if dialect == "crlf" else 0)
    if dialect == "rows like keywords":
        assert again.tables[1].column("a") == ["data_001.mrc", "loop_2.mrc", "_under", "DATA.mrc"]
    if dialect == "latin-1":
        assert b"Mich\xe8le" in written


def test_single_values_are_a_table_of_one_row(tmp_path):
    content = (
        b"data_optics\n\n_rlnVoltage    300.0  # kV\n_rlnName 'two words'\n\ndata_\nloop_\n_a\n1\n"
    )
    document = read(tmp_path, content)
    optics = document.tables[0]
    assert len(optics) == 1
    assert optics.column("rlnName") == ["two words"]
    written = rewrite(document, tmp_path, (optics, {"rlnVoltage": ["200"], "state": ["raw"]}))
    expected = content.replace(b"300.0", b"200").replace(b"words'\n", b"words'\n_state raw\n")
    assert written == expected


def test_a_row_of_the_wrong_length_is_named(tmp_path):
    for row in (b"3@a.mrcs 3 4\n", b"3@a.mrcs\n"):
        document = read(tmp_path, DIALECTS["relion 3.0"] + row)
        with pytest.raises(
            InputError, match=r"in\.star: row 3 of table data_ has (1 value|3 values) for 2 columns"
        ):
            document.tables[0].column("rlnX")


def test_a_column_that_comes_twice_is_named(tmp_path):
    with pytest.raises(InputError, match="_rlnX comes twice in table data_"):
        read(tmp_path, b"data_\nloop_\n_rlnX\n_rlnX\n1 2\n")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not a STAR file"),
        (b"<html>junk</html>\n", "not a STAR file"),
        (b"loop_\n_a\n1\n", "not a STAR file"),
        (b"\x89PNG\r\n\0\0", "a PNG picture, neither a STAR file nor"),
        (b"\0\1\2" * 100, "a binary file"),
        (
            bytes(208) + b"MAP " + bytes(900),
            "an MRC file, not a STAR file; .* name the stack .mrcs",
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
    ],
)
def test_what_is_no_star_file_is_named(tmp_path, content, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        read(tmp_path, content)
    assert "in.star" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.star: no such file"):
        read_star(tmp_path / "gone.star")
    with pytest.raises(InputError, match="is a folder"):
        read_star(tmp_path)


def test_a_large_file_is_read_in_one_glance(tmp_path):
    rows = 100_000
    line = b"000001@a.mrcs   1 " + b"  123.456000" * 20 + b" \n"
    header = b"data_particles\nloop_\n" + b"".join(b"_c%d #%d\n" % (k, k + 1) for k in range(22))
    document_bytes = header + line * rows
    start = time.process_time()
    document = read(tmp_path, document_bytes)
    names = document.tables[0].column("c0")
    write_star(document, tmp_path / "out.star", [(document.tables[0], {"c0": names, "new": names})])
    # About 2 s on one slow core: a million rows then take less than a minute.
    assert time.process_time() - start < 15
    assert len(names) == rows


def test_every_star_file_of_the_field_comes_back_byte_for_byte(shared_data, tmp_path):
    paths = sorted((shared_data / "particles").rglob("*.star"))
    assert len(paths) > 60
    tables = 0
    for path in paths:
        if path.name.startswith("lfs_pointer"):
            continue
        document = read_star(path)
        assert rewrite(document, tmp_path) == path.read_bytes()
        for table in document.tables:
            try:
                columns = [table.column(label) for label in table.labels]
            except InputError:
                assert path.name == "sample.star"  # made with a row too long
                continue
            written = rewrite(
                document,
                tmp_path,
                (table, {table.labels[0]: columns[0], "new": ["x"] * len(table)}),
            )
            (again,) = (
                other
                for other in read(tmp_path, written, "again.star").tables
                if other.labels == (*table.labels, "new")
            )
            assert [again.column(label) for label in table.labels] == columns
            tables += 1
    assert tables > 100
