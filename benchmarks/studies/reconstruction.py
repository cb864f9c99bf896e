"""Maps from raw and from denoised particles at their true poses, beside the truth.

    python -m benchmarks reconstruction -o benchmarks/results/reconstruction [SOURCE ...]

For every molecule, SNR and number of particles: random views at 64 px with CTFs, two random halves; denoised with the
defaults of `denoise` (CTF kept, neighbours found in each half); maps of the halves and of all by `polardenoise
reconstruct`, which weights raw and denoised images by the CTF alike. Fourier shell correlation with the truth, in the
whole box and about the molecule, and between the halves. Between halves of *denoised* images it tells consistency, not
resolution: one network denoised both. Writes a table (CSV and rst), all curves (CSV), a figure a molecule, and a record
of machine, time and models. What the curves' file already holds, for the same weights, is not measured again.
"""

import argparse
import csv
import io
import json
import tempfile
import time
from collections.abc import Sequence
from itertools import groupby, product
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.common.study_sets import (
    RAW,
    MeasuredMap,
    choose_methods,
    denoise_set,
    describe_methods,
    find_molecules,
    measure_map,
    name_molecule,
    run,
)
from benchmarks.common.tables import write_table
from polardenoise.engine.imaging.fsc import shell_frequencies
from polardenoise.engine.runtime.files import (
    replace_when_complete,
    write_json,
    write_text_atomically,
)
from polardenoise.engine.runtime.pictures import make_figure
from polardenoise.engine.runtime.provenance import provenance

MOLECULES = ("1u6g.pdb.gz", "6bqn.cif.gz", "9be6.cif.gz")
SEED, TABLE = 31, "maps_at_true_poses"

#: A map by molecule, SNR, number of particles, kind of images, and the first digits of the hash of the model's weights.
KEY = ("molecule", "SNR", "particles", "images", "weights")
Key = tuple[str, ...]
SHELL = (
    "pixel size (A)", "shell", "frequency (1/A)", "to truth", "to truth, masked", "between halves", "halves mean",
)  # fmt: skip


def measure_set(
    source: str, snr: float, count: int, box: int, methods: dict[str, str], folder: Path
) -> dict[str, MeasuredMap]:
    """Simulate a set, denoise it by every method, and reconstruct each; raw first."""
    run(
        "simulate", source, "-o", str(folder), "--particles", str(count), "--snr", str(snr),
        "--box", str(box), "--seed", str(SEED),
    )  # fmt: skip
    stars = denoise_set(folder / "particles.star", methods)
    return {
        name: measure_map(star, folder / "volume.mrc", folder / f"map_{place}")
        for place, (name, star) in enumerate(stars.items())
    }


def tabulate_map(measured: MeasuredMap) -> dict[str, str]:
    """Give the columns of one map: Angstrom, and mean correlations below and above half of Nyquist."""
    middle = (len(measured.to_truth) - 1) // 2
    cells = {
        "to truth, FSC 0.5 (A)": measured.find_resolution(measured.to_truth, 0.5),
        "masked, FSC 0.5 (A)": measured.find_resolution(measured.to_truth_masked, 0.5),
    }
    means = {
        "mean masked FSC to truth, low": measured.to_truth_masked[1 : middle + 1].mean(),
        "high": measured.to_truth_masked[middle + 1 :].mean(),
    }
    return {
        **{name: f"{value:.1f}" for name, value in cells.items()},
        **{name: f"{value:.3f}" for name, value in means.items()},
        "between halves, FSC 0.143 (A)": f"{measured.find_resolution(measured.between_halves, 0.143):.1f}",
        "which means": measured.meaning,
    }


