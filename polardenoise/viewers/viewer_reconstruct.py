"""Viewer of a reconstruction: FSC curves and slices through its half maps."""

import os

import mrcfile
import pyworkflow.protocol.params as params
from pwem.viewers import EmProtocolViewer
from pyworkflow.viewer import DESKTOP_TKINTER

from polardenoise.protocols import ProtPolarReconstruct
from polardenoise.viewers.fsc_figure import draw_fsc
from polardenoise.viewers.images import get_grey_range
from polardenoise.viewers.pictures import Panel, cut_slices, draw_rows

RAW_TITLE = "Half maps of raw particles: resolution"
DENOISED_TITLE = "Half maps of denoised particles: consistency, not resolution"


class PolarReconstructViewer(EmProtocolViewer):
    """FSC curves that say what they mean, and the maps."""

    _label = "viewer reconstruct"
    _targets = [ProtPolarReconstruct]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Results")
        form.addParam(
            "showFsc",
            params.LabelParam,
            important=True,
            label="FSC curves",
            help="Between the half maps (read at 0.143) and, where one was given, against the reference "
            "(read at 0.5). Half maps of denoised particles agree because one network denoised both: "
            "their curve is a consistency, not a resolution.",
        )
        form.addParam(
            "showMaps",
            params.LabelParam,
            label="Slices through the map and its half maps",
            help="The difference of the half maps, in the greys of the map, is what the map's noise is like.",
        )

    def _getVisualizeDict(self):
        return {"showFsc": self.viewFsc, "showMaps": self.viewMaps}

    def viewFsc(self, paramName=None):
        """Draw the curves."""
        if not hasattr(self.protocol, "outputFSC"):
            return [self.infoMessage("There are no curves yet.", "FSC")]
        curves = [curve.clone() for curve in self.protocol.outputFSC.iterItems()]
        return [draw_fsc(curves, self.getProject(), self.protocol, self.getTitle())]

    def viewMaps(self, paramName=None):
        """Draw the central slices of map, half maps and the half maps' difference."""
        names = ("volume.mrc", "half1.mrc", "half2.mrc")
        paths = [self.protocol.getResultPath(name) for name in names]
        if not all(os.path.exists(path) for path in paths):
            return [self.infoMessage("There are no maps yet.", "Maps")]
        whole, first, second = (cut_slices(mrcfile.read(path)) for path in paths)
        ranges = [get_grey_range(image) for image in whole]
        difference = [a - b for a, b in zip(first, second)]
        axes = ("xy (z = 0)", "xz (y = 0)", "yz (x = 0)")
        rows = [
            ("map", [Panel(*each) for each in zip(whole, axes, ranges)]),
            ("half 1", [Panel(image, "", each) for image, each in zip(first, ranges)]),
            ("half 2", [Panel(image, "", each) for image, each in zip(second, ranges)]),
            (
                "half 1 − half 2",
                [Panel(image, "", each) for image, each in zip(difference, ranges)],
            ),
        ]
        note = f"{self.getTitle()}.\nAll in the greys of the map's slice above."
        return [draw_rows(rows, "Map and half maps", note)]

    def getTitle(self):
        """Return what the agreement of the half maps means."""
        denoised = self.protocol.readSummary("summary.json").get("denoised")
        return DENOISED_TITLE if denoised else RAW_TITLE
