"""The wizards that polardenoise adds to the forms of its protocols."""

from .wizard_box import PolarBoxWizard
from .wizard_mask import PolarMaskRadiusWizard

__all__ = ["PolarBoxWizard", "PolarMaskRadiusWizard"]
