"""Classes of a run: the same files for every kind of input, averages of the raw images, and halves apart."""

import json

import mrcfile
import numpy as np
import pytest

from polardenoise.engine.classes import half_classes
from polardenoise.engine.cli import main
from polardenoise.engine.denoise import finish, resume_folder
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.star import read_star
from tests.denoise_files import denoise, write_set

FILES = ("out_2d_data.star", "out_2d_classes.mrcs", "out_2d_model.star")


def find_class_files(folder):
    return sorted(path.name for path in folder.iterdir() if "_2d_" in path.name)


def read_averages():
    averages = mrcfile.read("out_2d_classes.mrcs")
    return averages.reshape(-1, *averages.shape[-2:])  # one image is a stack, too


def check_files(folder, count, halves=True):
    """The three files agree with one another and with OUT.star; gives the class of each row."""
    assert find_class_files(folder) == sorted(FILES)
    out, data = read_particles("out.star"), read_particles("out_2d_data.star")
    number = data.numbers("rlnClassNumber").astype(int)
    assert np.array_equal(out.numbers("polardenoiseClass"), number)
    score = out.numbers("polardenoiseScore")
    assert ((score >= 0) & (score <= 1)).all()
    assert np.array_equal(data.numbers("polardenoiseScore"), score)
    _, of_classes = read_star("out_2d_model.star").tables
    averages = read_averages()
    assert len(averages) == len(of_classes) == number.max()
    assert averages.shape[1:] == (data.box, data.box)
    assert np.isfinite(averages).all()
    sizes = np.array(of_classes.column("polardenoiseClassImages"), int)
    assert sizes.sum() == count
    assert np.array_equal(np.bincount(number, minlength=len(averages) + 1)[1:], sizes)
    of_halves = [
        np.array(of_classes.column(f"polardenoiseImagesHalf{half}"), int) for half in (1, 2)
    ]
    if halves:
        for half, own in enumerate(of_halves, 1):
            expected = np.bincount(number[out.random_subset == half], minlength=len(averages) + 1)
            assert np.array_equal(own, expected[1:])
    return number


def test_raw_images_are_in_the_data_in_their_order(folder, model):
    source = write_set(folder, count=60)
    assert denoise(model, "--set-size", "6") == 0
    check_files(folder, 60)
    raw, data = read_particles(source), read_particles("out_2d_data.star")
    assert np.array_equal(read_images(raw, slice(None)), read_images(data, slice(None)))
    assert data.column("facilityNote") == raw.column("facilityNote")
    assert data.number_optics_groups()[1] == ["1", "2"]
    said = json.loads((folder / "out.json").read_text())["classes"]
    assert said["files"] == [FILES[1], FILES[0], FILES[2]]


def test_the_stage_of_classes_says_how_far_each_half_is(folder, model, monkeypatch):
    """All passes that its bar expects are told, for each half once."""
    told = []
    monkeypatch.setattr(half_classes, "tell_pass", told.append)
    write_set(folder, count=40)
    assert denoise(model, "--set-size", "6") == 0
    assert sum(told) == pytest.approx(2 * half_classes.PASSES)
    assert len(told) == 2 * 4  # few images: found, and one part of each other pass


@pytest.mark.parametrize("options", [(), ("--ignore-halves",), ("--output-box", "working")])
@pytest.mark.parametrize("written", [{"ctf": False}, {"subset": False}, {"box": 48}])
def test_every_kind_of_set(folder, model, options, written):
    write_set(folder, count=40, **written)
    assert denoise(model, "--set-size", "6", *options) == 0
    check_files(folder, 40, "--ignore-halves" not in options)
    if "--ignore-halves" in options:
        _, of_classes = read_star("out_2d_model.star").tables
        assert set(of_classes.column("polardenoiseImagesHalf2")) == {"0"}
    elif written == {"subset": False}:
        drawn = read_particles("out_2d_data.star").random_subset
        assert np.array_equal(drawn, read_particles("out.star").random_subset)


def test_a_bare_stack(folder, model):
    write_set(folder, ctf=False)
    assert denoise(model, "--pixel-size", "3.0", source="stack.mrcs") == 0
    check_files(folder, 24)
    data = read_particles("out_2d_data.star")
    assert np.array_equal(read_images(data, slice(None)), mrcfile.read("stack.mrcs"))


@pytest.mark.parametrize("words", [("--class-count", "0"), ("--group-by", "rlnClassNumber")])
def test_none_where_none_are_wanted(folder, model, words):
    write_set(folder)
    assert denoise(model, *words) == 0
    assert find_class_files(folder) == []
    out = read_particles("out.star")
    assert not out.has("polardenoiseScore")
    assert not out.has("polardenoiseClass")


