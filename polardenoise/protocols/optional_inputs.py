"""Inputs that may be left out: each behind a question, and only what the form shows counts.

Scipion fills in every empty input of a new form with what the selected run gives, also those that are optional. An
optional input would so be used by a form that nobody touched.
"""

import pyworkflow.protocol.params as params


class OptionalInputs:
    """Optional inputs of a form; mixed into the protocols."""

    def defineOptionalInput(
        self, form, name, question, pointer_class, label, help_text, condition=None
    ):
        """Add a question, answered *No*, and behind it an input.

        Parameters
        ----------
        form : Form
            Of the protocol.
        name : str
            Of the input, for example `likeParticles`; the question is then `useLikeParticles`.
        question : str
            Label of the question.
        pointer_class : str
            What is taken, for example `SetOfParticles`.
        label, help_text : str
            Of the input; the help stands at the question too.
        condition : str, optional
            When the question is shown.
        """
        use = name_question(name)
        form.addParam(
            use,
            params.BooleanParam,
            default=False,
            condition=condition,
            label=question,
            help=help_text,
        )
        form.addParam(
            name,
            params.PointerParam,
            pointerClass=pointer_class,
            allowsNull=True,
            condition=f"({condition}) and {use}" if condition else use,
            label=label,
            help=help_text,
        )

    def getShown(self, name):
        """Return what an input names; None where the form does not show it."""
        return getattr(self, name).get() if self.evalParamCondition(name) else None

    def describeShown(self, name):
        """Describe an input as `describeInput` does; None where the form does not show it."""
        shown = self.getShown(name) is not None
        return self.describeInput(getattr(self, name)) if shown else None

    def findMissingInputs(self):
        """Say which questions were answered with *Yes* and have no input: a list of errors."""
        errors = []
        for name, _ in self.getDefinition().iterParams():
            use = name_question(name)
            asked = self.getDefinition().hasParam(use) and self.evalParamCondition(name)
            if asked and getattr(self, name).get() is None:
                label, question = self.getParam(name).label, self.getParam(use).label
                errors.append(f"Choose *{label}*, or answer *{question}* with No.")
        return errors


def name_question(name):
    """Name the question that an optional input stands behind: `useLikeParticles` for `likeParticles`."""
    return "use" + name[0].upper() + name[1:]
