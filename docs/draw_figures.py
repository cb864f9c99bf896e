"""Draw the figures of `docs/how_it_works.rst` into `docs/pictures`, from the engine itself.

    python docs/draw_figures.py

Ten seconds on one core. Each figure shows one thing; `compute_...` gives what it shows, and tests hold it to be true.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.fourier import fourier_pad
from polardenoise.engine.imaging.polar_grid import PolarGrid, ring_radii
from polardenoise.engine.imaging.projections import prepare_volume, take_projections
from polardenoise.engine.imaging.rotation import rotate_images
from polardenoise.engine.networks.angular_attention import attention_logits_fourier
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.networks.polar_transformer import PolarTransformer, unit_ctf_rings
from polardenoise.engine.simulate.sources import read_density

HERE = Path(__file__).resolve().parent
PICTURES = HERE / "pictures"
QUALITY = HERE.parent / "benchmarks" / "results" / "quality" / "quality.csv"
#: A molecule that no model was trained on.
MOLECULE, BOX, B_FACTOR = "phantom:10001", 64, 150.0
RINGS, ANGLES = 32, 128
#: Of the example of a rotation: no quarter of a turn, for which pixels fall on pixels.
STEPS = 20
#: Views, images of each, and SNR of the example of attention.
VIEWS, IMAGES_OF_A_VIEW, SNR = 4, 8, 0.1
GREY, BLUE, ORANGE = "0.45", "#1f77b4", "#d95f02"


def project_views(views: int, psi: Tensor) -> Tensor:
    """Project the molecule from random directions, `(views, len(psi), BOX, BOX)`, each turned by psi (degrees)."""
    density = read_density(MOLECULE, BOX, None, B_FACTOR)
    generator = np.random.default_rng(4)
    tilt = np.degrees(np.arccos(generator.uniform(-1, 1, views)))
    rot = generator.uniform(0, 360, views)
    angles = torch.zeros(views, len(psi), 3, dtype=torch.float64)
    angles[..., 0], angles[..., 1] = torch.from_numpy(rot)[:, None], torch.from_numpy(tilt)[:, None]
    angles[..., 2] = psi
    clean = take_projections(prepare_volume(density.volume), angles.flatten(0, 1))
    return (clean / clean.square().mean().sqrt()).unflatten(0, (views, len(psi)))


def compute_shift() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Give an image, the same turned by `STEPS` angular steps, and the polar maps of both.

    Returns
    -------
    tuple of Tensor
        `(BOX, BOX)` twice, `(RINGS, ANGLES)` twice: the second map is the first one, rolled by `STEPS`.
    """
    image = project_views(1, torch.zeros(1, dtype=torch.float64))[0].float()
    # RELION's psi turns from +x to -y; angles of the grid are counted the other way.
    turned = rotate_images(image, torch.tensor([-360.0 * STEPS / ANGLES]))
    grid = PolarGrid(BOX, RINGS, ANGLES)
    polar = grid.to_polar(torch.cat([image, turned]))
    return image[0], turned[0], polar[0], polar[1]


def compute_attention() -> tuple[Tensor, Tensor]:
    """Let noisy images of some views compare themselves, view after view, in random in-plane rotations.

    Returns
    -------
    tuple of Tensor
        The images `(n, BOX, BOX)` and the share `(n, n)` that each gives to each other one, summed over all rotations,
        in the first pass of `base`: rows add up to 1.
    """
    generator = np.random.default_rng(0)
    psi = torch.from_numpy(generator.uniform(0, 360, IMAGES_OF_A_VIEW))
    clean = project_views(VIEWS, psi).flatten(0, 1).float()
    noise = torch.from_numpy(generator.standard_normal(clean.shape, dtype=np.float32))
    images = clean + noise / SNR**0.5
    images = images * SNR**0.5  # noise of variance 1, as the network is given
    model = load_model("base")[0].eval()
    assert isinstance(model, PolarTransformer)
    with torch.inference_mode():
        encoded = model.encode(images, unit_ctf_rings(images[None])[0])
        logits = attention_logits_fourier(encoded.query.float(), encoded.key.float())
        weights = logits.flatten(1).softmax(1).unflatten(1, logits.shape[1:]).sum(-1)
    return images, weights


def draw_polar_grid(path: Path) -> None:
    """Show what the polar map samples: rings and angles over an image, and what comes out."""
    image, _, polar, _ = compute_shift()
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4), width_ratios=(1, 1.6))
    show_image(left, image)
    centre = BOX // 2
    for radius in ring_radii(BOX, RINGS)[1::4]:
        left.add_patch(plt.Circle((centre, centre), float(radius), fill=False, color=BLUE, lw=0.8))
    for angle in 2 * np.pi * np.arange(0, ANGLES, 8) / ANGLES:
        end = (BOX / 2 - 0.5) * np.array([np.cos(angle), np.sin(angle)]) + centre
        left.plot([centre, end[0]], [centre, end[1]], color=BLUE, lw=0.5)
    left.plot([centre, BOX - 1], [centre, centre], color=ORANGE, lw=2)
    left.set_title("an image: every 4th ring, every 8th angle", fontsize=9)
    show_polar(right, polar)
    right.axvline(0, color=ORANGE, lw=4)
    right.set_title("the same on the polar grid", fontsize=9)
    save(figure, path)


