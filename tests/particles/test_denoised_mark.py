"""Denoised images say so wherever they go: in copies, in STAR files of other programs and names, and without any."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from polardenoise.engine.cli import main
from polardenoise.engine.particles.mrc import read_stack_header, write_stack
from polardenoise.engine.particles.mrc_header import HEADER_BYTES
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.set_checks import find_denoised_mark
from polardenoise.engine.particles.star import read_star
from polardenoise.engine.particles.star_writing import write_star
from polardenoise.engine.runtime.file_kinds import DENOISED_LABEL
from tests.denoise_files import denoise, save_tiny_model, work_in_copy, write_set
from tests.particle_files import write_tables

COUNT = 24
LABELS = slice(224, HEADER_BYTES)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A raw set, a network, and what `denoise` makes of them."""
    folder = tmp_path_factory.mktemp("denoised")
    write_set(folder, count=COUNT)
    save_tiny_model(folder / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert denoise("model") == 0
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    return work_in_copy(made, tmp_path, monkeypatch)


def mark_of(path, **more):
    return find_denoised_mark(read_particles(path, **more))


def says_so(path):
    return f"the header of {path}"


def write_by_hand(path, stack, rows=range(1, COUNT + 1)):
    """A STAR file of the fewest columns, as people cut them and other programs write them."""
    path.parent.mkdir(exist_ok=True)
    columns = {"rlnImageName": [f"{row}@{stack}" for row in rows]}
    write_tables(path, columns, 3.0, 32)
    return path


def test_a_copy_of_the_star_is_recognised(folder):
    shutil.copy("out.star", "copy.star")
    assert mark_of("copy.star") == says_so("out.mrcs")
    assert mark_of("out.star") == says_so("out.mrcs")


def test_a_star_with_few_columns_and_rows_elsewhere_is_recognised(folder):
    written = write_by_hand(folder / "elsewhere" / "cut.star", folder / "out.mrcs", [3, 5, 8])
    assert mark_of(written) == says_so(folder / "out.mrcs")


def test_copied_linked_and_bare_stacks_are_recognised(folder):
    shutil.copy("out.mrcs", "moved.mrcs")
    Path("linked.mrcs").symlink_to("out.mrcs")
    for name in ("moved", "linked"):
        bare = mark_of(f"{name}.mrcs", pixel_size=3.0)
        assert bare == says_so((folder / f"{name}.mrcs").resolve())
        written = write_by_hand(folder / f"{name}_set.star", f"{name}.mrcs")
        assert mark_of(written) == says_so(f"{name}.mrcs")


def test_one_denoised_stack_among_raw_ones_is_enough(folder):
    names = [*(f"{row}@stack.mrcs" for row in range(1, 9)), "1@out.mrcs"]
    write_tables(folder / "mixed.star", {"rlnImageName": names}, 3.0, 32)
    assert mark_of("mixed.star") == says_so("out.mrcs")


def test_raw_sets_have_no_mark(folder):
    assert mark_of("in.star") is None
    assert mark_of("stack.mrcs", pixel_size=3.0) is None
    shutil.copy("out.star", "raw_again.star")
    document = read_star("raw_again.star")
    names = {"rlnImageName": [f"{row}@stack.mrcs" for row in range(1, COUNT + 1)]}
    write_star(document, "raw_again.star", [(document.tables[-1], names)])
    assert mark_of("raw_again.star") is None


def test_simulated_particles_and_class_averages_have_no_mark(folder):
    words = ["simulate", "phantom:1", "-o", "set", "--particles", "8", "--box", "32"]
    assert main(words) == 0
    for name in ("set/particles.star", "set/clean.star"):
        assert mark_of(name) is None
    # Averages are of raw images.
    assert not read_stack_header("out_2d_classes.mrcs").is_denoised
    assert mark_of("out_2d_data.star") is None


def test_the_truth_of_a_simulation_is_not_taken_for_recorded_particles(folder, capsys):
    """Its micrographs and poses are those of the noisy set: what tells is the label of its stack."""
    words = ["simulate", "phantom:1", "-o", "set", "--particles", "24", "--box", "32"]
    assert main(words) == 0
    assert denoise("model", "--set-size", "4", source="set/particles.star", output="of.star") == 0
    select = ["select", "of.star", "--top-fraction", "0.5", "-o", "kept.star", "--particles"]
    capsys.readouterr()
    for command in (
        [*select, "set/clean.star"],
        ["evaluate", "of.star", "--truth", "set/clean.star", "--noisy", "set/clean.star"],
        ["train", "--pairs", "set/clean.star", "set/clean.star", "-o", "run", "--steps", "1"],
        ["simulate", "phantom:2", "-o", "b", "--box", "32", "--noise-like", "set/clean.star"],
    ):
        assert main(command) == 2, command
        error = capsys.readouterr().err
        assert "set/clean.star: holds simulated images without their noise (the header of " in error
        assert error.count("\n") == 1
    assert main([*select, "set/particles.star"]) == 0
    kept, raw = (
        Path(name).read_text().splitlines() for name in ("kept.star", "set/particles.star")
    )
    assert {line for line in kept if "@" in line} < {line for line in raw if "@" in line}


def test_the_simulation_of_another_molecule_is_not_taken_for_the_raw_particles(folder, capsys):
    """Of one seed they have the same coordinates and poses."""
    for number in ("1", "2"):
        words = ["simulate", f"phantom:{number}", "-o", f"set{number}", "--particles", "24"]
        assert main([*words, "--box", "32"]) == 0
    assert denoise("model", "--set-size", "4", source="set1/particles.star", output="of.star") == 0
    select = ["select", "of.star", "--top-fraction", "0.5", "-o", "kept.star", "--particles"]
    capsys.readouterr()
    assert main([*select, "set2/particles.star"]) == 2
    assert "give the particles that were denoised" in capsys.readouterr().err
    assert not Path("kept.star").exists()


def test_what_the_provenance_speaks_of_is_the_output_and_not_an_input_of_its_name(folder):
    """`set.mrc` gives `set.star`, `set.mrcs` and `set.json`: the first is as raw as it was, and denoised again."""
    shutil.copy("stack.mrcs", "set.mrc")
    for _ in range(2):
        assert denoise("model", "--pixel-size", "3", source="set.mrc", output="set.star") == 0
    assert mark_of("set.mrc", pixel_size=3.0) is None
    assert mark_of("set.mrcs", pixel_size=3.0) is not None


def test_sets_of_before_are_known_by_their_provenance(folder):
    """Stacks had no such label."""
    stack = bytearray(Path("out.mrcs").read_bytes())
    stack[LABELS] = b"polardenoise".ljust(800, b"\0")
    Path("out.mrcs").write_bytes(stack)
    assert mark_of("out.star") == "out.json"
    assert mark_of("out.mrcs", pixel_size=3.0) == "out.json"


@pytest.mark.parametrize("place", range(10))
def test_any_of_the_ten_labels_counts(tmp_path, place):
    """Programs that change a stack add theirs."""
    path = tmp_path / "a.mrcs"
    write_stack(path, np.ones((2, 8, 8), np.float32), 3.0)
    raw = bytearray(path.read_bytes())
    raw[LABELS] = b"IMOD".ljust(80) * 10
    start = LABELS.start + 80 * place
    raw[start : start + 80] = DENOISED_LABEL.ljust(80)
    path.write_bytes(raw)
    assert len(DENOISED_LABEL) <= 80
    assert read_stack_header(path).is_denoised


def test_only_the_label_tells_the_header_from_that_of_a_raw_stack(folder):
    """Its other fields are those of any stack of the same pixels."""
    pixels = np.fromfile("out.mrcs", "<f4", offset=HEADER_BYTES).reshape(COUNT, 32, 32)
    write_stack("again.mrcs", pixels, 3.0)
    one, other = (Path(name).read_bytes() for name in ("out.mrcs", "again.mrcs"))
    assert len(one) == len(other)
    assert one[HEADER_BYTES:] == other[HEADER_BYTES:]
    of_pixels = slice(
        76, 88
    )  # the smallest, the largest and the mean one, which batches add up in another order
    assert np.allclose(*(np.frombuffer(raw[of_pixels], "<f4") for raw in (one, other)), atol=1e-6)
    assert one[:76] + one[88:216] == other[:76] + other[88:216]
    assert one[220:224] == other[220:224]
    assert one[LABELS].split(b"\0")[0].rstrip() == DENOISED_LABEL


def test_relion_reads_the_stack(folder, relion):
    words = [str(relion / "relion_image_handler"), "--i", "out.mrcs", "--stats"]
    told = subprocess.run(words, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("(x,y,z,n)= 32 x 32 x 1 x 1") == COUNT
    assert "angpix = 3" in told.stdout


def test_what_relion_writes_of_the_star_is_recognised(folder, relion):
    words = [str(relion / "relion_star_handler"), "--i", "out.star", "--o", "handled.star"]
    subprocess.run([*words, "--remove_column", "rlnRandomSubset"], check=True, capture_output=True)
    assert "rlnRandomSubset" not in Path("handled.star").read_text()
    assert mark_of("handled.star") == says_so("out.mrcs")


@pytest.fixture
def copied(folder):
    """A copy of the denoised STAR file, beside which no provenance lies."""
    return shutil.copy("out.star", "copy.star")


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["denoise", "copy.star", "-o", "no.star", "--model", "model"], "copy.star"),
        (["denoise", "out.star", "-o", "no.star", "--model", "model"], "out.star"),
        (
            ["denoise", "out.mrcs", "--pixel-size", "3", "-o", "no.star", "--model", "model"],
            "out.mrcs",
        ),
        (
            ["select", "out.star", "--particles", "copy.star", "--classes", "1", "-o", "no.star"],
            "--particles copy.star",
        ),
        (["adapt", "copy.star", "-o", "no", "--model", "model"], "copy.star"),
        (["train", "--pairs", "copy.star", "in.star", "-o", "no"], "--pairs copy.star"),
        (["evaluate", "out.star", "--truth", "copy.star"], "--truth copy.star"),
        (
            ["evaluate", "out.star", "--truth", "in.star", "--noisy", "copy.star"],
            "--noisy copy.star",
        ),
        (["simulate", "phantom:1", "-o", "no", "--noise-like", "copy.star"], "copy.star"),
    ],
)
def test_commands_that_take_raw_particles_refuse_denoised_ones(copied, capsys, words, given):
    if words[0] == "train":
        write_by_hand(Path.cwd() / "in.star", "stack.mrcs")  # a truth has no CTF
    before = set(Path.cwd().iterdir())
    assert main(words) == 2
    error = capsys.readouterr().err
    said = "out.mrcs says so), estimates and not data; give the raw particles that they came from"
    assert f"{given}: holds denoised images (" in error
    assert said in error
    assert error.count("\n") == 1
    assert set(Path.cwd().iterdir()) == before


def test_a_reconstruction_of_a_copy_says_what_its_curve_is_not(copied, capsys):
    assert main(["reconstruct", "copy.star", "-o", "map"]) == 0
    told = capsys.readouterr().out
    assert "(consistency, not resolution; Nyquist" in told
    assert "warning: copy.star holds denoised images (the header of out.mrcs says so)" in told
    assert main(["reconstruct", "in.star", "-o", "raw_map"]) == 0
    assert "denoised" not in capsys.readouterr().out
