"""Which rows of a particle set share pixels: those may not inform one another, they would find each other's noise.

Two kinds of rows do. Rows that name one image of one stack are *one* image if they agree in all that denoising uses
(CTF, optics group, half, group); poses do not matter. It is denoised once, and its rows get the same pixels. Where rows
of one image differ in it there are several images of the same pixels. And boxes of one micrograph that overlap hold the
same noise where they do, crowded sets nearly all of them.

Everything that puts images together asks here:

- `first_row` lists the images to denoise, by the row that each is read from, and `image_of_row` says which one a row
  shows;
- `may_not_meet` says of pairs of images whether they share pixels, in any shape: `mask` is the table of all with all,
  for candidates of a neighbour search. It costs a few comparisons a pair and no memory: nothing is listed, so that a
  crowded micrograph costs no more than another;
- `deal_apart` and `fill_up` put images into sets in which no two share pixels;
- `fold` is the same for all images that share pixels, directly or through others: a micrograph is one fold. What is
  told from one fold and used in another has seen none of its pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from polardenoise.engine.particles.image_names import LARGEST_PLACE
from polardenoise.engine.particles.micrograph_places import MicrographPlaces, find_places
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.particles.token_numbers import number_by_appearance


@dataclass(frozen=True)
class SharedPixels:
    """The `m` images that `n` rows show, and which of them share pixels.

    Attributes
    ----------
    image_of_row : ndarray
        `(n,)` int64 number of the image that each row shows, from 0 in the order of the rows.
    first_row : ndarray
        `(m,)` int64 ascending: the first row of each image, which stands for it.
    source : ndarray
        `(m,)` int64: images of equal number are the same image of the same file.
    micrograph : ndarray
        `(m,)` int64; -1 where the place is not known.
    centre, reach : ndarray
        `(m, 2)` and `(m,)`: centre and half the box in pixels of the micrograph.
    crowded : ndarray
        `(m,)` bool: whether an image may share pixels with any other; surely none where it is False.
    fold : ndarray
        `(m,)` int64 from 0: equal for all images that share pixels, directly or through others.
    doubt : str
        What could not be checked about overlaps; empty where all could be.
    """

    image_of_row: np.ndarray
    first_row: np.ndarray
    source: np.ndarray
    micrograph: np.ndarray
    centre: np.ndarray
    reach: np.ndarray
    crowded: np.ndarray
    fold: np.ndarray
    doubt: str

    def __len__(self) -> int:
        """Count the images."""
        return len(self.first_row)

    @property
    def copies(self) -> np.ndarray:
        """Count the rows that show each image, `(m,)`."""
        return np.bincount(self.image_of_row, minlength=len(self))

    def count_once(self, halves: np.ndarray) -> np.ndarray:
        """Tell of rows `(n,)` of these halves which stand for pixels that are new to their half, `(n,)` bool."""
        keys = self.source * (int(halves.max(initial=0)) + 1) + halves[self.first_row]
        counted = np.zeros(len(self.image_of_row), dtype=bool)
        counted[self.first_row[np.unique(keys, return_index=True)[1]]] = True
        return counted

    def shown_by(self, rows: np.ndarray) -> np.ndarray:
        """Give for any rows the first row of the image that each shows."""
        return self.first_row[self.image_of_row[rows]]

    def select(self, images: np.ndarray) -> SharedPixels:
        """Take some images `(k,)`, numbered by their places in this list from now on, each with one row."""
        return SharedPixels(
            image_of_row=np.arange(len(images)),
            first_row=np.arange(len(images)),
            source=self.source[images],
            micrograph=self.micrograph[images],
            centre=self.centre[images],
            reach=self.reach[images],
            crowded=self.crowded[images],
            fold=self.fold[images],
            doubt=self.doubt,
        )

    def may_not_meet(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Tell of images, numbered, whether they share pixels and are not one; the two broadcast."""
        same = self.source[first] == self.source[second]
        where = self.micrograph[first]
        near = (where == self.micrograph[second]) & (where >= 0)
        apart = np.abs(self.centre[first] - self.centre[second]).max(-1)
        near &= apart < self.reach[first] + self.reach[second]
        return (same | near) & (first != second)

    def mask(self, images: np.ndarray, others: np.ndarray | None = None) -> np.ndarray | None:
        """Tell of all images `(k,)` with all others `(l,)` whether they share pixels: `(k, l)`; None where none do.

        Without others: among the images.
        """
        others = images if others is None else others
        if not (self.crowded[images].any() and self.crowded[others].any()):
            return None
        found = self.may_not_meet(images[:, None], others[None])
        return found if found.any() else None

    def find_clash(self, image: int, companions: Iterable[int]) -> bool:
        """Tell whether an image shares pixels with any of its companions."""
        if not self.crowded[image]:
            return False
        rivals = [other for other in companions if self.fold[other] == self.fold[image]]
        return bool(rivals) and bool(self.may_not_meet(np.array(image), np.array(rivals)).any())

    def deal_apart(self, images: np.ndarray, sets: int) -> list[np.ndarray]:
        """Deal images into sets in which no two share pixels.

        Parameters
        ----------
        images : ndarray
            `(k,)` image numbers, in the order in which they are dealt.
        sets : int
            How many sets are begun with. Each image goes to the smallest of those where it may; where it may go to
            none, to a set more.

        Returns
        -------
        list of ndarray
            Places in `images`. Sets are as even as they can be.
        """
        dealt: list[list[int]] = [[] for _ in range(sets)]
        rivals: list[dict[int, list[int]]] = [{} for _ in range(sets)]  # of each fold in a set
        by_size = [(0, number) for number in range(sets)]  # a heap
        for place, image in enumerate(images.tolist()):
            fold, passed_over = int(self.fold[image]), []
            while by_size and self.find_clash(image, rivals[by_size[0][1]].get(fold, ())):
                passed_over.append(heappop(by_size))
            if not by_size:
                heappush(by_size, (0, len(dealt)))
                dealt.append([])
                rivals.append({})
            number = by_size[0][1]
            dealt[number].append(place)
            if self.crowded[image]:
                rivals[number].setdefault(fold, []).append(image)
            heapreplace(by_size, (len(dealt[number]), number))
            for one in passed_over:
                heappush(by_size, one)
        return [np.array(one, dtype=np.int64) for one in dealt if one]

    def count_together(self, images: np.ndarray, most: int) -> int:
        """Count how many of some images `(k,)` may go together, up to `most`: in one random order, always the same."""
        if not self.crowded[images].any():
            return min(most, len(images))
        order = np.random.default_rng(0).permutation(images)
        return len(self.fill_up([], order.tolist(), most))

    def fill_up(self, chosen: Sequence[int], candidates: Iterable[int], size: int) -> list[int]:
        """Add candidates, in their order, until there are `size` images or none is left that may come.

        Parameters
        ----------
        chosen : sequence of int
            Image numbers that are there already.
        candidates : iterable of int
            Image numbers; those that are there already are passed over.
        size : int
            Images in all.

        Returns
        -------
        list of int
            Those added.
        """
        added: list[int] = []
        taken = set(chosen)
        rivals: dict[int, list[int]] = {}
        for image in taken:
            rivals.setdefault(int(self.fold[image]), []).append(image)
        for image in candidates:
            if len(taken) >= size:
                break
            mates = rivals.setdefault(int(self.fold[image]), [])
            if image in taken or self.find_clash(image, mates):
                continue
            added.append(image)
            taken.add(image)
            mates.append(image)
        return added


