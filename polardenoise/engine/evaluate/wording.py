"""What `evaluate` says, for people: how close images are to their truth, and what a model made of noise."""

from __future__ import annotations

from typing import Any

from polardenoise.counts import word_count
from polardenoise.engine.evaluate.noise_bars import name_cure, tell_apart


def summarise_comparison(summary: dict[str, Any]) -> str:
    """Say how close images are to their truth, for people."""
    noisy = summary["relative_mse_noisy"]
    before = "" if noisy is None else f" (noisy input {noisy:.3g})"
    lines = [
        f"{word_count(summary['particles'], 'particle')}: relative MSE {summary['relative_mse']:.4g}{before}, "
        f"{summary['relative_mse_scaled']:.4g} after one global scale; "
        f"mean FRC 0.5 at {summary['frc_0.5_angstrom']:.2f} A (Nyquist {summary['nyquist_angstrom']:.2f} A)"
    ]
    if "truth_rows" in summary:
        first, end = summary["truth_rows"]
        lines.append(
            f"the truth was cut to what was denoised, its rows {first + 1} to {end} (counted from 1): the file beside "
            "the denoised particles says which"
        )
    return "\n".join([*lines, *summarise_matches(summary)])


def summarise_matches(summary: dict[str, Any]) -> list[str]:
    """Say how right the matches are, for people: a line for each thing that the truth tells."""
    lines = []
    if summary.get("neighbour_angle_median") is not None:
        lines.append(
            f"views of the {summary['neighbours_judged']} nearest: median {summary['neighbour_angle_median']:.1f} "
            f"degrees away (best possible {summary['neighbour_angle_best']:.1f}, random "
            f"{summary['neighbour_angle_random']:.1f}), {summary['neighbours_within_25_degrees']:.0%} within 25; "
            f"symmetry: {summary['symmetry']}"
        )
    if summary.get("in_plane_error_median") is not None:
        lines.append(
            f"in-plane rotations: median error {summary['in_plane_error_median']:.1f} degrees between views within 15"
        )
    if summary.get("class_ari") is not None:
        lines.append(
            f"classes: adjusted Rand index {summary['class_ari']:.3f} (1 perfect, 0 chance)"
        )
    if summary.get("score_auc") is not None:
        lines.append(
            f"scores: ROC AUC {summary['score_auc']:.3f} for "
            f"{word_count(summary['junk'], 'piece of junk', 'pieces of junk')}"
        )
    return lines


def summarise_null_test(summary: dict[str, Any]) -> str:
    """Say what the model made of noise, for people: whether it passed, then each check, then what came out."""
    lines = [
        f"{summary['model']} on pure noise ({word_count(summary['images'], 'image')}, {summary['box']} px): "
        f"{summary['checks']}"
    ]
    for name, bar in summary["bars"].items():
        value, limit = tell_apart(bar["value"], bar["limit"])
        error = f", sampling error {bar['error']:.2g}" if bar["within_chance"] else ""
        relation = "passed" if bar["met"] else "MISSED"
        lines.append(f"  {relation}: {name}: {value} (at most {limit}{error})")
    if any(bar["within_chance"] for bar in summary["bars"].values()):
        lines.append(
            f"what is missed by less than two sampling errors may be chance: {name_cure(summary['images'])}"
        )
    lines.append(
        f"noise comes out with {summary['energy_to_particle']:.2g} of the energy of a particle at SNR 0.02, and with "
        f"{summary['energy_to_denoised_particle']:.2g} of that of such a particle denoised"
    )
    lines.append(
        "the curves of denoised images tell consistency, never resolution; --json FILE has all of them"
    )
    return "\n".join(lines)
