"""What moving particles to the centre is worth, and what it costs where they are centred.

    python -m benchmarks centring [MODEL] -o benchmarks/results

Sets of 32 images of four validation molecules (two phantoms where the shared data are not), of one view or of a cone
of views, with and without CTF, centred or off the centre by up to 3 of 64 px in x and y: relative MSE of what is kept
(estimate and truth times |CTF|) when the images are denoised as they lie, and as `polardenoise denoise` does it.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.common.places import list_molecules
from benchmarks.common.tables import write_table
from polardenoise.architectures import DEFAULT_MODEL
from polardenoise.engine.imaging.ctf import apply_ctf
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.rings import average_rings
from polardenoise.engine.neighbours.centred_denoising import denoise_sets
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.train.recipe import Recipe
from polardenoise.engine.train.simulated_sets import (
    Molecules,
    TrainingBatch,
    draw_sets_of,
    load_molecule,
    stack_molecules,
)

PHANTOMS, STRUCTURES = ("phantom:9990", "phantom:9991"), ("1gyt.pdb.gz", "6rku.cif.gz")
SET_SIZE = 32
LARGEST_SHIFT = 3.0


def draw_case(
    molecules: Molecules, views: str, snr: float, ctf: bool, shifts: bool
) -> TrainingBatch:
    """Draw one set of every molecule; the same noise and views with and without shifts."""
    recipe = dataclasses.replace(
        Recipe(),
        view_modes={views: 1.0},
        snr=(snr, snr),
        fill=(0.7, 0.7),
        blur=(70.0, 70.0),
        ctf_share=float(ctf),
        shift_share=float(shifts),
        largest_shift=LARGEST_SHIFT,
        noise_only_share=0.0,
    )
    return draw_sets_of(
        molecules, np.arange(len(molecules)), SET_SIZE, recipe, np.random.default_rng(0)
    )


def relative_error(estimate: Tensor, batch: TrainingBatch) -> float:
    """Relative MSE on the disk, of all sets together, of what the microscope would have seen."""
    box = estimate.shape[-1]
    disk = disk_mask(box, box / 2 - 1)
    seen, truth = (apply_ctf(one, batch.abs_ctf) * disk for one in (estimate, batch.clean))
    return float((seen - truth).square().sum() / truth.square().sum())


def main(words: Sequence[str]) -> None:
    """Measure every case and write the table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks centring", description=__doc__.splitlines()[0]
    )
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, help="a polar transformer")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args(words)
    network, _ = load_model(arguments.model)
    model = as_joint(network)
    densities = [
        load_molecule(source, model.config.box, 0.9)
        for source in list_molecules(PHANTOMS, STRUCTURES)
    ]
    molecules = stack_molecules(densities, torch.device("cpu"))
    rows = []
    for views, snr in (("one", 0.02), ("one", 0.05), ("cone", 0.1)):
        for ctf in (False, True):
            for shifts in (False, True):
                batch = draw_case(molecules, views, snr, ctf, shifts)
                ctf_rings = average_rings(batch.abs_ctf)
                with torch.inference_mode():
                    as_they_lie = model(batch.noisy, ctf_rings)
                    centred = denoise_sets(model, batch.noisy, ctf_rings)
                moved = centred.displacements.abs().amax((1, 2)) > 0
                rows.append(
                    {
                        "views": views,
                        "SNR": f"{snr:g}",
                        "CTF": "yes" if ctf else "no",
                        "off the centre": f"{LARGEST_SHIFT:g} px" if shifts else "no",
                        "as they lie": f"{relative_error(as_they_lie, batch):.4f}",
                        "denoise": f"{relative_error(centred.undo_recentring(), batch):.4f}",
                        "sets moved": f"{int(moved.sum())} of {len(moved)}",
                    }
                )
                print(rows[-1], flush=True)
    write_table(rows, arguments.output, "centring")
