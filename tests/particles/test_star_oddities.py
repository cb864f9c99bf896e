"""STAR files that are odd, and what is written after them: each is read again as what it was."""

import os

import numpy as np
import pytest
import starfile

from polardenoise.engine.particles.image_names import read_place
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.star import is_quotable, quote_token, read_star, split_tokens
from polardenoise.engine.particles.star_writing import write_particles, write_star
from polardenoise.engine.particles.token_numbers import number_tokens, numbers_or_nan
from polardenoise.engine.runtime.errors import InputError


def add_and_read_again(folder, text, label="added", value="1"):
    """Add a column to the first table of a text; give the table as it is read again."""
    (folder / "in.star").write_bytes(text if isinstance(text, bytes) else text.encode())
    document = read_star(folder / "in.star")
    table = document.tables[0]
    write_star(document, folder / "out.star", [(table, {label: [value] * len(table)})])
    return read_star(folder / "out.star").tables[0]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r", " ", "\t", "\n\n", " # c"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_block_of_single_values_may_end_as_it_likes(tmp_path, end, line_end):
    text = line_end.join(["data_", "", "_rlnImageName 1@a.mrcs", "_rlnImagePixelSize 2.0"]) + end
    table = add_and_read_again(tmp_path, text)
    assert table.labels == ("rlnImageName", "rlnImagePixelSize", "added")
    assert table.column("rlnImagePixelSize") == ["2.0"]
    assert table.column("added") == ["1"]
    if end in ("", "\n") and line_end == "\n":
        theirs = starfile.read(tmp_path / "out.star")
        assert float(theirs["added"] if isinstance(theirs, dict) else theirs["added"].iloc[0]) == 1


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r", " ", "\n\n"])
def test_the_last_row_of_a_loop_may_end_as_it_likes(tmp_path, end):
    text = "data_\nloop_\n_rlnImageName\n_x\n1@a.mrcs 3\n2@a.mrcs 4" + end
    table = add_and_read_again(tmp_path, text)
    assert table.column("x") == ["3", "4"]
    assert table.column("added") == ["1", "1"]


@pytest.mark.parametrize("last_label", ["_rlnImageName", "_rlnImageName #1"])
def test_a_loop_that_ends_with_its_labels_has_no_rows(tmp_path, last_label):
    assert len(add_and_read_again(tmp_path, f"data_\nloop_\n{last_label}")) == 0


ONE_COLUMN = [
    ("data_set1/a.mrc\ndata_set1/b.mrc\n", ["data_set1/a.mrc", "data_set1/b.mrc"]),
    ("data_a.mrc\nx.mrc\n", ["data_a.mrc", "x.mrc"]),
    ("data_1\nx.mrc\n", ["data_1", "x.mrc"]),
    ("a.mrc\ndata_b.mrc", ["a.mrc", "data_b.mrc"]),
    ("data_a.mrc\n\ndata_optics\n\nloop_\n_y\n1\n", ["data_a.mrc"]),
    ("data_a.mrc\n# c\ndata_optics\n_y 1\n", ["data_a.mrc"]),
    ("a.mrc\ndata_empty\n", ["a.mrc"]),
]


@pytest.mark.parametrize(("rows", "values"), ONE_COLUMN)
def test_values_in_a_loop_of_one_column_may_look_like_a_block(tmp_path, rows, values):
    (tmp_path / "in.star").write_text("data_x\nloop_\n_rlnMicrographName\n" + rows)
    assert read_star(tmp_path / "in.star").tables[0].column("rlnMicrographName") == values


