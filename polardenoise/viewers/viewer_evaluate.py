"""Viewer of an evaluation: its curves, and the picture that goes with them."""

import os

import matplotlib.image
import pyworkflow.protocol.params as params
from pwem.viewers import EmPlotter, EmProtocolViewer
from pyworkflow.viewer import DESKTOP_TKINTER

from polardenoise.protocols import ProtPolarEvaluate
from polardenoise.protocols.forms.evaluate_form import TEST_HALVES, TEST_NULL, TEST_TRUTH
from polardenoise.viewers.fsc_figure import draw_fsc
from polardenoise.viewers.images import read_image
from polardenoise.viewers.picking import ParticlePicker, tell_errors
from polardenoise.viewers.pictures import ESTIMATE_LABEL, ESTIMATE_NOTE, Panel, draw_rows

TITLES = {
    TEST_TRUTH: "Correlation of the images with their truth",
    TEST_NULL: "Half maps of pure noise: what correlates is invented (no resolution)",
    TEST_HALVES: "Half against half, at the same poses",
}
DOTS_PER_INCH = 100


class PolarEvaluateViewer(ParticlePicker, EmProtocolViewer):
    """How near denoised particles are to a truth, what a model makes of noise, how halves agree."""

    _label = "viewer evaluate"
    _targets = [ProtPolarEvaluate]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Results")
        form.addParam(
            "showCurves",
            params.LabelParam,
            important=True,
            label="Correlation curves",
            help="Against a truth or a reference read at 0.5, between half maps at 0.143. Between half "
            "maps of denoised images a curve tells consistency, not resolution.",
        )
        form.addParam(
            "showPicture",
            params.LabelParam,
            label="Picture of the test",
            help="As `polardenoise evaluate` draws it (extra/evaluation.png); of half maps, those of the raw "
            "particles beside those of the denoised ones.",
        )
        self.definePickParams(form)
        form.addParam(
            "showImages",
            params.LabelParam,
            important=True,
            label="Raw images beside the denoised ones (and the truth)",
            help="Raw particles are those that the form names, or that the denoised ones were made from.",
        )

    def _getVisualizeDict(self):
        return {
            "showCurves": self.viewCurves,
            "showPicture": self.viewPicture,
            "showImages": self.viewImages,
        }

    def viewCurves(self, paramName=None):
        """Draw the curves of the output."""
        if not hasattr(self.protocol, "outputFSC"):
            return [self.infoMessage("There are no curves yet.", "Evaluation")]
        curves = [curve.clone() for curve in self.protocol.outputFSC.iterItems()]
        title = TITLES[self.protocol.test.get()]
        rings = self.protocol.test == TEST_TRUTH
        label = "Fourier ring correlation of images" if rings else "Fourier shell correlation"
        if self.protocol.test == TEST_NULL:
            checks = self.protocol.readSummary("summary.json").get("checks")
            title = f"{self.protocol.getModel()}: {checks}. {title}" if checks else title
        return [draw_fsc(curves, self.getProject(), self.protocol, title, label)]

    def viewPicture(self, paramName=None):
        """Show the engine's pictures at their own size, those of raw particles left of those of denoised ones."""
        paths = [self.protocol.getPlotPath()]
        if self.protocol.test == TEST_HALVES:
            paths.insert(0, self.protocol._getExtraPath("raw", "fsc.png"))
        pictures = [matplotlib.image.imread(path) for path in paths if os.path.exists(path)]
        if not pictures:
            return [self.infoMessage("There is no picture yet.", "Evaluation")]
        width = sum(picture.shape[1] for picture in pictures)
        height = max(picture.shape[0] for picture in pictures)
        size = width / DOTS_PER_INCH, height / DOTS_PER_INCH
        plotter = EmPlotter(
            x=1, y=len(pictures), figsize=size, dpi=DOTS_PER_INCH, windowTitle="Evaluation"
        )
        plotter.tightLayoutOn = False
        left = 0
        for picture in pictures:
            axis = plotter.createSubPlot("", None, None)
            high, wide = picture.shape[0] / height, picture.shape[1] / width
            axis.set_position([left, 1 - high, wide, high])
            axis.imshow(picture)
            left += wide
        return [plotter]

    @tell_errors
    def viewImages(self, paramName=None):
        """Draw particles raw, denoised and, where it is known, true; a column each."""
        if self.protocol.test == TEST_NULL:
            return [self.infoMessage("Noise holds no particles: see the picture.", "Evaluation")]
        raw, denoised = self.protocol.getRawPointer(), self.protocol.inputParticles.get()
        ids = self.pickIds(denoised.getIdSet())
        titles = [f"particle {number}" for number in ids]
        sets = [(ESTIMATE_LABEL, denoised)]
        if raw is not None:
            sets.insert(0, ("raw", raw.get()))
        if self.protocol.test == TEST_TRUTH:
            sets.append(("truth", self.protocol.referenceParticles.get()))
        rows = []
        for label, particles in sets:
            images = [read_image(particles[number]) for number in ids]
            rows.append((label, [Panel(*each) for each in zip(images, titles)]))
            titles = [""] * len(ids)  # above the first row only
        notes = [ESTIMATE_NOTE] + ([] if raw is not None else ["The raw particles are not known."])
        notes.append("Under each image its black … white.")
        return [draw_rows(rows, "Particles that were judged", "\n".join(notes))]
