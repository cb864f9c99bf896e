"""ASPIRE's covariance Wiener filter of a particle set: a baseline of `python -m benchmarks quality`.

    ASPIRE_PYTHON benchmarks/aspire/covariance.py PARTICLES.mrcs ESTIMATES.npy

Runs in an environment of its own (`pip install aspire` brings a newer numpy than Scipion allows), imports nothing of
polardenoise and speaks by files. The rotationally invariant covariance of the images in a Fourier-Bessel basis, shrunk
by what noise of variance 1 adds to it, gives each image its Wiener filter (`DenoiserCov2D`, ASPIRE's own defaults). The
last line of stdout is JSON: seconds without the imports, and ASPIRE's version.
"""

import argparse
import json
import time

import aspire
import mrcfile
import numpy as np
from aspire.denoising import DenoisedSource, DenoiserCov2D
from aspire.source import ArrayImageSource

NOISE_VARIANCE = 1.0


def filter_by_covariance(images: np.ndarray) -> np.ndarray:
    """Filter `(particles, box, box)` with noise of variance 1."""
    particles = ArrayImageSource(images, pixel_size=1.0)
    denoiser = DenoiserCov2D(particles, var_noise=NOISE_VARIANCE)
    return DenoisedSource(particles, denoiser).images[:].asnumpy()


def main() -> None:
    """Read a stack, filter, write an array."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("particles")
    parser.add_argument("estimates")
    arguments = parser.parse_args()
    start = time.perf_counter()
    with mrcfile.open(arguments.particles, permissive=True) as stack:
        images = np.array(stack.data, dtype=np.float32)
    estimates = filter_by_covariance(images)
    seconds = time.perf_counter() - start
    np.save(arguments.estimates, estimates.astype(np.float32))
    print(json.dumps({"seconds": seconds, "version": aspire.__version__}))


if __name__ == "__main__":
    main()
