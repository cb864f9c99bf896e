"""What a set of particles gives without a network."""

from torch import Tensor

from polardenoise.engine.imaging.rings import best_radial_filter

RAW, MEAN, RADIAL = "raw", "mean image of the set", "best radial filter, told the truth"


def list_baselines(images: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Estimate without a network.

    Parameters
    ----------
    images, truth : Tensor
        `(n, N, N)`.

    Returns
    -------
    dict of Tensor
        The raw images; one image for all, their mean, which anything worth its name has to beat; and the images through
        the one radial filter that brings these images closest to this truth, which nobody who denoises can know. Signs
        of CTFs cancel in it: phase-flipped images have the same filter.
    """
    mean = images.mean(0, keepdim=True).expand_as(images)
    return {RAW: images, MEAN: mean, RADIAL: best_radial_filter(images, truth)}