@pytest.mark.parametrize("words", [("--class-count", "0"), ("--group-by", "random")])
def test_those_of_an_earlier_run_do_not_outlive_its_images(folder, model, words):
    write_set(folder)
    assert denoise(model, "--set-size", "6", "--matches", "out.npz", "--report", "report") == 0
    assert find_class_files(folder) == sorted(FILES)
    (folder / "out_2d_notes.star").write_text("mine")
    (folder / FILES[2]).write_text("data_\n\n_rlnMine 1\n")
    assert denoise(model, "--set-size", "6", *words) == 0
    assert find_class_files(folder) == [FILES[2], "out_2d_notes.star"]
    assert (folder / "out.npz").exists()  # the user named these
    assert (folder / "report" / "index.html").exists()


def test_those_of_an_earlier_run_stay_where_they_are_the_input(folder, model):
    write_set(folder)
    assert denoise(model, "--set-size", "6") == 0
    assert denoise(model, "--class-count", "0", source="out_2d_data.star") == 0
    assert find_class_files(folder) == ["out_2d_data.star"]


def test_those_of_an_earlier_run_stay_till_the_new_images_are_complete(folder, model, monkeypatch):
    write_set(folder)
    words = ("--set-size", "6", "--class-count", "0")
    assert denoise(model, "--set-size", "6") == 0
    for fails, left in (("write_star", sorted(FILES)), ("publish", sorted(FILES))):
        with monkeypatch.context() as patched:
            patched.setattr(finish, fails, interrupt)
            assert denoise(model, *words) == 130
        assert find_class_files(folder) == left
    for moved in range(3):  # killed in the middle of the publication
        with monkeypatch.context() as patched:
            move, done = resume_folder.move_file, []

            def move_some(source, final, move=move, done=done, moved=moved):
                if len(done) == moved:
                    raise KeyboardInterrupt
                done.append(final)
                move(source, final)

            patched.setattr(resume_folder, "move_file", move_some)
            assert denoise(model, *words) == 130
        assert find_class_files(folder) == []
        assert denoise(model, *words, "--resume") == 0
        assert not read_particles("out.star").has("polardenoiseScore")
        assert json.loads((folder / "out.json").read_text())["classes"] is None
        assert denoise(model, "--set-size", "6") == 0


def test_a_publication_that_was_killed_before_they_went_is_finished(folder, model, monkeypatch):
    write_set(folder)
    words = ("--set-size", "6", "--group-by", "random")
    assert denoise(model, "--set-size", "6") == 0
    with monkeypatch.context() as patched:
        patched.setattr(resume_folder, "finish_publishing", interrupt)
        assert denoise(model, *words) == 130
    assert find_class_files(folder) == sorted(FILES)
    assert denoise(model, *words, "--resume") == 0
    assert find_class_files(folder) == []


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--class-count", "5", "--group-by", "random"), "--class-count 5: classes are of images"),
        (("--class-count", "many"), "--class-count many: must be auto or a number"),
        (("--class-count", "-1"), "--class-count"),
        (("--class-count", "1001"), "--class-count 1001: must be auto or a number"),
    ],
)
def test_what_cannot_be_is_one_line_before_the_work(folder, model, capsys, words, message):
    write_set(folder)
    before = sorted(path.name for path in folder.iterdir())
    try:
        code = denoise(model, *words)
    except SystemExit as stopped:  # what the parser itself refuses
        code = stopped.code
    assert code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.fixture
def trusted(monkeypatch):
    """No verdict, which images of an untrained network would get."""
    monkeypatch.setattr(finish, "judge_run", lambda *_: [])


@pytest.mark.usefixtures("trusted")
def test_what_is_proposed_is_seen_and_taken_by_select(folder, model, capsys):
    source = write_set(folder, count=60)
    assert denoise(model, "--set-size", "6", "--class-count", "3") == 0
    told = capsys.readouterr().out
    proposed = json.loads((folder / "out.json").read_text())["classes"]["proposed"]
    out = read_particles("out.star")
    score, number = (out.numbers(f"polardenoise{name}") for name in ("Score", "Class"))
    good = score >= proposed["min_score"]
    assert proposed["particles"] == good.sum() > 0
    assert f"proposed: the {good.sum()} particles that score {proposed['min_score']:g}" in told
    _, of_classes = read_star("out_2d_model.star").tables
    shown = np.array(of_classes.column("polardenoiseClassProposed"), int)
    shares = [good[number == one].mean() for one in range(1, len(shown) + 1)]
    assert shown.tolist() == [int(share >= 0.5) for share in shares]
    assert proposed["classes"] == (np.flatnonzero(shown) + 1).tolist()
    words = ["--particles", str(source), "--proposed", "-o", "clean.star"]
    for scored in ("out.star", "out_2d_data.star"):
        assert main(["select", scored, *words]) == 0
        kept = read_particles("clean.star").index_in_stack
        assert kept.tolist() == read_particles(source).index_in_stack[good].tolist()


