"""Runs that are killed and resumed, cut into rows, shared by processes, or short of memory give the same images."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from polardenoise.engine.denoise import batches, preparation
from polardenoise.engine.denoise import resume_folder as unfinished
from polardenoise.engine.neighbours import clusters
from polardenoise.engine.networks.checkpoint import ModelCard, load_model, save_model
from polardenoise.engine.networks.registry import build_model
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.runtime.files import Kept
from tests.denoise_files import TINY, denoise, images_of, write_set

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
OUTPUTS = ("out.mrcs", "out.star")


def bytes_of_outputs(folder):
    return {name: (folder / name).read_bytes() for name in OUTPUTS}


def interrupt_after(monkeypatch, count, error):
    """Have the run fail with `error` when it has computed `count` batches."""
    done = []
    run = batches.BatchRunner.run

    def run_or_fail(self, batch):
        if len(done) == count:
            raise error
        done.append(1)
        return run(self, batch)

    monkeypatch.setattr(batches.BatchRunner, "run", run_or_fail)
    return done


OPTIONS = ("--group-by", "random", "--set-size", "4", "--batch", "4")


def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(
    folder, model, monkeypatch, capsys
):
    write_set(folder)
    assert denoise(model, *OPTIONS) == 0
    expected = bytes_of_outputs(folder)
    for name in OUTPUTS:
        (folder / name).unlink()
    with monkeypatch.context() as patched:
        interrupt_after(patched, 3, KeyboardInterrupt())
        assert denoise(model, *OPTIONS) == 130
    assert not (folder / "out.star").exists()
    with monkeypatch.context() as patched:
        done = interrupt_after(patched, 100, KeyboardInterrupt())
        assert denoise(model, *OPTIONS, "--resume") == 0
        assert 0 < len(done) <= 4  # of 6 batches, those that were not written
    assert bytes_of_outputs(folder) == expected
    assert sorted(os.listdir(folder)) == [
        "in.star",
        "out.json",
        "out.mrcs",
        "out.star",
        "stack.mrcs",
    ]


def test_a_stopped_run_says_how_many_images_it_keeps(folder, model, monkeypatch, capsys):
    """Images of a batch of 4 are kept together: of 24, none before the first one is written."""
    write_set(folder)
    with monkeypatch.context() as patched:
        interrupt_after(patched, 0, KeyboardInterrupt())
        assert denoise(model, *OPTIONS) == 130
    assert (
        "; none of 24 images is kept yet; repeat the command, with --resume or without\n"
        in capsys.readouterr().err
    )
    with monkeypatch.context() as patched:
        interrupt_after(patched, 3, KeyboardInterrupt())
        assert denoise(model, *OPTIONS) == 130
    said = re.search(r"interrupted; (\d+) of 24 images are kept; ", capsys.readouterr().err)
    kept = int(said[1])
    assert kept in (8, 12)  # what was being written when it was stopped may be lost
    with monkeypatch.context() as patched:
        interrupt_after(patched, 0, OSError(errno.EIO, "Input/output error"))
        assert denoise(model, *OPTIONS, "--resume") == 2
    said = capsys.readouterr()
    assert f"denoise: {kept} of 24 images are kept from before\n" in said.out
    hidden = unfinished.name_unfinished(folder / "out.star").name
    assert f"; {kept} of 24 images are kept, in {hidden}: the same command with" in said.err
    assert denoise(model, *OPTIONS, "--resume") == 0
    assert f"denoise: {24 - kept}/{24 - kept} images" in capsys.readouterr().out
    assert denoise(model, *OPTIONS, "--resume", output="new.star") == 0
    assert "denoise: none of 24 images is kept from before\n" in capsys.readouterr().out


def test_a_search_that_is_stopped_in_its_first_cluster_says_why_nothing_is_kept(
    folder, model, monkeypatch, capsys
):
    write_set(folder)
    monkeypatch.setattr(
        "polardenoise.engine.denoise.whole_halves.runner.WholeHalfRunner.run", interrupt
    )
    assert denoise(model, "--set-size", "4") == 130
    error = capsys.readouterr().err
    assert "; none of 24 images is kept yet (images are kept when their whole cluster is" in error
    assert error.endswith(
        "denoised); repeat the command, with --resume or without\n"
    )  # and nothing of going on
    assert error.count("\n") == 1


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(folder, model):
    """SIGKILL leaves no time to tidy up."""
    write_set(folder, count=200)
    assert denoise(model, *OPTIONS) == 0
    expected = bytes_of_outputs(folder)
    for name in OUTPUTS:
        (folder / name).unlink()
    words = [sys.executable, "-m", "polardenoise.engine", "denoise", "in.star", "-o", "out.star"]
    words += ["--model", model, "--device", "cpu", *OPTIONS]
    journal = unfinished.name_unfinished(folder / "out.star") / "journal.0"
    process = subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        if journal.exists() and journal.read_text().count("\n") >= 5:
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with journal.open("a") as file:
        file.write("[3, 4, [0.1")  # what a kill in the middle of a write leaves
    assert denoise(model, *OPTIONS, "--resume") == 0
    assert bytes_of_outputs(folder) == expected


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--seed", "5"], "was begun with --seed 0 (now 5); repeat the command as it was"),
        (["--set-size", "3"], "--set-size 4 (now 3)"),
        (
            ["--rows", "2:", "--ignore-halves"],
            "--ignore-halves off (now on), all rows (now --rows 2:)",
        ),
        ([], "another input (the file of the particles, stack.mrcs: not as then)"),
    ],
)
def test_a_run_is_not_resumed_with_other_options_or_input(
    folder, model, monkeypatch, capsys, change, named
):
    write_set(folder)
    with monkeypatch.context() as patched:
        interrupt_after(patched, 1, KeyboardInterrupt())
        assert denoise(model, *OPTIONS) == 130
    if not change:
        write_set(folder, seed=1)
    capsys.readouterr()
    assert denoise(model, *OPTIONS, *change, "--resume") == 2
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1
    # Without --resume it starts anew.
    assert denoise(model, *OPTIONS, *change) == 0
    assert not unfinished.name_unfinished(folder / "out.star").exists()


@pytest.mark.parametrize("batch", ["1", "12", "auto"])
def test_a_run_is_resumed_with_another_batch_and_ends_with_the_same_bytes(
    folder, model, monkeypatch, batch
):
    write_set(folder)
    assert denoise(model, *OPTIONS) == 0
    expected = (folder / "out.mrcs").read_bytes()
    for name in OUTPUTS:
        (folder / name).unlink()
    with monkeypatch.context() as patched:
        interrupt_after(patched, 3, KeyboardInterrupt())
        assert denoise(model, *OPTIONS) == 130
    done = interrupt_after(monkeypatch, 100, KeyboardInterrupt())
    assert denoise(model, *OPTIONS[:-1], batch, "--resume") == 0
    assert 0 < len(done) <= 4
    assert (folder / "out.mrcs").read_bytes() == expected


@pytest.mark.parametrize("began", [torch.float32, torch.bfloat16])
def test_a_resumed_run_keeps_its_precision_whatever_the_processor_can_do(
    folder, model, monkeypatch, began
):
    other = torch.bfloat16 if began == torch.float32 else torch.float32
    write_set(folder)
    with monkeypatch.context() as patched:
        patched.setattr(preparation, "choose_precision", lambda device, name: began)
        assert denoise(model, *OPTIONS) == 0
    expected = (folder / "out.mrcs").read_bytes()
    for name in OUTPUTS:
        (folder / name).unlink()
    with monkeypatch.context() as patched:
        patched.setattr(preparation, "choose_precision", lambda device, name: began)
        interrupt_after(patched, 3, KeyboardInterrupt())
        assert denoise(model, *OPTIONS) == 130
    monkeypatch.setattr(preparation, "choose_precision", lambda device, name: other)
    assert denoise(model, *OPTIONS, "--resume") == 0
    assert (folder / "out.mrcs").read_bytes() == expected
    stated = json.loads((folder / "out.json").read_text())["precision"]
    assert stated == str(began).removeprefix("torch.")
    assert denoise(model, *OPTIONS) == 0  # anew: the other precision
    assert (folder / "out.mrcs").read_bytes() != expected


def bytes_of_all(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_complete_run_is_not_done_again_and_says_so(folder, model, monkeypatch, capsys):
    write_set(folder)
    assert denoise(model, *OPTIONS) == 0
    before = bytes_of_all(folder)
    done = interrupt_after(monkeypatch, 100, KeyboardInterrupt())
    capsys.readouterr()
    assert denoise(model, *OPTIONS, "--resume") == 0
    assert (
        "out.star: complete, of the same input and options: nothing was done"
        in (capsys.readouterr().out.splitlines()[0])
    )
    assert not done
    assert bytes_of_all(folder) == before
    assert denoise(model, *OPTIONS, "--resume", output="new.star") == 0
    assert "nothing was done" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--seed", "5"], "was made with --seed 0 (now 5); repeat"),
        (["--rows", "0:4"], "was made with all rows (now --rows 0:4); repeat"),
        (["--model", "other"], "was made with --model tiny (now second); repeat"),
        (["--model", "namesake"], "was made with --model tiny (SHA-256 "),
        ([], "was made with another input (the file of the particles, stack.mrcs: not as then)"),
    ],
)
def test_a_complete_result_is_not_replaced_by_a_resume_with_other_options_or_input(
    folder, model, capsys, change, named
):
    """Of 24 rows, 4 would be left."""
    write_set(folder)
    for name, seed in (("second", 1), ("tiny", 2)):
        torch.manual_seed(seed)
        network = build_model("polar-transformer", TINY)
        save_model(
            folder / {"second": "other", "tiny": "namesake"}[name],
            network,
            ModelCard(name, "polar-transformer", {}),
        )
    assert denoise(model, *OPTIONS) == 0
    if not change:
        write_set(folder, seed=1)
    before = bytes_of_all(folder)
    capsys.readouterr()
    assert denoise(model, *OPTIONS, *change, "--resume") == 2
    error = capsys.readouterr().err
    assert f"--resume: out.star is complete, and {named}" in error
    assert "name another -o, or leave --resume out to denoise anew and replace it" in error
    assert error.count("\n") == 1
    assert bytes_of_all(folder) == before
    assert not unfinished.name_unfinished(folder / "out.star").exists()
    assert denoise(model, *OPTIONS, *change) == 0  # as it says


def test_a_result_of_which_nothing_says_how_it_was_made_is_not_replaced_by_a_resume(
    folder, model, capsys
):
    write_set(folder)
    assert denoise(model, *OPTIONS) == 0
    stated = json.loads((folder / "out.json").read_text())
    del stated["made_with"]
    for left in (json.dumps(stated), None):
        (folder / "out.json").unlink()
        if left is not None:
            (folder / "out.json").write_text(left)
        before = bytes_of_all(folder)
        assert denoise(model, *OPTIONS, "--resume") == 2
        assert "out.json does not say what it was made with; name" in capsys.readouterr().err
        assert bytes_of_all(folder) == before


@pytest.mark.parametrize("change", ["a row less", "a line more"])
def test_a_star_file_that_was_changed_since_is_not_taken_for_the_result_nor_replaced(
    folder, model, capsys, change
):
    write_set(folder)
    assert denoise(model, *OPTIONS) == 0
    lines = (folder / "out.star").read_text().splitlines(keepends=True)
    lines = lines[:-1] if change == "a row less" else [*lines, "# mine\n"]
    (folder / "out.star").write_text("".join(lines))
    before = bytes_of_all(folder)
    capsys.readouterr()
    assert denoise(model, *OPTIONS, "--resume") == 2
    error = capsys.readouterr().err
    assert "out.star was changed since this very command wrote it; nothing was done" in error
    assert error.count("\n") == 1
    assert bytes_of_all(folder) == before


def test_the_work_of_another_run_stays_where_a_complete_result_is_asked_for(
    folder, model, monkeypatch
):
    """A is complete, B of the same name was stopped: A does not take B's work away, and B goes on."""
    write_set(folder)
    first, second = OPTIONS, (*OPTIONS, "--seed", "5")
    assert denoise(model, *first) == 0
    with monkeypatch.context() as patched:
        interrupt_after(patched, 3, KeyboardInterrupt())
        assert denoise(model, *second) == 130
    assert denoise(model, *first, "--resume") == 0
    done = interrupt_after(monkeypatch, 100, KeyboardInterrupt())
    assert denoise(model, *second, "--resume") == 0
    assert 0 < len(done) <= 4
    assert json.loads((folder / "out.json").read_text())["seed"] == 5


