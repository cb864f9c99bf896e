"""Wizard: the mask radius, on a particle of the input with the circle drawn."""

import numpy as np
import pyworkflow.gui.dialog as dialog
from pwem.objects import Particle
from pwem.wizards.wizard import MaskPreviewDialog, ParticleMaskRadiusWizard
from pyworkflow.gui.tree import ListTreeProvider

from polardenoise.protocols import ProtPolarEvaluate
from polardenoise.viewers.images import get_grey_range, read_image, smooth_image

# Particles that the dialog lists.
MOST_PARTICLES = 50
# At the noise of a raw particle nothing is seen: for this view it is blurred, pixels.
BLUR = 1.5
PREVIEW_SIZE = 256


class PolarMaskRadiusWizard(ParticleMaskRadiusWizard):
    """Choose the mask radius, pixels, on particles of the input.

    The dialog is pwem's; the pixels are read here, since pwem's way to them needs Xmipp's library.
    """

    _targets = [(ProtPolarEvaluate, ["maskRadius"])]

    def show(self, form, *params):
        particles = form.protocol.inputParticles.get()
        if particles is None:
            dialog.showWarning("Mask radius", "Select the input particles first.", form.root)
            return
        radius = form.protocol.getAttributeValue("maskRadius", -1)
        chosen = ParticleMaskDialog(
            form.root, ParticleProvider(particles), maskRadius=get_radius(radius, particles)
        )
        if chosen.resultYes():
            radius = round(chosen.getRadius(chosen.radiusSlider))
            form.setVar("maskRadius", get_radius(radius, particles))


def get_radius(radius, particles):
    """Return a radius that a circle can be drawn with: that of the form, or the largest, half the box less one."""
    largest = particles.getXDim() // 2 - 1
    return radius if radius is not None and 0 < radius <= largest else largest


class ParticleProvider(ListTreeProvider):
    """The first particles of a set, with their mean as the second entry.

    Parameters
    ----------
    particles : SetOfParticles
        The input.
    """

    def __init__(self, particles):
        items = [item.clone() for _, item in zip(range(MOST_PARTICLES), particles.iterItems())]
        self.mean = np.mean([read_image(item) for item in items], axis=0)
        average = Particle(objId=-1)
        average.setSamplingRate(particles.getSamplingRate())
        average.setObjLabel(f"mean of {len(items)}")
        ListTreeProvider.__init__(self, [items[0], average, *items[1:]])

    def getText(self, obj):
        return obj.getObjLabel() if obj.getObjId() == -1 else f"particle {obj.getObjId()}"

    def readImage(self, obj):
        """Return the pixels of an entry as they are shown, `(N, N)`: smoothed where it is one particle."""
        return self.mean if obj.getObjId() == -1 else smooth_image(read_image(obj), BLUR)


class ParticleMaskDialog(MaskPreviewDialog):
    """pwem's dialog with the circle, its particles read without Xmipp."""

    def _beforePreview(self):
        MaskPreviewDialog._beforePreview(self)
        self.previewLabel = f"smoothed by {BLUR:g} px for this view only"

    def _itemSelected(self, obj):
        image = self.provider.readImage(obj)
        black, white = get_grey_range(image)
        self.preview.updateData(enlarge(image, PREVIEW_SIZE))
        self.preview.figureimg.set_clim(black, white)
        self.preview.canvas.draw()


def enlarge(image, size):
    """Enlarge an image to `size` pixels, each pixel a square, with y up as matplotlib draws rows down."""
    places = np.arange(size) * len(image) // size
    return image[::-1][np.ix_(places, places)]
