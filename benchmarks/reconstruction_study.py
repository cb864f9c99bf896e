"""Maps from raw and from denoised particles at their true poses, beside the truth.

    python benchmarks/reconstruction_study.py -o benchmarks/results/reconstruction [SOURCE ...]

For every molecule, SNR and number of particles: random views at 64 px with CTFs, two random halves; denoised with the
defaults of `denoise` (CTF kept, neighbours found in each half); maps of the halves and of all by `polardenoise
reconstruct`, which weights raw and denoised images by the CTF alike. Fourier shell correlation with the truth, in the
whole box and about the molecule, and between the halves. Between halves of *denoised* images it tells consistency, not
resolution: one network denoised both. Writes a table (CSV and rst), all curves (CSV), a figure a molecule, and a record
of machine, time and models.
"""

import argparse
import csv
import io
import sys
import tempfile
import time
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from study_sets import (
    MeasuredMap,
    choose_methods,
    denoise_set,
    describe_methods,
    find_molecules,
    measure_map,
    name_molecule,
    run,
)

from polardenoise.engine.benchmark_tables import write_table
from polardenoise.engine.fsc import shell_frequencies
from polardenoise.engine.outputs import (
    provenance,
    replace_when_complete,
    write_json,
    write_text_atomically,
)

MOLECULES = ("1u6g.pdb.gz", "6bqn.cif.gz", "9be6.cif.gz")
SEED = 31


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


def list_curves(case: dict[str, str], measured: MeasuredMap) -> list[dict[str, str]]:
    """Give the curves of one map as rows of a table, a shell each."""
    columns = {
        "frequency (1/A)": shell_frequencies(2 * (len(measured.to_truth) - 1), measured.pixel_size),
        "to truth": measured.to_truth,
        "to truth, masked": measured.to_truth_masked,
        "between halves": measured.between_halves,
    }
    return [
        {
            **case,
            **{name: f"{values[shell]:.4f}" for name, values in columns.items()},
            "halves mean": measured.meaning,
        }
        for shell in range(len(measured.to_truth))
    ]


def plot_molecule(path: Path, name: str, cases: dict[tuple[float, int], dict[str, MeasuredMap]]):
    """Draw the curves of a molecule: a row an SNR, a column a number of particles; truth solid, halves dashed."""
    ratios, counts = (sorted({case[place] for case in cases}) for place in (0, 1))
    figure = Figure(figsize=(4.2 * len(counts), 3.6 * len(ratios) + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(ratios), len(counts), squeeze=False, sharex=True, sharey=True)
    for (snr, count), maps in cases.items():
        axes = panels[ratios.index(snr), counts.index(count)]
        for place, (method, measured) in enumerate(maps.items()):
            curve = measured.to_truth_masked
            frequencies = shell_frequencies(2 * (len(curve) - 1), measured.pixel_size)
            colour = f"C{place}"
            axes.plot(frequencies, curve, color=colour, label=f"{method}: map to truth, masked")
            label = f"{method}: between halves ({measured.meaning})"
            axes.plot(frequencies, measured.between_halves, "--", color=colour, lw=0.9, label=label)
        for threshold in (0.143, 0.5):
            axes.axhline(threshold, color="grey", linewidth=0.6)
        axes.set(title=f"{count} particles, SNR {snr:g}", ylim=(-0.1, 1.03), xlim=(0, None))
    figure.supxlabel("spatial frequency (1/Å)")
    figure.supylabel("Fourier shell correlation")
    figure.suptitle(f"{name}: maps at the true poses")
    entries = panels[0, 0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside lower center", ncols=2, fontsize=7)
    with replace_when_complete(path) as temporary:
        figure.savefig(temporary, dpi=90)


def main(words: list[str] | None = None) -> None:
    """Measure everything; tables and figures grow molecule by molecule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="*", metavar="SOURCE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--particles", type=int, nargs="+", default=[200, 500, 2000])
    parser.add_argument("--snr", type=float, nargs="+", default=[0.02, 0.05])
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--methods", nargs="+", default=[], metavar="NAME=MODEL")
    arguments = parser.parse_args(words)
    begun, output = time.monotonic(), arguments.output
    methods = choose_methods(arguments.methods)
    sources = arguments.sources or find_molecules(MOLECULES)
    rows: list[dict[str, str]] = []
    curves: list[dict[str, str]] = []
    for source in sources:
        name, cases = name_molecule(source), {}
        for snr in arguments.snr:
            for count in arguments.particles:
                with tempfile.TemporaryDirectory() as scratch:
                    maps = measure_set(source, snr, count, arguments.box, methods, Path(scratch))
                cases[snr, count] = maps
                for method, measured in maps.items():
                    case = {
                        "molecule": name,
                        "SNR": f"{snr:g}",
                        "particles": str(count),
                        "images": method,
                    }
                    rows.append(case | tabulate_map(measured))
                    curves += list_curves(case, measured)
                    print(rows[-1], flush=True)
        write_table(rows, output, "maps_at_true_poses")
        text = io.StringIO()
        writer = csv.DictWriter(text, list(curves[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(curves)
        write_text_atomically(output / "curves_at_true_poses.csv", text.getvalue())
        plot_molecule(output / f"{name.replace(':', '_')}.png", name, cases)
    record = provenance(
        [Path(sys.argv[0]).name, *(sys.argv[1:] if words is None else words)],
        sources=[name_molecule(source) for source in sources],
        models=describe_methods(methods),
        seed=SEED,
        seconds=round(time.monotonic() - begun),
    )
    write_json(output / "maps_at_true_poses.json", record)


if __name__ == "__main__":
    main()
