"""A cluster whose images have been encoded: by the network for the attention, as harmonics for the matching."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf_rings import whiten
from polardenoise.engine.imaging.ring_harmonics import FourierRings, build_fourier_rings
from polardenoise.engine.imaging.rotational_matching import compute_image_harmonics
from polardenoise.engine.networks.polar_transformer import Encoded, PolarTransformer
from polardenoise.engine.particles.shared_pixels import SharedPixels
from polardenoise.engine.runtime.devices import full_precision
from polardenoise.engine.runtime.progress import tell_pass

#: Images that the network computes at once.
IMAGES_AT_ONCE = 128


@dataclass(frozen=True)
class Cluster:
    """What is known of the images of a cluster before they see one another.

    Attributes
    ----------
    encoded : Encoded
        By the network; where mirrored images count, their keys and values follow on those of the images.
    image_harmonics : Tensor
        `(2, modes, n, rings)` the images as they are matched, their noise made white.
    ctf_rings : Tensor
        `(n, box // 2)` |CTF| by which these show the molecule.
    rings : FourierRings
        Of the harmonics.
    shared : SharedPixels or None
        Which images of the cluster share pixels: no two that do meet. None where none do.
    apart : Tensor or None
        `(n, n)` bool, the table of them.
    """

    encoded: Encoded
    image_harmonics: Tensor
    ctf_rings: Tensor
    rings: FourierRings
    shared: SharedPixels | None = None
    apart: Tensor | None = None

    @property
    def mirrored(self) -> bool:
        """Whether neighbours are looked for among mirrored images as well."""
        return len(self.encoded.key) > len(self.encoded.query)


def encode_cluster(
    model: PolarTransformer,
    images: Tensor,
    ctf_rings: Tensor,
    shared: SharedPixels | None = None,
    noise_power: Tensor | None = None,
) -> Cluster:
    """Encode the images of a cluster for the attention and for the matching.

    Parameters
    ----------
    model : PolarTransformer
        Which gets the images as they are.
    images : Tensor
        `(n, box, box)`.
    ctf_rings : Tensor
        `(n, box // 2)` |CTF| by ring.
    shared : SharedPixels, optional
        Which images share pixels.
    noise_power : Tensor, optional
        `(box // 2,)` of their noise on each ring, by default white: in matching every frequency counts as much as it
        stands out of it.
    """
    encoded = None
    for start in range(0, len(images), IMAGES_AT_ONCE):
        some = slice(start, start + IMAGES_AT_ONCE)
        part = model.encode(images[some], ctf_rings[some])
        if encoded is None:  # filled part by part: joining parts would hold everything twice
            encoded = make_room(part, len(images))
        for room, own in zip(vars(encoded).values(), vars(part).values(), strict=True):
            room[some] = own
        tell_pass(len(images[some]))
    assert encoded is not None  # a cluster has an image
    rings = build_fourier_rings(images.shape[-1])
    with full_precision(images.device):
        images, ctf_rings = whiten(images, ctf_rings, noise_power)
        image_harmonics = compute_image_harmonics(images, ctf_rings, rings)
    mask = None if shared is None else shared.mask(np.arange(len(images)))
    if mask is None:
        return Cluster(encoded, image_harmonics, ctf_rings, rings)
    apart = torch.from_numpy(mask).to(images.device)
    return Cluster(encoded, image_harmonics, ctf_rings, rings, shared, apart)


def make_room(part: Encoded, count: int) -> Encoded:
    """Make room for `count` images encoded as those of a part are."""
    return Encoded(*(one.new_empty(count, *one.shape[1:]) for one in vars(part).values()))


def encode_mirrored(model: PolarTransformer, cluster: Cluster) -> Cluster:
    """Encode the mirrored images of a cluster as well, so that neighbours are looked for among them too."""
    encoded = cluster.encoded
    count = len(encoded.query)
    key, value = (one.new_empty(2 * count, *one.shape[1:]) for one in (encoded.key, encoded.value))
    key[:count], value[:count] = encoded.key, encoded.value
    for start in range(0, count, IMAGES_AT_ONCE):
        some = slice(start, start + IMAGES_AT_ONCE)
        key[count:][some], value[count:][some] = model.encode_mirrored(encoded.select(some))
    return replace(cluster, encoded=replace(encoded, key=key, value=value))
