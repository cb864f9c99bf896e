"""Wizard: box and pixel size from the maps or particles that the form names."""

import pyworkflow.gui.dialog as dialog
from pwem.wizards.wizard import EmWizard
from pyworkflow.gui.tree import ListTreeProviderString
from pyworkflow.object import String

from polardenoise.protocols import ProtPolarSimulate
from polardenoise.protocols.sources import iter_items

SMALLEST_BOX = 16


class PolarBoxWizard(EmWizard):
    """Fill in box and pixel size, both together, as one of the inputs has them."""

    _targets = [(ProtPolarSimulate, ["boxSize", "pixelSize"])]

    def show(self, form, *params):
        sampled = list_sampled_inputs(form.protocol)
        if not sampled:
            dialog.showInfo(
                "Box and pixel size",
                "Choose a map first. For phantoms and atomic structures "
                "leave the pixel size at 0: the molecule then fills 0.7 of the box.",
                form.root,
            )
            return
        chosen = sampled[0] if len(sampled) == 1 else self.ask(form, sampled)
        if chosen is not None:
            _, box, pixel_size = chosen
            form.setVar("boxSize", box)
            form.setVar("pixelSize", pixel_size)

    def ask(self, form, sampled):
        """Let the user choose among several inputs; None where the dialog is left."""
        texts = [String(text) for text, _, _ in sampled]
        for number, text in enumerate(texts):
            text.setObjId(number)
        answer = dialog.ListDialog(
            form.root,
            "Box and pixel size as in",
            ListTreeProviderString(texts),
            selectmode="browse",
        )
        return sampled[answer.values[0].getObjId()] if answer.values else None


def list_sampled_inputs(protocol):
    """List the inputs that a form shows and that have a box and a pixel size.

    Parameters
    ----------
    protocol : Protocol
        Of the form.

    Returns
    -------
    list of (str, int, float)
        What it is, its box (made even, for the engine takes no odd ones) in pixels, and Angstrom per pixel.
    """
    found = []
    if protocol.getShown("likeParticles") is not None:
        found.append(describe_sampled("particles", protocol.likeParticles.get()))
    volumes = iter_items(protocol.listShownPointers("inputVolumes"))
    return found + [describe_sampled("map", volume) for volume in volumes]


def describe_sampled(kind, item):
    """Describe a set of particles or a volume as `(text, box, Angstrom per pixel)`."""
    box, pixel_size = item.getXDim(), round(item.getSamplingRate(), 4)
    box = max(box + box % 2, SMALLEST_BOX)
    name = item.getObjLabel() or item.getObjName() or item.getFileName()
    return f"{kind} {name}: {box} px, {pixel_size:g} Å", box, pixel_size
