"""Molecules as sources for the engine: phantoms by number, maps and atomic models of the project."""

import re

import pyworkflow.protocol.params as params

from polardenoise.volume_files import prepare_volume

# Below this number phantoms are for training, from it on for tests: a test molecule is never trained on.
FIRST_TEST_PHANTOM = 10000


def define_volume_and_structure_params(form, condition_volumes=None, condition_structures=None):
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
        pointerClass="Volume, SetOfVolumes",
        allowsNull=True,
        condition=condition_volumes,
        label="Maps",
        help="Density maps, protein bright, background 0. Their pixel size is the volume's own.",
    )
    form.addParam(
        "inputStructures",
        params.MultiPointerParam,
        pointerClass="AtomStruct, SetOfAtomStructs",
        allowsNull=True,
        condition=condition_structures,
        label="Atomic structures",
        help="PDB or mmCIF models. A file that declares a biological assembly is built up to it.",
    )


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


def list_volumes(pointers, folder):
    """List the maps of a form as files.

    Parameters
    ----------
    pointers : PointerList
        Of volumes and sets of volumes.
    folder : str
        For copies of those whose format or header the engine would not understand.

    Returns
    -------
    list of str
        Paths.
    """
    return [prepare_volume(volume, folder) for volume in iter_items(pointers)]


def list_structures(pointers):
    """List the atomic models of a form as files; `pointers` to models and sets of models."""
    return [structure.getFileName() for structure in iter_items(pointers)]


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
