"""The options of `simulate` that make the noisy images harder."""

import argparse
from pathlib import Path


def add_noise_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what makes the noisy images harder; the truth stays as it is."""
    parser.add_argument(
        "--noise",
        choices=("gaussian", "poisson", "coloured"),
        help="gaussian: white; poisson: electrons counted; coloured: Gaussian, with the power spectrum of real"
        " images (gaussian, or coloured with --noise-like)",
    )
    parser.add_argument(
        "--noise-like",
        metavar="PARTICLES.star",
        type=Path,
        help="coloured noise with the spectrum of this set, measured in the corners of its images",
    )
    parser.add_argument(
        "--dose",
        metavar="E",
        type=float,
        help="of poisson noise, electrons per A^2; --snr, --dose or both: what is missing follows from"
        " SNR = contrast^2 x dose x pixel area, the contrast being 0.05 if both are not given",
    )
    parser.add_argument(
        "--ice",
        metavar="SHARE",
        type=float,
        default=0.0,
        help="share of the noise variance that is structure of the ice, seen through the CTF (0)",
    )
    parser.add_argument(
        "--envelope",
        metavar="B",
        type=float,
        default=0.0,
        help="B-factor in A^2 of the CTF's envelope, which the truth does not have (0)",
    )
    parser.add_argument(
        "--mtf",
        metavar="VALUE|FILE.star",
        help="of the detector, on the signal: its value at Nyquist (Gaussian), or RELION's table"
        " rlnResolutionInversePixel, rlnMtfValue (none)",
    )
    parser.add_argument(
        "--neighbours",
        metavar="SHARE",
        type=float,
        default=0.0,
        help="share of the images into which another copy of the molecule reaches from the side, not in the"
        " truth (0)",
    )
    parser.add_argument(
        "--noise-boxes",
        metavar="STACK|BOXES.star",
        type=Path,
        help="coloured noise with the spectrum of these boxes without a particle, not of their corners alone;"
        " the pixel size of a stack is that of its header",
    )
    parser.add_argument(
        "--contrast-spread",
        metavar="S",
        type=float,
        default=0.0,
        help="standard deviation of the logarithm of what each particle is multiplied by, in the truth as well (0)",
    )
    parser.add_argument(
        "--slope",
        metavar="RMS",
        type=float,
        default=0.0,
        help="root mean square of sloping backgrounds in standard deviations of the noise (0)",
    )
    parser.add_argument(
        "--defocus-error",
        metavar="ANGSTROM",
        type=float,
        default=0.0,
        help="standard deviation of the error of the defocus that particles.star says (0)",
    )