def test_two_runs_do_not_write_the_same_output(folder, model, capsys):
    write_set(folder)
    hidden = unfinished.name_unfinished(folder / "out.star")
    with unfinished.unfinished_run(
        folder / "out.star", {}, False, lambda: Kept("nothing is kept", is_any=False)
    ):
        assert denoise(model) == 2
        assert "another run" in capsys.readouterr().err
    assert not hidden.exists()


@pytest.mark.parametrize("batch", ["1", "10000"])
def test_clusters_of_neighbours_are_computed_one_by_one(folder, model, monkeypatch, batch):
    monkeypatch.setattr(clusters, "LARGEST_CLUSTER", 12)
    write_set(folder, count=48)
    assert denoise(model, "--group-by", "neighbours", "--set-size", "6") == 0
    assert json.loads((folder / "out.json").read_text())["sets"] >= 4
    expected = (folder / "out.mrcs").read_bytes()
    options = ("--group-by", "neighbours", "--set-size", "6", "--batch", batch)
    assert denoise(model, *options) == 0
    assert (folder / "out.mrcs").read_bytes() == expected


def test_rows_are_denoised_as_if_the_file_held_no_others(folder, model):
    source = write_set(folder, count=40)
    lines = source.read_text().splitlines(keepends=True)
    rows = [number for number, line in enumerate(lines) if "@" in line]
    dropped = set(rows) - set(rows[10:26])
    (folder / "part.star").write_text(
        "".join(line for number, line in enumerate(lines) if number not in dropped)
    )
    assert denoise(model, "--rows", "10:26") == 0
    assert denoise(model, source="part.star", output="other.star") == 0
    assert (folder / "out.mrcs").read_bytes() == (folder / "other.mrcs").read_bytes()
    assert (folder / "out.star").read_text().replace("out.mrcs", "other.mrcs") == (
        folder / "other.star"
    ).read_text()


