"""The wizards: what they read from the inputs, and the mask radius chosen in a real dialog on a virtual screen."""

import json
import os

import numpy as np
import pytest

from polardenoise.tests import scipion_project  # isort: skip - before pwem

from pyworkflow.viewer import DESKTOP_TKINTER

from polardenoise.protocols import ProtPolarEvaluate, ProtPolarSimulate
from polardenoise.tests.scipion_project import read_stack
from polardenoise.tests.virtual_screen import display, see_window  # noqa: F401 - a fixture
from polardenoise.viewers.images import smooth_image
from polardenoise.wizards import PolarBoxWizard, PolarMaskRadiusWizard
from polardenoise.wizards.wizard_box import list_sampled_inputs
from polardenoise.wizards.wizard_mask import BLUR, ParticleProvider, enlarge, get_radius

# Opens the dialog as a form does, moves the slider, presses Select; says what was seen.
DIALOG = """
import json, os, sys

from pyworkflow.gui.gui import Window
from pwem.objects import SetOfParticles
from pyworkflow.protocol import Protocol
from polardenoise.wizards import PolarMaskRadiusWizard
from polardenoise.wizards import wizard_mask

os.chdir(sys.argv[1])
particles = SetOfParticles(filename=sys.argv[2])
particles.loadAllProperties()
seen = {}

class Pointer:
    def get(self):
        return particles

class Form:
    class protocol:
        inputParticles = Pointer()
        getAttributeValue = staticmethod(lambda name, default: int(sys.argv[3]))

    @staticmethod
    def setVar(name, value):
        seen[name] = value

class Dialog(wizard_mask.ParticleMaskDialog):
    def body(self, frame):
        super().body(frame)
        self.after(300, self.choose)

    def choose(self):
        shown = self.preview.figureimg.get_array()
        seen["shown"] = [float(shown.mean()), float(shown.std()), list(shown.shape)]
        seen["before"] = float(self.preview.ring.r)
        self.radiusSlider.slider.set(int(sys.argv[4]))
        self.after(300, self.accept)

    def accept(self):
        seen["circle"] = float(self.preview.ring.r)
        seen["centre"] = list(map(float, self.preview.ring.center))
        seen["text"] = self.hfVar.get()
        self._handleResult(wizard_mask.dialog.RESULT_YES)

wizard_mask.ParticleMaskDialog = Dialog
window = Window("form")
Form.root = window.root
window.root.deiconify()
PolarMaskRadiusWizard().show(Form)
print("SEEN", json.dumps(seen))
os._exit(0)
"""


def test_mask_radius_is_chosen_on_a_particle(project, display):  # noqa: F811
    """The circle is drawn at the radius, follows the slider, and the form gets the number of pixels."""
    particles = scipion_project.get_views().outputParticles
    path = os.path.abspath(particles.getFileName())
    seen = json.loads(see_window(display, DIALOG, project.path, path, "10", "13"))
    assert seen["maskRadius"] == 13
    # 32 pixels are drawn on 256 points.
    assert seen["before"] == 10 * 8
    assert seen["circle"] == 13 * 8
    assert seen["centre"] == [128, 128]
    assert "13 pix" in seen["text"]
    first = smooth_image(read_stack(particles)[0], BLUR)
    assert seen["shown"][2] == [256, 256]
    assert seen["shown"][:2] == pytest.approx([first.mean(), first.std()], rel=1e-3, abs=1e-4)


def test_particles_that_the_mask_dialog_lists(project):
    particles = scipion_project.get_views().outputParticles
    provider = ParticleProvider(particles)
    names = [provider.getText(item) for item in provider.getObjects()]
    assert names[:3] == ["particle 1", "mean of 50", "particle 2"]
    pixels = read_stack(particles)
    first, mean = provider.getObjects()[:2]
    np.testing.assert_array_equal(provider.readImage(first), smooth_image(pixels[0], BLUR))
    np.testing.assert_allclose(provider.readImage(mean), pixels[:50].mean(0), atol=1e-6)


def test_radius_without_one_is_the_largest(project):
    particles = scipion_project.get_views().outputParticles
    assert [get_radius(radius, particles) for radius in (-1, 0, None, 99, 7)] == [15, 15, 15, 15, 7]


def test_preview_is_upright():
    """Row 0 of the file is the lowest: matplotlib gets it last."""
    image = np.arange(16.0).reshape(4, 4)
    assert enlarge(image, 8)[-1, 0] == image[0, 0]
    assert enlarge(image, 8)[0, -1] == image[3, 3]


def test_box_and_pixel_size_of_the_map(project):
    """The wizard sets both as the chosen map has them."""
    volume = scipion_project.get_views().outputVolume
    run = project.newProtocol(ProtPolarSimulate, source=1)
    assert list_sampled_inputs(run) == []
    scipion_project.set_input(run, "inputVolumes", [(scipion_project.get_views(), "outputVolume")])

    class Form:
        protocol = run
        values = {}

        @classmethod
        def setVar(cls, name, value):
            cls.values[name] = value

    PolarBoxWizard().show(Form)
    assert Form.values["boxSize"] == 32
    assert Form.values["pixelSize"] == pytest.approx(volume.getSamplingRate(), abs=1e-4)
    ((text, _, _),) = list_sampled_inputs(run)
    assert "32 px" in text


def test_wizards_stand_on_the_forms(project):
    run = project.newProtocol(ProtPolarSimulate)
    wizards = project.getDomain().findWizards(run, DESKTOP_TKINTER)
    assert wizards["boxSize"] is PolarBoxWizard
    assert wizards["pixelSize"] is PolarBoxWizard
    run = project.newProtocol(ProtPolarEvaluate)
    assert (
        project.getDomain().findWizards(run, DESKTOP_TKINTER)["maskRadius"] is PolarMaskRadiusWizard
    )
