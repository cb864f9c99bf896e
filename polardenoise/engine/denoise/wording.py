"""What is said of a finished run of `denoise`, in the same words on the terminal and in the report."""

from __future__ import annotations

from typing import Any

from polardenoise.counts import choose_verb, word_count

VERDICT = "VERDICT: do not trust these images: "


def word_verdict(summary: dict[str, Any]) -> str | None:
    """Put the verdict of a summary into one line; None where there is nothing to say."""
    reasons = summary.get("verdict") or []
    return VERDICT + "; ".join(reasons) if reasons else None


def word_finest_detail(summary: dict[str, Any], angstrom: str = "A") -> str:
    """Say what the finest detail is, for each pixel size where there are several, with the unit as it is written."""
    sizes = summary["pixel_sizes"]
    if len(sizes) == 1:
        return f"{summary['finest_detail_angstrom']:.2f} {angstrom}"
    return ", ".join(
        f"{one['finest_detail_angstrom']:.2f} {angstrom} ({word_count(one['particles'], 'particle')} of "
        f"{one['pixel_size']:.4g} {angstrom}/px)"
        for one in sizes
    )


def word_contrast(half: int, found: dict[str, Any], setting: str, groups_are_clear: bool) -> str:
    """Say what contrast a half shows and, where it is too weak to tell, what is done.

    Parameters
    ----------
    half : int
        Its number.
    found : dict
        As `contrast_of_halves` of a summary states it.
    setting : str
        What `--contrast` says; where that is not "auto", it holds whatever was found.
    groups_are_clear : bool
        Whether an optics group of the half shows its contrast by itself.
    """
    sigma = f"({found['sigma']:+.1f} sigma)"
    if found["clear"]:
        return f"half {half} {found['contrast']} {sigma}"
    done = ""
    if setting == "auto" and groups_are_clear:
        done = ", optics groups that are clear are taken as they are"
    elif setting == "auto":
        done = f", its images keep their sign, as if {found['contrast']}"
    return f"half {half} too weak to tell {sigma}{done}"


def word_noise_kinds(summary: dict[str, Any]) -> str:
    """Say of what kind the noise of the halves is; how coloured, and why it was left so, is said when it is found."""
    kinds = {}
    for half, noise in summary["noise_of_halves"].items():
        coloured = "coloured, whitened" if noise["whitened"] else "coloured, left so"
        white = "white" if noise.get("measured", True) else "taken as white"
        kinds[half] = coloured if noise["coloured"] else white
    if len(set(kinds.values())) == 1:
        return next(iter(kinds.values()))
    return " and ".join(f"{kind} in half {half}" for half, kind in kinds.items())


def word_set_size(summary: dict[str, Any], less: int = 0) -> str:
    """Say how many images each was denoised with, itself among them; less itself, with 1."""
    ranges = summary["images_together"]
    sizes = sorted({size - less for one in ranges for size in one})
    if len(sizes) == 1:
        return f"{sizes[0]}"
    if len(sizes) == 2 and all(least == most for least, most in ranges):
        return f"{sizes[0]} or {sizes[1]}"
    return f"{sizes[0]} to {sizes[-1]}"


def word_kept(kept: int, count: int, together: bool) -> str:
    """Say how many of the images of a run that was stopped are kept, as the beginning of a sentence.

    `together` says that images are searched in clusters, which are kept as a whole.
    """
    if kept:
        return f"{kept} of {word_count(count, 'image')} {choose_verb(kept, 'is', 'are')} kept"
    why = " (images are kept when their whole cluster is denoised)" if together else ""
    return f"none of {word_count(count, 'image')} is kept yet{why}"


def word_taken_over(kept: int, count: int) -> str:
    """Say how many of the images of a run that goes on are there already."""
    if kept:
        return f"{kept} of {word_count(count, 'image')} {choose_verb(kept, 'is', 'are')} kept from before"
    return f"none of {word_count(count, 'image')} is kept from before"


def list_warnings(summary: dict[str, Any]) -> list[str]:
    """List what speaks against a run, or must be known to use its images: no capital first, no full stop last."""
    warnings = []
    if summary["halves"] == "ignored":
        warnings.append("halves shared information: the FSC between them means nothing")
    if summary["faint"]:
        warnings.append(word_faint(summary["faint"], word_count(summary["particles"], "particle")))
    if not summary["noise_guard"]:
        warnings.append(
            f"the card of {summary['model']} does not state what it makes of pure noise: nothing keeps it from drawing "
            "particles into noise"
        )
    warnings += summary["doubts"]
    if (summary["residual"] or {}).get("said"):
        warnings.append(summary["residual"]["said"])
    if summary["ctf_output"] == "corrected":
        warnings.append(
            "the images are CTF-corrected: reconstruct them without CTF (RELION: no --ctf)"
        )
    return warnings


def word_faint(faint: int, of_particles: str) -> str:
    """Say how many of how many particles were taken for noise, and what is delivered of them."""
    shows = choose_verb(faint, "shows", "show")
    stands = choose_verb(faint, "its raw image stands there", "their raw images stand there")
    return f"{faint} of {of_particles} {shows} no more than pure noise would: {stands}, faint"


def word_overlaps(summary: dict[str, Any]) -> str:
    """Say how many boxes overlap others, and what could not be checked."""
    count, across = summary["overlapping"], summary["overlapping_across_halves"]
    said = []
    if count:
        shares = choose_verb(count, "shares", "share")
        said.append(f"{word_count(count, 'image')} {shares} pixels with others: these never met")
    if across:
        overlaps = choose_verb(
            across, "overlaps one of the other half: its", "overlap one of the other half: their"
        )
        said.append(f"{across} {overlaps} noise is in both")
    if not said and not summary["overlaps_unchecked"]:
        said.append("no boxes overlap")
    return "; ".join(filter(None, [*said, summary["overlaps_unchecked"]]))
