"""Neighbours, scores and classes in the viewer: those that the engine wrote."""

import os

import numpy as np
import pytest

from polardenoise.tests import scipion_project  # noqa: F401  # isort: skip - before pwem

from pyworkflow.viewer import MessageView

from polardenoise.convert.chunks import read_chunks
from polardenoise.tests.scipion_project import read_stack
from polardenoise.tests.viewers.figures import get_images, get_texts, open_viewer, see
from polardenoise.viewers import PolarDenoiseViewer
from polardenoise.viewers.images import rotate_image
from polardenoise.viewers.neighbours import read_neighbourhood


@pytest.fixture
def matched(project, denoised):
    """The same run with what the engine writes about neighbours: two chunks of 32, made up."""
    random = np.random.default_rng(7)
    written = {}
    for chunk in read_chunks(denoised._getExtraPath()):
        count = len(chunk.ids)
        neighbours = (np.arange(count)[:, None] + [1, 2, 3]) % count
        neighbours[:, 2] = -1
        arrays = {
            "neighbours": neighbours,
            "weights": np.tile(np.float32([0.25, 0.5, 0.0]), (count, 1)),
            "in_plane_degrees": np.tile(np.float32([90, -30, 0]), (count, 1)),
            "half": np.arange(count) % 2 + 1,
            "class_number": np.arange(count) % 3 + 1,
            "class_in_plane_degrees": np.zeros(count, np.float32),
            "score": random.random(count).astype(np.float32),
            "class_averages": random.normal(size=(3, 32, 32)).astype(np.float32),
            "class_half": np.array([1, 2, 1]),
            "class_size": np.array([10, 12, 10]) + 5 * chunk.number,
            "class_twin": np.array([2, 1, 0]),
            "pixel_size": 3.0,
        }
        path = denoised.getChunkPath("matches.npz", chunk.number)
        np.savez(path, **arrays)
        written[path] = {**arrays, "ids": chunk.ids}
    assert len(written) == 2
    yield denoised, written
    for path in written:
        os.remove(path)


def test_neighbours_are_turned_onto_the_particle(matched):
    """Ids of the second chunk; the heaviest neighbour first; images rotated by the written angles."""
    run, written = matched
    second = list(written.values())[1]
    particle, light, heavy = (int(number) for number in second["ids"][:3])
    (plotter,) = see(
        open_viewer(PolarDenoiseViewer, run, particleIds=str(particle)), "showNeighbours"
    )
    images = get_images(plotter)
    assert len(images) == 2 * 4
    for row, particles in enumerate((run.inputParticles.get(), run.outputParticles)):
        pixels = read_stack(particles)
        own, mean, first, last = (image for image, *_ in images[4 * row : 4 * row + 4])
        np.testing.assert_array_equal(own, pixels[particle - 1])
        np.testing.assert_array_equal(first, rotate_image(pixels[heavy - 1], -30))
        np.testing.assert_array_equal(last, rotate_image(pixels[light - 1], 90))
        np.testing.assert_allclose(mean, (0.5 * first + 0.25 * last) / 0.75, rtol=1e-5, atol=1e-6)
    assert images[2][1] == f"{heavy}: 50.0 %, -30°"
    assert "not data" in get_texts(plotter)


def test_histogram_counts_every_score(matched):
    run, written = matched
    (plotter,) = see(open_viewer(PolarDenoiseViewer, run), "showScores")
    (axis,) = plotter.figure.axes
    heights = [[patch.get_height() for patch in bars] for bars in axis.containers]
    scores = np.concatenate([arrays["score"] for arrays in written.values()])
    halves = np.concatenate([arrays["half"] for arrays in written.values()])
    for half, counted in zip((1, 2), heights, strict=True):
        wanted, _ = np.histogram(scores[halves == half], bins=len(counted), range=(0, 1))
        np.testing.assert_array_equal(counted, wanted)
    assert f"{len(scores)} particles" in get_texts(plotter)


def test_histogram_shows_what_is_proposed(matched, monkeypatch):
    run, _ = matched
    (plotter,) = see(open_viewer(PolarDenoiseViewer, run), "showScores")
    assert not plotter.figure.axes[0].lines  # a run that proposes nothing
    monkeypatch.setattr(run, "getProposedScore", lambda: 0.42)
    (plotter,) = see(open_viewer(PolarDenoiseViewer, run), "showScores")
    (line,) = plotter.figure.axes[0].lines
    assert list(line.get_xdata()) == [0.42, 0.42]
    assert line.get_label() == "proposed: 0.42"


def test_lowest_and_highest_scores(matched):
    run, written = matched
    (plotter,) = see(open_viewer(PolarDenoiseViewer, run, howMany=4), "showWorst")
    scores = np.concatenate([arrays["score"] for arrays in written.values()])
    ids = np.concatenate([arrays["ids"] for arrays in written.values()])
    order = ids[np.argsort(scores)]
    shown = [int(title.split(":")[0]) for _, title, *_ in get_images(plotter)[:4]]
    assert shown == [*order[:2], *order[-2:]]
    pixels = read_stack(run.inputParticles.get())
    np.testing.assert_array_equal(get_images(plotter)[0][0], pixels[order[0] - 1])


def test_class_averages_largest_first(matched):
    run, written = matched
    (plotter,) = see(open_viewer(PolarDenoiseViewer, run), "showClasses")
    images = get_images(plotter)
    first, second = written.values()
    # Sizes 15, 17, 15 and 20, 22, 20; classes of the second chunk are numbered on.
    np.testing.assert_array_equal(images[0][0], second["class_averages"][1])
    assert images[0][1] == "class 5: 22\nhalf 2, twin 4"
    np.testing.assert_array_equal(images[3][0], first["class_averages"][1])
    assert len(images) == 6


def test_without_matches_the_viewer_says_so(project, denoised):
    viewer = open_viewer(PolarDenoiseViewer, denoised)
    for name in ("showNeighbours", "showScores", "showWorst", "showClasses"):
        (message,) = see(viewer, name)
        assert isinstance(message, MessageView)
        assert "neighbours" in message.getMessage()


def test_file_of_other_particles_is_refused(tmp_path):
    np.savez(tmp_path / "m.npz", neighbours=np.zeros((3, 2), int))
    with pytest.raises(ValueError, match="3 particles, not 4"):
        read_neighbourhood(str(tmp_path / "m.npz"), range(4))
