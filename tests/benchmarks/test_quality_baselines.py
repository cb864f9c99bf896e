"""The oracle and the radial filter of the quality benchmark, and that a denoiser is told nothing of the truth."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.quality.baselines import (
    ask_oracle,
    filter_radially,
    list_companions,
    measure_spectra,
    turn_ctf,
)
from benchmarks.quality.controls import (
    AS_IT_IS,
    ORACLE_AND_PRIOR,
    OTHER_NOISE,
    PURE_NOISE,
    SINGLE_IMAGE,
    measure_controls,
)
from benchmarks.quality.images import POSE_COLUMNS, simulate_images
from benchmarks.quality.methods import ORACLE, RADIAL_FILTER, denoise_images
from benchmarks.quality.networks import NETWORKS, TrainedNetwork
from benchmarks.quality.points import MIXED, NEIGHBOURS, Images, Point
from polardenoise.engine.evaluate.against_truth import relative_mse
from polardenoise.engine.imaging.ctf import CtfParameters, apply_ctf, compute_ctf
from polardenoise.engine.imaging.projections import prepare_volume, take_projections
from polardenoise.engine.imaging.rotation import rotate_images
from polardenoise.engine.networks.checkpoint import find_model, read_card
from polardenoise.engine.particles.mrc import read_volume

PHANTOM = "phantom:10001"


def load_shipped(name):
    network = next(one for one in NETWORKS if one.name == name)
    folder = find_model(name)
    return TrainedNetwork(network, folder, read_card(folder))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Simulate images once for all tests that ask for the same."""
    known = {}

    def simulate(images):
        if images not in known:
            known[images] = simulate_images(PHANTOM, images, tmp_path_factory.mktemp("images"))
        return known[images]

    return simulate


@pytest.fixture(scope="module")
def projections(simulated):
    """One view of the phantom at three in-plane rotations, and their psi."""
    folder = simulated(Images(16, 1)).given.parents[1]
    volume, _ = read_volume(folder / "truth" / "volume.mrc")
    psi = torch.tensor([10.0, 75.0, -140.0])
    angles = torch.stack([torch.full((3,), 30.0), torch.full((3,), 60.0), psi], dim=1)
    return take_projections(prepare_volume(torch.from_numpy(volume), 3), angles), psi


def distance(images, others):
    return float((images - others).square().sum() / others.square().sum())


def test_turning_in_the_plane_is_adding_to_psi(projections):
    images, psi = projections
    turned = rotate_images(images[:1].expand(3, -1, -1), psi - psi[0])
    assert distance(turned, images) < 5e-4
    wrong_way = rotate_images(images[:1].expand(3, -1, -1), psi[0] - psi)
    assert distance(wrong_way[1:], images[1:]) > 0.2


