"""Galleries of particles: their panels are the files' pixels, and their greys and labels are honest."""

import os

import mrcfile
import numpy as np
import pytest

from polardenoise.tests import scipion_project  # isort: skip - before pwem

from pyworkflow.viewer import MessageView

from polardenoise.tests.scipion_project import read_stack
from polardenoise.tests.viewers.figures import get_images, get_texts, open_viewer, see
from polardenoise.viewers import PolarDenoiseViewer, PolarSimulateViewer


def test_gallery_shows_the_files_pixels(project, denoised):
    (plotter,) = see(
        open_viewer(PolarDenoiseViewer, denoised, particleIds="5, 2, 40"), "showGallery"
    )
    images = get_images(plotter)
    assert len(images) == 12
    noisy = read_stack(denoised.inputParticles.get())[[4, 1, 39]]
    estimate = read_stack(denoised.outputParticles)[[4, 1, 39]]
    truth = read_stack(scipion_project.get_views().outputClean)[[4, 1, 39]]
    expected = [*noisy, *estimate, *(noisy - estimate), *truth]
    for (shown, *_), wanted in zip(images, expected, strict=True):
        np.testing.assert_array_equal(shown, wanted)
    assert [title for _, title, *_ in images[:3]] == ["particle 5", "particle 2", "particle 40"]
    labels = [label for *_, label in images[::3]]
    assert "noisy" in labels[0]
    assert "estimate" in labels[1]
    assert "not data" in labels[1].replace("\n", " ")
    assert "truth" in labels[3]
    assert "not data" in get_texts(plotter)


def test_greys_are_honest(project, denoised):
    """Each panel has its own range, written under it; the residual is in that of its noisy image."""
    (plotter,) = see(open_viewer(PolarDenoiseViewer, denoised, particleIds="1-3"), "showGallery")
    images = get_images(plotter)
    for place, (image, _, limits, _) in enumerate(images):
        of = images[place - 6][0] if 6 <= place < 9 else image
        assert limits == pytest.approx(np.percentile(of, (1, 99)))
        written = plotter.figure.axes[place].get_xlabel()
        assert written == f"{limits[0]:.3g} … {limits[1]:.3g}"


def test_random_pick_is_of_the_set_and_changes(project, denoised):
    viewer = open_viewer(PolarDenoiseViewer, denoised, howMany=4)
    picks = set()
    for _ in range(4):
        (plotter,) = see(viewer, "showGallery")
        titles = tuple(title for _, title, *_ in get_images(plotter)[:4])
        numbers = [int(title.split()[1]) for title in titles]
        assert numbers == sorted(set(numbers))
        assert set(numbers) <= denoised.outputParticles.getIdSet()
        picks.add(titles)
    assert len(picks) > 1


def test_wrong_ids_are_said(project, denoised):
    for text, said in (("999", "no particle 999"), ("a-b", "no list of ids")):
        (message,) = see(open_viewer(PolarDenoiseViewer, denoised, particleIds=text), "showGallery")
        assert isinstance(message, MessageView)
        assert said in message.getMessage()


def test_images_that_are_gone_are_named(project, denoised):
    """A stack moved away: a message with its name, no traceback in the graphical interface."""
    stack = denoised.outputParticles.getFirstItem().getFileName()
    os.rename(stack, stack + ".away")
    try:
        (message,) = see(open_viewer(PolarDenoiseViewer, denoised, particleIds="1"), "showGallery")
    finally:
        os.rename(stack + ".away", stack)
    assert isinstance(message, MessageView)
    assert stack in message.getMessage()


def test_gallery_of_a_subset_follows_ids_to_the_truth(project, denoised):
    """The truth is found by id through a subset, whose particles are not in places 1..N."""
    from pwem.protocols import ProtSubSet

    from polardenoise.protocols import ProtPolarDenoise

    subset = scipion_project.run_protocol(
        project,
        ProtSubSet,
        {"inputFullSet": (scipion_project.get_views(), "outputParticles")},
        chooseAtRandom=True,
        nElements=8,
    )
    run = project.newProtocol(ProtPolarDenoise)
    scipion_project.set_input(run, "inputParticles", (subset, "outputParticles"))
    run.outputParticles = subset.outputParticles
    chosen = max(subset.outputParticles.getIdSet())
    (plotter,) = see(open_viewer(PolarDenoiseViewer, run, particleIds=str(chosen)), "showGallery")
    truth = read_stack(scipion_project.get_views().outputClean)[chosen - 1]
    np.testing.assert_array_equal(get_images(plotter)[-1][0], truth)


def test_no_residual_where_it_would_mislead(project, denoised):
    """CTF-free estimates are not subtracted from images with a CTF; the figure says why."""
    viewer = open_viewer(PolarDenoiseViewer, denoised, particleIds="1, 2")
    denoised.outputParticles.setIsAmplitudeCorrected(True)
    try:
        (plotter,) = see(viewer, "showGallery")
    finally:
        denoised.outputParticles.setIsAmplitudeCorrected(False)
    labels = [label for *_, label in get_images(plotter)]
    assert not any("−" in label for label in labels)
    assert "No residual" in get_texts(plotter)


def test_simulated_particles_beside_their_truth(project):
    run = scipion_project.get_views()
    viewer = open_viewer(PolarSimulateViewer, run, particleIds="3, 1")
    (plotter,) = see(viewer, "showGallery")
    expected = [
        *read_stack(run.outputParticles)[[2, 0]],
        *read_stack(run.outputClean)[[2, 0]],
    ]
    for (shown, *_), wanted in zip(get_images(plotter), expected, strict=True):
        np.testing.assert_array_equal(shown, wanted)
    (plotter,) = see(viewer, "showMaps")
    volume = mrcfile.read(run.outputVolume.getFileName())
    for (shown, *_), wanted in zip(
        get_images(plotter), (volume[16], volume[:, 16], volume[:, :, 16]), strict=True
    ):
        np.testing.assert_array_equal(shown, wanted)
