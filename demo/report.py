"""The report of the demo: what the runs wrote, measured once more, drawn and told."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import draw_fsc_curves, draw_gallery, draw_slices
from page import Section, make_caution, make_listing, make_picture, make_table, write_page
from workflow import Run, Workflow

from polardenoise.engine.evaluate.against_truth import truth_as_observed
from polardenoise.engine.imaging.fsc import (
    fourier_shell_correlation,
    resolution_at,
    shell_frequencies,
)
from polardenoise.engine.networks.checkpoint import find_model, read_card
from polardenoise.engine.particles.mrc import read_volume
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles

KINDS = ("raw", "denoised")
# What the denoised particles are called in the report, and the run that made them.
ESTIMATES = {"denoised": "denoise", "one by one": "denoise singly"}
CONSISTENCY = "consistency, not resolution"


@dataclass(frozen=True)
class Maps:
    """The maps that one program reconstructed from one kind of particles.

    `half1`, `half2` and `whole` are `(N, N, N)`, axes z, y, x; `pixel_size` is in Angstrom.
    """

    program: str
    kind: str
    half1: torch.Tensor
    half2: torch.Tensor
    whole: torch.Tensor
    pixel_size: float

    def resolution_of_halves(self) -> float:
        """Give the resolution in Angstrom at which the half maps' FSC falls below 0.143."""
        return self._resolution(fourier_shell_correlation(self.half1, self.half2), 0.143)

    def resolution_to(self, truth: torch.Tensor) -> float:
        """Give the resolution in Angstrom at which the FSC against the truth falls below 0.5."""
        return self._resolution(fourier_shell_correlation(self.whole, truth), 0.5)

    def _resolution(self, curve: np.ndarray, threshold: float) -> float:
        return resolution_at(curve, threshold, self.pixel_size, self.whole.shape[-1])


def make_report(workflow: Workflow, simulation: dict[str, Any], folder: Path) -> Path:
    """Make the report.

    Parameters
    ----------
    workflow : Workflow
        Finished; the working directory is its project's folder.
    simulation : dict
        The form of the simulation.
    folder : Path
        Gets `index.html` and its pictures.

    Returns
    -------
    Path
        The page.
    """
    folder.mkdir(parents=True)
    runs = workflow.runs
    simulated = runs["simulate"].folder / "extra" / "simulation"
    estimates = {name: runs[run] for name, run in ESTIMATES.items() if run in runs}
    volume, _ = read_volume(simulated / "volume.mrc")
    truth = torch.from_numpy(np.ascontiguousarray(volume))

    evaluations = {
        name: evaluate(run, simulated / "clean.star", folder) for name, run in estimates.items()
    }
    maps = collect_maps(runs)
    draw_particles(estimates, simulated, folder / "gallery.png")
    draw_curves(maps, truth, folder)
    slices = {f"{one.kind}, {one.program}": one.whole.numpy() for one in maps}
    draw_slices({"truth": truth.numpy(), **slices}, folder / "slices.png")

    page = folder / "index.html"
    write_page(
        page,
        "polardenoise: simulate, denoise, reconstruct",
        [
            tell_what_this_is(simulation),
            tell_particles({name: summary for name, (summary, _) in evaluations.items()}),
            tell_maps(maps, truth, simulation),
            Section("Slices", "Central slices of the maps.", make_picture("slices.png", "slices")),
            tell_model(runs["denoise"]),
            tell_commands(runs, [command for _, command in evaluations.values()]),
        ],
    )
    return page


def evaluate(denoise: Run, clean: Path, folder: Path) -> tuple[dict[str, Any], str]:
    """Run `polardenoise evaluate` in the project; give its summary and the command."""
    project = Path.cwd()
    denoised = denoise.folder / "extra" / "denoised.star"
    summary = folder / f"evaluate_{denoise.label.replace(' ', '_')}.json"
    words = ["evaluate", str(denoised.relative_to(project))]
    words += ["--truth", str(clean.relative_to(project)), "--json", str(summary)]
    subprocess.run([sys.executable, "-m", "polardenoise.engine", *words], check=True)
    return json.loads(summary.read_text()), " ".join(["polardenoise", *words])


def collect_maps(runs: dict[str, Run]) -> list[Maps]:
    """Read the maps of every reconstruction that was run."""
    collected = []
    for kind in KINDS:
        folder = runs[f"reconstruct {kind}"].folder / "extra" / "reconstruction"
        names = [folder / f"{name}.mrc" for name in ("half1", "half2", "volume")]
        collected.append(read_maps("embedded", kind, names))
    for kind in KINDS:
        if f"RELION {kind} half1" in runs:
            names = [find_volume(runs[f"RELION {kind} half{half}"]) for half in (1, 2)]
            collected.append(read_maps("RELION", kind, names))
    return collected


def find_volume(run: Run) -> Path:
    """Find the one map that a RELION reconstruction wrote."""
    (path,) = [
        *run.folder.glob("*.vol"),
        *run.folder.glob("extra/*.mrc"),
        *run.folder.glob("*.mrc"),
    ]
    return path


def read_maps(program: str, kind: str, names: list[Path]) -> Maps:
    """Read half maps and the whole map; without one, the halves' mean stands for it."""
    volumes, sizes = zip(*(read_volume(name) for name in names), strict=True)
    tensors = [torch.from_numpy(np.ascontiguousarray(volume)) for volume in volumes]
    whole = tensors[2] if len(tensors) == 3 else (tensors[0] + tensors[1]) / 2
    return Maps(program, kind, tensors[0], tensors[1], whole, sizes[0])


