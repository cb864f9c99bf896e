"""`select`: raw rows by class and score, every column as it was, and mistakes told in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from polardenoise.engine.cli import main
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.star import read_star
from polardenoise.engine.particles.star_writing import write_star
from tests.denoise_files import denoise, save_tiny_model, write_set

COUNT, MANY = 24, 60
SCORES = np.linspace(0.1, 0.9, COUNT).round(4)
CLASSES = np.arange(COUNT) % 4 + 1


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """A raw set, and the same with scores and classes, as `denoise` writes them."""
    monkeypatch.chdir(tmp_path)
    source = write_set(tmp_path, count=COUNT)
    add_columns(source, "out.star")
    return source


def add_columns(source, target, **more):
    document = read_star(source)
    columns = {
        "polardenoiseScore": [str(score) for score in SCORES],
        "polardenoiseClass": [str(number) for number in CLASSES],
        **more,
    }
    write_star(document, target, [(document.tables[-1], columns)])


def select(*words, scored="out.star", raw="in.star", output="clean.star"):
    return main(["select", str(scored), "--particles", str(raw), *words, "-o", str(output)])


def rows_of(path):
    return [line for line in Path(path).read_text().splitlines() if "@" in line]


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (("--min-score", "0.5"), SCORES >= 0.5),
        (("--classes", "2,4"), np.isin(CLASSES, [2, 4])),
        (("--classes", "1-3"), CLASSES < 4),
        (("--top-fraction", "0.25"), np.sort(SCORES)[-6] <= SCORES),
        (("--classes", "1", "--top-fraction", "0.5"), (CLASSES == 1) & (np.arange(COUNT) >= 12)),
        (("--classes", "1", "--min-score", "0.5"), (CLASSES == 1) & (SCORES >= 0.5)),
    ],
)
def test_the_raw_rows_are_kept_token_by_token(scored, words, kept):
    assert select(*words, "--json", "said.json") == 0
    expected = [row for row, keeps in zip(rows_of(scored), kept, strict=True) if keeps]
    assert rows_of("clean.star") == expected
    raw, clean = read_star(scored), read_star("clean.star")
    assert clean.tables[-1].labels == raw.tables[-1].labels
    assert list(clean.tables[0].rows) == list(raw.tables[0].rows)  # optics groups, all of them
    assert len(read_particles("clean.star")) == kept.sum()
    said = json.loads(Path("said.json").read_text())
    gone = ("in_other_classes", "below_min_score", "below_top_fraction")
    assert said["kept"] + sum(said[name] for name in gone) == said["particles"] == COUNT


@pytest.fixture
def humped(tmp_path, monkeypatch):
    """A raw set, and the same with a hump of good scores, and six far below."""
    monkeypatch.chdir(tmp_path)
    source = write_set(tmp_path, count=MANY)
    good = np.linspace(0.88, 0.95, MANY - 6).round(4)
    scores = np.append(good, [0.0, 0.01, 0.02, 0.1, 0.15, 0.2])
    columns = {
        "polardenoiseScore": [str(score) for score in scores],
        "polardenoiseClass": [str(row % 4 + 1) for row in range(MANY)],
    }
    document = read_star(source)
    write_star(document, "out.star", [(document.tables[-1], columns)])
    return source


def test_the_proposal_is_what_its_scores_say(humped, capsys):
    """As `denoise` proposes it: a hump of good ones, and a few far below."""
    assert select("--proposed", "--json", "said.json") == 0
    said = json.loads(Path("said.json").read_text())
    assert said["kept"] == MANY - 6
    assert 0.2 < said["min_score"] < 0.7
    assert f"at the proposed score of {said['min_score']:g};" in capsys.readouterr().out
    assert rows_of("clean.star") == rows_of(humped)[: MANY - 6]
    assert select("--min-score", str(said["min_score"])) == 0
    assert rows_of("clean.star") == rows_of(humped)[: MANY - 6]
    assert select("--proposed", "--classes", "2") == 0
    assert rows_of("clean.star") == rows_of(humped)[1 : MANY - 6 : 4]


def test_nothing_is_taken_as_proposed_where_nothing_is(humped, scored, capsys):
    """`scored` is written over `humped`: fewer particles than a hump takes."""
    assert select("--proposed") == 2
    assert "nothing is proposed for out.star, 24 particles are too few" in capsys.readouterr().err
    assert not Path("clean.star").exists()


def test_nothing_is_proposed_under_a_verdict(humped, capsys):
    reason = "images do not agree with their neighbours (median score 0.02)"
    Path("out.json").write_text(json.dumps({"program": "polardenoise", "verdict": [reason]}))
    assert select("--proposed") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert (
        f"nothing is proposed for out.star, `denoise` said not to trust these images ({reason})"
        in error
    )
    assert "choose some by --classes" in error
    assert select("--proposed", "--classes", "1") == 2
    assert select("--classes", "1") == 0


def write_in_order(source, target, order, image=None):
    """Write a STAR file with some of its rows in another order, an image of the rows another one perhaps."""
    lines = Path(source).read_text().splitlines(keepends=True)
    rows = [line for line in lines if "@" in line]
    first = next(place for place, line in enumerate(lines) if "@" in line)
    lines[first : first + len(rows)] = [rows[row] for row in order]
    Path(target).write_text("".join(lines))


SHUFFLED = np.random.default_rng(3).permutation(COUNT)


@pytest.mark.parametrize("order", [SHUFFLED, np.arange(COUNT)[::-1]])
def test_raw_rows_in_another_order_are_joined_by_their_images(scored, order):
    """Sorted by micrograph, say: kept are the rows of the same images, all columns, in the order of that file."""
    write_in_order(scored, "sorted.star", order)
    assert select("--min-score", "0.5", raw="sorted.star") == 0
    expected = [
        row
        for row, place in zip(rows_of("sorted.star"), order, strict=True)
        if SCORES[place] >= 0.5
    ]
    assert rows_of("clean.star") == expected
    assert sorted(expected) == sorted(np.array(rows_of(scored))[SCORES >= 0.5].tolist())
    assert read_star("clean.star").tables[-1].labels == read_star(scored).tables[-1].labels


def test_halves_that_were_drawn_go_to_the_rows_of_their_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = write_set(tmp_path, count=COUNT, subset=False)
    halves = np.arange(COUNT) // 3 % 2 + 1
    add_columns(source, "out.star", rlnRandomSubset=[str(half) for half in halves])
    write_in_order(source, "sorted.star", SHUFFLED)
    assert select("--min-score", "0.5", raw="sorted.star") == 0
    kept = SHUFFLED[SCORES[SHUFFLED] >= 0.5]
    assert np.array_equal(read_particles("clean.star").random_subset, halves[kept])


def test_raw_rows_that_were_not_denoised_are_left_out_and_counted(scored, capsys):
    write_in_order("out.star", "part.star", [7, 3, 12, 20])
    assert select("--min-score", "0.1", scored="part.star", raw="in.star") == 0
    assert rows_of("clean.star") == [rows_of(scored)[row] for row in (3, 7, 12, 20)]
    said = capsys.readouterr().out
    assert (
        "clean.star: 4 of 4 raw particles kept; 20 more of in.star were not denoised, and" in said
    )


@pytest.mark.parametrize("twice", ["scored", "raw"])
def test_an_image_in_two_rows_of_files_in_different_order_is_refused(scored, capsys, twice):
    """In the same order they are joined by that."""
    again = [*range(COUNT), 5]
    write_in_order("out.star", "often.star", again)
    write_in_order("in.star", "raw.star", again)
    assert select("--min-score", "0.1", scored="often.star", raw="raw.star") == 0
    assert len(rows_of("clean.star")) == COUNT + 1
    Path("clean.star").unlink()
    if twice == "scored":
        write_in_order("in.star", "raw.star", SHUFFLED)
        named = "often.star: row 25: "
    else:
        write_in_order("out.star", "often.star", range(COUNT))
        write_in_order("in.star", "raw.star", again[::-1])
        named = "raw.star: row 20: "
    capsys.readouterr()
    assert select("--min-score", "0.1", scored="often.star", raw="raw.star") == 2
    error = capsys.readouterr().err
    assert named in error
    assert "is also that of row " in error
    assert error.count("\n") == 1
    assert not Path("clean.star").exists()


def test_scores_of_images_that_are_not_to_be_trusted_come_with_a_warning(scored, capsys):
    scores = np.linspace(0.1, 0.9, COUNT).round(4)
    add_columns(scored, "out.star", polardenoiseScore=[str(score) for score in scores])
    facts = {"program": "polardenoise"}
    for verdict in (["images do not agree with their neighbours (median score 0.02)"], []):
        Path("out.json").write_text(json.dumps(facts | {"verdict": verdict}))
        assert select("--min-score", "0.1") == 0
        told = capsys.readouterr().out
        assert ("WARNING: `denoise` said not to trust" in told) == bool(verdict)
        assert ("median score 0.02" in told) == bool(verdict)


def test_a_line_says_what_went_where_and_the_output_can_be_replaced(scored, capsys):
    for _ in range(2):
        assert select("--classes", "1,2", "--min-score", "0.5") == 0
        lines = capsys.readouterr().out.strip().splitlines()
        assert len(lines) == 1
        assert lines[0].startswith(
            "clean.star: 6 of 24 raw particles kept; 12 are in other classes"
        )
        assert "6 score less; halves " in lines[0]


def test_halves_that_were_drawn_go_with_the_rows(tmp_path, monkeypatch):
    """Else the images would be reconstructed in other halves than they were denoised and aligned in."""
    monkeypatch.chdir(tmp_path)
    source = write_set(tmp_path, count=COUNT, subset=False)
    halves = np.arange(COUNT) // 3 % 2 + 1
    add_columns(source, "out.star", rlnRandomSubset=[str(half) for half in halves])
    assert select("--min-score", "0.5") == 0
    assert np.array_equal(read_particles("clean.star").random_subset, halves[SCORES >= 0.5])


def test_a_half_of_which_nothing_is_left_is_told(scored, capsys):
    halves = (np.arange(COUNT) < 12) + 1
    add_columns(scored, "out.star", rlnRandomSubset=[str(half) for half in halves])
    assert select("--min-score", "0.5", "--json", "said.json") == 0
    assert "WARNING: nothing is left of half 2" in capsys.readouterr().out
    assert any("half 2" in doubt for doubt in json.loads(Path("said.json").read_text())["doubts"])
    assert select("--min-score", "0.1") == 0
    assert "nothing is left" not in capsys.readouterr().out


def test_a_part_of_the_rows_is_found_by_its_provenance(scored):
    rows = rows_of("out.star")
    text = Path("out.star").read_text()
    for row in rows[:4] + rows[16:]:
        text = text.replace(row + "\n", "")
    Path("part.star").write_text(text)
    facts = {"program": "polardenoise", "first_row": 4}
    Path("part.json").write_text(json.dumps(facts))
    assert select("--classes", "1", scored="part.star") == 0
    assert rows_of("clean.star") == [rows_of(scored)[row] for row in (4, 8, 12)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nothing to select by; give --proposed, --min-score"),
        (("--proposed", "--min-score", "0.2"), "--proposed, --min-score: both name a least score"),
        (("--min-score", "1.5"), "--min-score 1.5: must be from 0 to 1"),
        (("--min-score", "nan"), "--min-score nan: must be from 0 to 1"),
        (("--top-fraction", "-0.1"), "--top-fraction -0.1: must be from 0 to 1 and not 0"),
        (("--top-fraction", "0"), "--top-fraction 0: must be from 0 to 1 and not 0"),
        (("--classes", "1,x"), "--classes 1,x: give numbers from 1"),
        (("--classes", "0"), "--classes 0: give numbers from 1"),
        (("--classes", "3-2"), "--classes 3-2: give numbers from 1"),
        (("--classes", "5"), "there is no class 5 in out.star, whose classes are 1 to 4"),
        (
            ("--min-score", "0.95"),
            "no particle is left of 24 (the best score is 0.9000, which is less than 0.95); ask for less",
        ),
        (
            ("--min-score", "0.85", "--classes", "1"),
            "(6 are in these classes, the best score is 0.7957, which is less than 0.85)",
        ),
        (("--min-score", "0.900001"), "best score is 0.9000, which is less than 0.900001"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(scored, capsys, words, message):
    assert select(*words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (scored.parent / "clean.star").exists()


def test_files_that_do_not_fit_are_one_line(scored, capsys):
    def error_of(*words, **names):
        assert select(*(words or ("--min-score", "0.5")), **names) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "in.star: has no _polardenoiseScore; denoise again" in error_of(scored="in.star")
    assert "_polardenoiseClass" in error_of("--classes", "1", scored="in.star")
    assert "must end in .star" in error_of(output="clean.txt")
    assert "would replace the input" in error_of(output="in.star")
    assert "_2d_data.star" in error_of(raw="stack.mrcs")
    rows = rows_of(scored)
    text = scored.read_text()
    scored.with_name("short.star").write_text(text.replace(rows[3] + "\n", ""))
    assert "out.star: row 4: its raw image " in (error := error_of(raw="short.star"))
    assert "is in no row of --particles short.star (1 of 24 are not); give" in error
    (scored.parent / "copy.mrcs").write_bytes((scored.parent / "stack.mrcs").read_bytes())
    anew = text.replace("stack.mrcs", "copy.mrcs")  # as if it had been extracted anew
    rows = [row.replace("stack.mrcs", "copy.mrcs") for row in rows]
    scored.with_name("short.star").write_text(anew.replace(rows[3] + "\n", ""))
    assert "short.star: has 23 rows, but out.star has 24" in error_of(raw="short.star")
    swapped = anew.replace(rows[3], "?").replace(rows[5], rows[3]).replace("?", rows[5])
    scored.with_name("swapped.star").write_text(swapped)
    assert "in another order" in error_of(raw="swapped.star")
    broken = Path("out.star").read_text().replace(f" {SCORES[2]} ", " none ")
    Path("broken.star").write_text(broken)
    assert "row 3: _polardenoiseScore is no number" in error_of(scored="broken.star")
    assert "set.cs: a file of cryoSPARC holds no scores; give the .star" in error_of(
        scored="set.cs"
    )


@pytest.mark.parametrize("label", ["Score", "Class"])
@pytest.mark.parametrize("value", ["-3", "1.5", "1e30", "99999999999999999999"])
def test_scores_and_classes_that_nobody_wrote_are_refused(scored, capsys, label, value):
    """A score above 1 would be the best of all; a class that is none would leave its row out without a word."""
    column = [str(number) for number in {"Score": SCORES, "Class": CLASSES}[label]]
    column[4] = value
    add_columns(scored, "broken.star", **{f"polardenoise{label}": column})
    words = {"Score": ("--min-score", "0.5"), "Class": ("--classes", "1")}[label]
    assert select(*words, scored="broken.star") == 2
    error = capsys.readouterr().err
    assert f"broken.star: row 5: _polardenoise{label} is {float(value):g}, " in error
    assert error.count("\n") == 1
    assert not Path("clean.star").exists()


def test_the_least_share_keeps_the_best_particle(scored):
    assert select("--top-fraction", "1e-300") == 0
    assert len(rows_of(Path("clean.star"))) == 1


@pytest.mark.parametrize("namesake", [False, True])
def test_an_output_in_another_folder_finds_its_images(scored, monkeypatch, namesake):
    """The raw set lies where nobody may write; a stack of its name that lies beside the output is another one."""
    folder, elsewhere = scored.parent, scored.parent / "elsewhere"
    elsewhere.mkdir()
    if namesake:
        write_stack(elsewhere / "stack.mrcs", np.zeros((COUNT, 32, 32), np.float32), 3.0)
    expected = read_images(read_particles(scored), np.flatnonzero(SCORES >= 0.5))
    words = {"scored": folder / "out.star", "raw": folder / "in.star"}
    (folder / "work").mkdir()
    monkeypatch.chdir(folder / "work")
    folder.chmod(0o555)
    try:
        assert select("--min-score", "0.5", **words, output=elsewhere / "clean.star") == 0
    finally:
        folder.chmod(0o755)
    for place in (folder / "work", folder, elsewhere):
        if namesake and place == folder:
            continue
        monkeypatch.chdir(place)
        assert np.array_equal(
            read_images(read_particles(elsewhere / "clean.star"), slice(None)), expected
        )
    others = [
        [word for word in row.split() if "@" not in word]
        for row in rows_of(elsewhere / "clean.star")
    ]
    raw = [row for row, keeps in zip(rows_of(scored), SCORES >= 0.5, strict=True) if keeps]
    assert others == [[word for word in row.split() if "@" not in word] for row in raw]


def test_an_output_beside_its_images_keeps_their_names(scored, monkeypatch):
    folder = scored.parent
    (folder / "work").mkdir()
    monkeypatch.chdir(folder / "work")
    words = {"scored": folder / "out.star", "raw": folder / "in.star"}
    assert select("--min-score", "0.5", **words, output=folder / "clean.star") == 0
    raw = [row for row, keeps in zip(rows_of(scored), SCORES >= 0.5, strict=True) if keeps]
    assert rows_of(folder / "clean.star") == raw


def write_scored(folder):
    """Denoise a set with the smallest of models, as far as `select` looks at it."""
    source = write_set(folder, count=COUNT)
    model = save_tiny_model(folder / "model")
    assert denoise(model, "--group-by", "random", "--set-size", "4") == 0
    document = read_star("out.star")
    scores = {"polardenoiseScore": [str(score) for score in SCORES]}
    write_star(document, "out.star", [(document.tables[-1], scores)])
    return source


def replace_pixels(folder):
    """Put other pixels under the same names, in the same box."""
    images = np.random.default_rng(5).standard_normal((COUNT, 32, 32)).astype(np.float32)
    write_stack(folder / "stack.mrcs", images, 3.0)


def test_raw_particles_with_other_pixels_are_refused(tmp_path, monkeypatch, capsys):
    """The same names with other contents, and another stack: the provenance knows a few images of the input."""
    monkeypatch.chdir(tmp_path)
    source = write_scored(tmp_path)
    capsys.readouterr()
    assert select("--min-score", "0.5") == 0
    assert "WARNING" not in capsys.readouterr().out
    Path("clean.star").unlink()
    replace_pixels(tmp_path)
    capsys.readouterr()
    assert select("--min-score", "0.5") == 2
    error = capsys.readouterr().err
    assert (
        "in.star: 16 of 16 images that were looked at have other pixels than out.star was" in error
    )
    assert "(the first in row 1: image " in error
    assert "stack.mrcs); give the particles that were denoised, or denoise these (rows" in error
    assert error.count("\n") == 1
    assert not Path("clean.star").exists()
    assert source.exists()


def test_other_pixels_of_a_part_are_named_by_the_row_of_the_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path, count=COUNT)
    model = save_tiny_model(tmp_path / "model")
    assert denoise(model, "--group-by", "random", "--set-size", "4", "--rows", "8:20") == 0
    document = read_star("out.star")
    scores = {"polardenoiseScore": ["0.5"] * 12}
    write_star(document, "out.star", [(document.tables[-1], scores)])
    assert select("--min-score", "0.5") == 0
    replace_pixels(tmp_path)
    capsys.readouterr()
    assert select("--min-score", "0.5") == 2
    assert "12 of 12 images" in (error := capsys.readouterr().err)
    assert "(the first in row 9: image " in error


@pytest.mark.parametrize("name", ["out.star", "out_2d_data.star"])
@pytest.mark.parametrize("order", [np.arange(COUNT), SHUFFLED])
def test_a_part_that_was_denoised_is_found_in_the_whole_raw_set(
    tmp_path, monkeypatch, capsys, name, order
):
    """By what `denoise --rows` wrote: the denoised images, and the raw ones, whose file has no provenance."""
    monkeypatch.chdir(tmp_path)
    source = write_set(tmp_path, count=COUNT)
    model = save_tiny_model(tmp_path / "model")
    assert denoise(model, "--set-size", "4", "--rows", "8:20") == 0
    scores = np.array([float(one) for one in read_particles(name).column("polardenoiseScore")])
    least = str(np.sort(scores)[6])
    write_in_order(source, "raw.star", order)
    capsys.readouterr()
    assert select("--min-score", least, scored=name, raw="raw.star") == 0
    good = {8 + row for row in np.flatnonzero(scores >= float(least)).tolist()}
    assert rows_of("clean.star") == [rows_of(source)[row] for row in order if row in good]
    assert len(good) == 6
    said = capsys.readouterr().out
    assert "6 of 12 raw particles kept" in said
    assert "12 more of raw.star were not denoised, and left out" in said
    assert "other pixels" not in said


def test_a_verdict_is_known_of_the_file_of_raw_images_too(humped, capsys):
    reason = "images do not agree with their neighbours (median score 0.02)"
    Path("out.json").write_text(json.dumps({"program": "polardenoise", "verdict": [reason]}))
    Path("out.star").rename("out_2d_data.star")
    assert select("--proposed", scored="out_2d_data.star") == 2
    assert reason in capsys.readouterr().err


def test_particles_that_were_extracted_anew_come_with_a_warning(tmp_path, monkeypatch, capsys):
    """Micrographs, coordinates, poses and defoci say that they are the same; without micrographs nothing does."""
    monkeypatch.chdir(tmp_path)
    source = write_set(tmp_path, count=COUNT)
    document = read_star(source)
    table = document.tables[-1]
    places = {
        "rlnMicrographName": [f"m{row % 3}.mrc" for row in range(COUNT)],
        "rlnCoordinateX": [str(100 * row) for row in range(COUNT)],
        "rlnCoordinateY": [str(7 * row * row) for row in range(COUNT)],
    }
    write_star(document, source, [(table, places)])
    model = save_tiny_model(tmp_path / "model")
    assert denoise(model, "--group-by", "random", "--set-size", "4") == 0
    document = read_star("out.star")
    scores = {"polardenoiseScore": [str(score) for score in SCORES]}
    write_star(document, "out.star", [(document.tables[-1], scores)])
    replace_pixels(tmp_path)
    capsys.readouterr()
    assert select("--min-score", "0.5") == 0
    told = capsys.readouterr().out
    assert "WARNING: in.star: 16 of 16 images that were looked at have other pixels" in told
    assert "micrographs and coordinates are the same, as of particles that were polished" in told
    assert "if these were not, they are others" in told
    document = read_star(source)
    angles = {"rlnAngleRot": [str(float(row)) for row in range(COUNT)]}
    write_star(document, "others.star", [(document.tables[-1], angles)])
    assert select("--min-score", "0.5", raw="others.star") == 2
    assert "give the particles that were denoised" in capsys.readouterr().err


def test_a_provenance_whose_sample_makes_no_sense_is_passed_over(scored):
    sample = {"box": 32, "pixel_size": 3.0, "rows": [0, 99], "digests": ["a", "b"]}
    for wrong in (None, {}, "x", sample, sample | {"rows": [0]}, sample | {"rows": ["a", -1]}):
        facts = {"program": "polardenoise", "particles": COUNT, "pixel_sample": wrong}
        Path("out.json").write_text(json.dumps(facts))
        assert select("--min-score", "0.5") == 0
