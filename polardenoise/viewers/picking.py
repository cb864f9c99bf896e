"""Which particles a figure shows: the user's, or a random pick; and the truth of simulated ones."""

import functools
import random

import pyworkflow.protocol.params as params

from polardenoise.protocols.upstream import find_maker


def tell_errors(view):
    """Let a line of a viewer say what is missing or wrong instead of raising it into the graphical interface."""

    @functools.wraps(view)
    def view_or_message(viewer, paramName=None):
        try:
            return view(viewer, paramName)
        except (OSError, ValueError) as error:
            return [viewer.errorMessage(str(error), "Nothing to show")]

    return view_or_message


class ParticlePicker:
    """The part of a viewer's form that says which particles are shown; mixed into the viewers."""

    def definePickParams(self, form):
        """Add to a viewer's form which particles it shows."""
        form.addParam(
            "particleIds",
            params.StringParam,
            default="",
            label="Particles (ids)",
            help="Ids as in the set's table, for example `3, 17, 100-103`. Empty: another random pick "
            "at every click.",
        )
        form.addParam(
            "howMany",
            params.IntParam,
            default=6,
            validators=[params.Range(1, 20)],
            label="How many",
            help="Particles (or neighbours of one) that a figure shows.",
        )

    def pickIds(self, known):
        """Choose the particles of a figure.

        Parameters
        ----------
        known : iterable of int
            Ids that there are.

        Returns
        -------
        list of int
            Those of the form, in its order, or a random pick in ascending order.

        Raises
        ------
        ValueError
            If the form names none that is there.
        """
        known, count = set(known), self.howMany.get()
        text = (self.particleIds.get() or "").strip()
        if not text:
            return sorted(random.sample(sorted(known), min(count, len(known))))
        try:
            asked = self._getListFromRangeString(text.replace(" ", ""))
        except ValueError:
            raise ValueError(
                f"`{text}` is no list of ids: write for example 3, 17, 100-103."
            ) from None
        found = [number for number in asked if number in known]
        if not found:
            raise ValueError(f"The set has no particle {text}.")
        return found[:count]


def find_truth(pointer, project):
    """Find the clean images of particles that a simulation of this project made; see `find_maker`.

    Parameters
    ----------
    pointer : Pointer
        To the particles.
    project : Project
        They are in.

    Returns
    -------
    SetOfParticles or None
        The same ids, without noise and without CTF.
    """
    maker = find_maker(pointer, project, lambda protocol: hasattr(protocol, "outputClean"))
    return None if maker is None else maker.outputClean
