"""The viewers that polardenoise offers in Scipion: figures of what runs, sets and models hold."""

from .viewer_denoise import PolarDenoiseViewer
from .viewer_evaluate import PolarEvaluateViewer
from .viewer_model import PolarModelViewer
from .viewer_reconstruct import PolarReconstructViewer
from .viewer_simulate import PolarSimulateViewer
from .viewer_train import PolarTrainViewer

__all__ = [
    "PolarDenoiseViewer",
    "PolarEvaluateViewer",
    "PolarModelViewer",
    "PolarReconstructViewer",
    "PolarSimulateViewer",
    "PolarTrainViewer",
]