def share_nothing(count: int) -> SharedPixels:
    """Say of `count` rows that each shows an image of its own, and no two share pixels."""
    every = np.arange(count)
    nowhere = MicrographPlaces(np.full(count, -1), np.zeros((count, 2)), np.zeros(count), "")
    return join(every, every, nowhere)


def find_shared_pixels(
    particles: ParticleSet,
    halves: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    with_ctf: bool = True,
) -> SharedPixels:
    """Find out which rows of a set share pixels.

    Parameters
    ----------
    particles : ParticleSet
        The set.
    halves, groups : ndarray, optional
        `(n,)` half and group of each row: rows of one image that differ in them are denoised apart.
    with_ctf : bool
        Whether denoising uses the CTF.
    """
    source = number_sources(particles)
    if source.max(initial=-1) + 1 == len(source):  # every row an image of its own
        return join(source, source, find_places(particles))
    used = [values for values in (halves, groups) if values is not None]
    tabled = particles.optics is not None
    used.append(particles.optics_row if tabled else particles.number_optics_groups()[0])
    if with_ctf and particles.ctf is not None:
        used += [particles.pixel_size]
        used += [values.numpy() for values in vars(particles.ctf).values()]
    image = source
    for values in used:
        kind = np.unique(values, return_inverse=True)[1].reshape(-1)
        image = np.unique(image * (kind.max() + 1) + kind, return_inverse=True)[1].reshape(-1)
    return join(number_by_appearance(image), source, find_places(particles))


