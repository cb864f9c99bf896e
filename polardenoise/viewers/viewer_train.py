"""Viewer of a training: its curves while it runs, and the model that came of it."""

import os

import pyworkflow.protocol.params as params
from pwem.viewers import EmProtocolViewer
from pyworkflow.viewer import DESKTOP_TKINTER

from polardenoise.protocols import ProtPolarTrain
from polardenoise.viewers.curves import TrainingCurves
from polardenoise.viewers.model_card import draw_card


class PolarTrainViewer(EmProtocolViewer):
    """The course of a training, live, and the card of the model."""

    _label = "viewer train denoiser"
    _targets = [ProtPolarTrain]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Training")
        form.addParam(
            "showCurves",
            params.LabelParam,
            important=True,
            label="Training curves (live)",
            help="Loss, error on molecules that it is not trained on, learning rate. The window follows a "
            "training that runs. Is the error still falling at the end, *Continue* with more minutes.",
        )
        form.addParam(
            "showModel",
            params.LabelParam,
            label="The model: what it was trained on",
            help="Its card, as it is kept with the weights.",
        )

    def _getVisualizeDict(self):
        return {"showCurves": self.viewCurves, "showModel": self.viewModel}

    def viewCurves(self, paramName=None):
        """Open the curves, those of each half in a window of its own."""
        name = self.protocol.getObjLabel() or self.protocol.getRunName()
        return [
            TrainingCurves(
                self.protocol.getTrainingPath("history.csv", half=half),
                f"Training: {name}" + (f", half {half}" if half else ""),
            )
            for half in self.protocol.listHalves()
        ]

    def viewModel(self, paramName=None):
        """Draw the card of the model, or of each half's."""
        folders = [
            self.protocol.getTrainingPath("model", half=half) for half in self.protocol.listHalves()
        ]
        cards = [
            draw_card(folder)
            for folder in folders
            if os.path.exists(os.path.join(folder, "model.json"))
        ]
        return cards or [self.infoMessage("There is no model yet.", "Model")]