def test_halves_drawn_for_parts_agree_with_those_of_the_whole(folder, model):
    write_set(folder, count=40, subset=False)
    assert denoise(model) == 0
    whole = read_particles("out.star").random_subset
    parts = []
    for rows in (":15", "15:28", "28:"):
        assert denoise(model, "--rows", rows, output="part.star") == 0
        parts.append(read_particles("part.star").random_subset)
    assert np.array_equal(np.concatenate(parts), whole)
    assert json.loads((folder / "part.json").read_text())["first_row"] == 28


def test_many_stacks_in_any_order_give_what_one_in_order_gives(folder, model):
    """The same particles, row by row, drawn from one stack or dealt out over five, backwards."""
    source = write_set(folder, count=40)
    assert denoise(model) == 0
    images = read_images(read_particles(source), slice(None))
    lines = source.read_text().splitlines(keepends=True)
    rows = iter(range(40))
    for number in range(5):
        write_stack(folder / f"part{number}.mrcs", images[number::5][::-1], 3.0)
    for number, line in enumerate(lines):
        if "@" in line:
            row = next(rows)
            lines[number] = line.replace(line.split()[1], f"{8 - row // 5}@part{row % 5}.mrcs")
    (folder / "parts.star").write_text("".join(lines))
    assert denoise(model, source="parts.star", output="other.star") == 0
    assert (images_of("other.star") - images_of("out.star")).abs().max() < 1e-5


