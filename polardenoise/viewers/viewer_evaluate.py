"""Viewer of an evaluation: its curves, and the picture that goes with them."""

import os

import matplotlib.image
import pyworkflow.protocol.params as params
from pwem.viewers import EmPlotter, EmProtocolViewer
from pyworkflow.viewer import DESKTOP_TKINTER

from polardenoise.protocols import ProtPolarEvaluate
from polardenoise.protocols.evaluate_form import TEST_HALVES, TEST_NULL, TEST_TRUTH
from polardenoise.viewers.fsc_figure import draw_fsc

TITLES = {
    TEST_TRUTH: "Correlation of the images with their truth",
    TEST_NULL: "Half maps of pure noise: what correlates is invented (no resolution)",
    TEST_HALVES: "Half against half, at the same poses",
}
DOTS_PER_INCH = 100


class PolarEvaluateViewer(EmProtocolViewer):
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
            help="As `polardenoise evaluate` draws it (extra/evaluation.png).",
        )

    def _getVisualizeDict(self):
        return {"showCurves": self.viewCurves, "showPicture": self.viewPicture}

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
            title = f"{self.protocol.getModel()} {checks}. {title}" if checks else title
        return [draw_fsc(curves, self.getProject(), self.protocol, title, label)]

    def viewPicture(self, paramName=None):
        """Show the engine's picture at its own size."""
        path = self.protocol.getPlotPath()
        if not os.path.exists(path):
            return [self.infoMessage("There is no picture yet.", "Evaluation")]
        picture = matplotlib.image.imread(path)
        size = picture.shape[1] / DOTS_PER_INCH, picture.shape[0] / DOTS_PER_INCH
        plotter = EmPlotter(figsize=size, dpi=DOTS_PER_INCH, windowTitle="Evaluation")
        plotter.tightLayoutOn = False
        axis = plotter.createSubPlot("", None, None)
        axis.set_position([0, 0, 1, 1])
        axis.imshow(picture)
        return [plotter]
