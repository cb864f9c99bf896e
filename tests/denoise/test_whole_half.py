"""Large halves as one set: nothing crosses halves or folds, a run goes on where it was, and images get better."""

import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.denoise.resume_folder import name_unfinished
from polardenoise.engine.denoise.whole_halves import (
    runner,
    sample,
    template_making,
    views,
    weight_learning,
)
from polardenoise.engine.denoise.whole_halves.estimates import PATTERN
from polardenoise.engine.denoise.whole_halves.template_file import WeightsOfHalf
from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.neighbours import clusters, folds
from polardenoise.engine.neighbours.folds import next_fold
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.shared_pixels import share_nothing
from polardenoise.engine.views import ab_initio, alternation
from tests.denoise_files import denoise, images_of, work_in_copy, write_set

OPTIONS = ("--set-size", "8")


@pytest.fixture(autouse=True)
def small_halves(monkeypatch):
    """Have halves of 48 images be large ones."""
    shrink(monkeypatch.setattr)


def shrink(put):
    """Have halves of 48 images be large ones, in clusters of 16."""
    put(folds, "SMALLEST_HALF", 48)
    put(clusters, "LARGEST_CLUSTER", 16)
    put(clusters, "LANDMARKS", 12)
    put(sample, "MOST_TEMPLATES", 18)
    put(ab_initio, "STEPS", 3)
    put(weight_learning, "LEARNING_IMAGES", 12)
    for module in (alternation, views):
        put(module, "VIEWS", 24)
    put(alternation, "FIRST_IMAGES", 16)


def write_large_set(folder, count=120, **others):
    """Images that show something: the same blobs in all, at any angle, and noise."""
    generator = np.random.default_rng(3)
    along = np.arange(32) - 16
    angles = generator.uniform(0, 2 * np.pi, count)
    images = generator.standard_normal((count, 32, 32)).astype(np.float32)
    for radius, offset in ((4, 0.0), (6, 2.0)):
        y, x = radius * np.sin(angles + offset), radius * np.cos(angles + offset)
        squares = (along[:, None] - y[:, None, None]) ** 2 + (along - x[:, None, None]) ** 2
        images += 2 * np.exp(-squares / 8).astype(np.float32)
    return write_set(folder, count=count, images=images, **others)


@pytest.fixture(scope="module")
def once(tmp_path_factory, model):
    """The set, denoised once: `in.star` with its stack, `out.star` with its own and its summary, and what was said."""
    folder = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(StringIO()) as told:
        shrink(patched.setattr)
        patched.chdir(folder)
        write_large_set(folder)
        assert denoise(model, *OPTIONS) == 0
    (folder / "told.txt").write_text(told.getvalue())
    return folder


@pytest.fixture
def work(once, tmp_path, monkeypatch):
    """A copy of that folder, which is the working directory."""
    return work_in_copy(once, tmp_path, monkeypatch)


def test_the_same_command_gives_the_same_bytes_and_says_what_was_done(work, model):
    assert (
        "each through 18 images of another fold of its half, 24 views of a volume of both others, and with "
        "its 7 nearest"
    ) in Path("told.txt").read_text()
    told = json.loads(Path("out.json").read_text())
    stages = [
        "read and check",
        "find related images",
        "find related templates",
        "templates",
        "views",
        "denoise",
    ]
    assert [stage for stage in told["seconds"] if stage in stages] == stages
    assert all(spent >= 0 for spent in told["seconds"].values())
    assert 10**8 < told["peak_memory_bytes"] < 10**11
    found = told["whole_halves"]
    assert set(found) == {"1", "2"}
    assert found["1"]["folds"] == [20, 20, 20]
    assert found["1"]["templates"] == [18, 18, 18]
    assert found["1"]["views"] == 24
    assert [len(own) for own in found["1"]["ring_weights"].values()] == [16] * 3
    assert denoise(model, *OPTIONS, output="again.star") == 0
    assert Path("out.mrcs").read_bytes() == Path("again.mrcs").read_bytes()
    assert not name_unfinished(work / "out.star").exists()


def test_small_halves_are_denoised_as_ever(work, model, monkeypatch):
    monkeypatch.setattr(folds, "SMALLEST_HALF", 61)
    assert denoise(model, *OPTIONS, output="small.star") == 0
    assert json.loads(Path("small.json").read_text())["whole_halves"] == {}
    assert not torch.allclose(images_of("small.star"), images_of("out.star"), atol=1e-3)


