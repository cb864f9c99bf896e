"""The wizards that polardenoise adds to the forms of its protocols."""

from .wizard_box import PolarBoxWizard
from .wizard_mask import PolarMaskRadiusWizard
from .wizard_score import PolarScoreWizard

__all__ = ["PolarBoxWizard", "PolarMaskRadiusWizard", "PolarScoreWizard"]