def draw_rotation_as_shift(path: Path) -> None:
    """Show that a rotation of the image is a shift along the angle, and nothing else."""
    image, turned, polar, polar_turned = compute_shift()
    figure, axes = plt.subplots(
        2, 2, figsize=(8, 5.6), width_ratios=(1, 1.9), gridspec_kw={"hspace": 0.35}
    )
    degrees = 360 * STEPS / ANGLES
    rows = (
        (image, polar, 0, "as it is"),
        (turned, polar_turned, STEPS, f"turned by {degrees:.0f}°"),
    )
    for (left, right), (picture, map_, place, title) in zip(axes, rows, strict=True):
        show_image(left, picture)
        left.set_title(title, fontsize=9)
        show_polar(right, map_)
        right.axvline(place, color=ORANGE, lw=2)
    rolled = polar.roll(STEPS, -1)
    difference = float((rolled - polar_turned).norm() / polar.norm())
    axes[1, 1].set_title(
        f"the map above, moved by {STEPS} of {ANGLES} angles (difference {100 * difference:.1g} %)",
        fontsize=9,
    )
    save(figure, path)


def draw_attention(path: Path) -> None:
    """Show whom images attend to: the blocks of the views, which nobody has told."""
    images, weights = compute_attention()
    figure = plt.figure(figsize=(8, 4.2))
    grid = figure.add_gridspec(
        VIEWS, 3, width_ratios=(1, 1, VIEWS * 1.15), wspace=0.08, hspace=0.08
    )
    for view in range(VIEWS):
        for column in range(2):
            axis = figure.add_subplot(grid[view, column])
            show_image(axis, images[view * IMAGES_OF_A_VIEW + column])
            if column == 0:
                axis.set_ylabel(f"view {view + 1}", fontsize=9)
    axis = figure.add_subplot(grid[:, 2])
    shown = axis.imshow(100 * weights, cmap="Blues", vmin=0, origin="upper")
    count = VIEWS * IMAGES_OF_A_VIEW
    for edge in range(IMAGES_OF_A_VIEW, count, IMAGES_OF_A_VIEW):
        axis.axhline(edge - 0.5, color=GREY, lw=0.6)
        axis.axvline(edge - 0.5, color=GREY, lw=0.6)
    middle = np.arange(VIEWS) * IMAGES_OF_A_VIEW + IMAGES_OF_A_VIEW / 2 - 0.5
    axis.set_xticks(middle, [f"view {view + 1}" for view in range(VIEWS)], fontsize=9)
    axis.set_yticks(middle, [f"view {view + 1}" for view in range(VIEWS)], fontsize=9)
    axis.tick_params(length=0)
    axis.set_title("what each image (row) takes from each other one, %", fontsize=9)
    figure.colorbar(shown, ax=axis, fraction=0.046, pad=0.03).ax.tick_params(labelsize=8)
    save(figure, path)


def draw_error_by_images(path: Path) -> None:
    """Show how the error falls with the number of images of a view, as the quality benchmark measured it."""
    with QUALITY.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["axis"] == "K"]
    figure, axis = plt.subplots(figsize=(5.6, 3.6))
    images = [int(row["at"]) for row in rows]
    curves = (
        ("best radial filter, one image at a time", "radial filter", GREY, "--"),
        ("DnCNN, one image at a time", "DnCNN 17x64", ORANGE, "-"),
        ("base, together", "polar transformer, base", BLUE, "-"),
        ("average at the true rotations", "oracle", "black", "-"),
    )
    for label, column, colour, style in curves:
        axis.plot(
            images,
            [float(row[column]) for row in rows],
            style,
            color=colour,
            label=label,
            marker=".",
        )
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="images of one view in a set (K)",
        ylabel="relative squared error",
    )
    axis.set_xticks(images, images)
    axis.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5], ["0.02", "0.05", "0.1", "0.2", "0.5"])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, frameon=False)
    save(figure, path)


def show_image(axis: plt.Axes, image: Tensor) -> None:
    """Show an image, y up, twice as fine as its pixels, protein bright."""
    fine = fourier_pad(image, 2 * BOX)
    low, high = np.percentile(fine, (1, 99.7))
    extent = (-0.25, BOX - 0.25, -0.25, BOX - 0.25)
    axis.imshow(fine, cmap="gray", vmin=low, vmax=high, origin="lower", extent=extent)
    axis.set(xticks=[], yticks=[])


def show_polar(axis: plt.Axes, polar: Tensor) -> None:
    """Show a polar map: the angle to the right, the radius up, each ring by its own weight."""
    axis.imshow(polar, cmap="gray", origin="lower", aspect="auto", extent=(0, ANGLES, 0, RINGS))
    axis.set_xticks(
        range(0, ANGLES + 1, ANGLES // 4), ["0°", "90°", "180°", "270°", "360°"], fontsize=8
    )
    axis.set_yticks([])
    axis.set_ylabel("radius", fontsize=9)


def save(figure: plt.Figure, path: Path) -> None:
    """Save a figure; the same numbers give the same bytes."""
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


FIGURES = {
    "polar_grid": draw_polar_grid,
    "rotation_as_shift": draw_rotation_as_shift,
    "attention": draw_attention,
    "error_by_images": draw_error_by_images,
}


def main() -> None:
    """Draw all figures."""
    torch.set_num_threads(1)
    for name, draw in FIGURES.items():
        draw(PICTURES / f"{name}.png")
        print(f"{name}.png")


if __name__ == "__main__":
    main()
