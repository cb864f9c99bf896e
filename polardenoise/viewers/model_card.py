"""The card of a model as a figure: what it is, what it was trained on, how it did, and the course of its training."""

import os
import textwrap

import numpy as np
from pwem.viewers import EmPlotter

from polardenoise.convert.model_files import read_card
from polardenoise.viewers.curves import read_history

TEXT_WIDTH = 92
# Of a line of text, inches.
LINE_HEIGHT = 0.145
# Names of molecules that fit on a card; the rest is counted.
MOST_NAMES = 40


def find_history(folder):
    """Return the path of the training's `history.csv`: with a shipped model, or beside the model's folder."""
    places = [os.path.join(folder, "history.csv"), os.path.join(folder, os.pardir, "history.csv")]
    return next((place for place in places if os.path.exists(place)), None)


def describe_card(card):
    """Say in lines what a model is.

    Parameters
    ----------
    card : dict
        Of `model.json`.

    Returns
    -------
    list of str
        Short lines; what the card does not say is left out.
    """
    trained = card.get("trained_on", {})
    lines = [f"{card['architecture']}, images of {card['sizes']['box']} px", ""]
    lines += wrap("Trained on", describe_sources(trained.get("sources", [])))
    lines += wrap("Validated on", describe_sources(trained.get("validated_on", [])))
    lines += wrap("Images", describe_images(trained))
    lines += wrap("Training", describe_training(trained))
    lines += wrap("Note", trained.get("note"))
    figures = card.get("figures", {})
    if figures.get("validation_relative_mse") is not None:
        error = figures["validation_relative_mse"]
        lines += wrap("Error", f"relative MSE {error:.3f} on the molecules of the validation")
    lines += wrap("Weights", f"SHA-256 {card['weights_sha256'][:16]}…")
    return lines


def wrap(name, text):
    """Break a field of the card into lines; none for an empty one."""
    if not text:
        return []
    indent = " " * 14
    first = f"{name + ':':<14}"
    return textwrap.wrap(text, TEXT_WIDTH, initial_indent=first, subsequent_indent=indent)


def describe_sources(sources):
    """Name the molecules, phantoms as ranges, long lists cut short."""
    numbers = sorted(
        int(name[8:]) for name in sources if name[8:].isdigit() and name[:8] == "phantom:"
    )
    names = [
        os.path.basename(name).split(".")[0] for name in sources if not name.startswith("phantom:")
    ]
    parts = []
    if numbers:
        contiguous = numbers[-1] - numbers[0] + 1 == len(numbers)
        span = f"{numbers[0]} to {numbers[-1]}" if contiguous and len(numbers) > 2 else None
        parts.append(f"{len(numbers)} phantoms ({span or join_names(map(str, numbers))})")
    if names:
        parts.append(f"{len(names)} structures or maps ({join_names(names)})")
    return "; ".join(parts)


def join_names(names):
    """Join names with commas; what does not fit is counted."""
    names = list(names)
    rest = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def describe_images(trained):
    """Say what the training's images were like."""
    recipe = trained.get("recipe", {})
    parts = []
    if "snr" in recipe:
        parts.append("SNR {} to {}".format(*recipe["snr"]))
    if "ctf_share" in recipe:
        parts.append(f"CTF in {100 * recipe['ctf_share']:.0f} % of the sets")
    if "largest_shift" in recipe:
        share = 100 * recipe.get("shift_share", 1)
        parts.append(f"shifts up to {recipe['largest_shift']:g} px in {share:.0f} %")
    if trained.get("pixel_size"):
        parts.append(f"{trained['pixel_size']:g} Å per pixel")
    if trained.get("half"):
        parts.append(f"only half {trained['half']} of its data")
    return ", ".join(parts)


def describe_training(trained):
    """Say how long the training was, and with what."""
    parts = []
    if "steps" in trained:
        parts.append(f"{trained['steps']} steps")
    if "images" in trained:
        parts.append(f"{trained['images']} images")
    if "minutes" in trained:
        parts.append(f"{trained['minutes']:.1f} minutes on {trained.get('device', '?')}")
    if "started" in trained:
        parts.append(trained["started"])
    if "version" in trained:
        parts.append(f"polardenoise {trained['version']}")
    return ", ".join(parts)


def draw_card(folder):
    """Draw a model's card.

    Parameters
    ----------
    folder : str
        With `model.json`.

    Returns
    -------
    EmPlotter
        Text above; the error on the validation's molecules below, where the history is there.

    Raises
    ------
    OSError, ValueError
        If there is no card, or it is no JSON object.
    """
    card = read_card(folder)
    title = f"Model {card.get('name') or os.path.basename(os.path.abspath(folder))}"
    lines = describe_card(card)
    history_path = find_history(folder)
    text_height = LINE_HEIGHT * len(lines) + 0.2
    plot_height = 2.6 if history_path else 0.0
    plotter = EmPlotter(
        x=1, y=1, figsize=(7, text_height + plot_height + 0.5), mainTitle=title, windowTitle=title
    )
    # The text is as high as it is long: the panels share the window accordingly, not in equal parts.
    plotter.tightLayoutOn = False
    height = text_height + plot_height + 0.5
    plotter.figure.text(
        0.04,
        1 - 0.5 / height,
        "\n".join(lines),
        family="monospace",
        fontsize=8,
        verticalalignment="top",
        linespacing=1.3,
    )
    if history_path:
        history = read_history(history_path)
        axis = plotter.createSubPlot("", "step", "relative MSE")
        axis.set_position([0.12, 0.55 / height, 0.84, (plot_height - 0.8) / height])
        errors = history.get("validation_relative_mse", np.array([]))
        drawn = np.isfinite(errors)
        axis.plot(history["step"][drawn], errors[drawn], ".-", linewidth=1, markersize=4)
        axis.set_title("Error on molecules not trained on", fontsize=9)
        axis.grid(True, alpha=0.3)
    return plotter
