"""The models that come with the package, seen from Scipion: names and folders, nothing is loaded."""

import os

from polardenoise.architectures import DEFAULT_MODEL
from polardenoise.constants import SHIPPED_MODELS

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PRETRAINED_FOLDER = os.path.join(PACKAGE, "pretrained")


def list_installed_models():
    """List the shipped models whose files are there.

    Returns
    -------
    list of str
        Names, in the order of `SHIPPED_MODELS`.
    """
    return [
        name
        for name in SHIPPED_MODELS
        if os.path.exists(os.path.join(PRETRAINED_FOLDER, name, "model.json"))
    ]


def get_default_model():
    """Return the place in `SHIPPED_MODELS` of the model for everyone."""
    return SHIPPED_MODELS.index(DEFAULT_MODEL)
