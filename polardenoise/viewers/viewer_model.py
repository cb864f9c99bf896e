"""Viewer of a trained model, wherever it comes from."""

import os

from pyworkflow.viewer import DESKTOP_TKINTER, Viewer

from polardenoise.objects import PolarModel
from polardenoise.viewers.model_card import draw_card


class PolarModelViewer(Viewer):
    """What a model was trained on, how it did, and its card where it has one."""

    _name = "Model card"
    _targets = [PolarModel]
    _environments = [DESKTOP_TKINTER]

    def _visualize(self, obj, **kwargs):
        folder = obj.getPath()
        if not folder or not os.path.exists(os.path.join(folder, "model.json")):
            return [self.errorMessage(f"The model's folder is not there: {folder}.", "Model")]
        views = [draw_card(folder)]
        card = os.path.join(folder, "CARD.rst")
        if os.path.exists(card):
            views.append(self.textView([card], "Model card"))
        return views
