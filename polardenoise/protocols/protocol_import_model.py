"""Protocol: bring a trained model into the project."""

import os
import shutil
from enum import Enum

import pyworkflow.protocol.params as params
from pwem.protocols import ProtImport
from pyworkflow.constants import BETA

from polardenoise.constants import SHIPPED_MODELS, SHIPPED_MODELS_HELP
from polardenoise.convert.model_files import (
    CARD,
    WEIGHTS,
    check_model_folder,
    find_model_folder,
    read_card,
)
from polardenoise.convert.shipped_models import (
    PRETRAINED_FOLDER,
    get_default_model,
    list_installed_models,
)
from polardenoise.objects import PolarModel
from polardenoise.protocols.run_settings import RememberedSettings

FROM_FOLDER, FROM_SHIPPED = 0, 1
# What travels with a model where it is there: how its training went, and what it is good for.
COMPANIONS = ("CARD.rst", "history.csv", "history.png")


class ImportModelOutputs(Enum):
    """What the protocol gives."""

    outputModel = PolarModel


class ProtPolarImportModel(RememberedSettings, ProtImport):
    """Bring a trained denoiser into the project.

    The model is checked and copied: the project stays whole when it is moved, and says which model
    its images were denoised with. Models are folders with `model.json` and `weights.safetensors`.
    """

    _label = "import model"
    _devStatus = BETA
    _possibleOutputs = ImportModelOutputs

    # --------------------------- form ------------------------------------------------------
    def _defineParams(self, form):
        form.addSection(label="Import")
        form.addParam(
            "importFrom",
            params.EnumParam,
            choices=["folder", "shipped"],
            default=FROM_FOLDER,
            display=params.EnumParam.DISPLAY_HLIST,
            label="Import from",
            help="*folder*: a model on the disk, for example of a colleague or of a training outside "
            "Scipion.\n*shipped*: one that comes with polardenoise, to train it further.",
        )
        form.addParam(
            "modelFolder",
            params.PathParam,
            default="",
            condition=f"importFrom=={FROM_FOLDER}",
            label="Model folder",
            help="A folder with `model.json` and `weights.safetensors`; that of a training, which has "
            "them in its `model` folder, will do.",
        )
        form.addParam(
            "modelName",
            params.EnumParam,
            choices=SHIPPED_MODELS,
            default=get_default_model(),
            condition=f"importFrom=={FROM_SHIPPED}",
            label="Shipped model",
            help=SHIPPED_MODELS_HELP,
        )

    # --------------------------- steps -----------------------------------------------------
    def _insertAllSteps(self):
        config = self.getConfiguration()
        self.rememberSettings(config)
        self._insertFunctionStep(self.copyModelStep, config, needsGPU=False)
        self._insertFunctionStep(self.createOutputStep, config, needsGPU=False)

    def getConfiguration(self):
        """Return all that the result depends on, for the arguments of every step."""
        folder = self.getSourceFolder()
        return {"folder": folder, "weights": read_card(folder)["weights_sha256"]}

    def copyModelStep(self, config):
        """Copy the model into the run's folder, and check the copy."""
        target = self._getExtraPath("model")
        shutil.rmtree(target, ignore_errors=True)
        os.makedirs(target)
        for name in (CARD, WEIGHTS, *COMPANIONS):
            source = os.path.join(config["folder"], name)
            if os.path.exists(source):
                shutil.copyfile(source, os.path.join(target, name))
        errors = check_model_folder(target)
        if errors:
            raise RuntimeError(errors[0])
        return [os.path.join(target, CARD), os.path.join(target, WEIGHTS)]

    def createOutputStep(self, config):
        """Give the model."""
        model = PolarModel(self._getExtraPath("model"))
        model.readCard()
        self._defineOutputs(**{ImportModelOutputs.outputModel.name: model})

    def getSourceFolder(self):
        """Return the folder that the form names."""
        if self.importFrom == FROM_SHIPPED:
            return os.path.join(PRETRAINED_FOLDER, SHIPPED_MODELS[self.modelName.get()])
        return find_model_folder(self.modelFolder.get())

    # --------------------------- checks and texts --------------------------------------------
    def _validate(self):
        if self.importFrom == FROM_SHIPPED:
            name = SHIPPED_MODELS[self.modelName.get()]
            if name not in list_installed_models():
                return [f"The shipped model {name} is not in this installation; reinstall it."]
        elif not (self.modelFolder.get() or "").strip():
            return ["Name the folder of the model."]
        return check_model_folder(self.getSourceFolder())

    def _summary(self):
        if not hasattr(self, ImportModelOutputs.outputModel.name):
            return ["Not ready yet."]
        model = getattr(self, ImportModelOutputs.outputModel.name)
        return [
            f"{model}, from {self.getSourceFolder()}.",
            "*Next*: *denoise particles* with *Model: trained*, or train it further (*train denoiser*).",
        ]

    def _methods(self):
        if not hasattr(self, ImportModelOutputs.outputModel.name):
            return []
        return [
            f"The denoising model {self.getSourceFolder()} of polardenoise was used [anden2025]."
        ]

    def _citations(self):
        return ["anden2025"]
