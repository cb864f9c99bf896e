"""Real particles: every method against the projections of the atomic model, and on particles to look at.

    python -m benchmarks real -o benchmarks/results --pictures docs/pictures

Apoferritin at SNR 0.25, at 0.05 and as single frames: relative MSE, correlation by shell, and the spread among
micrographs, of the raw images, their mean, the best radial filter (told the truth), every model with the defaults of
`denoise`, and what the truth leaves to be told: one ball for all, and the average of the true neighbours.
Semi-synthetic beside it: test molecules on real empty boxes, alone and crowded. Pictures of apoferritin, and of
beta-galactosidase, which has no truth, with its 2D classes. `docs/real.rst` says what is measured and what
misleads. Nothing shipped is fitted on these particles.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common.study_sets import (
    choose_methods,
    describe_methods,
    find_molecules,
    name_molecule,
)
from benchmarks.common.tables import write_table
from benchmarks.real.baselines import RAW, list_baselines
from benchmarks.real.denoised_sets import CLASSES, read_classes, read_denoised
from benchmarks.real.limits import (
    BALL,
    NEIGHBOURS,
    average_true_neighbours,
    draw_balls,
    know_particles,
)
from benchmarks.real.pictures import choose_one_of_each, draw_gallery
from benchmarks.real.score import DISK, score_images
from benchmarks.real.semi_synthetic import measure_molecule
from benchmarks.real.sets import (
    NOISES,
    TRUTH,
    check_there,
    find_apoferritin,
    find_beta_galactosidase,
    find_empty_boxes,
    read_boxes,
    read_set,
)
from benchmarks.real.tables import write_score_tables
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import write_json
from polardenoise.engine.runtime.provenance import provenance

MODELS = ("DnCNN=base-dncnn", "base=base")
MOLECULES = ("1u6g.pdb.gz", "6bqn.cif.gz", "9be6.cif.gz")
PARTS = ("apoferritin", "overview", "beta-galactosidase", "semi-synthetic")

#: Sets of the apoferritin picture, and how many particles a picture shows.
PICTURED, SHOWN = ("rest", "low"), CLASSES


def measure_apoferritin(
    folder: Path, methods: dict[str, str], work: Path, out: Path, pictures: Path
) -> None:
    """Measure every method on every noise, write the tables and the picture."""
    known = read_set(folder / f"{TRUTH}.star")
    told = know_particles(known.images, read_particles(known.star).ctf, known.pixel_size)
    chosen = choose_one_of_each(known.micrographs, SHOWN)
    scores, shown = {}, {}
    for noise, name in NOISES.items():
        noisy = read_set(folder / f"{noise}.star")
        if len(noisy.images) != len(known.images):
            raise InputError(f"{noisy.star}: has other rows than {known.star}")
        estimates = list_baselines(noisy.images, known.images)
        for method, model in methods.items():
            estimates[method] = read_denoised(noisy.star, model, work)
        estimates[BALL] = draw_balls(known.images, told)
        estimates[NEIGHBOURS] = average_true_neighbours(noisy.images, told)
        scores[name] = {
            method: score_images(images, known.images, known.micrographs)
            for method, images in estimates.items()
        }
        for method, score in scores[name].items():
            print(f"{name}, {method}: {score.relative_mse:.4f}", flush=True)
        if noise in PICTURED:
            shown |= {f"{name}\n{label}": estimates[label][chosen] for label in (RAW, *methods)}
    write_score_tables(scores, known.images.shape[-1], known.pixel_size, out)
    shown["atomic model"] = known.images[chosen]
    draw_gallery(
        pictures / "apoferritin.png",
        shown,
        "real apoferritin, protein dark: the middle particle of each of the first micrographs",
    )


def draw_overview(folder: Path, model: str, work: Path, pictures: Path) -> None:
    """Draw what a set is before and after, for the README: particles raw and denoised, and the 2D class of each."""
    noisy = read_set(folder / "rest.star")
    chosen = choose_one_of_each(noisy.micrographs, SHOWN)
    rows = {
        RAW: noisy.images[chosen],
        "denoised": read_denoised(noisy.star, model, work)[chosen],
    }
    classes = read_classes(noisy.star, model, work, chosen)
    if classes is not None:
        rows["its 2D class\n(protein bright)"] = classes
    draw_gallery(
        pictures / "overview.png",
        rows,
        "real apoferritin (EMPIAR-10146), averages of frames: the middle particle of each of the first micrographs",
    )


def draw_beta_galactosidase(
    star: Path, methods: dict[str, str], work: Path, pictures: Path
) -> None:
    """Draw particles without a truth, raw and denoised, and their largest 2D classes."""
    noisy = read_set(star)
    chosen = choose_one_of_each(noisy.micrographs, SHOWN)
    rows = {RAW: noisy.images[chosen]}
    for method, model in methods.items():
        rows[method] = read_denoised(star, model, work)[chosen]
        classes = read_classes(star, model, work)
        if classes is not None and len(classes) == SHOWN:
            rows[f"{method}:\nlargest 2D classes"] = classes
    draw_gallery(
        pictures / "beta_galactosidase.png",
        rows,
        "real beta-galactosidase, evenly spaced through the set; in classes protein is bright",
    )


def measure_semi_synthetic(like: Path, boxes: Path, methods: dict[str, str], out: Path) -> None:
    """Measure every method on test molecules in real empty boxes and write the table."""
    noise = read_boxes(boxes)
    rows = []
    for source in find_molecules(MOLECULES):
        with tempfile.TemporaryDirectory() as scratch:
            rows += measure_molecule(
                source, name_molecule(source), like, noise, methods, Path(scratch)
            )
    write_table(rows, out, "real_semi_synthetic")


def main(words: Sequence[str]) -> None:
    """Measure what is asked for, and write tables, pictures and a record."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks real", description=__doc__.splitlines()[0]
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (all)")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="of the PNGs (default: -o)")
    parser.add_argument(
        "--apoferritin",
        type=Path,
        metavar="DIR",
        help="rest.star, low.star, frame.star, truth.star",
    )
    parser.add_argument("--beta-galactosidase", type=Path, metavar="STAR")
    parser.add_argument("--empty-boxes", type=Path, metavar="STACK")
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME=MODEL")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="keep denoised sets, and take those of before"
    )
    arguments = parser.parse_args(words)
    parts = arguments.parts or PARTS
    if wrong := [part for part in parts if part not in PARTS]:
        raise InputError(f"{wrong[0]}: no part; give some of {', '.join(PARTS)}")
    apoferritin = arguments.apoferritin or find_apoferritin()
    beta_galactosidase = arguments.beta_galactosidase or find_beta_galactosidase()
    boxes = arguments.empty_boxes or find_empty_boxes()
    needed = {
        "apoferritin": [apoferritin / f"{name}.star" for name in (*NOISES, TRUTH)],
        "overview": [apoferritin / "rest.star"],
        "beta-galactosidase": [beta_galactosidase],
        "semi-synthetic": [apoferritin / "rest.star", boxes],
    }
    check_there([path for part in parts for path in needed[part]])
    out = arguments.output
    pictures = arguments.pictures or out
    methods = choose_methods(arguments.models)
    for folder in (out, pictures):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        work = arguments.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        if "apoferritin" in parts:
            measure_apoferritin(apoferritin, methods, work, out, pictures)
        if "overview" in parts:
            draw_overview(apoferritin, list(methods.values())[-1], work, pictures)
        if "beta-galactosidase" in parts:
            draw_beta_galactosidase(beta_galactosidase, methods, work, pictures)
        if "semi-synthetic" in parts:
            measure_semi_synthetic(apoferritin / "rest.star", boxes, methods, out)
    record_file = out / "real.json"
    record = json.loads(record_file.read_text()) if record_file.is_file() else {}
    facts = provenance(
        ["python", "-m", "benchmarks", "real", *parts],
        models=describe_methods(methods),
        disk_pixels=DISK,
    )
    record |= {part: facts | {"working_directory": "."} for part in parts}
    write_json(record_file, record)
