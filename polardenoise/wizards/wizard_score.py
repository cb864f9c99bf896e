"""Wizard: the least score of particles to keep, as the run that denoised them proposes it."""

import pyworkflow.gui.dialog as dialog
from pwem.wizards.wizard import EmWizard

from polardenoise.protocols import ProtPolarSelect

TITLE = "Minimum score"


class PolarScoreWizard(EmWizard):
    """Fill in the proposed score: well below the hump of the scores, to be changed as the images say."""

    _targets = [(ProtPolarSelect, ["minScore"])]

    def show(self, form, *params):
        proposed = find_proposed_score(form.protocol)
        if proposed is None:
            dialog.showInfo(
                TITLE,
                "Nothing is proposed for these particles. Where the summary of denoise particles says why, look at "
                "the classes and pick some. Else choose the output of denoise particles, made with 2D classes and "
                "score by this version or a later one; or take the foot of the hump in its histogram of the scores.",
                form.root,
            )
            return
        form.setVar("minScore", proposed)


def find_proposed_score(protocol):
    """Find the score that the run proposes which a form's denoised particles come from; None where none does.

    Parameters
    ----------
    protocol : ProtPolarSelect
        Of the form.
    """
    if protocol.inputParticles.get() is None:
        return None
    run = protocol.findDenoiseRun()
    return None if run is None else run.getProposedScore()