def number_sources(particles: ParticleSet) -> np.ndarray:
    """Give rows that name the same image of the same file, links resolved, equal numbers, by appearance: `(n,)`."""
    files: dict[tuple[int, int], int] = {}
    known = []
    for header in particles.headers:
        _, _, inode, device = header.state
        known.append(files.setdefault((device, inode), len(files)))
    file = np.array(known, dtype=np.int64)[particles.stack_of_row]
    return number_by_appearance(file * (LARGEST_PLACE + 1) + particles.index_in_stack)


def join(
    image_of_row: np.ndarray, source_of_row: np.ndarray, places: MicrographPlaces
) -> SharedPixels:
    """Join what is known row by row: `(n,)` images and sources, numbered by appearance, and places."""
    first_row = np.unique(image_of_row, return_index=True)[1]
    source = source_of_row[first_row]
    micrograph, centre, reach = (
        values[first_row] for values in (places.micrograph, places.centre, places.reach)
    )
    return SharedPixels(
        image_of_row=image_of_row,
        first_row=first_row,
        source=source,
        micrograph=micrograph,
        centre=centre,
        reach=reach,
        crowded=find_crowded(source, micrograph, centre, reach),
        fold=find_folds(source, micrograph),
        doubt=places.doubt,
    )


def find_crowded(
    source: np.ndarray, micrograph: np.ndarray, centre: np.ndarray, reach: np.ndarray
) -> np.ndarray:
    """Tell of each image whether it shares pixels with another; see `SharedPixels` for the parameters.

    By the nearest other centre: work and memory grow as the set, however crowded it is.
    """
    crowded = np.bincount(source)[source] > 1
    known = np.flatnonzero(micrograph >= 0)
    if len(known) < 2:
        return crowded
    points = lay_out(micrograph[known], centre[known], reach[known])
    places, inverse, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    nearest = np.full(len(places), np.inf)
    if len(places) > 1:
        nearest = cKDTree(places).query(places, k=2, p=np.inf)[0][:, 1]
    # Reaches differ between optics groups at most: the larger one is taken.
    crowded[known] |= (nearest[inverse] < reach[known] + reach[known].max()) | (counts > 1)[inverse]
    return crowded


def lay_out(micrograph: np.ndarray, centre: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Lay micrographs out on one plane, so far apart that none reaches into another: `(k, 2)` places of centres."""
    points = centre - centre.min(0)
    points[:, 0] += micrograph * (np.ptp(points[:, 0]) + 4 * reach.max() + 1)
    return points


def find_folds(source: np.ndarray, micrograph: np.ndarray) -> np.ndarray:
    """Give images their folds `(m,)`: a micrograph is one, and so is an image that has none."""
    sources, known = int(source.max(initial=-1)) + 1, micrograph >= 0
    nodes = sources + int(micrograph.max(initial=-1)) + 1
    ends = (source[known], sources + micrograph[known])
    links = coo_array((np.ones(known.sum(), dtype=np.int8), ends), shape=(nodes, nodes))
    return connected_components(links, directed=False)[1][source].astype(np.int64)
