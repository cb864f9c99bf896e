"""The objects that polardenoise adds to a Scipion project."""

import json
import os

from pwem.objects import EMObject
from pyworkflow.object import Float, Integer, String

from polardenoise import __version__

# The engine's own, for cards that do not say otherwise.
NORMALISATION = "background 0, noise variance 1"
CTF_CONVENTION = "phase-flipped"


class PolarModel(EMObject):
    """A trained denoising network: a folder with `model.json` and `weights.safetensors`.

    Parameters
    ----------
    path : str, optional
        The folder, relative to the project.
    """

    def __init__(self, path=None, **kwargs):
        EMObject.__init__(self, **kwargs)
        self._path = String(path)
        self._architecture = String()
        # Side of the images that the network works on, pixels.
        self._boxSize = Integer()
        # Pixel size of the data it was trained for, Angstrom; empty where it was trained for many.
        self._pixelSize = Float()
        # What is done to an image before the network sees it: to its scale, and to its CTF.
        self._normalisation = String()
        self._ctfConvention = String()
        # Half of the data it was trained on: 1, 2, or 0 for data that is in neither half.
        self._trainingHalf = Integer(0)
        self._steps = Integer()
        self._version = String()
        self._weightsHash = String()

    def readCard(self):
        """Fill the attributes from the folder's `model.json`.

        Raises
        ------
        OSError
            If there is none.
        """
        with open(os.path.join(self.getPath(), "model.json"), encoding="utf-8") as file:
            card = json.load(file)
        trained_on = card.get("trained_on", {})
        self._architecture.set(card["architecture"])
        self._boxSize.set(card["sizes"]["box"])
        self._pixelSize.set(trained_on.get("pixel_size"))
        self._normalisation.set(trained_on.get("normalisation", NORMALISATION))
        self._ctfConvention.set(trained_on.get("ctf", CTF_CONVENTION))
        self._trainingHalf.set(trained_on.get("half", 0))
        self._steps.set(trained_on.get("steps"))
        self._version.set(trained_on.get("version", __version__))
        self._weightsHash.set(card["weights_sha256"])

    def getPath(self):
        """Return the model's folder, relative to the project."""
        return self._path.get()

    def setPath(self, path):
        self._path.set(path)

    def getArchitecture(self):
        return self._architecture.get()

    def getBoxSize(self):
        """Return the side of the network's images, pixels."""
        return self._boxSize.get()

    def getPixelSize(self):
        """Return the pixel size trained for, Angstrom, or None for many."""
        return self._pixelSize.get()

    def getNormalisation(self):
        return self._normalisation.get()

    def getCtfConvention(self):
        return self._ctfConvention.get()

    def getTrainingHalf(self):
        return self._trainingHalf.get()

    def setTrainingHalf(self, half):
        """Say which random half it was trained on: 1 or 2; 0 says nothing new."""
        if half:
            self._trainingHalf.set(half)

    def getVersion(self):
        """Return the version of polardenoise that trained the model."""
        return self._version.get()

    def getWeightsHash(self):
        """Return the SHA-256 of the weights, hexadecimal."""
        return self._weightsHash.get()

    def getFiles(self):
        """Return the files that make the model, so that Scipion moves and exports them with it."""
        folder = self.getPath()
        if not folder or not os.path.isdir(folder):
            return set()
        return {os.path.join(folder, name) for name in sorted(os.listdir(folder))}

    def __str__(self):
        parts = [self.getArchitecture() or "model"]
        if self.getBoxSize():
            parts.append(f"{self.getBoxSize()} px")
        if self._steps.hasValue():
            parts.append(f"{self._steps.get()} steps")
        if self.getWeightsHash():
            parts.append(self.getWeightsHash()[:8])
        return f"PolarModel ({', '.join(parts)})"