def test_turning_by_right_angles_is_exact_and_keeps_the_centre():
    images = torch.zeros(4, 32, 32)
    images[:, 16, 16], images[:, 16, 24] = 1.0, 2.0
    turned = rotate_images(images, torch.tensor([0.0, 90.0, 180.0, 270.0]))
    places = turned[1:].flatten(1).argmax(1)
    assert [(int(place) // 32, int(place) % 32) for place in places] == [(8, 16), (16, 8), (24, 16)]
    position = torch.arange(32) - 16.0
    blob = torch.exp(-((position - 3) ** 2 + (position[:, None] - 5) ** 2) / 8)[None]
    there = rotate_images(blob, torch.tensor([90.0]))
    back = rotate_images(there, torch.tensor([270.0]))
    torch.testing.assert_close(back, blob, atol=1e-4, rtol=0)


def test_the_astigmatism_turns_with_the_image(projections):
    images, psi = projections
    numbers = {name: torch.tensor([value]) for name, value in dict(
        defocus_u=15000.0, defocus_v=9000.0, defocus_angle=20.0, voltage=300.0,
        spherical_aberration=2.7, amplitude_contrast=0.1, phase_shift=0.0,
    ).items()}  # fmt: skip
    parameters = CtfParameters(**numbers)

    def see(image, ctf):
        return apply_ctf(image, compute_ctf(ctf, 3.0, image.shape[-1]))

    turned = rotate_images(see(images[:1], parameters), psi[1:2] - psi[0])
    expected = see(images[1:2], turn_ctf(parameters, psi[1:2] - psi[0]))
    assert distance(turned, expected) < 0.02
    assert distance(turned, see(images[1:2], parameters)) > 0.1


def test_the_oracle_reaches_what_wiener_promises(simulated):
    data = simulated(Images(64, 1, 0.05))
    signal, noise = measure_spectra(data)
    for size in (1, 8, 64):
        point = Point("K", f"{size}", Images(64, 1, 0.05), set_size=size, judged=64)
        promised = float((signal * noise / (size * signal + noise)).sum() / signal.sum())
        error = relative_mse(ask_oracle(data, point, 0), data.truth)
        # The corners of the box are judged by neither; the promise holds to the scatter of the noise.
        assert error == pytest.approx(promised, rel=0.15)


def test_an_oracle_of_one_image_is_the_radial_filter(simulated):
    data = simulated(Images(64, 1, 0.05))
    alone = Point("K", "1", Images(64, 1, 0.05), set_size=1, judged=64)
    radial = relative_mse(filter_radially(data.noisy, data, 64), data.truth)
    assert relative_mse(ask_oracle(data, alone, 0), data.truth) == pytest.approx(radial, rel=0.03)
    random_views = replace(alone, group_by=NEIGHBOURS)
    assert relative_mse(ask_oracle(data, random_views, 0), data.truth) == pytest.approx(
        radial, rel=0.03
    )


def test_the_oracle_undoes_shifts_and_weighs_by_the_ctf(simulated):
    errors = {}
    for shift in (0.0, 3.0):
        images = Images(64, 2, 0.05, True, shift)
        data = simulated(images)
        point = Point("CTF", "", images, judged=64)
        errors[shift] = relative_mse(ask_oracle(data, point, 0), data.truth)
        radial = relative_mse(filter_radially(data.noisy, data, 64), data.truth)
        assert errors[shift] < 0.45 * radial
    assert errors[3.0] == pytest.approx(errors[0.0], rel=0.15)


def test_in_mixed_sets_the_oracle_averages_one_view_only(simulated):
    images = Images(64, 2, 0.05)
    data = simulated(images)
    views = np.array(data.particles.column("rlnClassNumber"))
    mixed = Point("sets", "", images, MIXED, judged=64)
    companions = list_companions(data, mixed, 0)
    assert all(len(set(views[members])) == 1 for members, _ in companions)
    assert sorted(row for _, wanted in companions for row in wanted) == list(range(64))
    assert max(len(members) for members, _ in companions) < 32
    one_view = replace(mixed, group_by="rlnClassNumber")
    errors = [relative_mse(ask_oracle(data, p, 0), data.truth) for p in (one_view, mixed)]
    assert errors[0] < errors[1]


def test_true_neighbours_are_worth_more_than_the_image_alone(simulated):
    images = Images(256, 0, 0.1)
    data = simulated(images)
    point = Point("sets", "", images, NEIGHBOURS, 16, 32)
    oracle = relative_mse(ask_oracle(data, point, 0), data.truth[:32])
    radial = relative_mse(filter_radially(data.noisy[:32], data, 32), data.truth[:32])
    assert oracle < 0.7 * radial


#: Paths opened while `watching` is set; an audit hook cannot be taken away again.
opened, watching = [], []


def watch(event, arguments):
    if watching and event == "open" and isinstance(arguments[0], str):
        opened.append(arguments[0])


def test_a_denoiser_sees_neither_poses_nor_the_truth(simulated):
    images = Images(64, 2, 0.05, True, 3.0)
    data = simulated(images)
    text = data.given.read_text()
    assert all(label in text for label in POSE_COLUMNS)
    from polardenoise.engine.particles.particle_set import read_particles

    given = read_particles(data.given)
    assert not given.angles.any()
    assert not given.origins.any()
    sys.addaudithook(watch)
    network = load_shipped("base")
    point = Point("CTF", "", images, judged=64)
    watching.append(True)
    try:
        denoised = denoise_images(data.given, network, "cpu", 64, point=point)
    finally:
        watching.clear()
    folder = data.given.parents[1]
    assert any(str(folder / "given") in path for path in opened)
    assert not [path for path in opened if str(folder / "truth") in path]
    # The poses beside the images change nothing: they are not looked at.
    with_poses = denoise_images(
        folder / "truth" / "particles.star", network, "cpu", 64, point=point
    )
    assert torch.equal(denoised, with_poses)


def test_what_the_others_give_is_their_signal(simulated):
    images = Images(128, 1)
    data = simulated(images)
    point = Point("K", "8", images, set_size=8, judged=64)
    joint, single = load_shipped("base"), load_shipped("base-dncnn")
    errors = measure_controls(data, point, joint, single, "cpu")
    assert errors[OTHER_NOISE] == pytest.approx(errors[AS_IT_IS], rel=0.1)
    assert errors[PURE_NOISE] > 1.5 * errors[AS_IT_IS]
    # The prior: one image at a time, a network is far better than the best filter; so it is after the true poses.
    assert errors[SINGLE_IMAGE] < 0.75 * errors[RADIAL_FILTER]
    assert errors[ORACLE_AND_PRIOR] < 0.75 * errors[ORACLE]
    assert errors[ORACLE_AND_PRIOR] < errors[AS_IT_IS]
