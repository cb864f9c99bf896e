"""Run the network over cells: each image among its own neighbours."""

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from polardenoise.engine.denoise.batches import BatchOfImages
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.neighbours.centred_denoising import denoise_centred_cell
from polardenoise.engine.neighbours.matches import match_denoised_cell, save_cell_matches
from polardenoise.engine.networks.registry import PolarTransformer
from polardenoise.engine.runtime.devices import choose_precision, release_freed_memory
from polardenoise.engine.runtime.errors import InputError, says_out_of_memory


class CellRunner:
    """Denoises batches that are cells of related images (see `neighbours`).

    Parameters
    ----------
    job : Job
        The network, K and the seed; whether matches are asked for.
    folder : Path
        Of the run: receives the matches of each cell.
    """

    def __init__(self, job: Job, folder: Path):
        self.job, self.folder = job, folder
        self.precision = choose_precision(job.device, job.plan.precision)

    def run(self, batch: BatchOfImages) -> Tensor:
        """Denoise one cell, `(1, n, box, box)` float32 on the device.

        Raises
        ------
        InputError
            If the cell does not fit the memory.
        """
        release_freed_memory()
        try:
            return self._run_cell(batch)[None]
        except Exception as error:
            if not says_out_of_memory(error):
                raise
            raise InputError(
                f"--group-by neighbours: {batch.images.shape[1]} images do not fit the memory of the "
                f"{self.job.device.type}; lower --set-size, or use --device cpu"
            ) from error

    def _run_cell(self, batch: BatchOfImages) -> Tensor:
        job, device, model = self.job, self.job.device, self.job.model
        assert isinstance(model, PolarTransformer)  # see `plan.choose_groups`
        images, profiles = batch.images[0].to(device), batch.profiles[0].to(device)
        lower = self.precision != torch.float32
        autocast = torch.autocast(device.type, dtype=self.precision, enabled=lower)
        with torch.inference_mode(), autocast:
            plan = job.plan
            centred = denoise_centred_cell(model, images, profiles, plan.set_size, plan.seed)
            if job.keeps_matches:
                with torch.autocast(device.type, enabled=False):
                    found = match_denoised_cell(
                        model, centred.cell, centred.denoised, centred.displacements
                    )
                save_cell_matches(name_cell(self.folder, batch.number), batch.own_rows, found)
            return centred.put_back()


def name_cell(folder: Path, number: int) -> Path:
    """Name the file with the matches of a cell."""
    return folder / f"matches.{number:06d}.npz"


def has_cell(folder: Path, number: int) -> bool:
    """Tell whether the matches of a cell are on the disk as they were written."""
    try:
        with zipfile.ZipFile(name_cell(folder, number)) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def list_cells(folder: Path) -> list[Path]:
    """List the files with the matches of the cells of a run, in their order."""
    return sorted(folder.glob("matches.[0-9]*.npz"))
