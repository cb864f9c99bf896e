"""Sets with junk: which kinds the score tells, what is kept at the score that is proposed, and where the few land."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.classes.junk import KINDS, Site
from benchmarks.classes.runs import SNR, Plan, denoise_set, read_matches, read_summary
from benchmarks.classes.sets import (
    Molecule,
    add_noise,
    draw_images,
    find_amplitude,
    project_images,
    read_ctf,
    read_molecule,
    see_images,
    write_set,
)
from benchmarks.classes.views import (
    choose_views,
    draw_directions,
    find_symmetry,
    look_along,
    measure_apart,
)
from benchmarks.common.tables import Row
from benchmarks.real.sets import read_boxes
from polardenoise.engine.evaluate.matches_against_truth import area_under_curve
from polardenoise.engine.simulate.particle_table import SimulationTable

#: Shares: of the boxes that are junk; of the particles, that are of another molecule; of all, that are the rare view.
JUNK, MINORITY, RARE = 0.3, 0.1, 0.02
#: No other particle looks along a direction so near to the rare view, degrees; the rare ones spread by so many.
ALONE, SPREAD = 30.0, 3.0
REAL, GOOD, RARE_VIEW, OTHER = "empty boxes, real", "particles", "rare view", "other molecule"


@dataclass(frozen=True)
class JunkSet:
    """A set with junk: its STAR file, and what each box shows, `(n,)` names."""

    star: Path
    kind: np.ndarray


def read_real_boxes(stack: Path) -> Tensor | None:
    """Read real boxes of noise, of mean 0 and variance 1; None where there are none."""
    if not stack.is_file():
        print(f"left out: {REAL}: {stack}: not there", flush=True)
        return None
    # None is used mirrored as well: neighbours are looked for mirrored, and would find the same noise.
    boxes = read_boxes(stack)
    boxes = boxes - boxes.mean((1, 2), keepdim=True)
    return boxes / boxes.std((1, 2), keepdim=True)


def draw_kinds(count: int, with_real: bool, generator: np.random.Generator) -> np.ndarray:
    """Draw what each of `count` boxes shows, in random order."""
    junk, rare = round(JUNK * count), round(RARE * count)
    names = [*KINDS, REAL] if with_real else [*KINDS]
    kinds = [names[number % len(names)] for number in range(junk)]
    others = round(MINORITY * (count - junk))
    kinds += [OTHER] * others + [RARE_VIEW] * rare
    kinds += [GOOD] * (count - len(kinds))
    return generator.permutation(np.array(kinds))


def draw_poses(kind: np.ndarray, symmetry: Tensor, generator: np.random.Generator) -> np.ndarray:
    """Draw Euler angles `(n, 3)`: the rare view stands alone, all others look along other directions."""
    rare = choose_views(1, 90.0, symmetry, generator)
    directions = draw_directions(len(kind), generator)
    near = measure_apart(directions, rare, symmetry)[:, 0] < ALONE
    while near.any():
        directions[near] = draw_directions(int(near.sum()), generator)
        near = measure_apart(directions, rare, symmetry)[:, 0] < ALONE
    own = torch.from_numpy(kind == RARE_VIEW)
    spread = np.deg2rad(SPREAD) * torch.from_numpy(generator.standard_normal((len(kind), 3)))
    directions[own] = (rare + spread)[own]
    return look_along(directions / directions.norm(dim=1, keepdim=True), generator)


def choose_rows(table: SimulationTable, rows: np.ndarray) -> SimulationTable:
    """Take the CTFs of some rows of a table, and all else that is by row."""
    values = vars(table)
    return replace(
        table, **{name: None if part is None else part[rows] for name, part in values.items()}
    )


def draw_junk_set(
    molecule: Molecule,
    other: Molecule,
    boxes: Tensor | None,
    plan: Plan,
    folder: Path,
) -> JunkSet:
    """Draw a set of a molecule with junk, a rare view and another molecule, and write it."""
    generator = np.random.default_rng(plan.seed)
    kind = draw_kinds(plan.particles, boxes is not None, generator)
    angles = draw_poses(kind, find_symmetry(molecule.volume), generator)
    table = draw_images(angles, molecule.pixel_size, generator)
    seen = see_images(project_images(molecule, table), table, molecule.pixel_size)
    good = torch.from_numpy(np.isin(kind, (GOOD, RARE_VIEW)))
    amplitude = find_amplitude(seen[good], SNR)
    seen *= amplitude
    energy = float(seen[good].double().square().sum((1, 2)).mean())
    minority = torch.from_numpy(kind == OTHER)
    theirs = see_images(project_images(other, table), table, molecule.pixel_size)[minority]
    seen[minority] = find_amplitude(theirs, SNR) * theirs
    for name, draw in KINDS.items():
        rows = np.flatnonzero(kind == name)
        ctf = read_ctf(choose_rows(table, rows))
        seen[torch.from_numpy(rows)] = draw(Site(molecule, amplitude, energy, ctf, generator))
    noisy = add_noise(seen, generator)
    rows = np.flatnonzero(kind == REAL)
    if boxes is not None:
        chosen = generator.permutation(len(boxes))[: len(rows)]
        noisy[torch.from_numpy(rows[: len(chosen)])] = boxes[torch.from_numpy(chosen)]
    return JunkSet(write_set(folder, noisy, table, molecule.pixel_size), kind)


def measure_junk(
    source: str, other: str, boxes: Tensor | None, plan: Plan, work: Path
) -> dict[str, list[Row]]:
    """Measure what the score makes of junk, and of what is rare, in one set: rows of two tables."""
    molecule = read_molecule(source)
    # It fills as much of the box, at whatever pixel size that takes: only its shape tells it apart.
    made = draw_junk_set(molecule, read_molecule(other), boxes, plan, work / "junk")
    out = denoise_set(made.star, plan)
    found = read_matches(out)
    proposed = read_summary(out)["classes"]["proposed"]
    least = proposed["min_score"] if proposed else 0.0  # where nothing is proposed all are kept
    kept = found["score"] >= least
    return {
        "classes_junk": list_kinds(molecule.name, made.kind, found["score"], kept),
        "classes_kept": [
            {"molecule": molecule.name, "proposed score": least}
            | {
                f"{name} kept": float(kept[made.kind == name].mean())
                for name in (GOOD, RARE_VIEW, OTHER)
            }
            | {"junk kept": float(kept[find_junk(made.kind)].mean())}
            | {
                f"{name} in classes of its own": share_in_own_classes(
                    found["class_number"], made.kind == name
                )
                for name in (RARE_VIEW, OTHER)
            }
        ],
    }


def find_junk(kind: np.ndarray) -> np.ndarray:
    """Tell which boxes are junk, `(n,)` bool."""
    return ~np.isin(kind, (GOOD, RARE_VIEW, OTHER))


def list_kinds(molecule: str, kind: np.ndarray, score: np.ndarray, kept: np.ndarray) -> list[Row]:
    """Give a row a kind of junk: how surely particles score above it, and what is kept of it."""
    good = np.isin(kind, (GOOD, RARE_VIEW))
    lowest = np.quantile(score[good], 0.05)
    rows: list[Row] = []
    for name in (*KINDS, REAL):
        junk = kind == name
        if junk.any():
            asked = good | junk
            rows.append(
                {
                    "molecule": molecule,
                    "kind": name,
                    "ROC AUC": area_under_curve(score[asked], junk[asked]),
                    "left at 95 % good": float((score[junk] >= lowest).mean()),
                    "kept as proposed": float(kept[junk].mean()),
                }
            )
    return rows


def share_in_own_classes(number: np.ndarray, own: np.ndarray) -> float:
    """Give the share of some images, `(n,)` bool, that are in classes most of whose images are theirs."""
    sizes, theirs = np.bincount(number), np.bincount(number[own], minlength=number.max() + 1)
    return float((2 * theirs > sizes)[number[own]].mean())
