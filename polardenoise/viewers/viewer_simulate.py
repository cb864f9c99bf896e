"""Viewer of simulated particles: noisy and clean side by side, and the map."""

import os

import mrcfile
import pyworkflow.protocol.params as params
from pwem.viewers import EmProtocolViewer
from pyworkflow.viewer import DESKTOP_TKINTER

from polardenoise.protocols import ProtPolarSimulate
from polardenoise.viewers.images import read_image
from polardenoise.viewers.picking import ParticlePicker, tell_errors
from polardenoise.viewers.pictures import Panel, draw_rows, draw_volumes


class PolarSimulateViewer(ParticlePicker, EmProtocolViewer):
    """The noisy particles beside their truth."""

    _label = "viewer simulate particles"
    _targets = [ProtPolarSimulate]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Images")
        self.definePickParams(form)
        form.addParam(
            "showGallery",
            params.LabelParam,
            important=True,
            label="Noisy particles and their truth",
            help="The particles named above, and below them the same without noise and without CTF.",
        )
        form.addParam(
            "showMaps",
            params.LabelParam,
            label="Slices through the molecules",
            help="Central slices of the maps that the particles are projections of.",
        )

    def _getVisualizeDict(self):
        return {"showGallery": self.viewGallery, "showMaps": self.viewMaps}

    @tell_errors
    def viewGallery(self, paramName=None):
        """Draw the chosen particles noisy and clean."""
        if not hasattr(self.protocol, "outputParticles"):
            return [self.infoMessage("There are no particles yet.", "Nothing to show")]
        noisy, clean = self.protocol.outputParticles, self.protocol.outputClean
        ids = self.pickIds(noisy.getIdSet())
        rows = [
            ("noisy", [Panel(read_image(noisy[number]), f"particle {number}") for number in ids]),
            ("truth\n(no CTF)", [Panel(read_image(clean[number])) for number in ids]),
        ]
        note = "Under each image its black … white, in units of the noise."
        return [draw_rows(rows, "Simulated particles", note)]

    @tell_errors
    def viewMaps(self, paramName=None):
        """Draw the central slices of the molecules, six at most."""
        paths = self.protocol.readSummary("summary.json").get("volumes", [])[:6]
        if not paths:
            return [self.infoMessage("There is no map yet.", "Nothing to show")]
        volumes = [(os.path.basename(path), mrcfile.read(path)) for path in paths]
        return [draw_volumes(volumes, "Molecules that were simulated")]