def draw_particles(estimates: dict[str, Run], simulated: Path, path: Path) -> None:
    """Draw one particle of each view: as recorded, denoised, and the truth with the particle's own CTF."""
    noisy = read_particles(simulated / "particles.star")
    clean = read_particles(simulated / "clean.star")
    views = noisy.column("rlnClassNumber")
    assert views is not None
    rows = np.array([views.index(view) for view in sorted(set(views), key=int)])
    columns = {"noisy": read_images(noisy, rows)}
    for name, run in estimates.items():
        denoised = read_particles(run.folder / "extra" / "denoised.star")
        columns[name] = read_images(denoised, rows)
    columns["truth"] = truth_as_observed(noisy, clean, rows).numpy()
    draw_gallery(columns, path)


def draw_curves(maps: list[Maps], truth: torch.Tensor, folder: Path) -> None:
    """Draw the FSC between half maps, and against the truth."""
    frequencies = shell_frequencies(truth.shape[-1], maps[0].pixel_size)
    halves, against_truth = [], []
    for one in maps:
        style = "-" if one.program == "embedded" else "--"
        meaning = f" ({CONSISTENCY})" if one.kind == "denoised" else ""
        label = f"{one.kind}, {one.program}"
        curve = fourier_shell_correlation(one.half1, one.half2)
        halves.append((label + meaning, one.kind, style, curve))
        against_truth.append((label, one.kind, style, fourier_shell_correlation(one.whole, truth)))
    draw_fsc_curves(halves, frequencies, 0.143, "Between half maps", folder / "fsc_halves.png")
    draw_fsc_curves(
        against_truth, frequencies, 0.5, "Map against the truth", folder / "fsc_truth.png"
    )


def tell_what_this_is(simulation: dict[str, Any]) -> Section:
    """Say what was done."""
    ctf = "with CTF" if simulation["doCTF"] else "without CTF"
    return Section(
        "What was done",
        f"{simulation['numberOfParticles']} particles of phantom {simulation['phantom']}, a molecule that "
        f"the model has not seen, were simulated {ctf} at a signal-to-noise ratio of "
        f"{simulation['snr']} in {simulation['views']} viewing directions with random in-plane "
        "rotation; denoised, the random halves apart, each view by itself; and reconstructed, raw "
        "and denoised, all through a headless Scipion project.",
        make_caution(
            "Denoised images are for looking, cleaning, classifying and aligning. A learned prior can "
            "erase or invent detail: align on denoised images, reconstruct from the raw ones."
        ),
    )


def tell_particles(evaluations: dict[str, dict[str, Any]]) -> Section:
    """Show the particles and their errors."""
    noisy = evaluations["denoised"]["relative_mse_noisy"]
    rows = [("noisy", "" if noisy is None else f"{noisy:.3g}", "", "")]
    for name, evaluation in evaluations.items():
        figures = (evaluation["relative_mse"], evaluation["relative_mse_scaled"])
        resolution = f"{evaluation['frc_0.5_angstrom']:.1f} Å"
        rows.append((name, *(f"{figure:.3g}" for figure in figures), resolution))
    head = ("particles", "relative MSE", "after one global scale", "ring correlation 0.5")
    sentences = (
        "One particle of each view, each shown in its own grey range. The truth carries the "
        "particle's own CTF, as the denoised images do. Relative MSE is the squared error over the "
        "truth's power, on the disk, over all particles; an empty image would get 1."
    )
    if "one by one" in evaluations:
        sentences += (
            " One by one: a network of the same training time that sees a single image at a time."
        )
    return Section(
        "Particles",
        sentences,
        make_picture("gallery.png", "noisy, denoised and true particles") + make_table(head, rows),
    )


def tell_maps(maps: list[Maps], truth: torch.Tensor, simulation: dict[str, Any]) -> Section:
    """Show the FSC curves and the resolutions read off them."""
    rows = []
    for one in maps:
        meaning = f" ({CONSISTENCY})" if one.kind == "denoised" else ""
        rows.append(
            (
                f"{one.kind}, {one.program}",
                f"{one.resolution_of_halves():.1f} Å{meaning}",
                f"{one.resolution_to(truth):.1f} Å",
            )
        )
    head = ("particles, program", "half maps, FSC 0.143", "against the truth, FSC 0.5")
    sentences = (
        "Half maps of denoised particles agree with each other better than with the truth, because one "
        "learned model denoised both: that curve is a consistency, not a resolution. "
        f"{simulation['views']} directions fill only part of Fourier space, so every map against the "
        "truth stays low where nothing was seen; where a curve runs along its threshold the crossing jumps: "
        f"read the curves before the numbers. Nyquist is {2 * maps[0].pixel_size:.1f} Å."
    )
    if not any(one.program == "RELION" for one in maps):
        sentences += " RELION was not on this machine; its reconstructions are left out."
    pictures = make_picture("fsc_halves.png", "FSC between half maps")
    pictures += make_picture("fsc_truth.png", "FSC against the truth")
    return Section("Maps", sentences, pictures + make_table(head, rows))


def tell_model(denoise: Run) -> Section:
    """Show what the model says about itself."""
    words = " ".join(denoise.commands).split()
    folder = find_model(words[words.index("--model") + 1])
    card = folder / "CARD.rst"
    text = card.read_text(encoding="utf-8") if card.is_file() else read_card(folder).description
    return Section("The model", "Its card, as shipped.", make_listing(text))


def tell_commands(runs: dict[str, Run], evaluate_commands: list[str]) -> Section:
    """List what was run, in order; each line can be pasted into a terminal in the project's folder."""
    rows = [(run.label, f"{run.seconds:.0f} s") for run in runs.values()]
    commands = [command for run in runs.values() for command in run.commands]
    return Section(
        "Commands",
        f"Run in {Path.cwd()}; `scipion project` opens it.",
        make_table(("protocol", "time"), rows)
        + make_listing("\n\n".join([*commands, *evaluate_commands])),
    )
