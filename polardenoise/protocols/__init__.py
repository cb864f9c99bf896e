"""The protocols that polardenoise offers in Scipion."""

from .protocol_adapt import ProtPolarAdapt
from .protocol_denoise import ProtPolarDenoise
from .protocol_evaluate import ProtPolarEvaluate
from .protocol_import_model import ProtPolarImportModel
from .protocol_reconstruct import ProtPolarReconstruct
from .protocol_select import ProtPolarSelect
from .protocol_simulate import ProtPolarSimulate
from .protocol_train import ProtPolarTrain

__all__ = [
    "ProtPolarAdapt",
    "ProtPolarDenoise",
    "ProtPolarEvaluate",
    "ProtPolarImportModel",
    "ProtPolarReconstruct",
    "ProtPolarSelect",
    "ProtPolarSimulate",
    "ProtPolarTrain",
]