def colour_noise(folder, halves):
    """Add noise that is strongest at coarse frequencies to the images of some halves."""
    particles = read_particles(folder / "in.star")
    stack = np.empty((len(particles), 32, 32), dtype=np.float32)
    stack[particles.index_in_stack] = read_images(particles, slice(None))
    power = 1 + 8 * (-torch.arange(16) / 3.0).exp()
    source = torch.Generator().manual_seed(2)
    noise = filter_by_rings(torch.randn(stack.shape, generator=source), power.sqrt()[None])
    own = particles.index_in_stack[np.isin(particles.random_subset, halves)]
    stack[own] += 2 * noise.numpy()[own]
    write_stack(folder / "stack.mrcs", stack, 3.0)


def test_halves_of_coloured_noise_stay_whole(folder, model):
    """Real noise has structure that poses follow: neighbours alone are better there."""
    write_large_set(folder)
    colour_noise(folder, [2])
    assert denoise(model, *OPTIONS) == 0
    told = json.loads(Path("out.json").read_text())
    assert "coloured" in told["noise"]
    assert set(told["whole_halves"]) == {"1"}
    assert told["whole_halves"]["1"]["used"]


def test_a_half_is_left_to_neighbours_where_they_are_better(work, model, monkeypatch, capsys):
    monkeypatch.setattr(weight_learning, "compare_risks", lambda *_: False)
    assert denoise(model, *OPTIONS, output="left.star") == 0
    told = capsys.readouterr().out
    assert "half 1: left to neighbours alone" in told
    assert "views of a volume" not in told
    assert not json.loads(Path("left.json").read_text())["whole_halves"]["2"]["used"]
    monkeypatch.setattr(folds, "SMALLEST_HALF", 61)
    assert denoise(model, *OPTIONS, output="small.star") == 0
    assert Path("left.mrcs").read_bytes() == Path("small.mrcs").read_bytes()


def replace_images(folder, rows, seed=9):
    """Have other noise in the images of these rows."""
    particles = read_particles(folder / "in.star")
    stack = np.empty((len(particles), 32, 32), dtype=np.float32)
    stack[particles.index_in_stack] = read_images(particles, slice(None))
    noise = np.random.default_rng(seed).standard_normal((rows.sum(), 32, 32))
    stack[particles.index_in_stack[rows]] = noise
    write_stack(folder / "stack.mrcs", stack, 3.0)


def test_halves_never_exchange_information(folder, model):
    source = write_large_set(folder)
    assert denoise(model, *OPTIONS, "--contrast", "bright") == 0
    before = images_of("out.star")
    second = read_particles(source).random_subset == 2
    replace_images(folder, second)
    assert denoise(model, *OPTIONS, "--contrast", "bright", output="other.star") == 0
    after = images_of("other.star")
    assert torch.equal(after[~second], before[~second])  # to the last bit
    assert not torch.allclose(after[second], before[second], atol=1e-2)


def test_no_image_is_seen_through_anything_of_its_own_fold(folder, model, monkeypatch):
    """What the images of a fold are seen through stays to the bit if their pixels change."""
    source = write_large_set(folder)
    fold_of_row, kept = [], []
    make = template_making.save_templates

    def save_and_look(path, *given):
        make(path, *given)
        if path.name.endswith(".1.npz"):
            with np.load(path) as saved:
                kept.append({name: saved[name] for name in saved})

    draw = sample.draw_sample

    def draw_and_look(job):
        fold_of_row[:] = [job.folds, job.halves]
        return draw(job)

    monkeypatch.setattr(template_making, "save_templates", save_and_look)
    monkeypatch.setattr(sample, "draw_sample", draw_and_look)
    # Ring weights are a few numbers of the whole half, learned from all of its folds.
    equal = WeightsOfHalf(torch.ones(2, 16) / 2, torch.ones(3, 16) / 3, False, True)
    monkeypatch.setattr(template_making, "learn_ring_weights", lambda *_: equal)
    assert denoise(model, *OPTIONS, "--contrast", "bright") == 0
    fold, half = fold_of_row
    replace_images(folder, (fold == 2) & (half == 1))
    assert denoise(model, *OPTIONS, "--contrast", "bright", output="other.star") == 0
    assert len(read_particles(source)) == len(fold)
    before, after = kept
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    # Images of fold 2 see templates of fold 3 and views for fold 2: these are what they were.
    assert next_fold(2) == 3
    assert changed == {"templates_2", "views_1", "views_3"}