def write_curves(path: Path, maps: dict[Key, MeasuredMap]) -> None:
    """Write the curves of all maps as CSV, a shell a row; `read_curves` reads them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*KEY, *SHELL])
    for key, measured in maps.items():
        curves = (measured.to_truth, measured.to_truth_masked, measured.between_halves)
        frequencies = shell_frequencies(2 * (len(curves[0]) - 1), measured.pixel_size)
        for shell, values in enumerate(zip(*curves, strict=True)):
            numbers = [f"{value:.6f}" for value in (frequencies[shell], *values)]
            writer.writerow([*key, f"{measured.pixel_size:.6f}", shell, *numbers, measured.meaning])
    write_text_atomically(path, text.getvalue())


def read_curves(path: Path, box: int) -> dict[Key, MeasuredMap]:
    """Read what an earlier run has measured in this box; nothing where there is no file."""
    if not path.is_file():
        return {}
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    maps = {}
    for key, shells in groupby(rows, lambda row: tuple(row[name] for name in KEY)):
        part = list(shells)
        if len(part) != box // 2 + 1:
            continue
        curves = [np.array([float(row[name]) for row in part]) for name in SHELL[3:6]]
        maps[key] = MeasuredMap(*curves, part[0]["halves mean"], float(part[0]["pixel size (A)"]))
    return maps


def draw_curves(name: str, maps: dict[Key, MeasuredMap]) -> Figure:
    """Draw the curves of a molecule: a row an SNR, a column a number of particles; truth solid, halves dashed."""
    ratios, counts = (sorted({key[place] for key in maps}, key=float) for place in (1, 2))
    figure = make_figure(max(8.0, 4.2 * len(counts)), 3.6 * len(ratios) + 1.1)
    panels = figure.subplots(len(ratios), len(counts), squeeze=False, sharex=True, sharey=True)
    colours: dict[str, str] = {}
    for (_, snr, count, method, _), measured in maps.items():
        axes = panels[ratios.index(snr), counts.index(count)]
        curve, colour = measured.to_truth_masked, colours.setdefault(method, f"C{len(colours)}")
        frequencies = shell_frequencies(2 * (len(curve) - 1), measured.pixel_size)
        axes.plot(frequencies, curve, color=colour, label=f"{method}: map to truth, masked")
        label = f"{method}: between halves ({measured.meaning})"
        axes.plot(frequencies, measured.between_halves, "--", color=colour, lw=0.9, label=label)
        axes.set(title=f"{count} particles, SNR {snr}", ylim=(-0.1, 1.03), xlim=(0, None))
    for axes in panels.flat:
        for threshold in (0.143, 0.5):
            axes.axhline(threshold, color="grey", linewidth=0.6)
    for axes in panels[-1]:
        axes.set_xlabel("spatial frequency (1/Å)")
    figure.supylabel("Fourier shell correlation")
    figure.suptitle(f"{name}: maps at the true poses")
    entries = panels[0, 0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside lower center", ncols=2, fontsize=7)
    return figure


def main(words: Sequence[str]) -> None:
    """Measure everything; tables and figures grow molecule by molecule."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks reconstruction", description=__doc__.splitlines()[0]
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--particles", type=int, nargs="+", default=[100, 500])
    parser.add_argument("--snr", type=float, nargs="+", default=[0.02, 0.05])
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--methods", nargs="+", default=[], metavar="NAME=MODEL")
    arguments = parser.parse_args(words)
    output = arguments.output
    methods = choose_methods(arguments.methods)
    models = describe_methods(methods)
    weights = {RAW: "", **{name: card["weights_sha256"][:8] for name, card in models.items()}}
    sources = arguments.sources or find_molecules(MOLECULES)
    curves_file, record_file = output / "curves_at_true_poses.csv", output / f"{TABLE}.json"
    known = read_curves(curves_file, arguments.box)
    seconds = json.loads(record_file.read_text())["seconds"] if record_file.is_file() else {}
    maps: dict[Key, MeasuredMap] = {}
    for source, snr, count in product(sources, arguments.snr, arguments.particles):
        case = (name_molecule(source), f"{snr:g}", str(count))
        keys = {(*case, method, digits): method for method, digits in weights.items()}
        if not all(key in known for key in keys):
            begun = time.monotonic()
            with tempfile.TemporaryDirectory() as scratch:
                found = measure_set(source, snr, count, arguments.box, methods, Path(scratch))
            known |= {key: found[method] for key, method in keys.items()}
            seconds[", ".join(case)] = round(time.monotonic() - begun)
        maps |= {key: known[key] for key in keys}
        rows = [
            dict(zip(KEY[:4], key[:4], strict=True)) | tabulate_map(measured)
            for key, measured in maps.items()
        ]
        print(*rows[-len(keys) :], sep="\n", flush=True)
        write_table(rows, output, TABLE)
        write_curves(curves_file, maps | known)
        record = provenance(
            ["python", "-m", "benchmarks", "reconstruction", *words],
            models=models,
            seed=SEED,
            seconds=seconds,
        )
        write_json(record_file, record)
    write_curves(curves_file, maps)
    for source in sources:
        name = name_molecule(source)
        figure = draw_curves(name, {key: one for key, one in maps.items() if key[0] == name})
        with replace_when_complete(output / f"{name.replace(':', '_')}.png") as temporary:
            figure.savefig(temporary, dpi=90)
