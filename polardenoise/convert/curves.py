"""The engine's correlation curves as Scipion's FSC objects."""

import os

from pwem.objects import FSC

from polardenoise.convert.star_loops import read_loop

# The columns of fsc.star with the curves.
HALVES_COLUMN = "rlnFourierShellCorrelationUnmaskedMaps"
REFERENCE_COLUMN = "polardenoiseFourierShellCorrelationToReference"
# What the half maps of denoised particles tell: one model denoised both.
CONSISTENCY = "consistency, not resolution"
# And those of particles that are seen from too few sides.
OF_FEW_VIEWS = "of too few views, not resolution"


def read_curve(star_path, column):
    """Read one curve of the engine's `fsc.star`.

    Parameters
    ----------
    star_path : str
        The file.
    column : str
        Label of the correlation, without the underscore.

    Returns
    -------
    FSC or None
        Correlation over spatial frequency (1/Angstrom), shell 0 left out; None without the column.
    """
    frequencies, values = [], []
    for row in read_loop(star_path, "fsc"):
        if column not in row:
            return None
        if int(row["rlnSpectralIndex"]) > 0:
            frequencies.append(float(row["rlnResolution"]))
            values.append(float(row[column]))
    curve = FSC(objLabel=os.path.basename(column))
    curve.setData(frequencies, values)
    return curve