def check_nothing_proposed(folder, model, capsys, reason, told_as):
    """The summary, its JSON, the model of classes and the report say alike that nothing is proposed, and why."""
    assert denoise(model, "--report", "r") == 0
    lines = capsys.readouterr().out.splitlines()
    (told,) = [line for line in lines if line.startswith("proposed: ")]
    assert told.startswith(f"proposed: nothing, {told_as}")
    said = json.loads((folder / "out.json").read_text())["classes"]
    assert said["proposed"] is None
    assert said["nothing_proposed"].startswith(reason)
    _, of_classes = read_star("out_2d_model.star").tables
    assert set(of_classes.column("polardenoiseClassProposed")) == {"0"}
    page = (folder / "r" / "index.html").read_text()
    assert f"Nothing is proposed: {reason}" in page
    assert "Proposed, and yours to change" not in page


@pytest.mark.usefixtures("trusted")
def test_nothing_is_proposed_for_few_images(folder, model, capsys):
    write_set(folder)
    reason = "24 particles are too few to tell good ones"
    check_nothing_proposed(folder, model, capsys, reason, reason)


def test_nothing_is_proposed_under_a_verdict(folder, model, capsys):
    """What the verdict says stands in the first line of the summary, and not once more."""
    write_set(folder, count=60)
    reason = "`denoise` said not to trust these images (a half has 30 images"
    told_as = "scores say as little as the images: look"
    check_nothing_proposed(folder, model, capsys, reason, told_as)


def test_a_file_of_somebody_else_is_not_replaced(folder, model, capsys):
    write_set(folder)
    (folder / FILES[2]).write_text("data_mine\n\n_rlnMine 1\n")
    assert denoise(model) == 2
    assert FILES[2] in capsys.readouterr().err
    assert (folder / FILES[2]).read_text() == "data_mine\n\n_rlnMine 1\n"
    (folder / FILES[2]).unlink()
    assert denoise(model) == 0
    assert denoise(model) == 0  # our own are


def test_a_complete_run_without_its_classes_is_done_again(folder, model):
    write_set(folder)
    assert denoise(model) == 0
    before = {name: (folder / name).read_bytes() for name in FILES}
    (folder / FILES[0]).unlink()
    assert denoise(model, "--resume") == 0
    assert {name: (folder / name).read_bytes() for name in FILES} == before


def test_no_pixel_of_half_two_moves_an_image_of_half_one(folder, model):
    """Classes and places within a half are its own; numbers and averages that are shown are of both."""
    source = write_set(folder, count=60)
    words = ("--matches", "found.npz", "--class-count", "3")
    assert denoise(model, *words) == 0
    with np.load("found.npz") as saved:
        before = dict(saved)
    particles = read_particles(source)
    images, first = read_images(particles, slice(None)), particles.random_subset == 1
    images[~first] += np.random.default_rng(1).standard_normal(images[~first].shape)
    stack = np.empty_like(images)
    stack[particles.index_in_stack] = images
    write_stack(folder / "stack.mrcs", stack, 3.0)
    assert denoise(model, *words) == 0
    with np.load("found.npz") as saved:
        after = dict(saved)
    for name in ("class_number", "class_in_plane_degrees", "score"):
        assert np.array_equal(after[name][first], before[name][first]), name
    own = before["class_half"] == 1
    averages = before["class_averages"][own], after["class_averages"][after["class_half"] == 1]
    assert np.array_equal(*averages)


def test_from_a_star_to_a_clean_star_in_two_commands(folder, model):
    source = write_set(folder, count=40)
    assert denoise(model) == 0
    words = ["--particles", str(source), "--top-fraction", "0.5", "-o", "clean.star"]
    assert main(["select", "out.star", *words]) == 0
    clean, score = (
        read_particles("clean.star"),
        read_particles("out.star").numbers("polardenoiseScore"),
    )
    assert len(clean) == 20
    kept = np.sort(np.argsort(-score, kind="stable")[:20])
    raw = read_particles(source)
    assert clean.index_in_stack.tolist() == raw.index_in_stack[kept].tolist()
