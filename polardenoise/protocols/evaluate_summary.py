"""What *evaluate* says of a run: its figures, what to do next, and what it did."""

from polardenoise.convert.curves import OF_FEW_VIEWS
from polardenoise.protocols.forms.evaluate_form import TEST_HALVES, TEST_NULL, TEST_TRUTH

# Relative squared error from which an image is no better than an empty one.
NOTHING = 1.0


class EvaluateSummary:
    """The texts of the project window; mixed into the protocol."""

    def _summary(self):
        summary = self.readSummary("summary.json")
        if not summary or not hasattr(self, "outputFSC"):
            return self.tellProgress()
        if self.test == TEST_TRUTH:
            return tell_truth(summary)
        if self.test == TEST_NULL:
            return tell_null(self.getModel(), summary)
        return tell_halves(summary)

    def _methods(self):
        summary = self.readSummary("summary.json")
        if not summary or not hasattr(self, "outputFSC"):
            return []
        parts = summary.values() if self.test == TEST_HALVES else [summary]
        version = next((part["version"] for part in parts if part.get("version")), "")
        program = f"polardenoise {version}".strip()
        if self.test == TEST_TRUTH:
            return [
                f"{summary['particles']} denoised images were compared with their truth inside "
                f"{summary['mask_radius']:g} pixels, by relative squared error and mean Fourier ring "
                f"correlation ({program}) [anden2025]."
            ]
        if self.test == TEST_NULL:
            model = self.nameWithHash(self.getModelHash())
            return [
                f"The model ({model}) denoised {summary['images']} images of pure noise, at random "
                f"poses and aligned to a reference ({program}) [anden2025]."
            ]
        return [
            "Half maps of denoised particles"
            + (" and of the raw ones at the same poses" if "raw" in summary else "")
            + f" were reconstructed and compared by Fourier shell correlation ({program}) "
            "[anden2025]."
        ]

    def _citations(self):
        return ["anden2025"]


def tell_truth(summary):
    """Say how near the images are to their truth, and what follows from it: a list of lines."""
    noisy = summary.get("relative_mse_noisy")
    before = "" if noisy is None else f" (raw {noisy:.2f})"
    lines = [
        f"Relative squared error of {summary['particles']} images: "
        f"{summary['relative_mse']:.2g}{before}; "
        f"{summary['relative_mse_scaled']:.2g} after one common scale.",
        f"Mean FRC of 0.5 with the truth at {summary['frc_0.5_angstrom']:.2f} Å.",
    ]
    if noisy is not None and summary["relative_mse"] >= noisy:
        next_step = "do not use these images, they are no nearer to the truth than the raw ones"
    elif summary["relative_mse_scaled"] >= NOTHING:
        next_step = "do not use these images, empty ones would be as near to the truth"
    else:
        next_step = (
            "test the model on *pure noise* (what it invents), then align with the images and judge "
            "the maps *half against half*"
        )
    return [*lines, f"*Next*: {next_step}."]


def tell_null(model, summary):
    """Say what the model made of noise, and what follows from it: a list of lines."""
    fsc = summary["mean_fsc"]
    lines = [
        f"*{model}* on pure noise: *{summary['checks']}*."
        if "checks" in summary
        else "On pure noise:",
        f"Of pure noise {100 * summary['energy_to_particle']:.2g} % of a particle's energy "
        "(SNR 0.02) comes out.",
        "Half maps of noise, mean correlation to half Nyquist: random poses "
        f"{fsc['random/denoised']:.2f} (raw {fsc['random/raw']:.2f}), aligned to a reference "
        f"{fsc['aligned/denoised']:.2f} (raw {fsc['aligned/raw']:.2f}).",
    ]
    missed = [bar for bar in summary.get("bars", {}).values() if not bar["met"]]
    if missed and all(bar.get("within_chance") for bar in missed):
        next_step = (
            "test it again with another seed and 400 images or more: what was missed was missed by no more than "
            "chance may do"
        )
    elif missed:
        next_step = (
            "do not trust what the model shows in faint particles; take another, or train it longer "
            "(*train denoiser*)"
        )
    else:
        next_step = (
            "denoise with it, look, sort and align; what it shows in particles is still an estimate: "
            "reconstruct from the raw ones"
        )
    return [*lines, f"*Next*: {next_step}."]


def tell_halves(summary):
    """Say how far half maps agree, and what follows from it: a list of lines."""
    lines = []
    for name in summary:
        one = summary[name]
        kind = "Denoised" if one.get("denoised") else "Raw"
        lines.append(
            f"{kind}: FSC 0.143 of the half maps at {one['fsc_0.143_angstrom']:.2f} Å "
            f"({one['fsc_means']})."
        )
        if "fsc_0.5_to_reference_angstrom" in one:
            value = one["fsc_0.5_to_reference_angstrom"]
            lines.append(f"{kind}: FSC 0.5 against the reference at {value:.2f} Å.")
        lines += [f"Warning ({kind.lower()}): {text}" for text in one.get("warnings", [])]
    raw = next((one for one in summary.values() if not one.get("denoised")), None)
    if raw is None:
        next_step = (
            "run it again with *Raw particles beside them?* Yes: no figure above is a resolution"
        )
    elif raw["fsc_means"] == OF_FEW_VIEWS:
        next_step = "add particles of other views: of these few no resolution can be told"
    else:
        next_step = (
            f"go on with the raw particles at these poses (*reconstruct*, then a mask and "
            f"post-processing): {raw['fsc_0.143_angstrom']:.2f} Å is their resolution"
        )
    return [*lines, f"*Next*: {next_step}."]
