"""Put a trained model among the shipped ones, with its card.

    python -m benchmarks.models.ship_model training/base --figures benchmarks/results/one_view_sets.csv

Copies weights, description and training history to polardenoise/pretrained/NAME and writes CARD.rst: what the model is,
what it was trained on, and the figures that the named table gives. Nothing on a card is typed by hand but the limits.
"""

import argparse
import csv
import json
import shutil
from pathlib import Path

from benchmarks.common.tables import round_cell
from benchmarks.models.keep_checkpoint import drop_private_facts
from polardenoise.engine.networks.checkpoint import SHIPPED_FOLDER, hash_file
from polardenoise.engine.networks.registry import is_joint
from polardenoise.engine.runtime.files import write_json, write_text_atomically

FIGURES = "benchmarks/results/one_view_sets.csv"
FIGURES_COMMAND = "python -m benchmarks one_view_sets -o benchmarks/results"
#: How the line of a card begins that says what becomes of noise.
NOISE = "Pure noise comes out with"
LIMITS = {
    True: """\
- The working box is 64 px: nothing finer than its Nyquist frequency comes back, whatever the box of the input.
- It gathers what images of the same view share. Sets drawn at random from many views hold few such images, and the
  network then falls back on what a single image and the learned prior give.
- A learned prior can erase a ligand or invent detail. Align on denoised images, reconstruct from the raw particles.""",
    False: """\
- A single-image network: the baseline that the polar transformer is judged against, not a recommendation.
- The working box is 64 px: nothing finer than its Nyquist frequency comes back, whatever the box of the input.
- A learned prior can erase a ligand or invent detail. Align on denoised images, reconstruct from the raw particles.""",
}


def read_figures(table: Path, name: str) -> list[dict[str, str]]:
    """Read the rows of a figures table, restricted to what a model is compared with."""
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    if name not in rows[0]:
        raise SystemExit(f"{table}: has no column {name}; run {FIGURES_COMMAND} --models ...")
    return rows


def describe_start(trained: dict) -> list[str]:
    """Say what the training started from."""
    if not trained.get("init"):
        return []
    return [f"- started from the weights of ``{trained['init']}``"]


def name_ranges(numbers: list[int]) -> list[str]:
    """Name ascending numbers by ranges: `0 to 119`, `8000 to 8039`."""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return [f"{start} to {end}" for start, end in zip(starts, ends, strict=True)]


def describe_conditions(recipe: dict) -> str:
    """Say under what conditions the training images were made, a point of the card's limits."""
    coloured = recipe.get("coloured_share", 0.0)
    noise = f"white, coloured in {100 * coloured:.0f} % of the sets" if coloured else "white"
    if recipe.get("whitened_share"):
        noise += f" (of which {100 * recipe['whitened_share']:.0f} % were whitened, and the network told so)"
    besides = []
    if recipe.get("ice"):
        besides.append("the structure of ice")
    if recipe.get("slope"):
        besides.append("sloping backgrounds")
    if recipe.get("neighbour_share"):
        besides.append(f"neighbours in {100 * recipe['neighbour_share']:.0f} % of the images")
    alone = f"with {', '.join(besides)}" if besides else "alone in the box"
    return f"- Noise was {noise}, detectors perfect, molecules rigid and {alone}; ranges are in model.json."


