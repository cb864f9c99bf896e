"""Which model a protocol uses: one that is shipped, one of the project, or a folder."""

import os

import pyworkflow.protocol.params as params

from polardenoise.constants import SHIPPED_MODELS, SHIPPED_MODELS_HELP
from polardenoise.convert.model_files import check_model_folder, find_model_folder, read_card
from polardenoise.convert.shipped_models import (
    PRETRAINED_FOLDER,
    get_default_model,
    list_installed_models,
)

MODEL_SHIPPED, MODEL_TRAINED, MODEL_FOLDER = 0, 1, 2


class ModelChoice:
    """The choice of a model on a form; mixed into the protocols that use one."""

    def defineModelParams(self, form, condition=None):
        """Add the choice to a form.

        Parameters
        ----------
        form : Form
            Of the protocol.
        condition : str, optional
            When it is shown.
        """
        also = f"({condition}) and " if condition else ""
        form.addParam(
            "modelSource",
            params.EnumParam,
            choices=["shipped", "trained", "folder"],
            default=MODEL_SHIPPED,
            display=params.EnumParam.DISPLAY_HLIST,
            condition=condition,
            label="Model",
            help="*shipped*: one that comes with polardenoise, trained on many simulated molecules.\n"
            "*trained*: one of this project, of `train denoiser` or `import model`.\n"
            "*folder*: one on the disk. `import model` keeps a copy in the project instead.",
        )
        form.addParam(
            "modelName",
            params.EnumParam,
            choices=SHIPPED_MODELS,
            default=get_default_model(),
            condition=f"{also}modelSource=={MODEL_SHIPPED}",
            label="Shipped model",
            help=f"{SHIPPED_MODELS_HELP}\n"
            "Each says in its card (pretrained/NAME/CARD.rst) what it was trained on.",
        )
        form.addParam(
            "inputModel",
            params.PointerParam,
            pointerClass="PolarModel",
            allowsNull=True,
            condition=f"{also}modelSource=={MODEL_TRAINED}",
            label="Trained model",
            help="A model of this project.",
        )
        form.addParam(
            "modelFolder",
            params.PathParam,
            default="",
            condition=f"{also}modelSource=={MODEL_FOLDER}",
            label="Model folder",
            help="A folder with `model.json` and `weights.safetensors`, as a training leaves it.",
        )

    def getModel(self):
        """Return the engine's `--model`: a shipped name or a folder."""
        if self.modelSource == MODEL_SHIPPED:
            return SHIPPED_MODELS[self.modelName.get()]
        if self.modelSource == MODEL_FOLDER:
            return find_model_folder(self.modelFolder.get())
        return self.inputModel.get().getPath()

    def getModelHash(self):
        """Return the hash of the weights; None for a shipped model, known by its name."""
        if self.modelSource == MODEL_SHIPPED:
            return None
        if self.modelSource == MODEL_TRAINED:
            return self.inputModel.get().getWeightsHash()
        return read_card(self.getModel())["weights_sha256"]

    def nameWithHash(self, sha):
        """Name the model for a text, with the start of its weights' hash where that is known."""
        return self.getModel() + (f", weights {sha[:12]}" if sha else "")

    def getModelArchitecture(self):
        """Return the network of the chosen model, for example `polar-transformer`."""
        if self.modelSource == MODEL_TRAINED:
            return self.inputModel.get().getArchitecture()
        folder = self.getModel()
        if self.modelSource == MODEL_SHIPPED:
            folder = os.path.join(PRETRAINED_FOLDER, folder)
        return read_card(folder)["architecture"]

    def validateModel(self):
        """Say what is wrong with the choice: a list of errors, empty if it can be used."""
        if self.modelSource == MODEL_TRAINED:
            if self.inputModel.get() is None:
                return ["Choose the trained model, or use a shipped one."]
            return check_model_folder(self.inputModel.get().getPath())
        if self.modelSource == MODEL_FOLDER:
            if not (self.modelFolder.get() or "").strip():
                return ["Name the model's folder, or use a shipped one."]
            return check_model_folder(self.modelFolder.get())
        name = SHIPPED_MODELS[self.modelName.get()]
        if name not in list_installed_models():
            return [f"The shipped model {name} is not in this installation; reinstall it."]
        return []
