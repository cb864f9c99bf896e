"""FSC curves through pwem's FscViewer, with what they mean written on them."""

import textwrap

from matplotlib.ticker import FuncFormatter
from pwem.viewers import FscViewer

# Characters of a title that the narrowest figure shows.
TITLE_WIDTH = 60
HALVES_THRESHOLD, REFERENCE_THRESHOLD = 0.143, 0.5


def get_threshold(label):
    """Return where a curve is read: 0.5 against a truth, which has no noise of its own; 0.143 between half maps."""
    known = "reference" in label or "truth" in label
    return REFERENCE_THRESHOLD if known else HALVES_THRESHOLD


def find_crossing(frequencies, values, threshold):
    """Find where a curve first falls below a threshold.

    Parameters
    ----------
    frequencies, values : sequence of float
        `(shells,)`, 1/Angstrom and correlation; shell 0 left out.
    threshold : float
        In correlation.

    Returns
    -------
    float or None
        The frequency, 1/Angstrom, interpolated between shells; None if it never does.
    """
    last_frequency, last_value = 0.0, 1.0
    for frequency, value in zip(frequencies, values):
        if value < threshold:
            share = (last_value - threshold) / (last_value - value)
            return last_frequency + share * (frequency - last_frequency)
        last_frequency, last_value = frequency, value
    return None


def describe_crossing(frequencies, values, threshold):
    """Say in a few words where a curve falls below a threshold."""
    frequency = find_crossing(frequencies, values, threshold)
    if frequency is None:
        return f"above {threshold:g} as far as {1 / frequencies[-1]:.1f} Å"
    return f"{threshold:g} at {1 / frequency:.1f} Å"


def format_frequency(frequency, _):
    """Write a spatial frequency as Scipion does, 1/Angstrom; 0 as 0."""
    return f"1/{1 / frequency:.1f}" if frequency > 1e-6 else "0"


def draw_fsc(curves, project, protocol, title, axis_label="Fourier shell correlation"):
    """Draw curves with FscViewer in a figure of their own.

    Parameters
    ----------
    curves : list of FSC
        Their labels are the legend's.
    project, protocol
        The viewer wants them.
    title : str
        Written above: says what the curves mean. Wrapped where it is long.
    axis_label : str
        What is correlated: shells of maps, or rings of images.

    Returns
    -------
    EmPlotter
    """
    viewer = FscViewer(project=project, protocol=protocol, threshold=HALVES_THRESHOLD, figure=None)
    for curve in curves:
        # pwem's own search for the crossing fails on curves that never fall, and knows one threshold.
        curve.calculateResolution = lambda *_: ""
        label = curve.getObjLabel()
        viewer.plotFsc(curve, label=label)
        text = describe_crossing(*map(list, curve.getData()), get_threshold(label))
        viewer.plotter.getLastSubPlot().lines[-1].set_label(f"{label} ({text})")
    axis = viewer.plotter.getLastSubPlot()
    if any(get_threshold(curve.getObjLabel()) == REFERENCE_THRESHOLD for curve in curves):
        axis.axhline(REFERENCE_THRESHOLD, color="black", linestyle=":")
    axis.xaxis.set_major_formatter(FuncFormatter(format_frequency))
    axis.set_xlim(left=0)
    axis.set_title("\n".join(textwrap.wrap(title, TITLE_WIDTH)), fontsize=10)
    axis.set_xlabel("spatial frequency (1/Å)")
    axis.set_ylabel(axis_label)
    axis.legend(fontsize=8, loc="best")
    return viewer.plotter