def write_card(facts: dict, rows: list[dict[str, str]]) -> str:
    """Write CARD.rst from model.json and the figures."""
    trained, name = facts["trained_on"], facts["name"]
    # Packed by pack_structures.py, phantom:SEED is the map phantom-SEED.mrc.gz.
    sources = [
        source.split(".")[0].replace("phantom-", "phantom:") for source in trained["sources"]
    ]
    phantoms = [source for source in sources if source.startswith("phantom:")]
    structures = sorted(source for source in sources if source not in phantoms)
    seeds = sorted(int(source.removeprefix("phantom:")) for source in phantoms)
    machine = trained["machine"]
    recipe = trained["recipe"]
    set_sizes = ", ".join(map(str, sorted(set(recipe["images_per_set"]))))
    title = f"{name}: {facts['architecture']}"
    lines = [
        title,
        "=" * len(title),
        "",
        f"SHA-256 of weights.safetensors: ``{facts['weights_sha256']}``",
        "",
        "Trained on",
        "----------",
        "",
        f"- {len(structures)} structures of the PDB, split *train* of the project's list: {', '.join(structures)}",
        f"- {len(seeds)} phantoms, seeds {' and '.join(name_ranges(seeds))}",
        f"- validated on: {', '.join(source.split('.')[0] for source in trained['validated_on'])}",
        f"- SNR {recipe['snr'][0]:g} to {recipe['snr'][1]:g}; CTF in {100 * recipe['ctf_share']:.0f} % of the sets "
        f"(phases flipped); shifts up to {recipe['largest_shift']:g} px in {100 * recipe['shift_share']:.0f} %; "
        f"molecule over box {recipe['fill'][0]:g} to {recipe['fill'][1]:g}; images without a particle "
        f"{100 * recipe['noise_only_share']:.0f} %; sets of {set_sizes}",
        f"- {trained['steps']} steps, {trained['images']} images, {trained['minutes']:.0f} minutes on "
        f"{trained['threads']} thread(s) of a machine with {machine['cores']} cores ({trained['device']}, torch "
        f"{machine['torch']}, {recipe['precision']}), seed {trained['seed']}, {trained['started']}",
        f"- command: ``{' '.join(trained['command'])}``",
        *([f"- {trained['note']}"] if trained.get("note") else []),
        *describe_start(trained),
        "",
        "Images of any intensity, background and noise scale: they are normalised by their own corners.",
        "",
        "Figures",
        "-------",
        "",
        "Relative MSE on molecules it has not seen: 8 views, 32 images of each in each half, SNR 0.05, 64 px, sets of",
        f"one view. Made by ``{FIGURES_COMMAND}``.",
        "",
        f".. list-table:: All digits: ``{FIGURES}``",
        "   :header-rows: 1",
        "",
    ]
    columns = ["molecule", "CTF", "noisy", "radial filter", name]
    for cells in [columns, *([round_cell(row[column]) for column in columns] for row in rows)]:
        lines += [
            f"   {'* -' if place == 0 else '  -'} {cell}".rstrip()
            for place, cell in enumerate(cells)
        ]
    lines += facts["noise_energy"] and ["", describe_noise(facts["noise_energy"])]
    limits = LIMITS[is_joint(facts["architecture"])]
    lines += ["", "Limits", "------", "", limits, describe_conditions(recipe), ""]
    return "\n".join(lines)


def describe_noise(noise_energy: dict[str, float]) -> str:
    """Say what becomes of pure noise, in one line of a card."""
    return (
        f"{NOISE} {noise_energy['none']:.1e} of its variance, with CTFs {noise_energy['ctf']:.1e} (one image in a "
        "hundred exceeds it): an image that comes out with no more is shown as its raw image, faint, unless the images "
        "that it was denoised with say otherwise."
    )


def main() -> None:
    """Copy, describe, write."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.models.ship_model", description=__doc__.splitlines()[0]
    )
    parser.add_argument("training", type=Path, help="folder of `polardenoise train`")
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--note", default="", help="what else happened in the training")
    arguments = parser.parse_args()
    name = arguments.training.name
    facts = json.loads((arguments.training / "model" / "model.json").read_text())
    rows = read_figures(arguments.figures, name)
    means = {row["CTF"]: row for row in rows if row["molecule"] == "mean"}
    noise = next(row for row in rows if row["molecule"].startswith("pure noise"))
    facts["name"] = name
    facts["trained_on"]["note"] = arguments.note
    facts["figures"]["one_view_sets"] = {
        "command": FIGURES_COMMAND,
        "relative_mse_no_ctf": float(means["no"][name]),
        "relative_mse_ctf_kept": float(means["yes"][name]),
        "radial_filter_no_ctf": float(means["no"]["radial filter"]),
        "radial_filter_ctf_kept": float(means["yes"]["radial filter"]),
        "noise_energy_out": float(noise[name]),
    }
    joint = is_joint(facts["architecture"])
    kind = "joint denoising" if joint else "single images"
    facts["description"] = (
        f"{facts['architecture']} ({kind}), {facts['sizes']['box']} px, "
        f"{len(facts['trained_on']['sources'])} simulated molecules, "
        f"relative MSE {means['no'][name]} on one-view sets at SNR 0.05 (radial filter {means['no']['radial filter']})"
    )
    if joint and not facts["noise_energy"]:
        raise SystemExit(f"{arguments.training}: has not come to its end; train --resume first")
    drop_private_facts(facts)
    folder = SHIPPED_FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(arguments.training / "model" / "weights.safetensors", folder)
    for curve in ("history.csv", "history.png"):
        shutil.copy2(arguments.training / curve, folder)
    if hash_file(folder / "weights.safetensors") != facts["weights_sha256"]:
        raise SystemExit(f"{arguments.training}: weights and model.json do not belong together")
    write_json(folder / "model.json", facts)
    write_text_atomically(folder / "CARD.rst", write_card(facts, rows))
    print(f"shipped {folder}")


if __name__ == "__main__":
    main()
