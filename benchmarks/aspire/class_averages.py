"""ASPIRE's class averages of a particle set: the baseline of `python -m benchmarks speed`.

    ASPIRE_PYTHON benchmarks/aspire/class_averages.py PARTICLES.mrcs AVERAGES.npy --neighbours 20

Runs in an environment of its own (`pip install aspire` brings a newer numpy than Scipion allows), imports nothing of
polardenoise and speaks by files. Rotationally invariant classification (`RIRClass2D`), alignment in the polar Fourier
transform (`BFTAverager2D`), ASPIRE's own defaults but for the number of neighbours; every particle is the base of its
own class, kept in the order of the stack. With --no-shifts, rotations only: faster, and enough for centred particles.
ASPIRE aligns the neighbours onto the base, so the averages already lie in the particles' frames. The last line of
stdout is JSON: seconds without the imports, and ASPIRE's version.
"""

import argparse
import json
import time

import aspire
import mrcfile
import numpy as np
from aspire.basis import FFBBasis2D
from aspire.classification import BFTAverager2D, TopClassSelector
from aspire.denoising import DefaultClassAvgSource
from aspire.source import ArrayImageSource


def average_classes(images: np.ndarray, neighbours: int, searches_shifts: bool) -> np.ndarray:
    """Average each of `(particles, box, box)` with its neighbours, in its own frame."""
    particles = ArrayImageSource(images, pixel_size=1.0)
    averager = None  # ASPIRE's own: BFTAverager2D, shifts up to box // 32 pixels
    if not searches_shifts:
        basis = FFBBasis2D(particles.L, dtype=particles.dtype)
        averager = BFTAverager2D(basis, particles, radius=0)
    source = DefaultClassAvgSource(
        particles, n_nbor=neighbours, class_selector=TopClassSelector(), averager=averager
    )
    averages = source.images[:].asnumpy()
    # Column 0 is the base image of a class: put each average in its base image's place.
    base = np.asarray(source.class_indices)[np.asarray(source.selection_indices), 0]
    if len(np.unique(base)) != len(images):
        raise RuntimeError(f"{len(images)} particles, but {len(np.unique(base))} classes")
    placed = np.empty_like(images)
    placed[base] = averages
    return placed


def main() -> None:
    """Read a stack, average, write an array."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("particles")
    parser.add_argument("averages")
    parser.add_argument("--neighbours", type=int, default=20)
    parser.add_argument("--no-shifts", action="store_true", help="align by rotation only")
    arguments = parser.parse_args()
    start = time.perf_counter()
    with mrcfile.open(arguments.particles, permissive=True) as stack:
        images = np.array(stack.data, dtype=np.float32)
    averages = average_classes(images, arguments.neighbours, not arguments.no_shifts)
    seconds = time.perf_counter() - start
    np.save(arguments.averages, averages.astype(np.float32))
    print(json.dumps({"seconds": seconds, "version": aspire.__version__}))


if __name__ == "__main__":
    main()