@pytest.mark.parametrize("moment", ["first", "views", "weights", "last"])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(work, model, monkeypatch, moment):
    expected = Path("out.mrcs").read_bytes()
    for path in work.glob("out*"):
        path.unlink()
    place = {
        "first": (template_making, "save_estimates", 3),
        "views": (views, "project_all", 2),
        "weights": (weight_learning, "solve_ring_weights", 3),
        "last": (runner, "join_estimates", 5),
    }[moment]
    with monkeypatch.context() as patched:
        interrupt_at(patched, *place)
        assert denoise(model, *OPTIONS) == 130
    unfinished = name_unfinished(work / "out.star")
    assert unfinished.exists()
    if moment == "last":  # a file cut short is made again
        largest = sorted(unfinished.glob(PATTERN.replace("*", "sample.*")))[0]
        os.truncate(largest, largest.stat().st_size // 2)
    done = count_calls(monkeypatch, template_making, "save_estimates")
    assert denoise(model, *OPTIONS, "--resume") == 0
    assert Path("out.mrcs").read_bytes() == expected
    assert len(done) == {"first": 10, "views": 0, "weights": 0, "last": 1}[moment]


def interrupt_at(monkeypatch, module, name, count):
    """Have a function be interrupted when it is called for the `count`-th time."""
    calls, run = [], getattr(module, name)

    def run_or_stop(*given):
        calls.append(1)
        if len(calls) == count:
            raise KeyboardInterrupt
        return run(*given)

    monkeypatch.setattr(module, name, run_or_stop)


def count_calls(monkeypatch, module, name):
    calls, run = [], getattr(module, name)

    def run_and_count(*given):
        calls.append(1)
        return run(*given)

    monkeypatch.setattr(module, name, run_and_count)
    return calls


def test_matches_are_of_the_clusters_of_a_half(work, model):
    assert denoise(model, *OPTIONS, "--matches", "matches.npz", output="with.star") == 0
    with np.load("matches.npz") as found:
        neighbours, half = found["neighbours"], found["half"]
    there = neighbours >= 0
    assert there[:, :7].all()
    assert (half[neighbours[there]] == np.repeat(half, there.sum(1))).all()
    # Images of all folds are denoised together: what each is seen through alone is of other folds.
    shared = share_nothing(len(half))
    fold = folds.divide_into_folds(half, shared, 0)
    assert (fold[neighbours[there]] != np.repeat(fold, there.sum(1))).any()
    assert Path("out.mrcs").read_bytes() == Path("with.mrcs").read_bytes()


def test_two_processes_give_the_images_of_one(work, model):
    expected = images_of("out.star")
    (work / "small.py").write_text(
        "import sys\n"
        "from tests.denoise.test_whole_half import shrink\n"
        "from polardenoise.engine.cli import main\n"
        "shrink(setattr)\n"
        "sys.exit(main())\n"
    )
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    words += ["small.py", "denoise", "in.star", "-o", "two.star", "--model", model]
    root = str(Path(__file__).parents[2])
    run = subprocess.run(
        [*words, "--device", "cpu", *OPTIONS],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "through 18 images" in run.stdout
    assert (images_of("two.star") - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_whole_half_makes_better_images(folder, monkeypatch):
    """Random views of a phantom with the shipped model: what is learned from the images themselves pays."""
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    options = ["--particles", "1200", "--snr", "0.1", "--no-ctf", "--seed", "1"]
    assert main(["simulate", "phantom:10001", "-o", ".", *options]) == 0
    truth = images_of("clean.star")
    errors = []
    for smallest, name in ((900, "whole.star"), (10**9, "clusters.star")):
        monkeypatch.setattr(folds, "SMALLEST_HALF", smallest)
        assert denoise("base", "--ignore-halves", source="particles.star", output=name) == 0
        errors.append(float((images_of(name) - truth).square().sum() / truth.square().sum()))
    assert errors[0] < 0.8 * errors[1]