def test_a_bad_pixel_is_named_by_its_row_in_the_file(folder, model, capsys):
    source = write_set(folder)
    particles = read_particles(source)
    stack = np.empty((24, 32, 32), dtype=np.float32)
    stack[particles.index_in_stack] = read_images(particles, slice(None))
    stack[particles.index_in_stack[20], 3, 3] = np.nan
    write_stack(folder / "stack.mrcs", stack, 3.0)
    assert denoise(model, "--rows", "0:20") == 0
    assert denoise(model, "--rows", "15:") == 2
    error = capsys.readouterr().err
    assert "row 21: image " in error
    assert error.endswith("(rows are counted from 1; --rows counts from 0: row 21 is 20:21)\n")
    # As it says, that is the image.
    assert denoise(model, "--rows", "20:21") == 2
    assert "row 21: image " in capsys.readouterr().err


def test_two_processes_give_the_images_of_one(folder, model):
    write_set(folder, count=60)
    assert denoise(model, *OPTIONS) == 0
    expected = images_of("out.star")
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    words += ["-m", "polardenoise.engine", "denoise", "in.star", "-o", "two.star"]
    words += ["--model", model, "--device", "cpu", *OPTIONS, "--json", "two-summary.json"]
    run = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert (images_of("two.star") - expected).abs().max() < 1e-5 * expected.abs().max()
    assert run.stdout.count("two.star: 60 particles") == 1
    assert run.stdout.count("read and check") == 1
    assert json.loads((folder / "two-summary.json").read_text())["particles"] == 60


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
def test_a_batch_too_large_for_the_memory_is_halved(folder, model, monkeypatch, capsys, error):
    write_set(folder, count=40)
    options = ("--group-by", "random", "--set-size", "5", "--precision", "float32")
    assert denoise(model, *options) == 0
    expected = images_of("out.star")
    network = type(load_model(model)[0])
    encode = network.encode

    def encode_or_fail(self, images, ctf_rings):
        if len(images) > 5:
            raise error
        return encode(self, images, ctf_rings)

    monkeypatch.setattr(network, "encode", encode_or_fail)
    capsys.readouterr()
    assert denoise(model, *options, output="small.star") == 0
    said = re.findall(r"out of memory: (\d+) images at once", capsys.readouterr().out)
    assert said == ["10", "5"]
    assert (images_of("small.star") - expected).abs().max() < 2e-5 * expected.abs().max()


