"""What noise may give: the bars of the null test, how far chance moves what is held against them, and their words."""

from __future__ import annotations

from typing import Any

import numpy as np

from polardenoise.engine.reconstruct.half_maps import FIRST_SHELL_OF_HIGHEST

#: Name of the images of `noise_images.draw_alike`.
ALIKE = "Gaussian of the same covariance"

#: What noise may give: energy beside a particle's, and a highest correlation so far above that of raw noise.
MOST_ENERGY = 0.02
MOST_EXCESS = 0.05

#: Draws of random poses that the correlation at random poses is a mean over. Denoised noise has few degrees of freedom:
#: the correlation of one draw comes out 0.1 above or below 0 in shells 4 to 7 by chance, that of raw noise 0.04.
POSE_DRAWS = 5

#: The number of images that the bars were set with (`docs/null_test.rst`).
IMAGES = 400

#: A bar that is missed by no more than so many sampling errors may be missed by chance. `base` misses one in every
#: fourth seed, of 16 images as of 400, by half an error at most.
ERRORS_OF_CHANCE = 2.0


def judge(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Hold a summary against what is asked of a model.

    Parameters
    ----------
    summary : dict
        With `curves`, `highest_fsc`, `amplitude` and `energy_to_particle`, as `noise_measures` states them.

    Returns
    -------
    dict
        Name of the bar to `value`, `limit`, `met`, the `error` of sampling of value less limit where the value is a
        correlation (else None), and whether it is missed `within_chance`.
    """
    highest, amplitude = summary["highest_fsc"], summary["amplitude"]
    pairs = {
        "highest FSC at random poses, against raw": ("random/denoised", "random/raw"),
        "highest FSC aligned, against raw": ("aligned/denoised", "aligned/raw"),
        f"highest FSC aligned, against {ALIKE}": ("aligned/denoised", f"aligned/{ALIKE}"),
        "highest FSC of raw aligned on denoised, against raw": (
            "aligned on denoised/raw",
            "aligned/raw",
        ),
    }
    curves = summary["curves"]
    return {
        "energy, of a particle's": state_bar(summary["energy_to_particle"], MOST_ENERGY, None),
        **{
            name: state_bar(
                highest[asked],
                highest[control] + MOST_EXCESS,
                estimate_error(curves[asked], curves[control], count_draws(asked)),
            )
            for name, (asked, control) in pairs.items()
        },
        "reference in the map aligned, against raw": state_bar(
            amplitude["aligned/denoised"], amplitude["aligned/raw"], None
        ),
    }


def state_bar(value: float, limit: float, error: float | None) -> dict[str, Any]:
    """State a bar: whether it is met, or missed by no more than chance may do."""
    met = value <= limit
    by_chance = not met and error is not None and value - limit <= ERRORS_OF_CHANCE * error
    return {"value": value, "limit": limit, "met": met, "error": error, "within_chance": by_chance}


def count_draws(name: str) -> int:
    """Count the draws of poses that a curve is a mean over, by its "poses/images"."""
    return POSE_DRAWS if name.startswith("random/") else 1


def estimate_error(asked: np.ndarray, control: np.ndarray, draws: int) -> float:
    """Estimate the standard error of the difference of the highest correlations of two pairs of half maps.

    Shell `s` of a map has `2 pi s^2` independent voxels, each with a real and an imaginary part: `r` is a correlation
    of `n = 4 pi s^2` numbers, with the standard error `(1 - r^2) / sqrt(n)`, less by the root of the `draws` that it is
    a mean over. The two add up in squares. On the number of images it depends through `r` alone: aligned, in shell 4,
    it is 0.1 for few images (`r` about 0.1) and 0.05 for 400 (`r` about 0.7).

    Parameters
    ----------
    asked, control : ndarray
        `(N // 2 + 1,)` curves.
    draws : int
        Of poses, both curves alike.

    Examples
    --------
    >>> curve = np.array([1, 1, 1, 1, 0.7, 0.2, 0.1])
    >>> round(estimate_error(curve, curve, 1), 3)
    0.051
    """
    squares = []
    for curve in (asked, control):
        shell = FIRST_SHELL_OF_HIGHEST + int(curve[FIRST_SHELL_OF_HIGHEST:].argmax())
        squares.append((1 - float(curve[shell]) ** 2) ** 2 / (4 * np.pi * shell**2 * draws))
    return float(np.sqrt(sum(squares)))


def word_checks(bars: dict[str, dict[str, Any]]) -> str:
    """Put into one line that a model passed all checks, or which it missed, and whether chance may do that."""
    missed = [name for name, bar in bars.items() if not bar["met"]]
    if not missed:
        return f"passed {len(bars)} of {len(bars)} checks"
    by_chance = sum(bars[name]["within_chance"] for name in missed)
    how = ""
    if by_chance:
        of_them = "" if by_chance == len(missed) else f"{by_chance} of them "
        how = f" ({of_them}by no more than chance may do)"
    return f"missed {len(missed)} of {len(bars)} checks{how}: {'; '.join(missed)}"


def list_warnings(bars: dict[str, dict[str, Any]], images: int) -> list[str]:
    """List the checks that were missed by so many images, each with its figures, as what speaks against the model."""
    warnings = []
    for name, bar in bars.items():
        if bar["met"]:
            continue
        value, limit = tell_apart(bar["value"], bar["limit"])
        warning = f"missed the check of {name}: {value}, at most {limit} is asked for"
        if bar["within_chance"]:
            warning += f"; the sampling error is {bar['error']:.2g}, so that chance may do that: {name_cure(images)}"
        warnings.append(warning)
    return warnings


def name_cure(images: int) -> str:
    """Say how it is told whether so many images missed a check by chance."""
    few = f" and --images {IMAGES} or more" if images < IMAGES else ""
    return f"test again with another --seed{few}"


def tell_apart(value: float, limit: float) -> tuple[str, str]:
    """Write two numbers in two digits, or as many more as show by how much they differ, to a tenth of it.

    Examples
    --------
    >>> tell_apart(0.1512, 0.0714), tell_apart(0.1567, 0.1496), tell_apart(0.1512, 0.1508)
    (('0.15', '0.071'), ('0.157', '0.15'), ('0.1512', '0.1508'))
    """
    apart = value - limit
    for digits in range(2, 9):
        words = f"{value:.{digits}g}", f"{limit:.{digits}g}"
        if abs(float(words[0]) - float(words[1]) - apart) <= 0.1 * abs(apart):
            break
    return words