VALUES = [
    *(
        "plain",
        "a b",
        "a'b",
        'a"b',
        "'a",
        '"a',
        "#a",
        "_a",
        "data_a",
        "LOOP_",
        "save_x",
        "$a",
        "[a",
        ";a",
    ),
    *("", "a 'b c", 'a "b c', "é", "\u00a0", "a#b", "-nan", "x" * 10_000, "\udcff"),
]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_that_can_be_quoted_comes_back(tmp_path, value):
    assert is_quotable(value)
    for rows in ("1@a.mrcs", "1@a.mrcs 2"):
        labels = "_rlnImageName\n" + ("_x\n" if " " in rows else "")
        table = add_and_read_again(tmp_path, f"data_\nloop_\n{labels}{rows}\n", value=value)
        assert table.column("added") == [value]
    table = add_and_read_again(tmp_path, "data_\nloop_\n_a\nx\ny\n", "a", value)
    assert table.column("a") == [value, value]


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a 'b\" c", "' \"", "\"a' b"])
def test_a_value_that_cannot_be_quoted_is_known(value):
    assert not is_quotable(value)
    assert "\n" in value or "\r" in value or split_tokens(quote_token(value)) != [value]


def test_a_stack_of_an_odd_name_is_found_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).standard_normal((2, 8, 8)).astype(np.float32)
    for name in ("a b.mrcs", "data_.mrcs", "a'b.mrcs", '#a"b.mrcs', os.fsdecode(b"\xff\xfe.mrcs")):
        write_stack(tmp_path / name, images, 2.0)
        (tmp_path / "in.star").write_text(
            "data_\nloop_\n_rlnImageName\n_rlnPixelSize\n1@x 2\n2@x 2\n"
        )
        document = read_star(tmp_path / "in.star")
        names = [f"{number}@{name}" for number in (1, 2)]
        write_star(document, tmp_path / "out.star", [(document.tables[0], {"rlnImageName": names})])
        particles = read_particles(tmp_path / "out.star")
        assert [path.name for path in particles.stacks] == [name]
        write_particles(particles, tmp_path / "again.star", names, {}, {"x": ["1"]})
        assert read_particles(tmp_path / "again.star").table.column("x") == ["1", "1"]


@pytest.mark.parametrize(
    ("index", "place"),
    [("1", 0), ("000012", 11), ("0", -1), ("", -1), ("-1", -1), ("١٢", -1), ("1.0", -1), ("²", -1)],
)
def test_numbers_of_images_are_ascii(index, place):
    assert read_place(index) == place


def test_numbers_of_thousands_of_digits_are_past_every_stack(tmp_path):
    assert read_place("9" * 100_000) == read_place("9" * 13)
    assert read_place("0" * 100_000 + "7") == 6
    write_stack(tmp_path / "a.mrcs", np.eye(8, dtype=np.float32)[None], 2.0)
    (tmp_path / "in.star").write_text(
        f"data_\nloop_\n_rlnImageName\n_rlnPixelSize\n{'9' * 9000}@{tmp_path / 'a.mrcs'} 2\n"
    )
    with pytest.raises(InputError, match="row 1 asks for image"):
        read_particles(tmp_path / "in.star")


def test_a_hundred_thousand_columns_are_read_in_seconds(tmp_path):
    labels = "".join(f"_x{number}\n" for number in range(100_000))
    (tmp_path / "in.star").write_text(
        f"data_\nloop_\n_rlnImageName\n{labels}1@a {'1 ' * 100_000}\n"
    )
    assert len(read_star(tmp_path / "in.star").tables[0].labels) == 100_001


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "loop"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "in.star"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    with pytest.raises(InputError) as caught:
        read_star(path)
    assert "\n" not in str(caught.value)


LIMITS = [
    *(("rlnImagePixelSize", value) for value in ("0", "-1", "1e-300", "1e6", "nan")),
    *(("rlnDefocusU", value) for value in ("1e30", "-1e300")),
    *(("rlnDefocusV", value) for value in ("1e9",)),
    *(("rlnDefocusAngle", value) for value in ("1e30",)),
    *(("rlnVoltage", value) for value in ("0", "1e9", "-300")),
    *(("rlnSphericalAberration", value) for value in ("1e9", "-1e9")),
    *(("rlnAmplitudeContrast", value) for value in ("-1", "7", "1e300")),
    *(("rlnPhaseShift", value) for value in ("1e300",)),
]


