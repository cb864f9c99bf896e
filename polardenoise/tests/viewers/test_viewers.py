"""The viewers: who has which, their reports, and the pixels they turn. Headless; no window is opened."""

import numpy as np
import pytest

from polardenoise.tests import scipion_project  # isort: skip - before pwem

from pyworkflow.viewer import DESKTOP_TKINTER

from polardenoise.tests.viewers.figures import open_viewer, see
from polardenoise.viewers import (
    PolarDenoiseViewer,
    PolarModelViewer,
    PolarSimulateViewer,
    PolarTrainViewer,
)
from polardenoise.viewers.images import get_grey_range, rotate_image, smooth_image


def test_the_report_of_a_particles_chunk_opens_in_the_browser(project, denoised, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    viewer = open_viewer(PolarDenoiseViewer, denoised)
    last = max(denoised.outputParticles.getIdSet())
    for chosen, folder in ("", "report"), (str(last), "report_00002"):
        viewer.particleIds.set(chosen)
        (view,) = see(viewer, "showReport")
        view.show()
        page = opened[-1].replace("file://", "").replace("file:", "")
        assert page.endswith(f"extra/{folder}/index.html")
        with open(page) as file:
            text = file.read()
        assert '<p class="verdict' in text
        assert "32 particles denoised by" in text


def test_every_protocol_and_the_model_have_their_viewer(project):
    runs = (
        (scipion_project.get_views(), PolarSimulateViewer),
        (scipion_project.get_training(), PolarTrainViewer),
        (scipion_project.get_training().outputModel, PolarModelViewer),
    )
    for target, viewer in runs:
        assert project.getDomain().findViewers(target, DESKTOP_TKINTER)[0] is viewer


def test_lines_of_the_forms_are_those_that_are_handled(project, denoised):
    for viewer_class in (PolarDenoiseViewer, PolarSimulateViewer):
        viewer = open_viewer(viewer_class, denoised)
        assert all(viewer.getParam(name) is not None for name in viewer._getVisualizeDict())


def test_rotation_is_counter_clockwise_with_y_up():
    """A point on +x goes to +y in a quarter turn, about pixel (N//2, N//2)."""
    image = np.zeros((16, 16), np.float32)
    image[8, 8 + 5] = 1
    turned = rotate_image(image, 90)
    assert np.unravel_index(turned.argmax(), turned.shape) == (8 + 5, 8)
    np.testing.assert_array_equal(rotate_image(image, 0), image)


def test_rotating_there_and_back_keeps_a_smooth_image():
    random = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32] - 16
    image = smooth_image(random.normal(size=(32, 32)) * (x**2 + y**2 < 100), 2).astype(float)
    back = rotate_image(rotate_image(image, 37), -37)
    assert np.square(back - image).sum() < 1e-4 * np.square(image).sum()


def test_rotated_noise_is_as_strong_as_before():
    """No interpolation: a turned neighbour must not look cleaner than it is."""
    noise = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    y, x = np.mgrid[:64, :64] - 32
    disk = x**2 + y**2 < 30**2
    for degrees in (10, 45, -90, 133):
        assert rotate_image(noise, degrees)[disk].std() == pytest.approx(
            noise[disk].std(), rel=0.03
        )


def test_smoothing_keeps_the_sum():
    image = np.random.default_rng(0).normal(size=(16, 16))
    assert smooth_image(image, 2).sum() == pytest.approx(image.sum(), rel=1e-5)
    assert smooth_image(image, 2).std() < 0.3 * image.std()


def test_grey_range_of_an_empty_image():
    assert get_grey_range(np.full((4, 4), 3.0)) == (2.0, 4.0)
