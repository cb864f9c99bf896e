"""The forms of the protocols as plain data: for the tables of `docs/protocols.rst`, and for the age of screenshots.

Scipion has to be prepared before (`demo/headless.py`): the protocols import it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Sections that Scipion writes: what stands in them changes with Scipion and the machine, not with a form of ours.
GENERAL, PARALLEL = "General", "Parallelization"


@dataclass(frozen=True)
class Field:
    """One field of a form.

    Attributes
    ----------
    name : str
        Of the parameter, as scripts give it.
    section : str
        Label of the tab it stands in.
    kind : str
        Class of the parameter, for example `EnumParam`.
    label, help : str
        As the form shows them; empty for the hidden ones.
    default : str
        As it is stored; empty where there is none.
    choices : tuple of str
        Of an `EnumParam`, in the order of their numbers.
    takes : str
        What a pointer may point at, for example `SetOfParticles`.
    condition : str
        When it is shown, in names of other fields; empty: always.
    is_expert, is_important, may_be_empty : bool
        Folded away; in bold; an input that may be left out.
    """

    name: str
    section: str
    kind: str
    label: str
    help: str
    default: str
    choices: tuple[str, ...]
    takes: str
    condition: str
    is_expert: bool
    is_important: bool
    may_be_empty: bool


def list_fields(form: Any) -> list[Field]:
    """List the fields of a form in the order in which they are shown.

    Parameters
    ----------
    form : pyworkflow.protocol.params.Form
        Of a protocol or of a viewer.

    Returns
    -------
    list of Field
        Scipion's own section of run names is left out; of its threads only the names are there.
    """
    fields = []
    for section in form.iterSections():
        label = section.getLabel()
        if label != GENERAL:
            for name, parameter in section.iterParams():
                fields.append(read_field(name, parameter, label))
    return fields


def read_field(name: str, parameter: Any, section: str) -> Field:
    """Read one parameter of a form."""
    is_ours = section != PARALLEL
    return Field(
        name=name,
        section=section,
        kind=type(parameter).__name__,
        label=(parameter.getLabel() or "") if is_ours else "",
        help=(parameter.getHelp() or "") if is_ours else "",
        default=str(parameter.getDefault() or "") if is_ours else "",
        choices=tuple(getattr(parameter, "choices", ())),
        takes=str(getattr(parameter, "pointerClass", "") or ""),
        condition=parameter.condition.get() or "",
        is_expert=parameter.isExpert(),
        is_important=parameter.isImportant(),
        may_be_empty=bool(getattr(parameter, "allowsNull", False)),
    )


def list_protocols() -> dict[str, Any]:
    """Return the classes of the protocols by the short names of their screenshots, in the order of a workflow."""
    from polardenoise import protocols

    return {
        "simulate": protocols.ProtPolarSimulate,
        "train": protocols.ProtPolarTrain,
        "adapt": protocols.ProtPolarAdapt,
        "import_model": protocols.ProtPolarImportModel,
        "denoise": protocols.ProtPolarDenoise,
        "select": protocols.ProtPolarSelect,
        "evaluate": protocols.ProtPolarEvaluate,
        "reconstruct": protocols.ProtPolarReconstruct,
    }
