"""Molecules as sources for the engine: phantoms by number, maps and atomic models of the project."""

import re

import pyworkflow.protocol.params as params

from polardenoise.convert.volume_files import prepare_volume

# Below this number phantoms are for training, from it on for tests: a test molecule is never trained on.
FIRST_TEST_PHANTOM = 10000


class MoleculeSources:
    """Maps and atomic models as inputs; mixed into the protocols that simulate from them."""

    def defineSourceParams(self, form, condition_volumes=None, condition_structures=None):
        """Add the inputs for maps and atomic models to a form.

        Parameters
        ----------
        form : Form
            Of the protocol.
        condition_volumes, condition_structures : str, optional
            When each is shown.
        """
        form.addParam(
            "inputVolumes",
            params.MultiPointerParam,
            pointerClass="Volume,SetOfVolumes",
            allowsNull=True,
            condition=condition_volumes,
            label="Maps",
            help="Density maps, protein bright, background 0. Their pixel size is the volume's own.",
        )
        form.addParam(
            "inputStructures",
            params.MultiPointerParam,
            pointerClass="AtomStruct,SetOfAtomStructs",
            allowsNull=True,
            condition=condition_structures,
            label="Atomic structures",
            help="PDB or mmCIF models. A file that declares a biological assembly is built up to it.",
        )

    def describeSources(self):
        """Return what the steps' arguments say of the inputs, as `describeInput` words each."""
        return {
            name: [self.describeInput(pointer) for pointer in self.listShownPointers(parameter)]
            for name, parameter in (("volumes", "inputVolumes"), ("structures", "inputStructures"))
        }

    def listShownPointers(self, name):
        """List the pointers of `inputVolumes` or `inputStructures`; none where the form does not show them."""
        return list(getattr(self, name)) if self.evalParamCondition(name) else []

    def listSourcePointers(self):
        """List the pointers to all maps and atomic models that the form shows."""
        return self.listShownPointers("inputVolumes") + self.listShownPointers("inputStructures")

    def listVolumes(self):
        """List the chosen maps as files; copies of those that the engine would not understand go to `extra/`."""
        folder = self._getExtraPath("maps")
        return [
            prepare_volume(volume, folder)
            for volume in iter_items(self.listShownPointers("inputVolumes"))
        ]

    def listStructures(self):
        """List the chosen atomic models as files."""
        shown = self.listShownPointers("inputStructures")
        return [structure.getFileName() for structure in iter_items(shown)]

    def relateToSources(self, output):
        """Tell the project that an output comes from the inputs."""
        for pointer in self.listSourcePointers():
            self._defineSourceRelation(pointer, output)


def list_phantoms(text):
    """List phantoms as sources.

    Parameters
    ----------
    text : str
        Numbers and ranges, for example `1-20, 35`.

    Returns
    -------
    list of str
        For example `phantom:1-20` and `phantom:35`.

    Raises
    ------
    ValueError
        If something else stands there; the text says what.
    """
    words = re.sub(r"\s*-\s*", "-", text or "").replace(",", " ").split()
    for word in words:
        if not re.fullmatch(r"\d+(-\d+)?", word):
            raise ValueError(
                f"`{word}` is no number or range of phantoms: write for example 1-20, 35."
            )
        if int(word.split("-")[-1]) >= FIRST_TEST_PHANTOM:
            raise ValueError(f"Phantoms from {FIRST_TEST_PHANTOM} on are for tests: `{word}`.")
    return [f"phantom:{word}" for word in words]


def iter_items(pointers):
    """Yield what pointers name, and the items of the sets among them."""
    for pointer in pointers:
        found = pointer.get()
        if found is None:
            continue
        if hasattr(found, "iterItems"):
            for item in found.iterItems():
                yield item.clone()
        else:
            yield found