@pytest.mark.parametrize(("label", "value"), LIMITS)
def test_what_no_microscope_can_do_is_refused(tmp_path, label, value):
    write_stack(tmp_path / "a.mrcs", np.eye(8, dtype=np.float32)[None], 2.0)
    columns = {
        "rlnImageName": f"1@{tmp_path / 'a.mrcs'}",
        "rlnImagePixelSize": "2",
        "rlnDefocusU": "1e4",
        "rlnDefocusV": "1e4",
    }
    columns |= {"rlnVoltage": "300", "rlnSphericalAberration": "2.7", label: value}
    text = "data_\nloop_\n" + "".join(f"_{name}\n" for name in columns) + " ".join(columns.values())
    (tmp_path / "in.star").write_text(text + "\n")
    with pytest.raises(InputError, match=f"row 1.*{label}"):
        read_particles(tmp_path / "in.star")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("data_\n_a 1\n" * 12_000, "more than 10,000 tables"),
        ("data_\n_x 1\n" + "a" * 2**23, "line 3 has more than 4,194,304 characters"),
        ("data_\nloop_\n" + "".join(f"_c{n}\n" for n in range(210_000)), "more than 200,000 col"),
    ],
)
def test_what_no_particle_set_has_is_refused_in_one_short_line(tmp_path, text, complaint):
    (tmp_path / "in.star").write_text(text)
    with pytest.raises(InputError, match=complaint) as raised:
        read_star(tmp_path / "in.star")
    assert len(str(raised.value)) < 400


def test_tables_without_images_are_named_a_few_at_a_time(tmp_path):
    (tmp_path / "in.star").write_text("".join(f"data_{n}\n_a 1\n" for n in range(9_000)))
    with pytest.raises(InputError, match="data_7, 8992 more") as raised:
        read_particles(tmp_path / "in.star")
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("token", ["1_0", "١", "1.5", "1e400", "nan"])
def test_tokens_that_only_python_takes_for_whole_numbers_are_no_optics_groups(tmp_path, token):
    write_stack(tmp_path / "a.mrcs", np.ones((1, 8, 8), np.float32), 2.0)
    (tmp_path / "in.star").write_text(
        "data_optics\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n1 2.0\n10 2.0\n\ndata_particles\nloop_\n"
        f"_rlnImageName\n_rlnOpticsGroup\n1@{tmp_path}/a.mrcs {token}\n",
        encoding="utf-8",
    )
    with pytest.raises(InputError, match="does not list"):
        read_particles(tmp_path / "in.star")


def test_numbers_are_what_every_program_reads_as_numbers():
    numbers = numbers_or_nan(["1_000", "2", "٣", "-4e1", "5"])
    np.testing.assert_array_equal(numbers, [np.nan, 2, np.nan, -40, 5])


def test_equal_tokens_get_equal_numbers_without_room_for_the_longest():
    tokens = ["b", "a", "x" * 10_000_000, "b"] * 100  # 16 GB as an array of equal widths
    np.testing.assert_array_equal(number_tokens(tokens)[:4], [1, 0, 2, 1])


@pytest.mark.parametrize(
    ("columns", "values", "named"),
    [
        ("_rlnDetectorPixelSize\n_rlnMagnification\n", "1e306 1e-300", "rlnDetectorPixelSize"),
        ("_rlnPixelSize\n_rlnOriginX\n_rlnOriginY\n", "900 1e306 0", "rlnOriginX"),
    ],
)
def test_numbers_that_overflow_are_refused_in_one_line(tmp_path, recwarn, columns, values, named):
    write_stack(tmp_path / "a.mrcs", np.ones((1, 8, 8), np.float32), 2.0)
    (tmp_path / "in.star").write_text(
        f"data_\nloop_\n_rlnImageName\n{columns}1@{tmp_path}/a.mrcs {values}\n"
    )
    with pytest.raises(InputError, match=named):
        _ = read_particles(tmp_path / "in.star").origins
    assert not recwarn.list
