"""CUDA held to the CPU: the same images, weights and draws give the same results within float32 rounding.

Run on a machine with a GPU: `pytest -m gpu tests/gpu`. Nothing here needs Scipion, RELION or shared data.
"""

import json

import numpy as np
import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotational_matching import compute_image_harmonics, match_images
from polardenoise.engine.neighbours.templates import expect_images, prepare_templates
from polardenoise.engine.networks.angular_attention import attend_blocked
from polardenoise.engine.networks.attention_direct import attend_direct
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.networks.registry import build_model
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.train.loop import start_training, take_step
from polardenoise.engine.train.loss import measure_objective
from polardenoise.engine.train.recipe import choose_recipe
from polardenoise.engine.train.simulated_sets import draw_batch, load_molecule, stack_molecules
from polardenoise.engine.views.ab_initio import find_frames
from polardenoise.engine.views.frames import draw_frames
from polardenoise.engine.views.poses import measure_gains, project_all, scale_shells
from polardenoise.engine.views.volume_sums import begin_sums, solve_volume
from tests.views.volumes import BOX, make_blobs, make_images, measure_unexplained

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def relative_energy(difference, signal):
    """Energy of a difference over that of the signal."""
    return float(
        (
            difference.detach().double().square().sum() / signal.detach().double().square().sum()
        ).cpu()
    )


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module", autouse=True)
def plain_float32():
    """Matrix products and convolutions without TF32, as `denoise --precision float32` has them."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


@pytest.mark.parametrize("images", [3, 40, 150])
def test_attention_and_its_gradients_are_those_of_the_direct_form_in_double_precision(images):
    query, key = 3 * draw(2, images, 8, 32), draw(2, images, 8, 32, seed=1)
    value = draw(2, images, 12, 32, seed=2)
    there = [one.clone().to(CUDA).requires_grad_() for one in (query, key, value)]
    here = [one.double().requires_grad_() for one in (query, key, value)]
    seen = attend_blocked(*there, 32, 64)
    wanted = attend_direct(*here)
    assert relative_energy(seen.cpu() - wanted, wanted) < 1e-8
    weight = draw(*wanted.shape, seed=3)
    (seen * weight.to(CUDA)).sum().backward()
    (wanted * weight).sum().backward()
    for one, other in zip(there, here, strict=True):
        assert relative_energy(one.grad.cpu() - other.grad, other.grad) < 1e-7


def test_images_are_seen_through_templates_alike():
    grid = PolarGrid(32, 16, 64)
    images, noise = draw(2, 40, 32, 32), draw(50, 32, 32, seed=1)
    ctf_rings = draw(50, 16, seed=2).abs().clamp_max(1)
    here = expect_images(prepare_templates(images, grid), noise, ctf_rings)
    there = expect_images(
        prepare_templates(images.to(CUDA), PolarGrid(32, 16, 64).to(CUDA)),
        noise.to(CUDA),
        ctf_rings.to(CUDA),
    )
    assert relative_energy(there.estimates.cpu() - here.estimates, here.estimates) < 1e-6
    assert torch.allclose(there.evidence.cpu(), here.evidence, atol=1e-2)


def test_matching_finds_the_same_rotations():
    rings = build_fourier_rings(64)
    images, estimates = draw(50, 64, 64), draw(40, 64, 64, seed=1)
    estimates[:40] += images[:40]
    ctf_rings = torch.rand(50, 32, generator=torch.Generator().manual_seed(2))

    def match(device):
        parts = (one.to(device) for one in (images, ctf_rings, estimates))
        seen, by_ring, shown = parts
        harmonics = compute_image_harmonics(seen, by_ring, rings)
        return match_images(harmonics, by_ring, rings.to_harmonics(shown), rings)

    here, there = match(CPU), match(CUDA)
    assert torch.allclose(here.likelihood, there.likelihood.cpu(), atol=0.05, rtol=1e-4)
    assert float((here.rotation == there.rotation.cpu()).float().mean()) > 0.995


@pytest.mark.parametrize("name", ["base", "base-dncnn"])
def test_shipped_network_gives_the_same_images(name):
    model, _ = load_model(name)
    molecules = stack_molecules([load_molecule("phantom:10001", 64, 0.7)], CPU)
    batch = draw_batch(molecules, choose_recipe("base", "polar-transformer", None), 3, 1)
    ctf_rings = batch.abs_ctf.flatten(-2).new_ones(*batch.noisy.shape[:2], 32)
    with torch.inference_mode():
        here = model.eval()(batch.noisy, ctf_rings)
        there = model.to(CUDA)(batch.noisy.to(CUDA), ctf_rings.to(CUDA)).cpu()
    assert relative_energy(here - there, here) < 1e-3


def test_training_sets_and_gradients_are_those_of_the_cpu():
    recipe = choose_recipe("tiny", "polar-transformer", None)
    densities = [load_molecule(f"phantom:{seed}", 32, 0.9) for seed in (1, 2)]
    batches = [
        draw_batch(stack_molecules(densities, device), recipe, 0, 5) for device in (CPU, CUDA)
    ]
    clean = [batch.clean.cpu() for batch in batches]
    assert (
        relative_energy(
            clean[0] / clean[0].norm() - clean[1] / clean[1].norm(), clean[0] / clean[0].norm()
        )
        < 2e-2
    )

    losses, gradients = [], []
    for device in (CPU, CUDA):
        torch.manual_seed(0)
        model = build_model("polar-transformer", recipe.sizes).to(device).train()
        batch = batches[0].map(lambda one: one.to(device))  # noqa: B023
        loss = measure_objective(model, batch, torch.float32)
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append(
            torch.cat(
                [one.grad.flatten().cpu() for one in model.parameters() if one.grad is not None]
            )
        )
        state = start_training(model, recipe)
        before = float(loss.detach())
        for _ in range(4):
            after = take_step(state, batch, recipe, measure_objective)
        assert float(after) < before
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert relative_energy(gradients[0] - gradients[1], gradients[0]) < 1e-3


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("particles")
    arguments = ["phantom:10001", "-o", str(folder), "--particles", "256", "--views", "8"]
    assert main(["simulate", *arguments, "--snr", "0.1", "--ctf", "--max-shift", "2"]) == 0
    return folder


@pytest.mark.parametrize("grouping", ["neighbours", "random", "rlnClassNumber"])
def test_denoised_sets_are_those_of_the_cpu(particles, tmp_path, grouping):
    images = {}
    for device, precision in (("cpu", "float32"), ("cuda", "float32"), ("cuda", "bfloat16")):
        output = tmp_path / f"{device}-{precision}.star"
        options = ["--group-by", grouping, "--device", device, "--precision", precision]
        assert (
            main(["denoise", str(particles / "particles.star"), "-o", str(output), *options]) == 0
        )
        loaded = read_particles(output)
        images[device, precision] = torch.from_numpy(read_images(loaded, np.arange(len(loaded))))
    wanted = images["cpu", "float32"]
    same = relative_energy(images["cuda", "float32"] - wanted, wanted)
    lower = relative_energy(images["cuda", "bfloat16"] - wanted, wanted)
    print(json.dumps({"grouping": grouping, "float32": same, "bfloat16": lower}))
    assert same < 1e-3
    assert lower < 2e-2


def test_training_can_be_interrupted_and_goes_on(tmp_path):
    options = ["phantom:1-4", "-o", str(tmp_path / "one"), "--preset", "tiny", "--device", "cuda"]
    options += ["--architecture", "polar-transformer"]
    assert main(["train", *options, "--steps", "30"]) == 0
    assert main(["train", *options, "--steps", "60", "--resume"]) == 0
    rows = (tmp_path / "one" / "history.csv").read_text().splitlines()
    assert rows[-1].startswith("60,")
    assert float(rows[-1].split(",")[-1]) < 1.0


def test_volumes_of_images_and_their_views_are_the_same():
    frames = draw_frames(200, torch.Generator().manual_seed(1)).float()
    images, ctf_rings = draw(200, 64, 64), torch.rand(200, 32, generator=torch.Generator())
    found = []
    for device in (CPU, CUDA):
        sums = begin_sums(64, device)
        sums.add_images(images.to(device), ctf_rings.to(device), frames.to(device))
        volume = solve_volume(sums)
        seen = project_all(volume, frames.to(device))
        gains = measure_gains(volume, images.to(device), ctf_rings.to(device), frames.to(device))
        found.append([one.cpu() for one in (volume, seen, scale_shells(volume, gains))])
    for here, there in zip(*found, strict=True):
        assert relative_energy(there - here, here) < 1e-5


def test_poses_are_found_from_nothing_on_the_gpu_too():
    source = torch.Generator().manual_seed(0)
    volume = make_blobs()
    images, clean, _ = make_images(volume, 300, 20.0)
    frames = find_frames(images.to(CUDA) / 20**0.5, source)
    sums = begin_sums(BOX, CUDA)
    sums.add_images(images.to(CUDA), torch.ones(300, BOX // 2, device=CUDA), frames)
    left = measure_unexplained(solve_volume(sums).cpu(), clean[:60])
    assert left < measure_unexplained(volume, clean[:60]) + 0.04
