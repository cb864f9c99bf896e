"""Where particles come from: the run of this project that made them, through subsets, which keep the ids."""

from pwem.objects import SetOfParticles
from pwem.protocols import ProtSubSet
from pwem.protocols.protocol_batch import ProtUserSubSet
from pyworkflow.protocol import Protocol


def find_maker(pointer, project, is_wanted):
    """Find the run that particles come from.

    Subsets are followed upwards, since they keep the ids; nothing else is, since ids may change.

    Parameters
    ----------
    pointer : Pointer
        To the particles.
    project : Project
        They are in.
    is_wanted : callable
        From a run to whether it is the one that is looked for.

    Returns
    -------
    Protocol or None
    """
    while pointer is not None and pointer.get() is not None:
        protocol = pointer.getObjValue()
        if not isinstance(protocol, Protocol):
            protocol = project.getProtocol(pointer.get().getObjParentId())
        if protocol is None or is_wanted(protocol):
            return protocol
        pointer = get_full_set(protocol)
    return None


def get_full_set(protocol):
    """Return what points to the particles that a subset, of a protocol or the viewer, was taken of; else None."""
    if isinstance(protocol, ProtSubSet):
        return protocol.inputFullSet
    # What is taken of classes may be their averages, whose ids are the classes'.
    if isinstance(protocol, ProtUserSubSet) and isinstance(
        protocol.inputObject.get(), SetOfParticles
    ):
        return protocol.inputObject
    return None