def test_a_set_too_large_for_the_memory_is_told_in_one_line(folder, model, monkeypatch, capsys):
    write_set(folder)
    network = type(load_model(model)[0])

    def fail(self, images, ctf_rings):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(network, "encode", fail)
    before = sorted(os.listdir(folder))
    assert denoise(model, "--group-by", "random", "--set-size", "12") == 2
    error = capsys.readouterr().err
    assert "--set-size 12" in error
    assert error.count("\n") == 1
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize("lost", ["images.mrcs", "working.f32", "short"])
@pytest.mark.parametrize("group", ["random", "neighbours"])
def test_a_journal_without_its_stack_does_not_count(folder, model, monkeypatch, lost, group):
    """What says that batches are done is believed only beside a whole stack."""
    write_set(folder)
    options = OPTIONS if group == "random" else ("--set-size", "4")
    assert denoise(model, *options) == 0
    expected = bytes_of_outputs(folder)
    with monkeypatch.context() as patch:
        if group == "random":
            interrupt_after(patch, 2, KeyboardInterrupt())
        else:
            patch.setattr("polardenoise.engine.denoise.pipeline.finish_run", interrupt)
        assert denoise(model, *options) == 130
    unfinished_folder = folder / ".out.unfinished"
    assert (unfinished_folder / "journal.0").read_text()
    if lost == "short":
        with (unfinished_folder / "images.mrcs").open("r+b") as file:
            file.truncate(5000)
    else:
        (unfinished_folder / lost).unlink()
    assert denoise(model, *options, "--resume") == 0
    assert bytes_of_outputs(folder) == expected


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_resumed_run_may_get_a_report_and_matches_or_lose_them(folder, model, monkeypatch):
    """Batches without the matches that are now asked for are computed again: the same bytes."""
    write_set(folder)
    plain, more = ("--set-size", "4"), ("--report", "report", "--matches", "found.npz")
    assert denoise(model, *plain, *more) == 0
    expected, matches = bytes_of_outputs(folder), dict(np.load("found.npz"))
    for first, then in ((plain, (*plain, *more)), ((*plain, *more), plain)):
        for name in (*OUTPUTS, "found.npz"):
            (folder / name).unlink()
        with monkeypatch.context() as patch:
            patch.setattr("polardenoise.engine.denoise.pipeline.finish_run", interrupt)
            assert denoise(model, *first) == 130
        assert denoise(model, *then, "--resume") == 0
        assert bytes_of_outputs(folder) == expected
        if more[0] in then:
            found = np.load("found.npz")
            assert all(np.array_equal(found[name], matches[name]) for name in matches)


def test_a_complete_run_whose_stack_is_cut_short_is_done_again_and_says_why(folder, model, capsys):
    write_set(folder)
    assert denoise(model, *OPTIONS) == 0
    expected = bytes_of_outputs(folder)
    with (folder / "out.mrcs").open("r+b") as file:
        file.truncate(5000)
    assert denoise(model, *OPTIONS, "--resume") == 0
    assert bytes_of_outputs(folder) == expected
    assert "out.star: complete, but out.mrcs is cut short, and" in capsys.readouterr().out
